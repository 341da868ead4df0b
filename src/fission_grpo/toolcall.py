"""Assistant text ⇄ tool calls, in the Hermes form that Qwen3's chat template renders.

    <tool_call>
    {"name": "set_temperature", "arguments": {"room": "kitchen", "celsius": 21}}
    </tool_call>

`parse` never raises on a model's text: what is wrong with it comes back as typed `FormatError`s.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NoReturn

import fastjsonschema

from fission_grpo.chat import ToolCall
from fission_grpo.errors import UserError

FormatKind = Literal[
    "unbalanced_think",
    "unclosed_tag",
    "stray_tag",
    "invalid_json",
    "not_an_object",
    "missing_name",
    "unknown_tool",
    "missing_argument",
    "unknown_argument",
    "wrong_type",
    "enum_violation",
    "constraint_violation",
    "truncated",
    "no_call",
    "unexpected_call",
    "empty",
]


@dataclass(frozen=True)
class FormatError:
    """One violated constraint. `message` is what the model is told; `call` counts from 1, `column` from 1."""

    kind: FormatKind
    message: str
    call: int | None = None
    column: int | None = None


TRUNCATED = FormatError("truncated", "the turn was cut off before it ended")

MAX_TOLD = 3
"""Format errors told at once (ours)."""


def told(errors: Iterable[FormatError]) -> tuple[FormatError, ...]:
    """Those of a turn's errors that the model is told, in training and in evaluation: the first, each message once."""
    distinct: dict[str, FormatError] = {}
    for error in errors:
        distinct.setdefault(error.message, error)
    return tuple(distinct.values())[:MAX_TOLD]


@dataclass(frozen=True)
class ParsedTurn:
    """An assistant turn taken apart: thinking, visible text, the calls that parsed, and every format error."""

    think: str
    text: str
    calls: tuple[ToolCall, ...]
    errors: tuple[FormatError, ...]


class ToolSpecError(UserError, ValueError):
    """A tool spec that is not valid OpenAI form or whose schema does not compile."""


class Toolbox:
    """Tool specs with their argument schemas compiled once. Raises ToolSpecError for a spec it cannot use."""

    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self._tools = {tool.name: tool for tool in (_compile(json.dumps(spec, sort_keys=True)) for spec in tools)}
        if len(self._tools) < len(tools):
            raise ToolSpecError("two tools share one name")

    @property
    def names(self) -> tuple[str, ...]:
        """Tool names in the order given."""
        return tuple(self._tools)

    def properties(self, name: str) -> Mapping[str, Any]:
        """Argument schemas of one tool by argument name; empty for an unknown tool."""
        return self._tools[name].properties if name in self._tools else {}

    def check(self, call: ToolCall) -> FormatError | None:
        """The first constraint of the schema that `call` violates, or None."""
        tool = self._tools.get(call.name)
        if tool is None:
            return FormatError("unknown_tool", f"unknown function '{call.name}'")
        try:
            tool.validate(call.arguments)
        except fastjsonschema.JsonSchemaValueException as violation:
            return _violation(call.name, violation)
        except OverflowError:  # multipleOf on a number beyond float
            return FormatError("constraint_violation", f"{call.name}: a number is out of range")
        return None


def parse(text: str, toolbox: Toolbox | None = None) -> ParsedTurn:
    """Takes an assistant turn apart and checks every call in it against `toolbox`.

    Without a toolbox, calls are as they were written: unchecked, and 21.0 stays a float.
    """
    errors: list[FormatError] = []
    think, rest = _split_think(text)
    if think is None:
        errors.append(FormatError("unbalanced_think", "unbalanced <think> tags"))
        think = ""
    calls: list[ToolCall] = []
    visible, segments, tag_errors = _segments(rest)
    errors += tag_errors
    for number, segment in enumerate(segments, start=1):
        call = _read_call(segment, number, _number if toolbox else _float)
        error = call if isinstance(call, FormatError) else toolbox.check(call) if toolbox else None
        if error is not None:
            errors.append(FormatError(error.kind, error.message, number, error.column))
        if isinstance(call, ToolCall):
            calls.append(call)
    return ParsedTurn(think, visible, tuple(calls), tuple(errors))


def render(calls: Sequence[ToolCall]) -> str:
    """The calls as assistant text, byte for byte what Qwen3's template renders for them."""
    bodies = (
        f'{{"name": "{call.name}", "arguments": {json.dumps(call.arguments, ensure_ascii=False)}}}' for call in calls
    )
    return "\n".join(f"{_OPEN}\n{body}\n{_CLOSE}" for body in bodies)


_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_TAG = re.compile(r"</?tool_call>")
_THINK = re.compile(r"\s*<think>((?:(?!</?think>).)*)</think>", re.DOTALL)


def _split_think(text: str) -> tuple[str | None, str]:
    """Thinking and the rest. Thinking is None where tags do not balance: one block, first in the turn, or none."""
    match = _THINK.match(text)
    think, rest = (match.group(1), text[match.end() :]) if match else ("", text)
    if "<think>" in rest or "</think>" in rest:
        return None, re.sub(r"</?think>", "", rest)
    return think, rest


def _segments(text: str) -> tuple[str, list[str], list[FormatError]]:
    """Text outside of call tags, the text of each call, and what is wrong with the tags."""
    outside: list[str] = []
    inside: list[str] = []
    errors, start, opened = [], 0, False
    for tag in _TAG.finditer(text):
        (inside if opened else outside).append(text[start : tag.start()])
        closes = tag.group() == _CLOSE
        if closes != opened:
            errors.append(_tag_error(opened, len(inside)))
        opened, start = not closes, tag.end()
    (inside if opened else outside).append(text[start:])
    if opened:
        errors.append(_tag_error(opened, len(inside)))
        inside.pop()
    return "".join(outside).strip(), inside, errors


def _tag_error(opened: bool, number: int) -> FormatError:
    if opened:
        return FormatError("unclosed_tag", f"tool call {number}: {_OPEN} is not closed by {_CLOSE}", number)
    return FormatError("stray_tag", f"{_CLOSE} without {_OPEN}")


def _read_call(segment: str, number: int, as_float: Callable[[str], float]) -> ToolCall | FormatError:
    text = segment.strip()
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=as_float)
    except json.JSONDecodeError as error:
        found = f"invalid JSON at column {error.pos + 1}: {error.msg[0].lower()}{error.msg[1:]}"
        return FormatError("invalid_json", f"tool call {number}: {found}", column=error.pos + 1)
    except (ValueError, RecursionError) as error:
        return FormatError("invalid_json", f"tool call {number}: invalid JSON: {str(error)[:80]}", column=1)
    if _unusable(value, text):
        return FormatError("invalid_json", f"tool call {number}: invalid JSON: nested too deeply, or half a character")
    if not isinstance(value, dict):
        return FormatError("not_an_object", f"tool call {number}: expected a JSON object with 'name' and 'arguments'")
    name, arguments = value.get("name"), value.get("arguments", {})
    if not isinstance(name, str) or not name:
        return FormatError("missing_name", f"tool call {number}: missing 'name'")
    if not isinstance(arguments, dict):
        return FormatError("not_an_object", f"{name}: 'arguments' must be a JSON object")
    return ToolCall(name, arguments)


MAX_DEPTH = 32
"""Deepest nesting of a call's JSON; no tool needs more, and what reads it later recurses."""


def _unusable(value: Any, text: str) -> bool:
    """Whether parsed JSON is too deep to walk, or holds half of a surrogate pair and so no text to write."""
    if "\\ud" in text.lower() and any("\ud800" <= c <= "\udfff" for c in json.dumps(value, ensure_ascii=False)):
        return True
    level = [value]
    for _ in range(MAX_DEPTH):
        nested = [v for v in level if isinstance(v, list | dict)]
        level = [inner for v in nested for inner in (v.values() if isinstance(v, dict) else v)]
        if not level:
            return False
    return True


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _float(text: str) -> float:
    """Raises ValueError for what no float holds."""
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is out of range")
    return value


def _number(text: str) -> float | int:
    """Numbers are equal by value: 21.0 is the integer 21. Raises ValueError for what no float holds."""
    value = _float(text)
    return int(value) if value.is_integer() else value


@dataclass(frozen=True)
class _Tool:
    name: str
    properties: Mapping[str, Any]
    validate: Any


@lru_cache(maxsize=4096)
def _compile(spec_json: str) -> _Tool:
    spec = json.loads(spec_json)
    try:
        function = spec["function"]
        name, schema = function["name"], dict(function.get("parameters") or {"type": "object"})
    except (KeyError, TypeError, ValueError) as error:
        raise ToolSpecError(f"not a tool spec in OpenAI form: {spec_json[:80]}") from error
    schema.setdefault("additionalProperties", False)
    schema.setdefault("properties", {})
    if _remote_reference(schema):  # the compiler would fetch it
        raise ToolSpecError(f"tool '{name}': only references within the schema ('#…') are allowed")
    try:
        validate = fastjsonschema.compile(schema, use_default=False)
    except (fastjsonschema.JsonSchemaException, ValueError, TypeError, AttributeError, SyntaxError, re.error) as error:
        raise ToolSpecError(f"tool '{name}': its schema does not compile: {error}") from error
    return _Tool(name, schema["properties"], validate)


def _remote_reference(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(map(_remote_reference, schema))
    if not isinstance(schema, dict):
        return False
    reference = schema.get("$ref", "#")
    if isinstance(reference, str) and not reference.startswith("#"):
        return True
    return any(map(_remote_reference, schema.values()))


def _violation(tool: str, violation: fastjsonschema.JsonSchemaValueException) -> FormatError:
    """A schema violation in the words of a runtime: names the argument and its constraint, never another value."""
    path = ".".join(map(str, violation.path[1:]))
    argument, definition = f"argument '{path}'", violation.definition
    match violation.rule:
        case "required":
            missing = next(name for name in definition["required"] if name not in violation.value)
            name = f"{path}.{missing}" if path else missing
            return FormatError("missing_argument", f"{tool}: missing required argument '{name}'")
        case "additionalProperties":
            known = definition.get("properties", {})
            unknown = next((name for name in violation.value if name not in known), "?")
            name = f"{path}.{unknown}" if path else unknown
            return FormatError("unknown_argument", f"{tool}: unknown argument '{name}'")
        case "type":
            wanted, got = violation.rule_definition, _json_type(violation.value)
            wanted = " or ".join(wanted) if isinstance(wanted, list) else wanted
            return FormatError("wrong_type", f"{tool}: {argument} must be {wanted}, got {got}")
        case "enum" | "const":
            allowed = violation.rule_definition if violation.rule == "enum" else [violation.rule_definition]
            listed = ", ".join(json.dumps(value, ensure_ascii=False) for value in allowed)
            return FormatError("enum_violation", f"{tool}: {argument} must be one of {listed}")
        case rule:
            limit = json.dumps(violation.rule_definition, ensure_ascii=False)
            return FormatError("constraint_violation", f"{tool}: {argument} violates {rule} {limit}")


def _json_type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
