"""Which data a config means: the package's own, or files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field

from fission_grpo.chat import Decision, Task
from fission_grpo.data.files import DataError, read_decisions, read_tasks, read_text
from fission_grpo.data.trajectory import decisions
from fission_grpo.settings import Settings

BUILTIN = "builtin"


class DataSettings(Settings):
    """What is trained on."""

    path: str = BUILTIN
    """Decisions: a JSONL file (.gz too), or `builtin` for the package's own."""
    part: Literal["compact", "trajectories"] = "compact"
    """Built-in only: the balanced compact set, or every decision of the proven trajectories, for a warm start."""
    domains: tuple[str, ...] = ()
    """Built-in only: these domains; empty: all."""
    limit: int | None = Field(None, ge=1)
    """Built-in only: most decisions (of the compact set) or trajectories, evenly over domains; empty: all."""


class TaskSettings(Settings):
    """What is evaluated on."""

    path: str = BUILTIN
    """Tasks of the executable domains: a JSONL file (.gz too), or `builtin` for held-out ones."""
    split: Literal["validation", "test"] = "test"
    """Built-in only: both have phrasings and entities that training never sees; test also has goal patterns and
    two whole domains of that kind."""
    domains: tuple[str, ...] = ()
    """Built-in only: these domains; empty: all."""
    tasks: int = Field(90, ge=1)
    """Most tasks, in rotation over domains."""


def training_decisions(settings: DataSettings) -> list[Decision]:
    """The decisions the settings mean. Raises DataError for a file that is missing or broken, or an empty choice."""
    if settings.path != BUILTIN:
        return read_decisions(settings.path)
    if settings.part == "compact":
        chosen = [Decision.model_validate(record) for record in _chosen("decisions", settings.domains)]
        return chosen[: settings.limit]
    tasks = [Task.model_validate(record) for record in _chosen("train", settings.domains)]
    return [decision for task in tasks[: settings.limit] for decision in decisions(task)]


def evaluation_tasks(settings: TaskSettings) -> list[Task]:
    """The tasks the settings mean. Raises DataError as `training_decisions`."""
    if settings.path != BUILTIN:
        return read_tasks(settings.path)[: settings.tasks]
    return [Task.model_validate(record) for record in _chosen(settings.split, settings.domains)][: settings.tasks]


def builtin_lines(name: str) -> Iterator[str]:
    """The lines of one of the package's own data files: decisions, train, validation or test."""
    return iter(read_text(f"{files('fission_grpo')}/assets/data/{name}.jsonl.gz").splitlines())


def _chosen(name: str, domains: Sequence[str]) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in builtin_lines(name)]
    if unknown := set(domains) - {record["domain"] for record in records}:
        known = ", ".join(sorted({record["domain"] for record in records}))
        raise DataError(f"the built-in {name} data have no domain {sorted(unknown)[0]!r}; they have: {known}")
    return [record for record in records if not domains or record["domain"] in domains]
