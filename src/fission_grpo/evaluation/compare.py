"""Several evaluations of the same tasks side by side: a table with paired differences, and the paper's Figure 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from fission_grpo.errors import UserError
from fission_grpo.evaluation.episode import Episode
from fission_grpo.evaluation.recovery import Rate, Summary, summarise
from fission_grpo.evaluation.results import key_of

RESAMPLES = 2000


class CompareError(UserError, ValueError):
    """Evaluations that cannot be compared."""


@dataclass(frozen=True)
class Difference:
    """How much more of a rate one evaluation has than another, on the tasks that both have played.

    `low` and `high` bound the 95 % percentile bootstrap interval over tasks: a drawn task brings its episodes of both
    sides. None where a side has nothing to take the rate of.
    """

    value: float | None
    low: float | None
    high: float | None
    tasks: int

    def __str__(self) -> str:
        if self.value is None or self.low is None or self.high is None:
            return "–"
        return f"{self.value:+.1%} ({self.low:+.0%} to {self.high:+.0%})"


METRICS: dict[str, tuple[Callable[[Episode], float], Callable[[Episode], float]]] = {
    "success": (lambda e: e.success, lambda e: 1),
    "one_shot": (lambda e: e.success and not e.execution_errors, lambda e: 1),
    "recovery": (lambda e: e.success and bool(e.execution_errors), lambda e: bool(e.execution_errors)),
    "identical_reinvocation": (lambda e: e.identical_reinvocations, lambda e: e.reinvocation_chances),
}
"""Each rate of a `Summary` as a sum over episodes divided by another."""


def difference(metric: str, one: Sequence[Episode], other: Sequence[Episode]) -> Difference:
    """`metric` of `other` minus that of `one`, over the tasks and trials that neither left out."""
    ours, theirs = ({key_of(e): e for e in side if not e.left_out} for side in (one, other))
    tasks = sorted({task for task, _ in ours.keys() & theirs.keys()})
    if not tasks:
        return Difference(None, None, None, 0)
    place = {task: i for i, task in enumerate(tasks)}
    sums = np.zeros((2, 2, len(tasks)))  # side, numerator and denominator, task
    for key in ours.keys() & theirs.keys():
        for side, episodes in enumerate((ours, theirs)):
            for part, count in enumerate(METRICS[metric]):
                sums[side, part, place[key[0]]] += count(episodes[key])

    drawn = np.random.default_rng(0).integers(len(tasks), size=(RESAMPLES, len(tasks)))
    value, resampled = _less(sums.sum(-1)), _less(sums[..., drawn].sum(-1))
    if not np.isfinite(value):
        return Difference(None, None, None, len(tasks))
    # A draw in which a side has nothing to take the rate of says nothing.
    low, high = np.percentile(resampled[np.isfinite(resampled)], [2.5, 97.5])
    return Difference(float(value), float(low), float(high), len(tasks))


def _less(sums: Any) -> Any:
    """The second side's rate less the first's, of sums [side, numerator and denominator, ...]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        first, second = sums[:, 0] / sums[:, 1]
    return second - first


@dataclass(frozen=True)
class Comparison:
    """Summaries by name, and what each differs in from the first."""

    summaries: dict[str, Summary]
    differences: dict[str, dict[str, Difference]]
    """By name (all but the first), by metric."""

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON-ready data."""
        return asdict(self)


def compare(named: Mapping[str, Sequence[Episode]]) -> Comparison:
    """Compares evaluations with the first of them. Raises CompareError where two share no task."""
    (first, base), *others = named.items()
    keys = set(map(key_of, base))
    for name, episodes in others:
        if not keys & set(map(key_of, episodes)):
            raise CompareError(f"'{first}' and '{name}' share no task: compare evaluations of the same source")
    return Comparison(
        {name: summarise(episodes) for name, episodes in named.items()},
        {name: {metric: difference(metric, base, episodes) for metric in METRICS} for name, episodes in others},
    )


def difference_table(comparison: Comparison) -> Table:
    """A console table of the paired differences."""
    first = next(iter(comparison.summaries))
    table = Table(title=f"Less '{first}', on shared tasks (paired bootstrap over tasks, 95 %)")
    table.add_column("metric")
    for name in comparison.differences:
        table.add_column(Text(name), justify="right")
    for metric in METRICS:
        cells = (str(differences[metric]) for differences in comparison.differences.values())
        table.add_row(metric.replace("_", " "), *cells)
    table.add_row("tasks", *(str(differences["success"].tasks) for differences in comparison.differences.values()))
    return table


def draw(summaries: Mapping[str, Summary], file: Path) -> None:
    """The paper's Figure 3 as a PNG: one-shot success and recovery rate by category, with 95 % Wilson intervals."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    categories = list(dict.fromkeys(name for summary in summaries.values() for name in summary.by_category))
    shown = [*categories, "all"] if len(categories) > 1 else categories
    figure, axes = plt.subplots(1, 2, figsize=(4 + 1.1 * len(shown), 3.8), sharey=True, layout="constrained")
    for axis, (metric, title) in zip(axes, _PANELS.items(), strict=True):
        for place, (name, summary) in enumerate(summaries.items()):
            parts = {**summary.by_category, "all": summary}
            _bars(axis, place, len(summaries), name, [getattr(parts[c], metric) if c in parts else None for c in shown])
        axis.set_title(title, fontsize=10)
        axis.set_xticks(
            range(len(shown)), [c.removeprefix("multi_turn_").replace("_", "\n") for c in shown], fontsize=8
        )
        axis.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
    axes[0].set_ylim(0, None)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    plt.close(figure)


_PANELS = {"one_shot": "One-shot success", "recovery": "Recovery after an execution error"}


def _bars(axis: Any, place: int, of: int, name: str, rates: Sequence[Rate | None]) -> None:
    """One model's bars; where there was nothing to count there is no bar, and the count says so."""
    width = 0.8 / of
    for spot, rate in enumerate(rates):
        at = spot + (place - (of - 1) / 2) * width
        label = name if spot == 0 else None
        if rate is None or rate.value is None or rate.low is None or rate.high is None:
            axis.bar(at, 0, width, color=f"C{place}", label=label)
            axis.annotate("–", (at, 0), ha="center", va="bottom", fontsize=7)
            continue
        around = [[rate.value - rate.low], [rate.high - rate.value]]
        axis.bar(at, rate.value, width, color=f"C{place}", label=label, yerr=around, capsize=2, ecolor="0.3")
        axis.annotate(f"{rate.count}/{rate.total}", (at, rate.high), ha="center", va="bottom", fontsize=6)
