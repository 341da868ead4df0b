"""Stages 2 and 3 without a tensor: which rollouts are errors, corrective samples, the LIFO buffer, the trigger."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from pydantic import Field

from fission_grpo.chat import Decision
from fission_grpo.feedback import Feedback
from fission_grpo.reward import Reward, Scored
from fission_grpo.settings import Settings


class FissionSettings(Settings):
    """Stages 2 and 3 of Algorithm 1."""

    enabled: bool = True
    """False trains plain GRPO."""
    delta: float = Field(0.5, ge=0, le=1)
    """δ of Eq. 4: a well-formed rollout with R_corr below this is an error. 1: everything short of exact."""
    group_size: int = Field(8, ge=2)
    """G′: recoveries sampled for each corrective context (Eq. 5)."""
    batch_size: int = Field(8, ge=1)
    """B_corr: corrective contexts popped for one fission update."""
    interval: int = Field(1, ge=1)
    """m: fission fires at most once in this many standard updates."""
    capacity: int = Field(256, ge=1)
    """Most corrective samples held; the oldest are dropped."""
    max_age: int | None = Field(None, ge=0)
    """Samples older than this many standard updates are dropped; empty: no limit."""
    max_depth: int = Field(1, ge=1)
    """How often a failed recovery may itself be fissioned, counted in failures: 1 fissions first failures only."""


@dataclass(frozen=True)
class Attempt:
    """A failed turn and what the runtime said to it."""

    text: str
    feedback: str
    source: str
    reward: float


@dataclass(frozen=True)
class Context:
    """x with its target y*: what `explore` takes, in stage 1 and in stage 3 alike.

    `ids` are the tokens of x. A corrective sample x_corr = [x ; τ_err ; f] is a context whose `trail` holds the failed
    attempts it grew from, oldest first; the failed turns are in `ids` exactly as sampled. `born`: the standard update
    that made it. `key` identifies (x, τ_err).
    """

    decision: Decision
    ids: tuple[int, ...]
    trail: tuple[Attempt, ...] = ()
    born: int = 0
    key: str = ""

    @property
    def depth(self) -> int:
        """Number of failures behind this context; 0 in stage 1."""
        return len(self.trail)


@dataclass
class Explored:
    """One context with its G scored rollouts: what `explore` returns, and what stage 2 makes of it.

    `feedback` and `samples` are by index of the rollout: one for each distinct error.
    """

    context: Context
    scored: list[Scored]
    advantages: list[float]
    errors: list[bool]
    samples: dict[int, Context] = field(default_factory=dict)
    feedback: dict[int, Feedback] = field(default_factory=dict)

    @property
    def rewards(self) -> list[float]:
        """R of each rollout."""
        return [one.reward.total for one in self.scored]


def is_error(reward: Reward, delta: float) -> bool:
    """Eq. 4: the format is invalid, or correctness falls below δ. The outcome decides, never a spread of rewards."""
    return reward.fmt == 0 or reward.corr < delta


def error_key(context: Context, failed_ids: Sequence[int]) -> str:
    """Dedup key hash(x, τ_err): two messages for one error are one instance (paper §3.3.2)."""
    text = ",".join(map(str, context.ids)) + "|" + ",".join(map(str, failed_ids))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def corrective(
    context: Context, ids: tuple[int, ...], failed_ids: Sequence[int], attempt: Attempt, born: int
) -> Context:
    """The corrective sample of a failed attempt; `ids` are the tokens of [x ; τ_err ; f]. Same y*."""
    return replace(context, ids=ids, trail=(*context.trail, attempt), born=born, key=error_key(context, failed_ids))


class LifoBuffer:
    """Corrective samples, newest popped first; bounded, deduplicated, optionally limited in age (paper §3.3.2)."""

    def __init__(self, capacity: int, max_age: int | None = None) -> None:
        self._capacity, self._max_age = capacity, max_age
        self._samples: OrderedDict[str, Context] = OrderedDict()

    def __len__(self) -> int:
        return len(self._samples)

    def push(self, samples: Iterable[Context]) -> int:
        """Adds samples in order and returns how many were new; one that is held already becomes the newest again."""
        new = 0
        for sample in samples:
            new += sample.key not in self._samples
            self._samples[sample.key] = sample
            self._samples.move_to_end(sample.key)
        while len(self._samples) > self._capacity:
            self._samples.popitem(last=False)
        return new

    def pop(self, count: int) -> list[Context]:
        """Removes and returns the `count` newest samples, newest first."""
        return [self._samples.popitem()[1] for _ in range(min(count, len(self._samples)))]

    def expire(self, now: int) -> int:
        """Drops samples older than the age limit, in standard updates; returns how many."""
        if self._max_age is None:
            return 0
        old = [key for key, sample in self._samples.items() if now - sample.born > self._max_age]
        for key in old:
            del self._samples[key]
        return len(old)

    def mean_age(self, now: int) -> float:
        """Mean age of the held samples in standard updates; 0 when empty."""
        return sum(now - sample.born for sample in self._samples.values()) / max(1, len(self._samples))

    def to_state(self) -> list[dict[str, Any]]:
        """The samples, oldest first, as JSON-ready data; part of every checkpoint."""
        return [
            {
                "decision": sample.decision.id,
                "ids": list(sample.ids),
                "trail": [asdict(attempt) for attempt in sample.trail],
                "born": sample.born,
                "key": sample.key,
            }
            for sample in self._samples.values()
        ]

    def load_state(self, state: Sequence[dict[str, Any]], decisions: dict[str, Decision]) -> Self:
        """Fills the buffer with what `to_state` wrote. Raises KeyError where a decision is no longer in the data."""
        self._samples.clear()
        for entry in state:
            trail = tuple(Attempt(**attempt) for attempt in entry["trail"])
            sample = Context(decisions[entry["decision"]], tuple(entry["ids"]), trail, entry["born"], entry["key"])
            self._samples[sample.key] = sample
        return self


class Trigger:
    """When stage 3 fires: enough corrective contexts, and m standard updates since the last fission."""

    def __init__(self, batch_size: int, interval: int, last: int = 0) -> None:
        self._batch_size, self._interval, self.last = batch_size, interval, last

    def fires(self, held: int, now: int) -> bool:
        """Whether to fission after standard update `now` with `held` samples in the buffer; remembers that it did."""
        if held < self._batch_size or now - self.last < self._interval:
            return False
        self.last = now
        return True
