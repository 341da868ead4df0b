"""The coherence check: whether a dialogue makes sense as a whole, before any verifier looks at its decisions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fission_grpo.chat import Task, ToolCall, Turn, result_message
from fission_grpo.data.verify.visible import Visible, leaves
from fission_grpo.domains import DOMAINS, Domain, ToolError

LARGEST_COUNT = 40
"""Numbers up to this one may count things, and need not stand in the dialogue (ours)."""
MAX_CHARACTERS = 24_000
"""Longest dialogue, tool results included (ours)."""


def incoherence(task: Task) -> str | None:
    """The first thing that is wrong with a task, with the turn it is in; None where all is well."""
    domain = DOMAINS[task.domain].restore(task.initial_state)
    known = Visible()
    said: set[str] = set()
    characters = 0
    for number, turn in enumerate(task.turns):
        problem = next(_problems(task, number, domain, known), None)
        if turn.user in said:
            problem = "the user repeats a turn word for word"
        said.add(turn.user)
        characters += len(turn.user) + len(turn.reply)
        if problem:
            return f"turn {number}: {problem}"
    return None if len(known._text) <= MAX_CHARACTERS else "the dialogue is too long"


def _problems(task: Task, number: int, domain: Domain, known: Visible) -> Iterator[str]:
    """What is wrong with one turn; plays it on `domain` and adds what it says to `known`."""
    turn = task.turns[number]
    if "{" in turn.user or "{" in turn.reply or not turn.user.strip() or not turn.reply.strip():
        yield "a sentence is empty or not filled in"
    known.add(turn.user)
    if turn.kind == "missing_parameter" and number + 1 < len(task.turns):
        yield from _guessable(task.turns[number + 1], known)
    schemas = {spec["function"]["name"]: spec["function"]["parameters"]["properties"] for spec in domain.specs()}
    for step in turn.calls:
        for call in step:
            if call.name not in task.tools:
                yield f"{call.name} is not among the tools shown"
            yield from _ungrounded(call, schemas[call.name], known)
        for call in step:
            try:
                known.add(result_message(domain.call(call)))
            except ToolError as error:
                yield f"the reference is refused: {error}"
    if unknown := [fact for fact in _facts(turn.reply) if not known.knows(fact)]:
        yield f"the reply says what nothing shows: {unknown[0]!r}"
    known.add(turn.reply)


def _ungrounded(call: ToolCall, schemas: dict[str, Any], known: Visible) -> Iterator[str]:
    """Arguments whose value stands neither in the dialogue nor in the tool's own schema."""
    for name, value in call.arguments.items():
        if not all(known.knows(leaf) for leaf in _open_leaves(value, schemas[name])):
            yield f"{call.name}: nobody said the value of '{name}', {value!r}"


def _guessable(supplied: Turn, known: Visible) -> Iterator[str]:
    """A user who leaves nothing out has no parameter missing."""
    told = [leaf for step in supplied.calls for call in step for leaf in leaves(call.arguments)]
    if not any(isinstance(leaf, bool) for leaf in told) and all(map(known.knows, told)):
        yield "the parameter that should be missing is already known"


def _open_leaves(value: Any, schema: dict[str, Any]) -> Iterator[Any]:
    """The parts of an argument that its schema does not enumerate."""
    if "enum" in schema or "const" in schema:
        return
    for option in schema.get("anyOf", ()):
        if option.get("type") == "object" or "enum" in option or option.get("type") == "array":
            schema = option
    if "enum" in schema:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _open_leaves(item, schema.get("properties", {}).get(key, {}))
    elif isinstance(value, list):
        for item in value:
            yield from _open_leaves(item, schema.get("items", {}))
    else:
        yield value


def _facts(reply: str) -> list[Any]:
    """Ids in a sentence, and numbers that are more than a count of what was listed."""
    ids = re.findall(r"\b[A-Z]+-?\d[\w-]*\b", reply)
    return [*ids, *(number for number in Visible([reply]).numbers() if number > LARGEST_COUNT)]
