"""The funnel: trajectories, executed → coherent → decisions → confirmed by every verifier → a compact set (§4.1)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice, zip_longest
from pathlib import Path
from random import Random
from typing import Any

from rich.table import Table
from rich.text import Text

from fission_grpo.chat import Decision, Message, Task
from fission_grpo.data.files import write_decisions, write_tasks
from fission_grpo.data.modules import ModuleError, register
from fission_grpo.data.scenarios import SCENARIOS
from fission_grpo.data.scenarios.words import SPLITS, Split
from fission_grpo.data.tasks import candidates
from fission_grpo.data.trajectory import decisions
from fission_grpo.data.verify import incoherence, replayed, unique

Verifier = Callable[[Task, Sequence[Decision]], Mapping[str, str]]
"""Refutes decisions of a task: their ids, each with the reason."""
VERIFIERS: dict[str, Verifier] = {"replay": replayed, "uniqueness": unique}
"""All must agree; an LLM that judges plugs in here."""

CANDIDATES: dict[Split, int] = {"train": 200, "validation": 32, "test": 72}
"""Trajectories composed per domain; the two unseen domains have test ones only."""
KEPT: dict[Split, int] = {"train": 200, "validation": 20, "test": 48}
"""Most trajectories kept per domain."""
COMPACT = 630
"""Decisions of the compact training set (paper, §4.1)."""
SHARES = {"call": 2, "parallel": 2, "chained": 3, "precondition": 3, "missing_parameter": 1, "missing_function": 1,
          "report": 1}  # fmt: skip
"""Weights of the kinds in the compact set (ours): most of it must call something."""


@dataclass(frozen=True)
class Judged:
    """A trajectory with what was found against it."""

    task: Task
    incoherent: str | None
    decisions: list[Decision] = field(default_factory=list)
    refuted: dict[str, dict[str, str]] = field(default_factory=dict)
    """By verifier: decision ids and reasons."""

    @property
    def confirmed(self) -> list[Decision]:
        """The decisions that no verifier refutes."""
        fallen = {id for found in self.refuted.values() for id in found}
        return [decision for decision in self.decisions if decision.id not in fallen]

    @property
    def sound(self) -> bool:
        """Whether the whole trajectory stands."""
        return self.incoherent is None and len(self.confirmed) == len(self.decisions)


def judge(
    task: Task, dialogue: Sequence[Message] | None = None, verifiers: Mapping[str, Verifier] = VERIFIERS
) -> Judged:
    """Runs the coherence check, factorises the recorded dialogue, and asks every verifier."""
    if problem := incoherence(task):
        return Judged(task, problem)
    factors = decisions(task, dialogue)
    refuted = {name: dict(verify(task, factors)) for name, verify in verifiers.items()}
    return Judged(task, None, factors, refuted)


@dataclass(frozen=True)
class Built:
    """What the funnel leaves, and where the rest fell."""

    train: list[Task]
    """Sound trajectories: what a warm start imitates."""
    compact: list[Decision]
    """The balanced training decisions."""
    validation: list[Task]
    test: list[Task]
    funnel: dict[str, Any]
    """Counts by stage for each split, and what fell by reason."""


def build(seed: int = 0, domains: Sequence[str] = (), modules: Sequence[str] = ()) -> Built:
    """Runs the funnel over `domains` (all built-in ones) and over those of `modules`, Python files of a user's own.

    The same for the same arguments, whatever the number of processes. Raises PatternError for a pattern whose
    reference its own domain refuses, ModuleError as `register`.
    """
    own = register(modules)
    names = list(dict.fromkeys([*(domains or ([] if own else SCENARIOS)), *own]))
    if missing := [name for name in names if name not in SCENARIOS]:
        raise ModuleError(f"there is no scenario for '{missing[0]}'; there are: {', '.join(SCENARIOS)}")
    jobs = [(name, split, seed) for split in SPLITS for name in names if split == "test" or not SCENARIOS[name].unseen]
    with ProcessPoolExecutor(initializer=register, initargs=(modules,)) as pool:
        judged = dict(zip(jobs, pool.map(_judge_candidates, *zip(*jobs, strict=True)), strict=True))
    by_split = {split: [judged[job] for job in jobs if job[1] == split] for split in SPLITS}
    kept = {split: _interleaved([_kept(each, split) for each in of]) for split, of in by_split.items()}
    confirmed = [decision for each in by_split["train"] for one in each for decision in one.confirmed]
    compact = select(confirmed, COMPACT, Random(seed))  # noqa: S311
    funnel: dict[str, Any] = {
        split: _counts([one for each in of for one in each], kept[split]) for split, of in by_split.items()
    }
    funnel["train"]["compact decisions"] = len(compact)
    return Built(kept["train"], compact, kept["validation"], kept["test"], funnel)


def write(built: Built, out: Path) -> None:
    """Writes the data files and `funnel.json` to a folder; what is empty (a domain only for testing) has no file."""
    for file in out.glob("*.jsonl.gz"):
        file.unlink()
    for split in SPLITS:
        if tasks := getattr(built, split):
            write_tasks(out / f"{split}.jsonl.gz", tasks)
    if built.compact:
        write_decisions(out / "decisions.jsonl.gz", built.compact)
    (out / "funnel.json").write_text(json.dumps(built.funnel, indent=2) + "\n", encoding="utf-8")


def table(funnel: Mapping[str, Mapping[str, Any]]) -> Table:
    """The funnel as a console table: what reaches each stage, then what fell and why."""
    shown = Table("stage", *funnel, title="Funnel")
    for stage in dict.fromkeys(stage for counts in funnel.values() for stage in counts if stage != "fallen"):
        shown.add_row(stage, *(str(counts.get(stage, "")) for counts in funnel.values()))
    shown.add_section()
    for reason in dict.fromkeys(reason for counts in funnel.values() for reason in counts["fallen"]):
        shown.add_row(Text(reason), *(str(counts["fallen"].get(reason, 0)) for counts in funnel.values()))
    return shown


def _judge_candidates(domain: str, split: Split, seed: int) -> list[Judged]:
    return [judge(*candidate) for candidate in islice(candidates(SCENARIOS[domain], split, seed), CANDIDATES[split])]


def _kept(judged: Iterable[Judged], split: Split) -> list[Task]:
    """The first sound trajectories of one domain."""
    return list(islice((one.task for one in judged if one.sound), KEPT[split]))


def _interleaved(by_domain: Sequence[Sequence[Task]]) -> list[Task]:
    """Tasks in rotation over domains, so that any beginning of the list is balanced."""
    return [task for row in zip_longest(*by_domain) for task in row if task is not None]


def select(every: Sequence[Decision], count: int, rng: Random) -> list[Decision]:
    """Up to `count` decisions, balanced over domains and, by `SHARES`, over kinds; the order is theirs too."""
    buckets: dict[tuple[str, str], list[Decision]] = {}
    for decision in (decision for decision in rng.sample(every, len(every)) if decision.kind in SHARES):
        buckets.setdefault((decision.domain, decision.kind), []).append(decision)
    domains = sorted({domain for domain, _ in buckets})
    kinds = [kind for kind, share in SHARES.items() for _ in range(share)]
    rounds = ((domain, kind) for kind in cycle(rng.sample(kinds, len(kinds))) for domain in domains)
    chosen: list[Decision] = []
    while len(chosen) < count and any(buckets.values()):
        if bucket := buckets.get(next(rounds)):
            chosen.append(bucket.pop())
    return chosen


def _counts(judged: Sequence[Judged], kept: Sequence[Task]) -> dict[str, Any]:
    """The funnel of one split: how many reach each stage, and what fell for which reason."""
    coherent = [one for one in judged if one.incoherent is None]
    fallen = Counter(f"coherence: {reason_kind(one.incoherent)}" for one in judged if one.incoherent)
    for one in coherent:
        for verifier, found in one.refuted.items():
            fallen.update(f"{verifier}: {reason_kind(reason)}" for reason in found.values())
    return {
        "trajectories executed": len(judged),
        "trajectories coherent": len(coherent),
        "decisions": sum(len(one.decisions) for one in coherent),
        **{
            f"decisions confirmed by {name}": sum(len(one.decisions) - len(one.refuted[name]) for one in coherent)
            for name in VERIFIERS
        },
        "decisions confirmed by all": sum(len(one.confirmed) for one in coherent),
        "trajectories sound": sum(one.sound for one in judged),
        "trajectories kept": len(kept),
        "fallen": dict(fallen.most_common()),
    }


def reason_kind(reason: str) -> str:
    """A reason without the values it quotes, for counting."""
    bare = re.sub(r"^turn \d+: ", "", reason)
    bare = re.sub(r"\w+\((?:[^()]|\([^()]*\))*\)", "a call", bare)
    bare = re.sub(r"^\w+: nobody", "nobody", bare)
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d[\d.]*", "…", bare).partition(": '")[0]
