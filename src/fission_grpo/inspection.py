"""`fission-grpo inspect`: what became of single errors, read from a run's rollouts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fission_grpo.errors import UserError


class InspectError(UserError, ValueError):
    """There is nothing to show."""


def show(run: Path, console: Console, *, update: int | None, limit: int) -> None:
    """Prints up to `limit` fission groups of a run, newest first: failed turn and feedback beside the recoveries."""
    if not (run / "rollouts").is_dir():
        raise InspectError(f"{run} is no run folder: it has no rollouts/")
    shown = 0
    for number, group in _fission_groups(run, update):
        if shown == limit:
            break
        console.print(_side_by_side(number, group))
        shown += 1
    if not shown:
        raise InspectError(f"{run}: no fission group" + (f" in update {update}" if update is not None else " yet"))


def _fission_groups(run: Path, update: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
    for file in sorted((run / "rollouts").glob("update-*.jsonl"), reverse=True):
        number = int(file.stem.removeprefix("update-"))
        if update is not None and number != update:
            continue
        for line in file.read_text(encoding="utf-8").splitlines():
            group = json.loads(line)
            if group["trail"]:
                yield number, group


def _side_by_side(number: int, group: dict[str, Any]) -> Panel:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(ratio=1)
    table.add_column(ratio=1)
    table.add_row(_failure(group), _recoveries(group["rollouts"]))
    recovered = sum(not rollout["error"] for rollout in group["rollouts"])
    title = f"update {number}  {group['decision']}  {group['kind']}  recovered {recovered} of {len(group['rollouts'])}"
    return Panel(Group(Text(f"user: {group['request']}", style="bold"), Text(""), table), title=Text(title))


def _failure(group: dict[str, Any]) -> RenderableType:
    parts: list[RenderableType] = []
    for attempt in group["trail"]:
        parts += [
            Text(f"failed turn, reward {attempt['reward']:.2f}", style="red"),
            Text(attempt["text"].strip()),
            Text(""),
            Text(f"feedback from {attempt['source']}", style="yellow"),
            Text(attempt["feedback"]),
        ]
    return Group(*parts)


def _recoveries(rollouts: list[dict[str, Any]]) -> RenderableType:
    """Distinct recoveries, best first, each with how often it was sampled."""
    times = Counter(rollout["text"] for rollout in rollouts)
    distinct = {rollout["text"]: rollout for rollout in rollouts}
    parts: list[RenderableType] = []
    for text, rollout in sorted(distinct.items(), key=lambda item: -item[1]["total"]):
        style = "red" if rollout["error"] else "green"
        parts += [Text(f"reward {rollout['total']:.2f}  × {times[text]}", style=style), Text(text.strip()), Text("")]
    return Group(*parts)
