"""The words a failed call is answered with: sources, their order, and the leak guard."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission_grpo.chat import MAX_ERROR_CHARACTERS, Decision, ToolCall
from fission_grpo.feedback import (
    STATIC_SENTENCE,
    Failure,
    diagnose,
    execution_feedback,
    format_feedback,
    leaks,
    rules_feedback,
    static_feedback,
)
from fission_grpo.toolcall import FormatError, Toolbox, parse, render


def tool(name: str, properties: dict[str, Any], required: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(required), **more}
    return {
        "type": "function",
        "function": {"name": name, "description": f"{name} of the house", "parameters": parameters},
    }


TOOLS = [
    tool(
        "set_heating",
        {
            "room": {"type": "string"},
            "celsius": {"type": "number", "minimum": 5, "maximum": 30},
            "mode": {"type": "string", "enum": ["eco", "comfort"], "default": "eco"},
        },
        ("room", "celsius"),
    ),
    tool("get_status", {"device": {"type": "string"}}, ("device",)),
    tool(
        "book",
        {
            "title": {"type": "string"},
            "day": {"type": "string", "format": "date"},
            "start": {"type": "string", "pattern": r"^\d\d:\d\d$"},
            "guests": {"type": "array", "items": {"type": "string"}},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "extra": {"type": "object", "additionalProperties": True},
            "quiet": {"type": "boolean"},
            "count": {"type": "integer"},
        },
    ),
]


def failure(
    true: list[ToolCall],
    made: list[ToolCall] | str,
    user: str = "Please do it.",
    ordered: bool = False,
    errors: tuple[FormatError, ...] = (),
    messages: list[dict[str, Any]] | None = None,
    tools: list[dict[str, Any]] | None = None,
) -> Failure:
    tools = TOOLS if tools is None else tools
    decision = Decision(
        id="d",
        domain="house",
        tools=tools,
        messages=messages or [{"role": "user", "content": user}],
        target=[call.to_openai() for call in true],
        ordered=ordered,
    )
    text = made if isinstance(made, str) else render(made)
    turn = parse(text, Toolbox(tools))
    return Failure(decision, text, turn, errors or turn.errors)


def heating(**arguments: Any) -> ToolCall:
    return ToolCall("set_heating", {"room": "kitchen", "celsius": 21} | arguments)


STATUS = ToolCall("get_status", {"device": "boiler"})

# --- rules


@pytest.mark.parametrize(
    ("true", "made", "ordered", "expected"),
    [
        ([heating()], [STATUS], False, "get_status: this function does not perform the requested operation"),
        ([heating(), STATUS, STATUS], [heating(), STATUS], False, "2 calls made, but the request needs more"),
        ([heating(), STATUS], [STATUS], False, "1 call made, but the request needs more"),
        ([heating()], [heating(), STATUS], False, "get_status: this call is not needed"),
        ([heating()], [heating(), heating(room="hall")], False, "set_heating: this call is not needed"),
        (
            [heating()],
            [heating(celsius=19)],
            False,
            "set_heating: argument 'celsius' (number, 5-30) does not match the request",
        ),
        (
            [heating(mode="comfort")],
            [heating(mode="eco")],
            False,
            "set_heating: argument 'mode' (string, one of \"eco\", \"comfort\") does not match the request",
        ),
        (
            [ToolCall("book", {"start": "10:00"})],
            [ToolCall("book", {"start": "11:00"})],
            False,
            r"book: argument 'start' (string, pattern ^\d\d:\d\d$) does not match the request",
        ),
        (
            [ToolCall("book", {"day": "2026-03-04"})],
            [ToolCall("book", {"day": "2026-03-05"})],
            False,
            "book: argument 'day' (string, format date) does not match the request",
        ),
        ([heating()], [heating(mode="comfort")], False, "set_heating: argument 'mode' is not needed"),
        (
            [heating(mode="comfort")],
            [heating()],
            False,
            "set_heating: argument 'mode' (string, one of \"eco\", \"comfort\") is missing",
        ),
        ([ToolCall("book", {"note": "x"})], [ToolCall("book")], False, "book: argument 'note' (string) is missing"),
        ([ToolCall("book", {"quiet": True})], [ToolCall("book", {"quiet": False})], False,
         "book: argument 'quiet' (boolean) does not match the request"),
        ([heating(), STATUS], [STATUS, heating()], True, "the calls are in the wrong order"),
        ([heating()], [], False, "no function was called, but the request needs a function call"),
        ([], [heating()], False, "the request cannot be served by a function call"),
    ],
)  # fmt: skip
def test_rules_names_the_fault(true: list[ToolCall], made: list[ToolCall], ordered: bool, expected: str) -> None:
    assert rules_feedback(failure(true, made, ordered=ordered)) == expected


@pytest.mark.parametrize(
    ("true", "made"),
    [
        ([heating()], [heating()]),
        ([heating(celsius=21)], [heating(celsius=21.0)]),
        ([heating()], [heating(mode="eco")]),
        ([heating(mode="eco")], [heating()]),
        ([heating(), STATUS], [STATUS, heating()]),
        ([], []),
    ],
)
def test_rules_is_silent_on_equal_calls(true: list[ToolCall], made: list[ToolCall]) -> None:
    assert rules_feedback(failure(true, made)) is None


def test_rules_compares_each_call_with_the_one_it_best_stands_for() -> None:
    true = [heating(room="hall", celsius=18), heating(room="bath", celsius=24)]
    made = [heating(room="bath", celsius=24), heating(room="hall", celsius=19)]
    message = rules_feedback(failure(true, made))
    assert message == "set_heating: argument 'celsius' (number, 5-30) does not match the request"


def test_rules_does_not_take_true_for_one() -> None:
    tools = [tool("t", {"a": {}})]
    message = rules_feedback(failure([ToolCall("t", {"a": 1})], [ToolCall("t", {"a": True})], tools=tools))
    assert message == "t: argument 'a' does not match the request"


def test_rules_does_not_name_an_undeclared_argument() -> None:
    tools = [tool("t", {}, additionalProperties=True)]
    assert rules_feedback(failure([ToolCall("t", {"hidden": 1})], [ToolCall("t")], tools=tools)) == (
        "t: an argument is missing"
    )


def test_rules_reads_references_ranges_and_types() -> None:
    tools = [
        tool(
            "t",
            {
                "a": {"$ref": "#/$defs/size"},
                "b": {"type": "integer", "minimum": 3},
                "c": {"type": ["string", "null"]},
            },
            **{"$defs": {"size": {"type": "string", "enum": ["small", "large"]}}},
        )
    ]
    true, made = ToolCall("t", {"a": "small", "b": 4, "c": "x"}), ToolCall("t", {"a": "large", "b": 5, "c": "y"})
    assert rules_feedback(failure([true], [made], tools=tools)) == (
        't: argument \'a\' (string, one of "small", "large") does not match the request; '
        "t: argument 'b' (integer, at least 3) does not match the request; "
        "t: argument 'c' (string) does not match the request"
    )


WORDS = st.text(alphabet="bcdfghjklmnpqrstvwxz0123456789", min_size=5, max_size=9).map(lambda word: f"q{word}q")
ARGUMENTS = st.fixed_dictionaries(
    {"room": WORDS, "celsius": st.floats(5, 30, allow_nan=False).filter(lambda value: not value.is_integer())},
    optional={"mode": st.sampled_from(["eco", "comfort"])},
)
CALLS = st.lists(
    st.one_of(
        ARGUMENTS.map(lambda arguments: ToolCall("set_heating", arguments)),
        WORDS.map(lambda device: ToolCall("get_status", {"device": device})),
        st.fixed_dictionaries(
            {},
            optional={
                "title": WORDS,
                "guests": st.lists(WORDS, max_size=3),
                "extra": st.dictionaries(WORDS, WORDS, max_size=2),
                "count": st.integers(10_000, 10**9),
                "quiet": st.booleans(),
            },
        ).map(lambda arguments: ToolCall("book", arguments)),
    ),
    min_size=1,
    max_size=3,
)


def literals(value: Any) -> list[str]:
    """Independent of the guard: every key and scalar of the true calls as it is written."""
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in [key, *literals(item)]]
    if isinstance(value, list):
        return [text for item in value for text in literals(item)]
    return [] if isinstance(value, bool) else [str(value)]


@settings(max_examples=150, deadline=None)
@given(true=CALLS, made=CALLS, ordered=st.booleans())
def test_rules_never_leaks_and_is_never_refused(true: list[ToolCall], made: list[ToolCall], ordered: bool) -> None:
    failed = failure(true, made, ordered=ordered)
    message = rules_feedback(failed)
    if message is None:
        return
    visible = json.dumps(failed.decision.tools) + json.dumps(failed.decision.messages) + failed.text
    hidden = [text for call in true for text in literals(call.arguments) if text not in visible and len(text) > 4]
    assert not [text for text in hidden if text in message]
    assert leaks(message, failed) is None


@settings(max_examples=100, deadline=None)
@given(true=CALLS, made=CALLS, data=st.data())
def test_guard_catches_any_planted_literal(true: list[ToolCall], made: list[ToolCall], data: st.DataObject) -> None:
    failed = failure(true, made)
    visible = json.dumps(failed.decision.tools) + failed.text
    hidden = [text for call in true for text in literals(call.arguments) if text not in visible and len(text) > 4]
    if not hidden:
        return
    secret = data.draw(st.sampled_from(hidden))
    assert leaks(f"argument value expected to be {secret}, please verify", failed) is not None


# --- the leak guard


def hidden(value: Any, argument: str = "title", user: str = "Please do it.") -> Failure:
    """A failure whose true call has `value`, which the dialogue does not say unless `user` does."""
    return failure([ToolCall("book", {argument: value})], [ToolCall("book", {argument: "wrong"})], user)


PLANTED = [
    ("kitchen", "expected kitchen"),
    ("kitchen", "expected 'KITCHEN'"),
    ("kitchen", "expected kitchens"),
    ("kitchen", "expected k-i-t-c-h-e-n"),
    ("kitchen", "expected k i t c h e n"),
    ("kitchen", "expected kit\u200bchen"),
    ("kitchen", "expected ｋｉｔｃｈｅｎ"),
    ("São Paulo", "city sao paulo not matched"),
    ("living_room", "expected living room"),
    ("living_room", "expected livingRoom"),
    ("living_room", "expected Living-Room"),
    ("Dinner with Anna", "the title should mention anna"),
    ("Anna Schmidt", "owner is Schmidt"),
    ("Anna Schmidt", "expected Schmidt, Anna"),
    ("P1234", "unknown id xP1234x"),
    ("P1234", "unknown id P-1234"),
    ("P1234", "unknown id p 1234"),
    ("P1234", "the number is 1234"),
    ("a@bex.org", "send to a@bex.org"),
    ("a@bex.org", "send to a at bex dot org"),
    ("厨房", "请用厨房"),
    ("🔥!", "use 🔥! here"),
    (21, "expected 21"),
    (21, "expected 21.0"),
    (21, "expected twenty-one"),
    (21, "expected Twenty One degrees"),
    (21, "expected 21°C"),
    (21, "expected x21"),
    (1000, "expected 1,000"),
    (1000, "expected one thousand"),
    (345, "expected three hundred and forty-five"),
    (999, "expected nine hundred ninety nine"),
    ("21", "expected 21"),
    (0.5, "expected 0.50"),
    (-5, "expected minus five"),
    (-5, "expected -5.0"),
    (1, "expected exactly one"),
    (9, "expected 9 am"),
    (4, "day must be 2026-03-04"),
    ("2026-03-04", "expected 2026-03-04"),
    ("2026-03-04", "expected 4 March 2026"),
    ("2026-03-04", "expected March 4"),
    ("2026-03-04", "expected 4th of March"),
    ("2026-03-04", "expected 03/04/2026"),
    ("2026-03-04", "expected 04.03.2026"),
    ("2026-03-04", "expected 20260304"),
    ("2026-03-04", "it should be in March"),
    ("09:00", "expected 9 am"),
    ("09:00", "expected 9:00"),
    ("09:00", "expected nine o'clock"),
    ("21:30", "expected half past nine"),
    ("21:30", "expected 9.30 or 9:30 p.m."),
    ("12:00", "expected noon"),
    ("2026-03-04T09:00:00Z", "expected 9am"),
    ("2026-03-04T09:00:00Z", "expected Mar 4, 2026"),
    (["anna", "bert"], "guests lack bert"),
    ({"a": {"colour": "teal"}}, "extra lacks teal"),
    ({"colour": 1}, "extra lacks colour"),
    ([[17]], "seventeen is missing"),
]


@pytest.mark.parametrize(("value", "message"), PLANTED)
def test_guard_refuses(value: Any, message: str) -> None:
    assert leaks(message, hidden(value)) is not None


@pytest.mark.parametrize(
    ("value", "message", "user"),
    [
        (7, "expected 7", "Set 17 of them"),
        (7, "expected 7", "Room 1.7"),
        (12, "expected 12", "Take 1 2 more"),
        (1, "expected 1", "I want a new one"),
        ("1-2", "expected 1-2", "Room 12"),
        ("cat", "expected cat", "The catalogue"),
        ("living room", "expected living room", "living costs, one room"),
        ("room table", "expected room table", "a table and a room"),
        ("2026-03-04", "expected 2026-03-04", "on 2026-03-05"),
        ("2026-03-04", "expected March 4 2026", "on 4 March 2025"),
        ("09:00", "expected 9 am", "at 9 pm"),
        (4, "expected 4", "on 2026-03-04"),
        (-5, "expected -5", "set 5"),
    ],
)
def test_visibility_is_of_the_whole(value: Any, message: str, user: str) -> None:
    assert leaks(message, hidden(value, user=user)) is not None


@pytest.mark.parametrize(
    ("value", "message", "user"),
    [
        ("kitchen", "expected kitchen", "the kitchen please"),
        ("kitchen", "expected kitchen", "the KITCHEN, please"),
        ("living_room", "expected living_room", "in the living room"),
        ("living room", "expected living_room", "id living-room"),
        ("Anna Schmidt", "expected Anna Schmidt", "for Anna Schmidt"),
        (21, "expected 21", "to twenty-one"),
        (21, "expected 21", "to 21°C"),
        (1000, "expected 1000", "for $1,000."),
        ("2026-03-04", "expected 2026-03-04", "on March 4"),
        ("2026-03-04", "expected 2026-03-04", "on 4 March 2026"),
        ("09:00", "expected 09:00", "at 9 am"),
        ("21:00", "expected 21:00", "at nine pm"),
        (5, "must be at least 5", "do it"),
        (30, "must be 5-30", "do it"),
        ("eco", "one of eco, comfort", "do it"),
        ("set_heating", "set_heating: wrong", "do it"),
        ("wrong", "'wrong' is not a title", "do it"),
        ("in", "not found in this list", "do it"),
        (True, "expects true", "do it"),
        (False, "false is not allowed", "do it"),
        (None, "null is not allowed", "do it"),
        ("", "empty is not allowed", "do it"),
        ("-", "a-b is not allowed", "do it"),
        (1, "must be one of eco, comfort", "do it"),
        (1, "one or more arguments are wrong", "do it"),
        (1, "at least one argument is wrong", "do it"),
        (1, "tool call 1: wrong", "do it"),
        (1, "1 call made, but the request needs more", "do it"),
        (2, "1 argument", "do it 1 time"),
        ("Access request", "argument 'title' (string) does not match the request", "do it"),
        ("Call Mum", "book: this call is not needed", "do it"),
        ("update form", "wrong format", "do it"),
        ("P1234", "unknown id P999", "do it"),
        ("kitchen", "unknown room", "do it"),
        ("2026-03-04", "format is YYYY-MM-DD", "do it"),
        ("2026-03-04", "2026-03-05 is booked", "move 2026-03-05"),
        ("2026-05-04", "the value may be wrong", "do it"),
        ("09:00", "format is HH:MM", "do it"),
        ("09:00", "10:00 is taken", "do it"),
        (9, "10:00 is taken", "do it"),
        ("a", "must be a string", "do it"),
        ("Type B", "b is not a date", "do it"),
        (["anna"], "guests (array) does not match the request", "do it"),
        ({"colour": "teal"}, "extra (object) does not match the request", "do it"),
    ],
)
def test_guard_passes(value: Any, message: str, user: str) -> None:
    assert leaks(message, hidden(value, user=user)) is None


def test_an_invisible_function_name_is_a_secret() -> None:
    failed = failure([ToolCall("arm_alarm")], [STATUS])
    for message in (
        "use arm_alarm",
        "use armAlarm",
        "use arm alarm",
        "use ARM-ALARM",
        "the alarm is to be armed, arm it",
    ):
        assert leaks(message, failed) == "arm_alarm"
    assert leaks("get_status: no alarm here", failed) is None


def test_tool_results_and_earlier_calls_are_visible() -> None:
    earlier = ToolCall("get_status", {"device": "b-77"}).to_openai("call_66")
    messages = [
        {"role": "user", "content": "Please do it."},
        {"role": "assistant", "content": "", "tool_calls": [earlier]},
        {"role": "tool", "content": '{"owner": "J\\u00f6rg", "lines": "x\\nkitchen"}'},
    ]
    failed = failure([ToolCall("book", {"guests": ["b-77", "Jörg", "kitchen"]})], [STATUS], messages=messages)
    assert leaks("expected b-77, jorg and kitchen", failed) is None
    failed = failure([ToolCall("book", {"count": 66})], [STATUS], messages=messages)
    assert leaks("expected 66", failed) == "66"  # the id of a call is not what the model reads


def test_a_stated_position_must_be_the_turns_own() -> None:
    assert leaks("see call 34", hidden(34)) == "34"
    assert leaks("invalid JSON at column 34", hidden(34)) == "34"
    broken = failure(
        [ToolCall("book", {"count": 41})], '<tool_call>{"name": "book", "arguments": {"title": x}}</tool_call>'
    )
    assert broken.format_errors[0].column == 41
    assert leaks("tool call 1: invalid JSON at column 41", broken) is None
    assert leaks("the count is 41", broken) == "41"


@pytest.mark.parametrize("value", [value for value, _ in PLANTED])
def test_our_own_messages_pass_the_guard(value: Any) -> None:
    failed = hidden(value)
    assert leaks(static_feedback(failed), failed) is None
    assert leaks(rules_feedback(failed) or "", failed) is None
    broken = failure([ToolCall("book", {"title": value})], "<tool_call>{'a'}</tool_call><tool_call>")
    assert leaks(format_feedback(broken) or "", broken) is None


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


@settings(max_examples=100, deadline=None)
@given(message=st.text(), value=JSON)
def test_guard_never_raises(message: str, value: Any) -> None:
    assert isinstance(leaks(message, hidden(json.loads(json.dumps(value)))), str | None)


@pytest.mark.parametrize("depth", [100, 900, 5_000])
def test_a_deeply_nested_call_gets_feedback(depth: int) -> None:
    nested = '{"name": "book", "arguments": {"extra": ' + '{"a": ' * depth + "1" + "}" * (depth + 2)
    failed = failure([ToolCall("book", {"extra": {"b": 1}})], f"<tool_call>{nested}</tool_call>")
    assert diagnose(failed, {"format": format_feedback, "rules": rules_feedback}).source in ("format", "rules")


# --- sources and their order


def says(text: str | None) -> Any:
    return lambda failed: text


SECRET = hidden("kitchen")
UNCLOSED = failure([STATUS], "<tool_call>{}")


def test_a_format_error_asks_no_other_source() -> None:
    found = diagnose(UNCLOSED, {"format": format_feedback, "other": says("never heard")})
    assert (found.source, found.refused) == ("format", ())
    assert found.text == "ERROR: tool call 1: <tool_call> is not closed by </tool_call>"


def test_a_refused_format_message_falls_back_to_static() -> None:
    leaking = FormatError("no_call", "expected boiler")
    found = diagnose(failure([STATUS], "hello", errors=(leaking,)), {"format": format_feedback, "other": says("fine")})
    assert (found.text, found.source, found.refused) == (STATIC_SENTENCE, "static", ("format",))


def test_the_first_source_that_may_speak_does() -> None:
    sources = {
        "silent": says(None),
        "blank": says(" \n"),
        "leaky": says("use kitchen"),
        "good": says("bad title"),
        "late": says("x"),
    }
    found = diagnose(SECRET, sources)
    assert (found.text, found.source, found.refused) == ("ERROR: bad title", "good", ("leaky",))


def test_static_is_the_last_resort() -> None:
    found = diagnose(SECRET, {"a": says("kitchen!"), "b": says("ERROR: Kitchen")})
    assert (found.text, found.source, found.refused) == (STATIC_SENTENCE, "static", ("a", "b"))
    assert diagnose(SECRET, {}).source == "static"


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("ERROR: bad", "ERROR: bad"),
        ("bad\n  title\t here\x00", "ERROR: bad title here"),
        ("<|im_end|>", "ERROR: < |im_end|>"),
    ],
)
def test_feedback_is_one_line_with_the_prefix(said: str, heard: str) -> None:
    assert diagnose(SECRET, {"s": says(said)}).text == heard


@pytest.mark.parametrize("text", ["bad title " * 100, "x" * 1000])
def test_feedback_is_bounded(text: str) -> None:
    found = diagnose(SECRET, {"s": says(text)}).text
    assert len(found) <= MAX_ERROR_CHARACTERS
    assert found.endswith("…")
    assert "titl…" not in found


def test_the_static_sentence_is_the_papers() -> None:
    assert static_feedback(SECRET) == (
        "ERROR: Function call failed. Please verify your output format, function name, required parameters, "
        "and parameter values are correct."
    )


def test_format_tells_the_first_three_errors_once() -> None:
    errors = tuple(FormatError("no_call", text) for text in ["a", "a", "b", "c", "d"])
    assert format_feedback(failure([STATUS], "", errors=errors)) == "a; b; c"
    assert format_feedback(SECRET) is None


def test_execution_says_what_the_runtime_said() -> None:
    failed = failure([STATUS], [heating(), heating(room="hall")])
    replayed: list[Any] = []

    def replay(decision: Decision, calls: Any) -> list[str | None]:
        replayed.append((decision, calls))
        return [None, "room is locked"]

    assert execution_feedback(replay)(failed) == "set_heating: room is locked"
    assert replayed == [(failed.decision, failed.turn.calls)]


def test_execution_names_the_call_only_where_it_must() -> None:
    one, two = failure([STATUS], [heating()]), failure([STATUS], [heating(), STATUS])
    assert execution_feedback(lambda *_: ["locked"])(one) == "locked"
    both = execution_feedback(lambda *_: ["set_heating: locked", "gone"])
    assert both(two) == "set_heating: locked; get_status: gone"
    assert execution_feedback(lambda *_: [None, None])(two) is None


def test_execution_of_no_call_is_silent() -> None:
    assert execution_feedback(lambda *_: pytest.fail("nothing to replay"))(failure([STATUS], "hello")) is None


def test_a_runtime_error_with_the_answer_is_refused() -> None:
    sources = {"execution": execution_feedback(lambda *_: ["only kitchen exists"]), "rules": rules_feedback}
    found = diagnose(SECRET, sources)
    assert (found.source, found.refused) == ("rules", ("execution",))
