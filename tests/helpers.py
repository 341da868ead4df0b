"""What several test files share: running a command, and tasks whose contexts are short."""

import sys

import pytest

from fission_grpo import cli
from fission_grpo.chat import Task
from fission_grpo.data.sources import TaskSettings, evaluation_tasks


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["fission-grpo", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    return int(exit.value.code or 0)


def refused(monkeypatch, capsys, *arguments) -> str:
    """The one line that a refused command prints."""
    assert run(monkeypatch, *arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    said = [line for line in lines if line.startswith("fission-grpo: ")]
    assert len(said) == 1
    assert lines[-1] == said[0]
    return said[0]


def small_tasks(count: int) -> list[Task]:
    """Validation tasks with only the tools they need: short contexts for a byte tokenizer."""
    return [_small(task) for task in evaluation_tasks(TaskSettings(split="validation", tasks=count))]


def _small(task: Task) -> Task:
    needed = {call.name for turn in task.turns for step in turn.calls for call in step}
    return task.model_copy(update={"tools": [name for name in task.tools if name in needed] or task.tools[:2]})
