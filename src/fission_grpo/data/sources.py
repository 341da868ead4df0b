"""Which data a config means: the built-in scenarios, or files."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fission_grpo.chat import Decision, Task
from fission_grpo.data.files import read_decisions, read_tasks
from fission_grpo.data.tasks import generate_tasks
from fission_grpo.data.trajectory import decisions
from fission_grpo.settings import Settings

BUILTIN = "builtin"


class DataSettings(Settings):
    """What is trained on."""

    path: str = BUILTIN
    """Decisions: a JSONL file, or `builtin` for the package's own scenarios."""
    tasks: int = Field(200, ge=1)
    """Built-in only: training tasks that the decisions are taken from."""
    seed: int = 0
    """Built-in only: draws other tasks."""
    follow_ups: int = Field(2, ge=0)
    """Built-in only: most goals that follow a task's first."""
    report_share: float = Field(1.0, ge=0, le=1)
    """Built-in only: share of the closing turns that is kept; they are a third of all turns, and easy."""


class TaskSettings(Settings):
    """What is evaluated on."""

    path: str = BUILTIN
    """Tasks of the executable domains: a JSONL file, or `builtin` for held-out ones."""
    split: Literal["validation", "test"] = "test"
    """Built-in only: both have phrasings and entities that training never sees, and no dialogue in common."""
    tasks: int = Field(90, ge=1)
    """How many tasks, in rotation over domains and kinds."""
    seed: int = 0
    """Built-in only: draws other tasks."""


def training_decisions(settings: DataSettings) -> list[Decision]:
    """The decisions the settings mean. Raises DataError for a file that is missing or broken."""
    if settings.path != BUILTIN:
        return read_decisions(settings.path)
    tasks = generate_tasks("train", settings.tasks, settings.seed, follow_ups=settings.follow_ups)
    every = [decision for task in tasks for decision in decisions(task)]
    reports = [decision.id for decision in every if decision.kind == "report"]
    kept = {id for i, id in enumerate(reports) if _takes(i, settings.report_share)}
    return [decision for decision in every if decision.kind != "report" or decision.id in kept]


def evaluation_tasks(settings: TaskSettings) -> list[Task]:
    """The tasks the settings mean. Raises DataError for a file that is missing or broken."""
    if settings.path != BUILTIN:
        return read_tasks(settings.path)[: settings.tasks]
    return generate_tasks(settings.split, settings.tasks, settings.seed)


def _takes(index: int, share: float) -> bool:
    """Whether an even choice of `share` of a sequence takes its `index`-th entry."""
    return int((index + 1) * share) > int(index * share)
