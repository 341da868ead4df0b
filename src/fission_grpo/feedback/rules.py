"""Semantic errors in a runtime's words, by rule (ours): the learned simulator's stand-in (paper §3.3.2, case ii).

It compares failed and true calls and says which call or argument is wrong and what the schema says about it, never what
the right value or function is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy.optimize import linear_sum_assignment

from fission_grpo.chat import Decision, ToolCall
from fission_grpo.feedback.base import Failure

MAX_FAULTS = 3
"""Faults told at once (ours)."""
MAX_ENUM = 8
"""Longest list of allowed values that is spelled out (ours)."""


def rules_feedback(failure: Failure) -> str | None:
    """What is wrong with the calls of the turn; None where they equal the true ones."""
    faults = dict.fromkeys(_faults(failure.decision, failure.turn.calls))
    return "; ".join(list(faults)[:MAX_FAULTS]) or None


def _faults(decision: Decision, made: Sequence[ToolCall]) -> Iterator[str]:
    true = decision.calls
    if not made and true:
        yield "no function was called, but the request needs a function call"
    if made and not true:
        yield "the request cannot be served by a function call"
    if not (made and true):
        return
    schemas = {call.name: _properties(decision, call.name) for call in made}
    partner = _match(made, true, schemas)
    for i, call in enumerate(made):
        if i not in partner:
            yield f"{call.name}: this call is not needed"
        elif call.name != true[partner[i]].name:
            yield f"{call.name}: this function does not perform the requested operation"
        else:
            yield from _argument_faults(call, true[partner[i]], schemas[call.name])
    if len(made) < len(true):
        yield f"{len(made)} {'call' if len(made) == 1 else 'calls'} made, but the request needs more"
    if decision.ordered and list(partner.values()) != sorted(partner.values()):
        yield "the calls are in the wrong order"


def _match(made: Sequence[ToolCall], true: Sequence[ToolCall], schemas: Mapping[str, Any]) -> dict[int, int]:
    """For each made call the true call it best stands for, same names first; in the order of the made calls."""
    gain = [[_likeness(m, t, schemas[m.name]) for t in true] for m in made]
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True)}


def _likeness(made: ToolCall, true: ToolCall, schema: Mapping[str, Any]) -> float:
    if made.name != true.name:
        return 0.0
    return 2.0 - len(list(_argument_faults(made, true, schema))) / (1 + len(made.arguments) + len(true.arguments))


def _argument_faults(made: ToolCall, true: ToolCall, schema: Mapping[str, Any]) -> Iterator[str]:
    for name, value in made.arguments.items():
        if name in true.arguments:
            if not _same(value, true.arguments[name]):
                yield f"{made.name}: argument {_described(name, schema)} does not match the request"
        elif not _is_default(name, value, schema):
            yield f"{made.name}: argument '{name}' is not needed"
    for name, value in true.arguments.items():
        if name not in made.arguments and not _is_default(name, value, schema):
            # a free-form object's keys are part of the answer: only a declared name may be told
            told = f"argument {_described(name, schema)} is missing" if name in schema else "an argument is missing"
            yield f"{made.name}: {told}"


def _is_default(name: str, value: Any, schema: Mapping[str, Any]) -> bool:
    return "default" in schema.get(name, {}) and _same(value, schema[name]["default"])


def _same(left: Any, right: Any) -> bool:
    try:
        return _canonical(left) == _canonical(right)
    except RecursionError:  # a model may nest deeper than any true call
        return False


def _canonical(value: Any) -> str:
    """Canonical JSON; numbers equal by value, but true is not 1."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _properties(decision: Decision, name: str) -> dict[str, Any]:
    """Argument schemas of one tool, references within the schema resolved."""
    for tool in decision.tools:
        if tool["function"]["name"] == name:
            parameters = tool["function"].get("parameters") or {}
            return {key: _resolve(sub, parameters) for key, sub in parameters.get("properties", {}).items()}
    return {}


def _resolve(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(schema, dict):
        return {}  # the schemas true and false say nothing
    target: Any = root
    for key in schema.get("$ref", "#").split("/")[1:]:
        target = target.get(key, {}) if isinstance(target, dict) else {}
    return schema | target if "$ref" in schema and isinstance(target, dict) else schema


def _described(name: str, schema: Mapping[str, Any]) -> str:
    """The argument and what its schema says, e.g. `'celsius' (number, 5-30)`."""
    says = ", ".join(_says(schema.get(name, {})))
    return f"'{name}' ({says})" if says else f"'{name}'"


def _says(schema: Mapping[str, Any]) -> Iterator[str]:
    kinds = _types(schema)
    if kinds:
        yield " or ".join(kinds)
    allowed = schema.get("enum") or []
    if 0 < len(allowed) <= MAX_ENUM:
        yield "one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value in allowed)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        yield f"{low}-{high}"
    elif low is not None or high is not None:
        yield f"at least {low}" if high is None else f"at most {high}"
    for rule in ("format", "pattern"):
        if rule in schema:
            yield f"{rule} {schema[rule]}"


def _types(schema: Mapping[str, Any]) -> list[str]:
    """JSON types the schema names, also through anyOf; `null` is left out, an optional argument may be absent."""
    if "type" in schema:
        named = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    else:
        named = [kind for option in schema.get("anyOf", []) if isinstance(option, dict) for kind in _types(option)]
    return [kind for kind in dict.fromkeys(named) if kind != "null"]
