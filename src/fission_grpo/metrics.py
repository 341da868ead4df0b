"""What a run reports of each update: how the rollouts fared, and where the time went."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fission_grpo.fission import Explored

PARTS = ("total", "fmt", "corr", "length")


def describe(groups: Sequence[Explored]) -> dict[str, Any]:
    """Metrics of one update's groups; shares are of rollouts, or of groups where the name says so."""
    rewards = [one.reward for group in groups for one in group.scored]
    errors = [error for group in groups for error in group.errors]
    feedback = [given for group in groups for given in group.feedback.values()]
    corrective = any(group.context.depth for group in groups)
    kinds = Counter(
        reward.format_errors[0].kind if reward.format_errors else "semantic"
        for reward, error in zip(rewards, errors, strict=True)
        if error
    )
    return {
        **{f"reward/{part}": _mean([getattr(reward, part) for reward in rewards]) for part in PARTS},
        "errors": _mean(errors),
        "errors_by_kind": {kind: count / len(errors) for kind, count in sorted(kinds.items())},
        "groups/all_wrong": _mean([all(group.errors) for group in groups]),
        "groups/zero_spread": _mean([not any(group.advantages) for group in groups]),
        "recovery": 1 - _mean(errors) if corrective else None,
        "feedback/by_source": dict(sorted(Counter(given.source for given in feedback).items())),
        "feedback/refused": dict(sorted(Counter(name for given in feedback for name in given.refused).items())),
        "feedback/too_long": sum(len(group.feedback) - len(group.samples) for group in groups),
        "tokens/context": sum(len(group.context.ids) for group in groups),
        "tokens/sampled": sum(len(one.rollout.ids) for group in groups for one in group.scored),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


class Clock:
    """Seconds per phase of one update, and of the whole run."""

    def __init__(self, before: float = 0.0) -> None:
        self._phases: dict[str, float] = {}
        self._start = time.perf_counter() - before

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._phases[phase] = self._phases.get(phase, 0.0) + time.perf_counter() - start

    def read(self) -> dict[str, float]:
        """Seconds per phase since the last reading."""
        seconds = {f"seconds/{phase}": round(value, 4) for phase, value in self._phases.items()}
        self._phases.clear()
        return seconds

    def elapsed(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return time.perf_counter() - self._start
