"""Candidate tasks composed from scenarios: 2–5 user turns over one world, executed while composed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import NamedTuple

from fission_grpo.chat import Message, Novelty, Task, Turn
from fission_grpo.data.scenarios.goals import KINDS, Goal, Kind, Pattern, Scenario
from fission_grpo.data.scenarios.words import Split, Words
from fission_grpo.data.trajectory import play_turn
from fission_grpo.domains import Domain, ToolError
from fission_grpo.errors import UserError

LEADS = ("call", "missing_parameter", "chained", "missing_function", "parallel", "precondition")
"""Kinds of the turn that a task is about, in rotation."""
GOALS = (2, 5)
"""Fewest and most goals of a task; a missing parameter takes two user turns."""
MAX_TURNS = 5
FEWEST_SHOWN = 8
"""Fewest tools a task shows: those its reference needs, and others of the domain to distract."""
ATTEMPTS = 50
"""Worlds tried for one task of a given leading kind."""
CONTINUES = 0.6
"""Share of the goals that can be continued which are."""
FRESH = 0.7
"""Share of the draws, in a task about patterns that training never sees, that are such patterns."""


class PatternError(UserError, RuntimeError):
    """A pattern fails, or its reference is refused by its own domain: a defect of the pattern, which it names."""


class Candidate(NamedTuple):
    """A composed task and its dialogue as it was played."""

    task: Task
    dialogue: list[Message]


def candidates(scenario: Scenario, split: Split, seed: int) -> Iterator[Candidate]:
    """Distinct tasks of one domain and split, the same for the same arguments, in rotation over leading kinds.

    Half of the test tasks of a domain that is trained on are about patterns that training never sees. Ends where the
    patterns give no new task any more. Raises PatternError for a pattern that fails.
    """
    name = scenario.domain.name
    if orphans := [p.name for p in scenario.patterns.values() if p.after and p.after not in scenario.patterns]:
        raise PatternError(f"{orphans[0]}: it continues a pattern that there is not")
    rng, seen, counts = Random(f"{name}/{split}/{seed}"), set(), Counter[str]()  # noqa: S311
    fresh = [False, True] if split == "test" and not scenario.unseen else [False]
    told = [lead for lead in LEADS if any(_serves(pattern, lead) for pattern in scenario.patterns.values())]
    kinds = [(lead, novel) for lead in told for novel in fresh]
    fruitless = 0
    for lead, novel in cycle(kinds):
        drawn = (_compose(scenario, split, rng, lead, novel, counts) for _ in range(ATTEMPTS))
        new = next((one for one in drawn if one is not None and _said(one.task) not in seen), None)
        fruitless = 0 if new else fruitless + 1
        if fruitless == len(kinds):
            return
        if new is not None:
            seen.add(_said(new.task))
            task = new.task.model_copy(update={"id": f"{split}-{name}-{len(seen) - 1:04d}"})
            yield Candidate(task, new.dialogue)


def _said(task: Task) -> str:
    return "\n".join(turn.user for turn in task.turns)


@dataclass
class _Dialogue:
    """A task in the making."""

    scenario: Scenario
    words: Words
    world: Domain
    novel: bool
    told: Counter[str]
    """How often each pattern has been told in earlier tasks too: the choice evens it out."""
    turns: list[Turn] = field(default_factory=list)
    played: list[list[Message]] = field(default_factory=list)
    """The messages of each turn."""
    claimed: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    last: tuple[Pattern, Goal] | None = None
    """The goal that the next one may continue."""

    def add(self, kind: str) -> bool:
        """Adds a goal told as `kind`, where the world offers one."""
        fresh = self.novel and (not self.turns or self.words.rng.random() < FRESH)
        for pattern in self._in_turn(
            lambda pattern: pattern.after is None and _serves(pattern, kind) and (pattern.test_only or not fresh)
        ):
            goal = self._compose(pattern)
            if goal is not None and self._fits(goal, kind):
                self._tell(pattern, goal, kind)
                return True
        return False

    def add_sequel(self) -> bool:
        """Adds a goal that continues the last one, where there is one."""
        if self.last is None:
            return False
        parent, past = self.last
        for pattern in self._in_turn(lambda candidate: candidate.after == parent.name):
            goal = self._compose(pattern, past)
            if goal is not None and not goal.tools & self.hidden:
                self._tell(pattern, goal, pattern.kind)
                return True
        return False

    def _compose(self, pattern: Pattern, *past: Goal) -> Goal | None:
        try:
            return pattern.compose(self.world, self.words, *past)
        except Exception as error:  # whatever a pattern raises, its author wants to know which it was
            raise PatternError(f"{pattern.name}: {type(error).__name__}: {error}") from error

    def _in_turn(self, serves: Callable[[Pattern], bool]) -> list[Pattern]:
        """The patterns that serve and that this task may use, those told least so far first."""
        usable = [
            pattern
            for pattern in self.scenario.patterns.values()
            if (self.novel or self.scenario.unseen or not pattern.test_only) and serves(pattern)
        ]
        shuffled = self.words.rng.sample(usable, len(usable))
        return sorted(shuffled, key=lambda pattern: self.told[pattern.name])

    def _fits(self, goal: Goal, kind: str) -> bool:
        """Whether the goal leaves alone what is settled, and uses no tool that is to be missing."""
        if kind == "missing_function" and goal.tools & self.used:
            return False
        claims = goal.claims - self.scenario.enumerated
        return not claims & self.claimed and not goal.tools & self.hidden

    def _tell(self, pattern: Pattern, goal: Goal, kind: str) -> None:
        """Adds the goal's turns and executes them."""
        self.told[pattern.name] += 1
        self.claimed |= goal.claims
        if kind == "missing_function":
            declined = pattern.withheld_turn(goal, self.words)
            self.turns.append(declined)
            self.played.append(play_turn(self.world, declined))
            self.hidden |= goal.tools
            self.last = None
            return
        vague = kind == "missing_parameter"
        try:
            told = pattern.vague_turns(goal, self.words) if vague else [pattern.turn(goal, self.words)]
            self.played += [play_turn(self.world, turn) for turn in told]
        except KeyError as error:
            raise PatternError(f"{pattern.name}: a sentence names {error}, which its goal does not give") from error
        except ToolError as error:
            raise PatternError(f"{pattern.name}: the reference of {told[-1].user!r} is refused: {error}") from error
        self.turns += told
        self.used |= goal.tools
        self.last = (pattern, goal)


def _compose(
    scenario: Scenario, split: Split, rng: Random, lead: str, novel: bool, told: Counter[str]
) -> Candidate | None:
    """One task about a goal of kind `lead`; None where the drawn world does not offer it."""
    words = scenario.words(split, rng)
    try:
        world = scenario.build(words)
    except Exception as error:  # whatever it raises, its author wants to know where
        raise PatternError(f"build: {type(error).__name__}: {error}") from error
    initial = world.snapshot()
    dialogue = _Dialogue(scenario, words, world, novel, told)
    goals = rng.randint(*GOALS)
    place = rng.randrange(goals)
    for number in range(goals):
        if number == place:
            if not dialogue.add(lead):
                return None
        elif not (rng.random() < CONTINUES and dialogue.add_sequel()):
            dialogue.add(rng.choice(KINDS))
    turns = dialogue.turns[:MAX_TURNS]
    if len(turns) < GOALS[0] or turns[-1].kind == "missing_parameter":
        return None
    tools = [spec["function"]["name"] for spec in world.specs() if spec["function"]["name"] not in dialogue.hidden]
    task = Task(
        id="",
        domain=scenario.domain.name,
        tools=_shown(tools, dialogue.used, rng),
        initial_state=initial,
        turns=turns,
        novelty=_novelty(scenario, turns),
    )
    return Candidate(task, [message for messages in dialogue.played[:MAX_TURNS] for message in messages])


def _novelty(scenario: Scenario, turns: Sequence[Turn]) -> Novelty:
    if scenario.unseen:
        return "domain"
    return "pattern" if any(scenario.patterns[turn.pattern].test_only for turn in turns) else "none"


def _shown(tools: Sequence[str], needed: set[str], rng: Random) -> list[str]:
    """The tools the turns need and some to distract, in the domain's order, so that contexts begin alike."""
    others = [tool for tool in tools if tool not in needed]
    fewest = max(0, min(len(others), FEWEST_SHOWN - len(needed)))
    shown = needed | set(rng.sample(others, rng.randint(fewest, len(others))))
    return [tool for tool in tools if tool in shown]


def _serves(pattern: Pattern, kind: str) -> bool:
    """Whether a pattern's goal can be told as a turn of `kind`."""
    if kind == "missing_parameter":
        return bool(pattern.language.vague)
    told: Kind | str = "call" if kind == "missing_function" else kind
    return pattern.kind == told
