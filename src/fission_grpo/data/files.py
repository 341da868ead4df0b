"""Decisions and tasks as JSONL files, gzipped where the name ends in .gz, checked line by line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from fission_grpo.chat import Decision, Role, Task, ToolCall
from fission_grpo.data.trajectory import replay
from fission_grpo.domains import DOMAINS, ToolError
from fission_grpo.errors import UserError, first_line
from fission_grpo.toolcall import Toolbox

Record = TypeVar("Record", Decision, Task)


class DataError(UserError, ValueError):
    """A data file cannot be used. The message is one line: file, line number, what is wrong."""


def read_decisions(path: str | Path) -> list[Decision]:
    """The decisions of a JSONL file. Raises DataError, also for a target that its own tools do not accept."""
    return _read(path, Decision, _check_decision)


def read_tasks(path: str | Path) -> list[Task]:
    """The tasks of a JSONL file. Raises DataError, also for a task whose reference its domain refuses."""
    return _read(path, Task, _check_task)


def write_decisions(path: str | Path, decisions: Iterable[Decision]) -> None:
    """Writes decisions as JSONL, creating the folder where needed."""
    _write(path, decisions)


def write_tasks(path: str | Path, tasks: Iterable[Task]) -> None:
    """Writes tasks as JSONL, creating the folder where needed."""
    _write(path, tasks)


def _write(path: str | Path, records: Iterable[Decision] | Iterable[Task]) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    text = "".join(record.to_line() + "\n" for record in records).encode()
    Path(path).write_bytes(gzip.compress(text, mtime=0) if Path(path).suffix == ".gz" else text)


def _read(path: str | Path, model: type[Record], check: Callable[[Record], str | None]) -> list[Record]:
    records: dict[str, Record] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = _parse(line, model)
            problem = f"duplicate id '{record.id}'" if record.id in records else check(record)
        except ValueError as error:
            raise DataError(f"{path}:{number}: {_first(error)}") from None
        if problem:
            raise DataError(f"{path}:{number}: {problem}")
        records[record.id] = record
    if not records:
        raise DataError(f"{path}: no records in it")
    return list(records.values())


def read_text(path: str | Path) -> str:
    """A file's text, unzipped where its name ends in .gz. Raises DataError."""
    try:
        data = Path(path).read_bytes()
        return (gzip.decompress(data) if Path(path).suffix == ".gz" else data).decode()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file: {first_line(error)}") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def _parse(line: str, model: type[Record]) -> Record:
    return model.model_validate(json.loads(line))


def _first(error: ValueError) -> str:
    """The error in one line."""
    if isinstance(error, json.JSONDecodeError):
        return f"invalid JSON at column {error.colno}: {error.msg}"
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'record'}: {first['msg']}"
    return first_line(error)


def _check_decision(decision: Decision) -> str | None:
    """What pydantic does not see: how the dialogue ends, and whether the target fits the decision's own tools."""
    if not decision.messages or decision.messages[-1].get("role") not in ("user", "tool"):
        return "messages: must end in a user or tool message"
    try:
        if problem := next(filter(None, map(_check_message, decision.messages)), None):
            return f"messages: {problem}"
        if decision.initial_state is not None and decision.domain in DOMAINS:
            DOMAINS[decision.domain].restore(decision.initial_state)
        toolbox = Toolbox(decision.tools)
        problems = filter(None, map(toolbox.check, decision.calls))
        return next((f"target: {problem.message}" for problem in problems), None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return f"tools or target not in OpenAI form: {type(error).__name__}: {first_line(error)}"


def _check_message(message: dict[str, Any]) -> str | None:
    """What is wrong with one chat message."""
    if message.get("role") not in get_args(Role):
        return f"unknown role {message.get('role')!r}"
    if not isinstance(message.get("content") or "", str):
        return "content must be text"
    for entry in message.get("tool_calls") or ():
        ToolCall.from_openai(entry)
    return None


def _check_task(task: Task) -> str | None:
    """Whether the task's domain knows its tools and state, and carries out its reference."""
    if task.domain not in DOMAINS:
        known = f"known: {', '.join(DOMAINS)} (one of your own: name its file with --module or `modules`)"
        return f"domain: unknown domain '{task.domain}'; {known}"
    try:
        DOMAINS[task.domain].specs(task.tools)
        replay(task)
    except KeyError as error:
        return f"tools or turns: unknown or missing {error}"
    except (AttributeError, ToolError, TypeError, ValueError) as error:
        return f"the reference cannot be carried out: {first_line(error)}"
    return None
