"""What a scenario is made of: goal patterns over a live world, and the words of one split."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from fission_grpo.chat import ToolCall, Turn
from fission_grpo.domains.base import Domain

Split = Literal["train", "validation", "test"]
T = TypeVar("T")


@dataclass(frozen=True)
class Pool:
    """Things to say or to name, training apart from held-out."""

    train: Sequence[Any]
    held_out: Sequence[Any]

    def of(self, split: Split) -> Sequence[Any]:
        """The half that a split may use."""
        return self.train if split == "train" else self.held_out


OPENINGS = Pool(
    ["", "", "", "Hey! ", "Good morning. ", "Quick one: ", "One more thing. ", "Sorry to bother you. "],
    ["", "", "Hello there. ", "Listen, a small job. ", "Now this. "],
)
CLOSINGS = Pool(
    ["", "", "", " Thanks.", " Thank you!", " Cheers.", " That's all.", " When you can."],
    ["", "", " Much appreciated.", " I'd be grateful.", " No rush."],
)


@dataclass(frozen=True)
class Words:
    """The split-specific provider of phrasings and entities for one task."""

    split: Split
    rng: random.Random
    pools: Mapping[str, Pool]

    def pick(self, pool: str) -> Any:
        """One entity of a pool."""
        return self.rng.choice(self.pools[pool].of(self.split))

    def sample(self, pool: str, count: int) -> list[Any]:
        """`count` different entities of a pool."""
        return self.rng.sample(self.pools[pool].of(self.split), count)

    def choose(self, candidates: Sequence[T], count: int) -> list[T]:
        """`count` different candidates of the world, fewer where it has fewer."""
        return self.rng.sample(candidates, min(count, len(candidates)))

    def say(self, phrases: Pool, values: Mapping[str, Any]) -> str:
        """A phrasing with its values filled in, and a greeting or thanks around it."""
        opening, phrase, closing = (self.rng.choice(pool.of(self.split)) for pool in (OPENINGS, phrases, CLOSINGS))
        return opening + phrase.format(**values) + closing


@dataclass(frozen=True)
class Goal:
    """What a pattern wants in one world: values for its phrasing, the reference steps, the closing words."""

    values: dict[str, Any]
    steps: list[list[ToolCall]]
    reply: str
    shown: set[str] = field(default_factory=set)
    """What else the results make known."""

    @property
    def tools(self) -> set[str]:
        """Names of the tools the reference uses."""
        return {call.name for step in self.steps for call in step}

    @property
    def claims(self) -> set[str]:
        """What this goal makes known or changes: no later turn of the task touches it again.

        Else whether a good agent would look it up once more is anybody's guess, and the reference ambiguous.
        """
        named = {value for value in self.values.values() if isinstance(value, str)}
        return named | self.shown | {call.name for step in self.steps for call in step if not call.arguments}


@dataclass(frozen=True)
class Vague:
    """How a user leaves out one value, how the assistant asks for it, and how the user then supplies it."""

    phrases: Pool
    ask: str
    supply: Pool


@dataclass(frozen=True)
class Pattern:
    """A goal pattern: composes a goal from the live world, or None where the world does not offer it."""

    kind: str
    compose: Callable[[Any, Words], Goal | None]
    phrases: Pool
    vague: Vague | None = None

    @property
    def name(self) -> str:
        """The name of the composing function."""
        return self.compose.__name__

    def turn(self, goal: Goal, words: Words) -> Turn:
        """The goal as a user turn with its reference solution."""
        return _turn(words.say(self.phrases, goal.values), goal, self.kind)

    def vague_turns(self, goal: Goal, words: Words) -> list[Turn]:
        """The goal as two turns: a value is missing and asked for, then supplied."""
        assert self.vague is not None  # noqa: S101
        asked = Turn(
            user=words.say(self.vague.phrases, goal.values),
            steps=[],
            reply=self.vague.ask.format(**goal.values),
            kind="missing_parameter",
        )
        supplied = words.rng.choice(self.vague.supply.of(words.split)).format(**goal.values)
        return [asked, _turn(supplied, goal, self.kind)]

    def withheld_turn(self, goal: Goal, words: Words) -> Turn:
        """The goal in a task without the tool it needs: the assistant declines."""
        reply = "I have no tool for that, so I cannot do it."
        return Turn(user=words.say(self.phrases, goal.values), steps=[], reply=reply, kind="missing_function")


def _turn(user: str, goal: Goal, kind: str) -> Turn:
    steps = [[call.to_openai(f"call_{i}") for i, call in enumerate(step)] for step in goal.steps]
    return Turn(user=user, steps=steps, reply=goal.reply, kind=kind)


@dataclass(frozen=True)
class Scenario:
    """A domain's goal patterns, its entities, and how to build a world of them."""

    build: Callable[[Words], Domain]
    pools: Mapping[str, Pool]
    patterns: Sequence[Pattern]


def call(name: str, /, **arguments: Any) -> ToolCall:
    """A tool call, as a pattern writes it."""
    return ToolCall(name, arguments)


def listing(names: Sequence[str]) -> str:
    """Names as English says them: "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
