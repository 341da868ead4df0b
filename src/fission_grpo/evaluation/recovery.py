"""The recovery decomposition (paper §4.3): how much of the success came at once, how much after an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pydantic import TypeAdapter
from rich.table import Table
from rich.text import Text
from scipy.stats import binomtest

from fission_grpo.evaluation.episode import Episode

NOVELTIES = {"none": "seen patterns", "pattern": "unseen patterns", "domain": "unseen domains"}
"""How a table names what of a task is new."""


@dataclass(frozen=True)
class Rate:
    """A share in [0, 1] with its Wilson 95 % interval; None throughout where there was nothing to count."""

    value: float | None
    count: int
    total: int
    low: float | None
    high: float | None

    @classmethod
    def of(cls, count: int, total: int) -> Self:
        """`count` out of `total`. Raises ValueError for a count out of range."""
        if total == 0 and count == 0:
            return cls(None, 0, 0, None, None)
        interval = binomtest(count, total).proportion_ci(confidence_level=0.95, method="wilson")
        return cls(count / total, count, total, float(interval.low), float(interval.high))

    def __str__(self) -> str:
        if self.value is None or self.low is None or self.high is None:
            return "–"
        return f"{self.value:.1%} {self.count}/{self.total} ({self.low:.0%}–{self.high:.0%})"


@dataclass(frozen=True)
class Summary:
    """Rates over a set of episodes, and over its parts."""

    tasks: int
    success: Rate
    """Episodes that succeed: the paper's overall accuracy."""
    one_shot: Rate
    """Episodes that succeed without any execution error, of all episodes."""
    recovery: Rate
    """P(success | at least one execution error)."""
    identical_reinvocation: Rate
    """Assistant turns directly after an error that repeat exactly what met it. They are not independent of one
    another, so the interval is too narrow where a few episodes contribute most of them (ours)."""
    errors: dict[str, int]
    """Execution errors by kind, most frequent first."""
    by_domain: dict[str, Summary] = field(default_factory=dict)
    by_kind: dict[str, Summary] = field(default_factory=dict)
    """An episode counts under every kind of turn that it has, so the parts overlap."""
    by_novelty: dict[str, Summary] = field(default_factory=dict)
    """By what of the task the built-in training data never show."""

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """The summary that `to_json` wrote. Raises pydantic.ValidationError for anything else."""
        return TypeAdapter(cls).validate_python(record)


def summarise(episodes: Sequence[Episode]) -> Summary:
    """The decomposition of `episodes`, overall, per domain, per kind of turn and per novelty."""
    domains = sorted({episode.domain for episode in episodes})
    kinds = sorted({kind for episode in episodes for kind in episode.kinds})
    novelties = [name for name in NOVELTIES if any(e.novelty == name for e in episodes)]
    return _summary(
        episodes,
        by_domain={name: _summary([e for e in episodes if e.domain == name]) for name in domains},
        by_kind={kind: _summary([e for e in episodes if kind in e.kinds]) for kind in kinds},
        by_novelty={name: _summary([e for e in episodes if e.novelty == name]) for name in novelties},
    )


def _summary(episodes: Sequence[Episode], **parts: dict[str, Summary]) -> Summary:
    tasks = len(episodes)
    erred = [episode for episode in episodes if episode.execution_errors]
    succeeded = sum(episode.success for episode in episodes)
    recovered = sum(episode.success for episode in erred)
    errors = Counter(error.kind for episode in erred for error in episode.execution_errors)
    return Summary(
        tasks=tasks,
        success=Rate.of(succeeded, tasks),
        one_shot=Rate.of(succeeded - recovered, tasks),
        recovery=Rate.of(recovered, len(erred)),
        identical_reinvocation=Rate.of(
            sum(episode.identical_reinvocations for episode in erred),
            sum(episode.reinvocation_chances for episode in erred),
        ),
        errors=dict(errors.most_common()),
        **parts,
    )


def recovery_table(named: Mapping[str, Summary]) -> Table:
    """A console table: one row per metric, one column per summary; value, count/total and 95 % interval."""
    table = Table(title="Recovery decomposition (Wilson 95 % intervals)")
    table.add_column("metric")
    for name in named:
        table.add_column(Text(name), justify="right")
    for metric, cells in _rows(list(named.values())):
        table.add_row(metric, *cells)
    return table


def _rows(summaries: Sequence[Summary]) -> Iterable[tuple[str, list[str]]]:
    yield "tasks", [str(summary.tasks) for summary in summaries]
    yield "success", [str(summary.success) for summary in summaries]
    for name in dict.fromkeys(name for summary in summaries for name in summary.by_novelty):
        if any(len(summary.by_novelty) > 1 for summary in summaries):
            parts = [summary.by_novelty.get(name) for summary in summaries]
            yield f"  {NOVELTIES[name]}", [str(part.success) if part else "–" for part in parts]
    yield "one-shot success", [str(summary.one_shot) for summary in summaries]
    yield "recovery rate", [str(summary.recovery) for summary in summaries]
    yield "identical re-invocation", [str(summary.identical_reinvocation) for summary in summaries]
    yield "execution errors", [str(sum(summary.errors.values())) for summary in summaries]
    for kind in dict.fromkeys(kind for summary in summaries for kind in summary.errors):
        yield f"  {kind}", [str(summary.errors.get(kind, 0)) for summary in summaries]
