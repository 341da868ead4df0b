"""Tasks generated from scenarios: multi-turn, executed while composed, training apart from held-out."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

from fission_grpo.chat import Task, Turn
from fission_grpo.data.scenarios import SCENARIOS, Scenario
from fission_grpo.data.scenarios.goals import Goal, Pattern, Split, Words
from fission_grpo.data.trajectory import play_turn
from fission_grpo.domains import Domain, ToolError

KINDS = ("call", "parallel", "chained", "precondition")
LEADS = (
    "call",
    "missing_parameter",
    "chained",
    "precondition",
    "parallel",
    "missing_function",
    "chained",
    "precondition",
)
"""Kinds of the first turn, in rotation; a missing parameter, once supplied, makes a call."""

SHOWN = 5
"""Tools a task shows: those its reference needs, and others of the domain to distract."""

DRAWS = 4
"""Patterns tried for each follow-up wanted; many need a tool that is not shown, or touch what is settled."""

Told = Callable[[Pattern, Goal, Words], list[Turn]]


def generate_tasks(
    split: Split, count: int, seed: int, domains: Sequence[str] | None = None, follow_ups: int = 2
) -> list[Task]:
    """`count` different tasks, the same for the same arguments, in rotation over domains and leading kinds.

    Up to `follow_ups` further goals follow the first, as far as the tools shown serve them.
    Validation and test share phrasings and entities that training never sees, and no dialogue with each other.
    Raises RuntimeError when a reference solution fails: a defect of its pattern.
    """
    candidates = _candidates(split, seed, tuple(domains or SCENARIOS), follow_ups)
    return [
        task.model_copy(update={"id": f"{split}-{seed}-{i:04d}"}) for i, task in enumerate(islice(candidates, count))
    ]


def _candidates(split: Split, seed: int, domains: Sequence[str], follow_ups: int) -> Iterator[Task]:
    """Endless distinct tasks of a split."""
    rng, seen = random.Random(f"{split}/{seed}"), set()  # noqa: S311
    rotation = cycle([(domain, lead) for lead in LEADS for domain in domains])
    for domain, lead in rotation:
        task = None
        while task is None or (said := _said(task)) in seen or not _belongs(split, said):
            task = _compose(split, rng, domain, lead, follow_ups)
        seen.add(said)
        yield task


def _said(task: Task) -> str:
    return "\n".join(turn.user for turn in task.turns)


def _belongs(split: Split, said: str) -> bool:
    """Deals the held-out dialogues out to validation and test by their text, whatever their seeds."""
    return split == "train" or (zlib.crc32(said.encode()) % 2 == 0) == (split == "validation")


def _compose(split: Split, rng: random.Random, domain: str, lead: str, follow_ups: int) -> Task | None:
    """One task whose first turn is of kind `lead`; None where the drawn world does not offer it."""
    scenario = SCENARIOS[domain]
    words = Words(split, rng, scenario.pools)
    world = scenario.build(words)
    state, tools = world.snapshot(), [tool["function"]["name"] for tool in world.specs()]
    drawn = _draw(world, words, scenario, lead)
    if drawn is None:
        return None
    pattern, goal = drawn
    turns = _TOLD.get(lead, _plainly)(pattern, goal, words)
    if lead == "missing_function":
        tools = [tool for tool in tools if tool not in goal.tools]
    _execute(world, pattern, turns)
    shown = _shown(tools, turns, rng)
    turns += _follow_up(world, words, scenario, goal.claims, shown, rng.randint(0, follow_ups))
    return Task(id="", domain=domain, tools=shown, initial_state=state, turns=turns)


def _shown(tools: Sequence[str], turns: Sequence[Turn], rng: random.Random) -> list[str]:
    """The tools the turns need, filled up with distractors, in the domain's order."""
    needed = {call.name for turn in turns for step in turn.calls for call in step}
    others = [tool for tool in tools if tool not in needed]
    shown = needed | set(rng.sample(others, max(0, min(len(others), SHOWN - len(needed)))))
    return [tool for tool in tools if tool in shown]


def _follow_up(
    world: Domain, words: Words, scenario: Scenario, claimed: set[str], tools: Sequence[str], count: int
) -> list[Turn]:
    """Up to `count` further turns that touch nothing claimed and use only `tools`."""
    turns: list[Turn] = []
    for _ in range(DRAWS * count):
        if len(turns) == count:
            break
        drawn = _draw(world, words, scenario, words.rng.choice(KINDS))
        if drawn is None or drawn[1].claims & claimed or not drawn[1].tools <= set(tools):
            continue
        pattern, goal = drawn
        told = _plainly(pattern, goal, words)
        _execute(world, pattern, told)
        turns, claimed = turns + told, claimed | goal.claims
    return turns


def _draw(world: Any, words: Words, scenario: Scenario, kind: str) -> tuple[Pattern, Goal] | None:
    """A pattern that can serve for a turn of `kind`, with its goal in this world."""
    pattern = words.rng.choice([pattern for pattern in scenario.patterns if _serves(pattern, kind)])
    goal = pattern.compose(world, words)
    return None if goal is None else (pattern, goal)


def _serves(pattern: Pattern, kind: str) -> bool:
    if kind == "missing_parameter":
        return pattern.vague is not None
    return pattern.kind == ("call" if kind == "missing_function" else kind)


def _plainly(pattern: Pattern, goal: Goal, words: Words) -> list[Turn]:
    return [pattern.turn(goal, words)]


def _withheld(pattern: Pattern, goal: Goal, words: Words) -> list[Turn]:
    return [pattern.withheld_turn(goal, words)]


_TOLD: dict[str, Told] = {"missing_parameter": Pattern.vague_turns, "missing_function": _withheld}


def _execute(world: Domain, pattern: Pattern, turns: Sequence[Turn]) -> None:
    """Plays the turns on the live world. Raises RuntimeError where a reference is refused."""
    for turn in turns:
        try:
            play_turn(world, turn)
        except ToolError as error:
            raise RuntimeError(f"reference of {pattern.name} fails for {turn.user!r}: {error}") from error
