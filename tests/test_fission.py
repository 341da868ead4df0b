"""Stages 2 and 3 without a tensor: Eq. 4, the dedup key, the LIFO buffer and the trigger."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fission_grpo.chat import Decision
from fission_grpo.fission import Attempt, Context, LifoBuffer, Trigger, corrective, error_key, is_error
from fission_grpo.reward import Reward


def decision(name: str = "d") -> Decision:
    return Decision(id=name, domain="none", tools=[], messages=[{"role": "user", "content": "Go."}], target=[])


ROOT = Context(decision(), ids=(1, 2, 3))


def sample(key: str, born: int = 0) -> Context:
    return Context(decision(), ids=(1,), trail=(Attempt("t", "f", "rules", 0.1),), born=born, key=key)


def filled(*keys: str, capacity: int = 10) -> LifoBuffer:
    buffer = LifoBuffer(capacity)
    buffer.push(sample(key, born) for born, key in enumerate(keys))
    return buffer


def keys(samples: list[Context]) -> list[str]:
    return [one.key for one in samples]


# --- Eq. 4


@pytest.mark.parametrize(
    ("fmt", "corr", "delta", "expected"),
    [
        (1.0, 1.0, 0.5, False),
        (1.0, 0.5, 0.5, False),  # δ itself is no error
        (1.0, 0.49, 0.5, True),
        (1.0, 0.99, 1.0, True),
        (1.0, 1.0, 1.0, False),
        (1.0, 0.0, 0.0, False),
        (0.0, 1.0, 0.5, True),  # a format error never consults correctness
        (0.0, 1.0, 0.0, True),
    ],
)
def test_eq_4(fmt: float, corr: float, delta: float, expected: bool) -> None:
    for total, length in ((0.0, 0.0), (2.0, 1.0)):  # nor does either look at the rest of the reward
        assert is_error(Reward(total, fmt, corr, length, ()), delta) is expected


# --- corrective samples


def test_the_key_is_of_x_and_the_failed_turn() -> None:
    key = error_key(ROOT, (9, 8))
    assert key == error_key(Context(decision("other"), ids=(1, 2, 3), born=7), [9, 8])
    different = [
        error_key(ROOT, (8, 9)),
        error_key(ROOT, (9,)),
        error_key(ROOT, (98,)),
        error_key(ROOT, ()),
        error_key(replace(ROOT, ids=(1, 2)), (3, 9, 8)),  # the same tokens, parted elsewhere
        error_key(replace(ROOT, ids=(12, 3)), (9, 8)),
    ]
    assert len({key, *different}) == 7


def test_the_key_does_not_depend_on_the_feedback() -> None:
    first, second = Attempt("t", "no such room", "rules", 0.1), Attempt("t", "room: unknown", "execution", 0.2)
    one = corrective(ROOT, (1, 2, 3, 9, 8, 50), (9, 8), first, born=4)
    other = corrective(ROOT, (1, 2, 3, 9, 8, 60, 61), (9, 8), second, born=5)
    assert one.key == other.key
    buffer = LifoBuffer(8)
    assert [buffer.push([one]), buffer.push([other]), len(buffer)] == [1, 0, 1]


def test_a_corrective_sample_keeps_its_decision_and_grows_its_trail() -> None:
    first, second = Attempt("a", "fa", "rules", 0.1), Attempt("b", "fb", "format", 0.2)
    one = corrective(ROOT, (1, 2, 3, 9, 50), (9,), first, born=4)
    assert (one.decision, one.ids, one.trail, one.born, one.depth) == (ROOT.decision, (1, 2, 3, 9, 50), (first,), 4, 1)
    two = corrective(one, (1, 2, 3, 9, 50, 8, 51), (8,), second, born=6)
    assert (two.trail, two.depth, two.born, two.decision) == ((first, second), 2, 6, ROOT.decision)
    assert two.key == error_key(one, (8,)) != one.key
    assert (ROOT.trail, ROOT.depth, ROOT.key) == ((), 0, "")


# --- the buffer


def test_the_newest_comes_first() -> None:
    buffer = filled("a", "b", "c", "d")
    assert keys(buffer.pop(2)) == ["d", "c"]
    buffer.push([sample("e")])
    assert keys(buffer.pop(9)) == ["e", "b", "a"]
    assert (buffer.pop(1), len(buffer)) == ([], 0)


def test_the_oldest_is_dropped_where_there_is_no_room() -> None:
    buffer = filled("a", "b", "c", capacity=3)
    assert buffer.push([sample("d"), sample("e")]) == 2
    assert (len(buffer), keys(buffer.pop(3))) == (3, ["e", "d", "c"])


def test_what_is_pushed_again_becomes_the_newest() -> None:
    buffer = filled("a", "b", "c", capacity=3)
    again = sample("a", born=9)
    assert buffer.push([again, again]) == 0
    assert buffer.push([sample("d")]) == 1  # drops b, by now the oldest
    popped = buffer.pop(3)
    assert keys(popped) == ["d", "a", "c"]
    assert popped[1].born == 9


def test_age_limit() -> None:
    assert filled("a", "b").expire(1000) == 0
    buffer = LifoBuffer(10, max_age=2)
    buffer.push([sample("a", 0), sample("b", 3), sample("c", 1), sample("d", 2)])
    assert buffer.expire(2) == 0
    assert buffer.expire(4) == 2  # a and c; d is just young enough
    assert keys(buffer.pop(9)) == ["d", "b"]
    strict = LifoBuffer(10, max_age=0)
    strict.push([sample("a", 5)])
    assert [strict.expire(5), strict.expire(6)] == [0, 1]


def test_mean_age() -> None:
    buffer = filled("a", "b", "c")  # born 0, 1, 2
    assert buffer.mean_age(2) == 1.0
    assert buffer.mean_age(5) == 4.0
    assert LifoBuffer(3).mean_age(5) == 0.0


def test_the_state_survives_json() -> None:
    decisions = {name: decision(name) for name in ("p", "q")}
    first = Attempt('<tool_call>{"näme": ', "ERROR: no", "format", 0.25)
    second = Attempt("b", "ERROR: still no", "rules", 0.5)
    one = corrective(Context(decisions["p"], (1, 2)), (1, 2, 9, 50), (9,), first, born=3)
    two = corrective(replace(one, decision=decisions["q"]), (1, 2, 9, 50, 8), (8,), second, born=4)
    buffer = LifoBuffer(5)
    buffer.push([one, two])
    state = json.loads(json.dumps(buffer.to_state()))
    other = filled("stale")
    assert other.load_state(state, decisions) is other
    assert other.to_state() == buffer.to_state() == state
    assert other.push([one]) == 0  # the keys came along: one is known, and now the newest
    assert other.pop(9) == [one, two]
    with pytest.raises(KeyError, match="q"):
        LifoBuffer(5).load_state(state, {"p": decisions["p"]})


# --- the trigger


def test_the_trigger_waits_for_enough_contexts() -> None:
    trigger = Trigger(batch_size=3, interval=1)
    assert [trigger.fires(held, now=1) for held in (0, 2, 3)] == [False, False, True]


@pytest.mark.parametrize(("interval", "expected"), [(1, [1, 2, 3, 4, 5, 6, 7]), (2, [2, 4, 6]), (3, [3, 6])])
def test_the_trigger_fires_once_in_m_standard_updates(interval: int, expected: list[int]) -> None:
    trigger = Trigger(batch_size=1, interval=interval)
    fired = [now for now in range(8) for _ in range(2) if trigger.fires(5, now)]
    assert fired == expected
    assert trigger.last == expected[-1]


def test_the_trigger_counts_from_when_it_fired() -> None:
    trigger = Trigger(batch_size=2, interval=3)
    assert not trigger.fires(1, 5)  # due, but too few: it stays due
    assert trigger.fires(2, 6)
    assert [trigger.fires(2, now) for now in (7, 8, 9)] == [False, False, True]
    resumed = Trigger(batch_size=2, interval=3, last=9)
    assert [resumed.fires(2, now) for now in (10, 11, 12)] == [False, False, True]
