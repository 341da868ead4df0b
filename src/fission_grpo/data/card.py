"""The numbers of a data card: counts by domain and kind, lengths, and how varied the language is."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from fission_grpo.chat import Decision, Task
from fission_grpo.data.files import DataError, read_decisions, read_tasks
from fission_grpo.data.sources import DataSettings, builtin_lines, training_decisions
from fission_grpo.data.trajectory import decisions
from fission_grpo.data.verify.visible import strings

CountTokens = Callable[[Decision], int]
"""Tokens of a decision's context."""


def card(folder: Path | None, count_tokens: CountTokens | None = None) -> dict[str, Any]:
    """The numbers of the data in a folder that `data build` wrote, or of the package's own.

    Raises DataError for a file that is missing or broken.
    """
    tasks, compact = _read(folder)
    sets = {name: [decision for task in of for decision in decisions(task)] for name, of in tasks.items()}
    return {
        "tasks": {name: _tasks(of) for name, of in tasks.items()},
        "decisions": {
            name: _decisions(of, count_tokens if name == "compact" else None)
            for name, of in {"compact": compact, **sets}.items()
        },
        "language": {name: language(of) for name, of in tasks.items()},
    }


def _read(folder: Path | None) -> tuple[dict[str, list[Task]], list[Decision]]:
    """Tasks by split, and the compact decisions."""
    names = ("train", "validation", "test")
    if folder is not None:
        if not any((folder / f"{name}.jsonl.gz").exists() for name in names):
            raise DataError(f"{folder}: holds none of {', '.join(f'{name}.jsonl.gz' for name in names)}")
        there = {name: folder / f"{name}.jsonl.gz" for name in (*names, "decisions")}
        found = {name: read_tasks(there[name]) if there[name].exists() else [] for name in names}
        return found, read_decisions(there["decisions"]) if there["decisions"].exists() else []
    tasks = {name: [Task.model_validate_json(line) for line in builtin_lines(name)] for name in names}
    return tasks, training_decisions(DataSettings())


def _tasks(tasks: Sequence[Task]) -> dict[str, Any]:
    return {
        "count": len(tasks),
        "user turns": _counted(len(task.turns) for task in tasks),
        "tools shown": _quantiles([len(task.tools) for task in tasks]),
        "novelty": _counted(task.novelty for task in tasks),
        "turns by kind": _counted(turn.kind for task in tasks for turn in task.turns),
        "by domain": _counted(task.domain for task in tasks),
    }


def _decisions(of: Sequence[Decision], count_tokens: CountTokens | None) -> dict[str, Any]:
    found = {
        "count": len(of),
        "by kind": _counted(decision.kind for decision in of),
        "by domain": {
            domain: _counted(decision.kind for decision in of if decision.domain == domain)
            for domain in sorted({decision.domain for decision in of})
        },
        "calls": _counted(len(decision.target) for decision in of),
        "characters": _quantiles([_characters(decision) for decision in of]),
    }
    return found | ({"tokens": _quantiles([count_tokens(decision) for decision in of])} if count_tokens else {})


def _characters(decision: Decision) -> int:
    """Length of a context: tool specs and messages."""
    spoken = sum(len(json.dumps(message, ensure_ascii=False)) for message in decision.messages)
    return len(json.dumps(decision.tools, ensure_ascii=False)) + spoken


def language(tasks: Sequence[Task]) -> dict[str, Any]:
    """How varied the sentences are. A template is a sentence with entities, ids and numbers masked."""
    templates = Counter(template for task in tasks for template in _templates(task))
    total = templates.total()
    sentence, count = templates.most_common(1)[0] if templates else ("", 0)
    return {
        "sentences": total,
        "templates": len(templates),
        "most frequent template": sentence,
        "its share": round(count / max(1, total), 5),
    }


def _templates(task: Task) -> Iterable[str]:
    """The sentences of a task, users' and assistant's, without their values."""
    entities = {text for text in strings(task.initial_state) if len(text) > 2 and not text.islower()}
    for turn in task.turns:
        for text in (turn.user, turn.reply):
            for entity in sorted((entity for entity in entities if entity in text), key=len, reverse=True):
                text = text.replace(entity, "…")
            yield from re.split(r"(?<=[.!?])\s+", re.sub(r"\d[\d:.,-]*\d|\d", "…", text))


def _counted(values: Iterable[Any]) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}


def _quantiles(values: Sequence[int]) -> dict[str, int]:
    """Median, 90th percentile and largest."""
    ranked = sorted(values)
    last = len(ranked) - 1
    return {"median": ranked[last // 2], "p90": ranked[last * 9 // 10], "max": ranked[last]} if ranked else {}


def tables(numbers: dict[str, Any]) -> Iterable[Table]:
    """The numbers as console tables."""
    yield _table("Tasks", numbers["tasks"], ["count", "user turns", "novelty", "tools shown", "turns by kind"])
    yield _table("Decisions", numbers["decisions"], ["count", "by kind", "calls", "characters", "tokens"])
    kinds = list(numbers["decisions"]["compact"]["by kind"])
    compact = Table("domain", *kinds, title="Compact set")
    for domain, counts in numbers["decisions"]["compact"]["by domain"].items():
        compact.add_row(domain, *(str(counts.get(kind, 0)) for kind in kinds))
    yield compact
    yield _table("Language", numbers["language"], ["sentences", "templates", "most frequent template", "its share"])


def _table(title: str, parts: dict[str, dict[str, Any]], rows: Sequence[str]) -> Table:
    table = Table("", *parts, title=title)
    for row in rows:
        cells = [part.get(row, "") for part in parts.values()]
        if any(cell != "" for cell in cells):
            table.add_row(row, *(_cell(cell) for cell in cells))
    return table


def _cell(value: Any) -> Text:
    return Text("\n".join(f"{key}: {count}" for key, count in value.items()) if isinstance(value, dict) else str(value))
