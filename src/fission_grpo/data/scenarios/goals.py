"""What a scenario is made of: goal patterns over a live world, and the language they are told in."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args

from fission_grpo.chat import ToolCall, Turn
from fission_grpo.data.scenarios.words import LARGE, TYPED, Split, Words, dealt
from fission_grpo.domains.base import Domain
from fission_grpo.errors import UserError

Kind = Literal["call", "parallel", "chained", "precondition"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Goal:
    """What a pattern wants in one world."""

    values: dict[str, Any]
    """What its sentences name, the assistant's closing words included."""
    steps: list[list[ToolCall]]
    """The reference: assistant turns in order, each the calls it makes."""
    shown: set[str] = field(default_factory=set)
    """What else the results make known."""
    ordered: bool = False
    """Whether the calls of one step must run in the order given."""

    @property
    def tools(self) -> set[str]:
        """Names of the tools the reference uses."""
        return {call.name for step in self.steps for call in step}

    @property
    def claims(self) -> set[str]:
        """What this goal makes known or changes: no later turn of the task touches it, unless it continues this one.

        Else whether a good agent would look it up once more is anybody's guess, and the reference ambiguous.
        """
        named = {value for value in self.values.values() if isinstance(value, str)}
        return named | self.shown | {call.name for step in self.steps for call in step if not call.arguments}


Compose = Callable[..., Goal | None]
"""From (world, words), or (world, words, past) of a pattern that continues another; None: the world has none."""


@dataclass(frozen=True)
class Language:
    """A pattern's sentences, every list dealt to the splits by position; `{name}` is filled from `Goal.values`."""

    say: list[str]
    """How the user wants it."""
    reply: list[str]
    """How the assistant reports that it is done."""
    vague: list[str] = field(default_factory=list)
    """How the user wants it but leaves one value out."""
    ask: list[str] = field(default_factory=list)
    """How the assistant asks for that value."""
    supply: list[str] = field(default_factory=list)
    """How the user then supplies it."""


@dataclass(frozen=True)
class Pattern:
    """A goal pattern: composes a goal from the live world, and tells it."""

    kind: Kind
    compose: Compose
    language: Language
    test_only: bool
    """Whether training and validation never see it."""
    after: str | None
    """The pattern that it continues: its user refers to what that one was about."""

    @property
    def name(self) -> str:
        """The name of the composing function."""
        return self.compose.__name__

    def of(self, part: str, split: Split) -> list[str]:
        """The sentences of one part of the language that a split may use; all of them where only test uses any."""
        sentences: list[str] = getattr(self.language, part)
        return sentences if self.test_only else dealt(sentences, split)

    def turn(self, goal: Goal, words: Words) -> Turn:
        """The goal as a user turn with its reference solution."""
        return self._turn(words.say(self.of("say", words.split), goal.values), goal, words)

    def vague_turns(self, goal: Goal, words: Words) -> list[Turn]:
        """The goal as two turns: a value is missing and asked for, then supplied."""
        asked = Turn(
            user=words.say(self.of("vague", words.split), goal.values),
            steps=[],
            reply=words.phrase(self.of("ask", words.split), goal.values),
            kind="missing_parameter",
            pattern=self.name,
        )
        return [asked, self._turn(words.phrase(self.of("supply", words.split), goal.values), goal, words)]

    def withheld_turn(self, goal: Goal, words: Words) -> Turn:
        """The goal in a task without the tool it needs: the assistant declines."""
        said = words.say(self.of("say", words.split), goal.values)
        return Turn(
            user=said,
            steps=[],
            reply=words.decline(),
            kind="missing_function",
            pattern=self.name,
            lacks=sorted(goal.tools),
        )

    def _turn(self, user: str, goal: Goal, words: Words) -> Turn:
        steps = [[call.to_openai(f"call_{i}") for i, call in enumerate(step)] for step in goal.steps]
        reply = words.phrase(self.of("reply", words.split), goal.values)
        return Turn(user=user, steps=steps, reply=reply, kind=self.kind, pattern=self.name, ordered=goal.ordered)


class ScenarioError(UserError, ValueError):
    """A scenario's patterns and language do not fit together. The message is one line."""


class Scenario:
    """A domain's goal patterns, its entities, and how to build a world of them.

        SCENARIO = Scenario(Bank, build, POOLS, language=Path(__file__).with_suffix(".toml"))

        @SCENARIO.pattern("call")
        def show_balance(bank: Bank, words: Words) -> Goal | None: ...

    `language` is a TOML file (or its content) with a table per pattern, named as the function and holding `Language`'s
    lists.
    """

    def __init__(
        self,
        domain: type[Domain],
        build: Callable[[Words], Domain],
        pools: Mapping[str, Sequence[Any]],
        language: Path | Mapping[str, Mapping[str, list[str]]],
        unseen: bool = False,
    ) -> None:
        self.domain, self.build, self.pools = domain, build, pools
        self.unseen = unseen
        """Whether the whole domain is kept for testing."""
        self.patterns: dict[str, Pattern] = {}
        self._language = (
            tomllib.loads(language.read_text(encoding="utf-8")) if isinstance(language, Path) else dict(language)
        )

    def pattern(self, kind: Kind, *, test_only: bool = False, after: str | None = None) -> Callable[[Compose], Compose]:
        """Registers the decorated function as a goal pattern.

        Raises ScenarioError for an unknown kind, and where its language is missing.
        """

        def register(compose: Compose) -> Compose:
            name = compose.__name__
            if kind not in KINDS:
                raise ScenarioError(f"{self.domain.name}: pattern '{name}': kind must be one of {', '.join(KINDS)}")
            if name not in self._language:
                raise ScenarioError(f"{self.domain.name}: pattern '{name}' has no sentences")
            try:
                language = Language(**self._language[name])
            except TypeError as error:
                raise ScenarioError(f"{self.domain.name}: sentences of '{name}': {error}") from None
            self.patterns[name] = Pattern(kind, compose, language, test_only or self.unseen, after)
            return compose

        return register

    @cached_property
    def enumerated(self) -> set[str]:
        """Every value that the domain's schemas enumerate: two goals of a task may name the same one."""
        return _enumerated(self.domain.specs())

    def words(self, split: Split, rng: Random) -> Words:
        """What one task may say and name."""
        pools = {name: list(pool) if self.unseen else dealt(pool, split) for name, pool in self.pools.items()}
        return Words(split, rng, pools, large=rng.random() < LARGE, typed=rng.random() < TYPED)


def _enumerated(schema: Any) -> set[str]:
    """Every enumerated value in a schema."""
    if isinstance(schema, list):
        return {value for part in schema for value in _enumerated(part)}
    if not isinstance(schema, dict):
        return set()
    values = {str(value) for value in schema.get("enum", ())}
    return values.union(*(_enumerated(part) for part in schema.values()))


def call(name: str, /, **arguments: Any) -> ToolCall:
    """A tool call, as a pattern writes it."""
    return ToolCall(name, arguments)


def listing(names: Sequence[str]) -> str:
    """Names as English says them: "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
