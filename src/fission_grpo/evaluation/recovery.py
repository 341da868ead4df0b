"""The recovery decomposition (paper §4.3): how much of the success came at once, how much after an error."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import comb
from typing import Any, Self

import numpy as np
from pydantic import TypeAdapter
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from scipy.stats import binomtest, bootstrap

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
class Mean:
    """A mean with its 95 % percentile bootstrap interval; None where there was nothing, or one value, to take it of."""

    value: float | None
    count: int
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The mean of `values`."""
        if not values:
            return cls(None, 0, None, None)
        mean = float(np.mean(values))
        if len(set(values)) == 1:
            return cls(mean, len(values), *((mean, mean) if len(values) > 1 else (None, None)))
        rng = np.random.default_rng(0)
        low, high = bootstrap((values,), np.mean, method="percentile", n_resamples=2000, rng=rng).confidence_interval
        return cls(mean, len(values), float(low), float(high))

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        interval = "" if self.low is None else f" ({self.low:.2f}–{self.high:.2f})"
        return f"{self.value:.2f} of {self.count}{interval}"


@dataclass(frozen=True)
class Summary:
    """Rates over a set of episodes, and over its parts. Episodes that were left out are in no rate but `of_all`."""

    tasks: int
    """Episodes counted."""
    left_out: dict[str, int]
    """Episodes not counted, by how they ended: `context_full` (the first prompt did not fit), `endpoint_error`."""
    success: Rate
    """Episodes that succeed: the paper's overall accuracy."""
    of_all: Rate
    """The same with the episodes that were left out as failures, as leaderboards count."""
    strict: Rate | None
    """Success by the stricter verdict, where the source has two."""
    one_shot: Rate
    """Episodes that succeed without any execution error, of all episodes."""
    recovery: Rate
    """P(success | at least one execution error)."""
    errors_recovered: Rate
    """Errors (consecutive ones counted once) after which, in their user turn, calls came without an error. As with
    identical re-invocations, those of one episode are not independent of one another."""
    steps_to_recover: Mean
    """Assistant turns from such an error to those calls; resampled by error."""
    identical_reinvocation: Rate
    """Assistant turns directly after an error that repeat exactly what met it. They are not independent of one
    another, so the interval is too narrow where a few episodes contribute most of them (ours)."""
    errors: dict[str, int]
    """Execution errors by kind, most frequent first."""
    soft_failures: int
    """Calls whose result says that they achieved nothing, without being an error; no part of the errors."""
    unheard: dict[str, int]
    """Malformed turns that the source drops without an error, by kind; no part of the errors."""
    pass_k: dict[int, Mean] = field(default_factory=dict)
    """pass^k over tasks played several times: the chance that k independent trials of a task all succeed."""
    by_category: dict[str, Summary] = field(default_factory=dict)
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
    """The decomposition of `episodes`, overall, per category, per kind of turn and per novelty."""
    novelties = [name for name in NOVELTIES if any(e.novelty == name for e in episodes)]

    def parts(names: Iterable[str], belongs: Callable[[Episode, str], bool]) -> dict[str, Summary]:
        return {name: _summary([e for e in episodes if belongs(e, name)]) for name in names}

    return _summary(
        episodes,
        by_category=parts(sorted({e.category for e in episodes}), lambda e, name: e.category == name),
        by_kind=parts(sorted({kind for e in episodes for kind in e.kinds}), lambda e, name: name in e.kinds),
        by_novelty=parts(novelties, lambda e, name: e.novelty == name),
    )


def _summary(episodes: Sequence[Episode], **parts: dict[str, Summary]) -> Summary:
    counted = [episode for episode in episodes if not episode.left_out]
    erred = [episode for episode in counted if episode.execution_errors]
    succeeded = sum(episode.success for episode in counted)
    recovered = sum(episode.success for episode in erred)
    steps = [steps for episode in counted for steps in episode.steps_to_recover]
    return Summary(
        tasks=len(counted),
        left_out=dict(Counter(episode.ended for episode in episodes if episode.left_out)),
        success=Rate.of(succeeded, len(counted)),
        of_all=Rate.of(succeeded, len(episodes)),
        strict=_strict(counted),
        one_shot=Rate.of(succeeded - recovered, len(counted)),
        recovery=Rate.of(recovered, len(erred)),
        errors_recovered=Rate.of(len(steps), len(steps) + sum(episode.unrecovered for episode in counted)),
        steps_to_recover=Mean.of(steps),
        identical_reinvocation=Rate.of(
            sum(episode.identical_reinvocations for episode in erred),
            sum(episode.reinvocation_chances for episode in erred),
        ),
        errors=_tally(Counter(error.kind for error in episode.execution_errors) for episode in erred),
        soft_failures=sum(episode.soft_failures for episode in counted),
        unheard=_tally(Counter(episode.unheard) for episode in counted),
        pass_k=_pass_k(counted),
        **parts,
    )


def _strict(episodes: Sequence[Episode]) -> Rate | None:
    verdicts = [episode.strict for episode in episodes if episode.strict is not None]
    return Rate.of(sum(verdicts), len(verdicts)) if verdicts else None


def _tally(counts: Iterable[Counter[str]]) -> dict[str, int]:
    return dict(sum(counts, Counter()).most_common())


def _pass_k(episodes: Sequence[Episode]) -> dict[int, Mean]:
    """C(successes, k) / C(trials, k), mean over tasks, for each k that every task has trials for (τ-bench)."""
    trials: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for episode in episodes:
        trials[episode.category, episode.task].append(episode.success)
    most = min(map(len, trials.values()), default=0)
    if most < 2:
        return {}
    return {k: Mean.of([comb(sum(won), k) / comb(len(won), k) for won in trials.values()]) for k in range(1, most + 1)}


def recovery_table(named: Mapping[str, Summary]) -> Table:
    """A console table: one row per metric, one column per summary; value, count/total and 95 % interval."""
    table = Table(title="Recovery decomposition (95 % intervals)")
    table.add_column("metric")
    for name in named:
        table.add_column(Text(name), justify="right")
    for metric, cells in _rows(list(named.values())):
        table.add_row(metric, *cells)
    return table


def _rows(summaries: Sequence[Summary]) -> Iterable[tuple[str, list[str]]]:
    def row(metric: str, of: Callable[[Summary], Any]) -> tuple[str, list[str]]:
        return metric, [str(of(summary)) for summary in summaries]

    yield row("tasks", lambda s: s.tasks)
    for ended in _names(summary.left_out for summary in summaries):
        yield f"  left out: {ended}", [str(summary.left_out.get(ended, 0)) for summary in summaries]
    yield row("success", lambda s: s.success)
    if any(summary.left_out for summary in summaries):
        yield row("  left out as failures", lambda s: s.of_all)
    if any(summary.strict for summary in summaries):
        yield row("  strict", lambda s: s.strict or "–")
    if any(len(summary.by_novelty) > 1 for summary in summaries):
        for name in _names(summary.by_novelty for summary in summaries):
            parts = [summary.by_novelty.get(name) for summary in summaries]
            yield f"  {NOVELTIES[name]}", [str(part.success) if part else "–" for part in parts]
    for k in _names(summary.pass_k for summary in summaries):
        yield f"pass^{k}", [str(summary.pass_k.get(k, "–")) for summary in summaries]
    yield row("one-shot success", lambda s: s.one_shot)
    yield row("recovery rate", lambda s: s.recovery)
    yield row("errors recovered from", lambda s: s.errors_recovered)
    yield row("steps to recover", lambda s: s.steps_to_recover)
    yield row("identical re-invocation", lambda s: s.identical_reinvocation)
    yield row("execution errors", lambda s: sum(s.errors.values()))
    for kind in _names(summary.errors for summary in summaries):
        yield f"  {kind}", [str(summary.errors.get(kind, 0)) for summary in summaries]
    if any(summary.soft_failures for summary in summaries):
        yield row("soft failures", lambda s: s.soft_failures)
    for kind in _names(summary.unheard for summary in summaries):
        yield f"unheard: {kind}", [str(summary.unheard.get(kind, 0)) for summary in summaries]


def _names(mappings: Iterable[Mapping[Any, Any]]) -> list[Any]:
    """All keys, each once, in the order met."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def category_table(summary: Summary) -> Table:
    """A console table, 80 columns wide: one row per category and one for all of them."""
    table = Table(title="By category (95 % intervals)", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns: dict[str, Callable[[Summary], Any]] = {
        "success": lambda s: _short(s.success),
        **({"strict": lambda s: _short(s.strict)} if summary.strict else {}),
        "one-shot": lambda s: _short(s.one_shot),
        "recovery": lambda s: _short(s.recovery),
        "errors": lambda s: sum(s.errors.values()),
        **({"left out": lambda s: sum(s.left_out.values())} if summary.left_out else {}),
    }
    table.add_column("category")
    for name in columns:
        table.add_column(name, justify="right")
    for name, part in summary.by_category.items():
        table.add_row(Text(name.removeprefix("multi_turn_")), *(str(of(part)) for of in columns.values()))
    table.add_section()
    table.add_row("all", *(str(of(summary)) for of in columns.values()))
    return table


def _short(rate: Rate | None) -> str:
    """A rate on two short lines."""
    if rate is None or rate.value is None:
        return "–"
    return f"{rate.value:.1%} {rate.count}/{rate.total}\n({rate.low:.0%}–{rate.high:.0%})"
