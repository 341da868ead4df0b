"""Eq. 2, Eq. 3 and the efficiency term; the expected numbers are worked out by hand from the formulas."""

from __future__ import annotations

import json
from itertools import combinations, permutations
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fission_grpo.chat import Decision, Rollout, ToolCall
from fission_grpo.reward import (
    RewardSettings,
    Scored,
    call_correctness,
    composite,
    correctness,
    efficiency,
    format_errors,
    score,
    token_f1,
)
from fission_grpo.toolcall import Toolbox, parse, render


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


TOOLS = [
    tool(
        "heat",
        room={"type": "string"},
        celsius={"type": "number"},
        mode={"type": "string", "default": "auto"},
        extra={"type": "string"},
    ),
    tool("ping"),
    tool("say", words={"type": "string"}),
]
TOOLBOX = Toolbox(TOOLS)
BROKEN = '<tool_call>\n{"name": "ping", \n</tool_call>'
UNCLOSED = '<tool_call>\n{"name": "ping", "arguments": {}}'
PING = ToolCall("ping")


def heat(**arguments: Any) -> ToolCall:
    return ToolCall("heat", arguments)


def say(words: str) -> ToolCall:
    return ToolCall("say", {"words": words})


def decision(*target: ToolCall, ordered: bool = False) -> Decision:
    return Decision(
        id="d",
        domain="none",
        tools=TOOLS,
        messages=[{"role": "user", "content": "Do it."}],
        target=[call.to_openai() for call in target],
        ordered=ordered,
    )


def rated(text: str, *target: ToolCall, tokens: int = 10, finished: bool = True, **options: Any) -> Scored:
    """Scored at t = 0 with L* = 10."""
    rollout = Rollout(text, (7,) * tokens, (0.0,) * tokens, finished)
    ordered = options.pop("ordered", False)
    return score(
        rollout,
        decision(*target, ordered=ordered),
        TOOLBOX,
        reference_length=10,
        progress=0.0,
        settings=RewardSettings(**options),
    )


def corr(text: str, *target: ToolCall, alpha: float = 0.5, ordered: bool = False) -> float:
    return correctness(parse(text, TOOLBOX), target, TOOLBOX, alpha=alpha, ordered=ordered)


# --- Eq. 2


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        # R_fmt 1, R_corr 0.4, R_len 0.7; w_fmt 3 → 2, w_corr 2 → 3, w_len 1
        ("linear", 0.0, (3 + 0.8 + 0.7) / 3),
        ("linear", 0.5, (2.5 + 1.0 + 0.7) / 3),
        ("linear", 1.0, (2 + 1.2 + 0.7) / 3),
        ("linear", 0.25, (2.75 + 0.9 + 0.7) / 3),
        ("cosine", 0.0, (3 + 0.8 + 0.7) / 3),
        ("cosine", 0.5, (2.5 + 1.0 + 0.7) / 3),
        ("cosine", 1.0, (2 + 1.2 + 0.7) / 3),
        # (1 − cos 45°) / 2 = 0.14645: w_fmt 2.85355, w_corr 2.14645
        ("cosine", 0.25, 1.4707106781),
    ],
)
def test_eq_2_weighs_the_parts_by_progress(schedule: str, progress: float, expected: float) -> None:
    total = composite(1.0, 0.4, 0.7, progress=progress, settings=RewardSettings(schedule=schedule))
    assert total == pytest.approx(expected, abs=1e-9)


def test_eq_2_takes_its_weights_from_the_settings_and_clamps_progress() -> None:
    chosen = RewardSettings(format_weight=(1.0, 5.0), correctness_weight=(4.0, 0.0), length_weight=2.0)
    assert composite(1.0, 0.5, 0.25, progress=0.5, settings=chosen) == pytest.approx((3 * 1 + 2 * 0.5 + 2 * 0.25) / 3)
    assert composite(1.0, 0.5, 0.25, progress=1.7, settings=chosen) == pytest.approx((5 + 0 + 0.5) / 3)
    assert composite(1.0, 0.5, 0.25, progress=-1.0, settings=chosen) == pytest.approx((1 + 2 + 0.5) / 3)


def test_score_joins_the_parts() -> None:
    # R_fmt 1; room F1 1/2, so c = 0.5 + 0.5·(1/2 + 1)/2 = 0.875; 20 tokens against 10: exp(−1/2)
    scored = rated(
        render([heat(room="living area", celsius=21)]), heat(room="living room", celsius=21.0), tokens=20
    ).reward
    assert (scored.fmt, scored.corr, scored.format_errors) == (1.0, 0.875, ())
    assert scored.length == pytest.approx(0.6065306597)
    assert scored.total == pytest.approx((3 + 2 * 0.875 + 0.6065306597) / 3)


# --- the efficiency term


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (10, 1.0),
        (5, 0.6065306597),  # one σ₋ = 5 below
        (20, 0.6065306597),  # one σ₊ = 10 above
        (0, 0.1353352832),  # two σ₋ below: exp(−2)
        (30, 0.1353352832),
        (9, 0.9801986733),  # exp(−0.02)
        (11, 0.9950124792),  # exp(−0.005)
    ],
)
def test_efficiency_is_a_piecewise_gaussian(tokens: int, expected: float) -> None:
    assert efficiency(tokens, 10, below=0.5, above=1.0) == pytest.approx(expected)


def test_the_target_length_of_the_settings_replaces_the_references() -> None:
    assert rated("", tokens=20, target_length=20).reward.length == 1.0
    assert rated("", tokens=10, target_length=20).reward.length == pytest.approx(0.6065306597)
    assert rated("", tokens=20, sigma_above=0.5).reward.length == pytest.approx(0.1353352832)


# --- Eq. 3 for one call


@pytest.mark.parametrize(
    ("given_call", "true", "alpha", "expected"),
    [
        (heat(room="kitchen"), heat(room="kitchen"), 0.5, 1.0),
        (PING, PING, 0.5, 1.0),
        (PING, ToolCall("pong"), 0.5, 0.0),
        (ToolCall("say", {"room": "kitchen"}), heat(room="kitchen"), 0.5, 0.0),  # N ≠ N*: nothing else counts
        (heat(room="living area", celsius=21), heat(room="living room", celsius=21), 0.5, 0.875),
        (heat(room="living area", celsius=21), heat(room="living room", celsius=21), 0.2, 0.8),  # 0.2 + 0.8·0.75
        (heat(room="living area", celsius=21), heat(room="living room", celsius=21), 0.0, 0.75),
        (heat(room="attic"), heat(room="kitchen"), 0.5, 0.5),
        (heat(), heat(room="kitchen"), 0.5, 0.5),  # |M| = 1, absent without a default
        (heat(room="kitchen"), heat(), 0.5, 0.5),
        # the union M of names, with defaults standing in
        (heat(room="kitchen"), heat(room="kitchen", mode="auto"), 0.5, 1.0),
        (heat(room="kitchen", mode="auto"), heat(room="kitchen"), 0.5, 1.0),
        (heat(room="kitchen"), heat(room="kitchen", mode="eco"), 0.5, 0.75),
        (heat(room="kitchen", mode="eco"), heat(room="kitchen"), 0.5, 0.75),
        # padding costs: |M| = 2, then 3
        (heat(room="kitchen", extra="now"), heat(room="kitchen"), 0.5, 0.75),
        (heat(room="kitchen", extra="now", unknown=1), heat(room="kitchen"), 0.5, 0.5 + 0.5 / 3),
    ],
)
def test_eq_3(given_call: ToolCall, true: ToolCall, alpha: float, expected: float) -> None:
    assert call_correctness(given_call, true, TOOLBOX, alpha=alpha) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("a b c", "b c d e", 2 * 2 / 7),
        ("a a b", "a b b", 2 * 2 / 6),  # bags, not sets
        ("kitchen", "Kitchen", 0.0),
        ("kitchen", "attic", 0.0),
        (21.0, 21, 1.0),
        (21, 21.5, 0.0),
        (-3, 3, 0.0),
        (0.1, 0.10, 1.0),
        (1e3, 1000, 1.0),
        ({"at": [21.0, 2]}, {"at": [21, 2.0]}, 1.0),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, 1.0),
        (["x", "y"], ["x"], 2 / 3),
        (True, True, 1.0),
        (True, False, 0.0),
        (True, 1, 0.0),
        (None, "", 0.0),
        ("", "", 1.0),
        ("", "a", 0.0),
        ([], {}, 0.0),
        ("Straße 5", "Straße 5", 1.0),
        ("2024-05-06", "2024-05-07", 2 / 3),
    ],
)
def test_token_f1(a: Any, b: Any, expected: float) -> None:
    assert token_f1(a, b) == pytest.approx(expected)
    assert token_f1(b, a) == pytest.approx(expected)


# --- several calls


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        (render([PING, say("a")]), [say("a"), PING], 1.0),
        (render([say("a")]), [say("a"), say("b")], 0.5),  # missing
        (render([say("a"), say("b")]), [say("a")], 0.5),  # superfluous
        (render([say("a"), say("a")]), [say("a")], 0.5),  # said twice
        (render([say("a b"), say("a")]), [say("a"), say("a b")], 1.0),  # not greedy from the left
        (render([say("x"), say("a")]), [say("a"), say("b")], 0.75),  # 1 and α
        (render([say("a")]) + BROKEN, [say("a")], 0.5),  # a malformed call counts as predicted
        (render([say("a")]) + BROKEN + BROKEN, [say("a"), say("b")], 1 / 3),
        (render([say("a")]) + UNCLOSED, [say("a")], 0.5),
        (render([say("a")]) + "<tool_call>\n[]\n</tool_call>", [say("a")], 0.5),
        (render([say("a")]) + '<tool_call>\n{"arguments": {}}\n</tool_call>', [say("a")], 0.5),
        (UNCLOSED + "\n" + render([say("a")]), [say("a")], 0.5),  # two calls, the first never closed
        ("<tool_call>\n" + render([say("a")]), [say("a")], 0.5),
        (BROKEN, [PING], 0.0),
        ("", [PING], 0.0),
        (render([PING]), [], 0.0),
        (BROKEN, [], 0.0),
        ("", [], 1.0),
    ],
)
def test_missing_and_superfluous_calls_cost(text: str, target: list[ToolCall], expected: float) -> None:
    assert corr(text, *target) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("abc", 1.0),
        ("bca", 2 / 3),  # b and c stay in order
        ("cba", 1 / 3),
        ("ab", 2 / 3),
        ("xabc", 3 / 4),
    ],
)
def test_order_counts_only_where_the_decision_says_so(said: str, expected: float) -> None:
    target = [ToolCall(name) for name in "abc"]
    text = render([ToolCall(name) for name in said])
    assert corr(text, *target, ordered=True) == pytest.approx(expected)
    assert corr(text, *target) == pytest.approx(1.0 if set(said) == set("abc") and len(said) == 3 else expected)


def test_score_hands_the_order_on() -> None:
    text = render([PING, say("a")])
    assert rated(text, say("a"), PING, ordered=True).reward.corr == pytest.approx(0.5)
    assert rated(text, say("a"), PING).reward.corr == 1.0


CALLS = st.lists(
    st.one_of(
        st.just(PING),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(lambda words: say(" ".join(words))),
    ),
    min_size=1,
    max_size=4,
)


def pairings(predicted: list[ToolCall], true: list[ToolCall], ordered: bool) -> float:
    """The best one-to-one matching by trying all: of any size where the order must be kept on both sides."""
    few = min(len(predicted), len(true))
    arrange = combinations if ordered else permutations
    return max(
        sum(call_correctness(a, b, TOOLBOX, alpha=0.5) for a, b in zip(left, right, strict=True))
        for size in range(few + 1)
        for left in combinations(predicted, size)
        for right in arrange(true, size)
    )


@settings(max_examples=120, deadline=None)
@given(CALLS, CALLS, st.booleans())
def test_matching_finds_what_brute_force_finds(predicted: list[ToolCall], true: list[ToolCall], ordered: bool) -> None:
    best = pairings(predicted, true, ordered)
    assert corr(render(predicted), *true, ordered=ordered) == pytest.approx(best / max(len(predicted), len(true)))


# --- R_fmt, and y* empty


@pytest.mark.parametrize(
    ("text", "finished", "kinds"),
    [
        ("Which room?", True, []),
        ("<think>Hm.</think>Which room?", True, []),
        ("<think>Hm. Which room?", True, ["unbalanced_think"]),
        (render([PING]), True, ["unexpected_call"]),
        (BROKEN, True, ["invalid_json", "unexpected_call"]),
        (UNCLOSED, True, ["unclosed_tag", "unexpected_call"]),
        ("Which", False, ["truncated"]),
    ],
)
def test_where_no_call_is_right_correctness_is_the_format(text: str, finished: bool, kinds: list[str]) -> None:
    reward = rated(text, finished=finished).reward
    assert [error.kind for error in reward.format_errors] == kinds
    assert reward.fmt == reward.corr == (0.0 if kinds else 1.0)


@pytest.mark.parametrize(
    ("text", "finished", "kinds"),
    [
        (render([PING]), True, []),
        (render([say("a")]), True, []),  # wrong, but well-formed
        ("Done.", True, ["no_call"]),
        (BROKEN, True, ["invalid_json"]),
        (render([ToolCall("pong")]), True, ["unknown_tool"]),
        (render([heat(warm=1)]), True, ["unknown_argument"]),
        (render([PING]), False, ["truncated"]),
    ],
)
def test_where_a_call_is_right_its_format_is_the_schema(text: str, finished: bool, kinds: list[str]) -> None:
    reward = rated(text, PING, finished=finished).reward
    assert [error.kind for error in reward.format_errors] == kinds
    assert reward.fmt == (0.0 if kinds else 1.0)


# --- what holds for everything

FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<tool_call>",
            "</tool_call>",
            "words",
            BROKEN,
            render([PING]),
            render([say("a")]),
            render([say("a b c"), heat(room="kitchen", celsius=1e300)]),
            json.dumps({"name": "say", "arguments": {"words": 3}}),
        ]
    ),
    max_size=6,
).map("\n".join)


@settings(max_examples=60, deadline=None)
@given(
    FRAGMENTS,
    st.lists(st.sampled_from([PING, say("a"), say("b c"), heat(room="kitchen", mode="auto")]), max_size=3),
    st.integers(0, 5000),
    st.booleans(),
    st.booleans(),
    st.floats(0, 1),
)
def test_every_part_lies_between_0_and_1(
    text: str, target: list[ToolCall], tokens: int, finished: bool, ordered: bool, alpha: float
) -> None:
    reward = rated(text, *target, tokens=tokens, finished=finished, ordered=ordered, alpha=alpha).reward
    assert all(0 <= part <= 1 for part in (reward.fmt, reward.corr, reward.length))
    assert reward.fmt in (0, 1)
    assert 0 <= reward.total <= 2


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(min_size=1), JSON, max_size=4), st.floats(0, 1))
@example({"a": 1, "b": 2, "c": 3}, 0.05)
@example({"a": 1, "b": 2, "c": 3}, 0.2970524416549301)
def test_an_equal_call_is_exactly_1(arguments: dict[str, Any], alpha: float) -> None:
    """δ = 1 calls everything below 1 an error, so no rounding may creep in."""
    assert call_correctness(ToolCall("say", arguments), ToolCall("say", dict(arguments)), TOOLBOX, alpha=alpha) == 1.0
    many = [ToolCall("say", {"words": str(i)}) for i in range(3)]
    assert corr(render(many), *many, alpha=alpha) == 1.0


def test_a_turn_that_says_nothing_is_no_answer_where_no_call_is_right() -> None:
    silent = parse("", Toolbox([]))
    assert [error.kind for error in format_errors(silent, (), finished=True)] == ["empty"]
    spoken = parse("Which room?", Toolbox([]))
    assert format_errors(spoken, (), finished=True) == ()


def test_different_values_with_the_same_words_are_never_exact() -> None:
    for a, b in [("2025-05-06", "2025-06-05"), ("12:10", "10:12"), ([1, 2], [2, 1]), ("21", 21)]:
        assert 0 < token_f1(a, b) < 1
    assert token_f1(21.0, 21) == token_f1("a b", "a b") == 1
