"""What one split may say and name: every list, number, date and phrase is dealt to exactly one split."""

from __future__ import annotations

import random
import tomllib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date as Date
from datetime import time as Time
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeVar, get_args

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
DEAL: tuple[Split, ...] = ("train", "train", "validation", "test")
"""Half to train, a quarter each to validation and test."""

T = TypeVar("T")

LARGE = 0.15
"""Share of worlds that are large, so that listing them makes a long context."""
TYPED = 0.25
"""Share of users who type hastily."""
FRAMED = 0.06
"""Share of user turns with an opening, and of those with a closing."""


def dealt(items: Sequence[T], split: Split) -> list[T]:
    """The split's share of a list, by position."""
    return [item for place, item in enumerate(items) if DEAL[place % len(DEAL)] == split]


def owner(value: object) -> Split:
    """The split that a value of an open range belongs to, by its text."""
    return DEAL[zlib.crc32(str(value).encode()) % len(DEAL)]


@dataclass(frozen=True)
class Words:
    """The provider of entities, numbers and phrasings for one task; all that it gives belongs to its split."""

    split: Split
    rng: random.Random
    pools: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """The split's entities by pool."""
    large: bool = False
    """Whether the world should be large (see `LARGE`)."""
    typed: bool = False
    """Whether the user types hastily: no capital at the beginning, no full stop at the end."""

    def pick(self, pool: str) -> Any:
        """One entity of a pool."""
        return self.rng.choice(self.pools[pool])

    def sample(self, pool: str, count: int) -> list[Any]:
        """`count` different entities of a pool. Raises ValueError where the split's share is smaller."""
        return self._sample(self.pools[pool], count)

    def choose(self, candidates: Sequence[T], count: int) -> list[T]:
        """`count` different things of the world, fewer where it has fewer."""
        return self.rng.sample(candidates, min(count, len(candidates)))

    def people(self, count: int) -> list[str]:
        """Different full names, no first name twice."""
        names = _shared_lists()
        firsts, lasts = (self._sample(dealt(names[key], self.split), count) for key in ("first_names", "last_names"))
        return [f"{first} {last}" for first, last in zip(firsts, lasts, strict=True)]

    def number(self, low: int, high: int, step: int = 1) -> int:
        """One number in [low, high]."""
        return self.numbers(1, low, high, step)[0]

    def numbers(self, count: int, low: int, high: int, step: int = 1) -> list[int]:
        """Different numbers in [low, high]. Raises ValueError where the split has too few of them."""
        return self._sample(_owned(self.split, range(low, high + 1, step)), count)

    def ids(self, prefix: str, count: int, digits: int = 4) -> list[str]:
        """Different ids such as `P1234`. Raises ValueError where the split has too few numbers of so many digits."""
        return [f"{prefix}{number}" for number in self.numbers(count, 10 ** (digits - 1), 10**digits - 1)]

    def counter(self) -> int:
        """Where the world's own numbering begins: it may count up by 99 and give no number of another split."""
        return 100 * self.number(100, 999)

    def dates(self, count: int, first: str = "2026-01-05", days: int = 350) -> list[str]:
        """Different ISO dates within `days` from `first`, in order."""
        start = Date.fromisoformat(first)
        every = tuple((start + timedelta(days=day)).isoformat() for day in range(days))
        return sorted(self._sample(_owned(self.split, every), count))

    def times(self, count: int, opens: str = "08:00", closes: str = "20:00", step: int = 15) -> list[str]:
        """Different times HH:MM from `opens` until before `closes`, in order; `step` in minutes."""
        low, high = (60 * time.hour + time.minute for time in map(Time.fromisoformat, (opens, closes)))
        every = tuple(f"{minute // 60:02}:{minute % 60:02}" for minute in range(low, high, step))
        return sorted(self._sample(_owned(self.split, every), count))

    def say_date(self, date: str) -> str:
        """An ISO date as people write it, so that the caller has to convert it."""
        day = Date.fromisoformat(date)
        return self.rng.choice([f"{day:%B} {day.day}, {day.year}", f"{day.day} {day:%B} {day.year}", date])

    def say_time(self, time: str) -> str:
        """A time HH:MM as people write it."""
        clock = Time.fromisoformat(time)
        return self.rng.choice([time, f"{clock.hour % 12 or 12}:{clock:%M} {'am' if clock.hour < 12 else 'pm'}"])

    def phrase(self, phrases: Sequence[str], values: Mapping[str, Any]) -> str:
        """One of the split's phrasings with its values filled in."""
        return self.rng.choice(phrases).format(**values)

    def say(self, phrases: Sequence[str], values: Mapping[str, Any]) -> str:
        """A phrasing as this user utters it: now and then with a greeting or thanks around it."""
        template = self.rng.choice(phrases)
        if self.typed:
            template = template[0].lower() + template[1:].removesuffix(".")
        said = template.format(**values)
        if self.rng.random() < FRAMED:
            return f"{self._common('openings')} {said}"
        if not self.typed and self.rng.random() < FRAMED:
            return f"{said if said[-1] in '.!?' else said + '.'} {self._common('closings')}"
        return said

    def decline(self) -> str:
        """How the assistant says that it has no tool for a request."""
        return self._common("declines")

    def _common(self, pool: str) -> str:
        return self.rng.choice(dealt(_shared_lists()[pool], self.split))

    def _sample(self, values: Sequence[T], count: int) -> list[T]:
        if count > len(values):
            raise ValueError(f"the {self.split} split has {len(values)} of the {count} values wanted")
        return self.rng.sample(values, count)


@cache
def _owned(split: Split, values: Sequence[T]) -> list[T]:
    """The split's share of an open range, by each value's text."""
    return [value for value in values if owner(value) == split]


@cache
def _shared_lists() -> dict[str, list[str]]:
    """Names and sentences that every scenario shares."""
    text = (files("fission_grpo.data.scenarios") / "common.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
