"""Assistant text ⇄ tool calls: every format error, round trips, and text of any kind."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission_grpo.chat import ToolCall
from fission_grpo.toolcall import FormatKind, Toolbox, ToolSpecError, parse, render


def spec(name: str, parameters: dict[str, Any] | None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


TOOLBOX = Toolbox(
    [
        spec(
            "heat",
            of(
                room={"type": "string"},
                celsius={"type": "number", "minimum": 5, "maximum": 30},
                mode={"enum": ["eco", "off"]},
                kind={"const": "air"},
                tags={"type": "array", "items": {"type": "string"}, "maxItems": 2},
                where={"type": "object", "properties": {"floor": {"type": "integer"}}, "required": ["floor"],
                       "additionalProperties": False},
            )
            | {"required": ["room"]},
        ),
        spec("ping", None),
        spec("free", {"type": "object", "additionalProperties": True}),
    ]
)  # fmt: skip

PING = '{"name": "ping", "arguments": {}}'


def tagged(*calls: str) -> str:
    return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)


def heating(**arguments: Any) -> str:
    return tagged(json.dumps({"name": "heat", "arguments": arguments}))


ERRORS = [
    ("<think>hm" + tagged(PING), "unbalanced_think", "unbalanced <think> tags", None),
    ("hm</think>" + tagged(PING), "unbalanced_think", "unbalanced <think> tags", None),
    ("<think>a</think><think>b</think>", "unbalanced_think", "unbalanced <think> tags", None),
    ("words <think>a</think>", "unbalanced_think", "unbalanced <think> tags", None),
    ("<tool_call>" + PING, "unclosed_tag", "tool call 1: <tool_call> is not closed by </tool_call>", 1),
    (tagged(PING) + "<tool_call>", "unclosed_tag", "tool call 2: <tool_call> is not closed by </tool_call>", 2),
    ("<tool_call>" + tagged(PING), "unclosed_tag", "tool call 1: <tool_call> is not closed by </tool_call>", 1),
    (tagged(PING) + "</tool_call>", "stray_tag", "</tool_call> without <tool_call>", None),
    (tagged('{"name" "ping"}'), "invalid_json", "tool call 1: invalid JSON at column 9: expecting ':' delimiter", 1),
    (tagged(""), "invalid_json", "tool call 1: invalid JSON at column 1: expecting value", 1),
    (tagged('{"name": "ping", "arguments": NaN}'), "invalid_json", "tool call 1: invalid JSON: NaN is not JSON", 1),
    (tagged("[]"), "not_an_object", "tool call 1: expected a JSON object with 'name' and 'arguments'", 1),
    (tagged('{"name": "ping", "arguments": []}'), "not_an_object", "ping: 'arguments' must be a JSON object", 1),
    (tagged("{}"), "missing_name", "tool call 1: missing 'name'", 1),
    (tagged('{"name": ""}'), "missing_name", "tool call 1: missing 'name'", 1),
    (tagged('{"name": "pong"}'), "unknown_tool", "unknown function 'pong'", 1),
    (heating(), "missing_argument", "heat: missing required argument 'room'", 1),
    (heating(room="a", where={}), "missing_argument", "heat: missing required argument 'where.floor'", 1),
    (heating(room="a", x=1), "unknown_argument", "heat: unknown argument 'x'", 1),
    (heating(room="a", where={"floor": 1, "x": 1}), "unknown_argument", "heat: unknown argument 'where.x'", 1),
    (heating(room=1), "wrong_type", "heat: argument 'room' must be string, got integer", 1),
    (heating(room=None), "wrong_type", "heat: argument 'room' must be string, got null", 1),
    (heating(room="a", celsius=True), "wrong_type", "heat: argument 'celsius' must be number, got boolean", 1),
    (heating(room="a", tags=["b", {}]), "wrong_type", "heat: argument 'tags.1' must be string, got object", 1),
    (heating(room="a", mode="x"), "enum_violation", "heat: argument 'mode' must be one of \"eco\", \"off\"", 1),
    (heating(room="a", kind="x"), "enum_violation", "heat: argument 'kind' must be one of \"air\"", 1),
    (heating(room="a", celsius=31), "constraint_violation", "heat: argument 'celsius' violates maximum 30", 1),
    (heating(room="a", tags=["a", "b", "c"]), "constraint_violation", "heat: argument 'tags' violates maxItems 2", 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "message", "call"), ERRORS)
def test_each_violation_has_its_error(text: str, kind: str, message: str, call: int | None) -> None:
    error = parse(text, TOOLBOX).errors[0]
    assert (error.kind, error.message, error.call) == (kind, message, call)


def test_every_kind_a_text_alone_can_show_is_covered() -> None:
    contextual = {"truncated", "no_call", "unexpected_call", "empty"}  # judged by the reward, which knows y*
    assert {kind for _, kind, _, _ in ERRORS} == set(get_args(FormatKind)) - contextual


def test_thinking_text_and_calls_come_apart() -> None:
    turn = parse(f"<think>\nhm <b>\n</think>\n\nOne moment.\n{tagged(PING)}\nDone.", TOOLBOX)
    assert (turn.think, turn.errors) == ("\nhm <b>\n", ())
    assert turn.text == "One moment.\n\nDone."
    assert turn.calls == (ToolCall("ping"),)


def test_a_call_within_thinking_is_no_call() -> None:
    turn = parse(f"<think>{tagged(PING)}</think>ok", TOOLBOX)
    assert (turn.calls, turn.errors, turn.text) == ((), (), "ok")


def test_one_bad_call_leaves_the_others() -> None:
    wrong = '{"name": "heat", "arguments": {"room": 3}}'
    turn = parse(tagged(PING, "{oops}", wrong, PING), TOOLBOX)
    assert [call.name for call in turn.calls] == ["ping", "heat", "ping"]
    assert [(error.kind, error.call) for error in turn.errors] == [("invalid_json", 2), ("wrong_type", 3)]
    assert turn.calls[1].arguments == {"room": 3}


def test_columns_count_from_one_within_the_call() -> None:
    assert parse(tagged('{"name": x}'), TOOLBOX).errors[0].column == 10


def test_arguments_may_be_left_out() -> None:
    assert parse(tagged('{"name": "ping"}'), TOOLBOX).calls == (ToolCall("ping"),)


def test_render_is_what_qwen_renders() -> None:
    calls = [ToolCall("heat", {"room": "Küche", "celsius": 21}), ToolCall("ping")]
    assert render(calls) == (
        '<tool_call>\n{"name": "heat", "arguments": {"room": "Küche", "celsius": 21}}\n</tool_call>\n'
        '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>'
    )


TEXT = st.text(st.characters(exclude_categories=["Cs"])).filter(
    lambda text: "tool_call>" not in text and "think>" not in text
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(TEXT, JSON, max_size=4).map(lambda arguments: ToolCall("free", arguments)), max_size=4))
def test_parse_reads_what_render_wrote(calls: list[ToolCall]) -> None:
    turn = parse(render(calls), TOOLBOX)
    assert (turn.calls, turn.errors, turn.text) == (tuple(calls), (), "")


TAGS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
PIECES = st.sampled_from([*TAGS, PING, '{"name": "free", "arguments": {', '"a": 1', "}}", "\n", "["])


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES | st.text(), max_size=12).map("".join))
def test_parse_never_raises(text: str) -> None:
    turn = parse(text, TOOLBOX)
    assert len(turn.calls) <= text.count("<tool_call>")


@pytest.mark.parametrize(
    "arguments",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a":' + "[" * 400 + "]" * 400 + "}",
        '{"a":' + "9" * 5_000 + "}",
        '{"a": Infinity}',
        '{"a": "\\ud800"}',
        '{"a": "\x00"}',
    ],
)
def test_parse_survives_extremes(arguments: str) -> None:
    parse(tagged(f'{{"name": "free", "arguments": {arguments}}}'), TOOLBOX)


@pytest.mark.parametrize("arguments", ['{"a": 1e999}', '{"a": ' + "9" * 400 + "}"])
def test_parse_survives_numbers_beyond_float(arguments: str) -> None:
    toolbox = Toolbox([spec("t", of(a={"type": "number", "multipleOf": 0.5}))])
    assert parse(tagged(f'{{"name": "t", "arguments": {arguments}}}'), toolbox).errors


@pytest.mark.parametrize(
    "parameters",
    [
        {"$ref": "http://host/schema"},
        of(a={"$ref": "file:///etc/passwd"}),
        of(a={"anyOf": [{"type": "string"}, {"$ref": "other.json#/x"}]}),
        of(a={"$ref": "#/nowhere"}),
        of(a={"pattern": "("}),
        {"type": "no such type"},
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ToolSpecError):
        Toolbox([spec("t", parameters)])


@pytest.mark.parametrize("bad", [{}, {"type": "function"}, {"function": {}}, {"function": None}])
def test_a_spec_without_a_function_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ToolSpecError):
        Toolbox([bad])


@pytest.mark.parametrize("key", ["$id", "id"])
def test_no_schema_is_fetched(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("fetched a schema"))
    elsewhere = {key: "http://host/schema", "properties": {"b": {"$ref": "#/x"}}}
    with pytest.raises(ToolSpecError):
        Toolbox([spec("t", of(a=elsewhere))])


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ToolSpecError, match="one name"):
        Toolbox([spec("t", None), spec("t", None)])


def test_local_references_and_an_argument_called_id_are_fine() -> None:
    toolbox = Toolbox([spec("t", of(id={"$ref": "#/$defs/id"}) | {"$defs": {"id": {"type": "integer"}}})])
    assert parse(tagged('{"name": "t", "arguments": {"id": 1}}'), toolbox).errors == ()
    assert parse(tagged('{"name": "t", "arguments": {"id": "x"}}'), toolbox).errors[0].kind == "wrong_type"


def test_names_and_properties() -> None:
    assert TOOLBOX.names == ("heat", "ping", "free")
    assert TOOLBOX.properties("heat")["room"] == {"type": "string"}
    assert TOOLBOX.properties("nobody") == {}


def test_a_schema_without_a_word_on_it_allows_no_further_argument() -> None:
    toolbox = Toolbox([spec("t", of(a={}))])
    assert parse(tagged('{"name": "t", "arguments": {"b": 1}}'), toolbox).errors[0].kind == "unknown_argument"
