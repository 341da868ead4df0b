"""BFCL by the official loop: ground truth, injected errors, attacks, limits. Creates BFCL's environment if need be."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fission_grpo.chat import Rollout, ToolCall
from fission_grpo.evaluation.bfcl import client
from fission_grpo.evaluation.bfcl import play as bfcl
from fission_grpo.evaluation.bfcl.client import BfclError, Servers
from fission_grpo.evaluation.environment import BFCL, python_of
from fission_grpo.evaluation.episode import Agent, Conversation, Episode, Halt, run
from fission_grpo.evaluation.recovery import Rate, summarise
from fission_grpo.evaluation.scripted import Replay, ReplayWithErrors, Stuck
from fission_grpo.toolcall import render


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers(python_of(BFCL, print)) as made:
        yield made


@pytest.fixture(scope="module")
def entries(servers: Servers) -> dict[str, list[dict[str, Any]]]:
    return {category: servers.load(category) for category in bfcl.CATEGORIES}


def _run(entries: Sequence[dict[str, Any]], agent: Agent, servers: Servers) -> list[Episode]:
    plays: list[Callable[[], Any]] = [lambda entry=entry: bfcl.play(entry, servers) for entry in entries]
    return run(plays, agent, batch_size=1, workers=2)


class _Says:
    """Says the given texts in order."""

    def __init__(self, *texts: str | Rollout | Halt) -> None:
        self.turns = [text if not isinstance(text, str) else Rollout(text, (), ()) for text in texts]
        self.tools: list[list[str]] = []
        self.messages: list[list[Any]] = []

    def act(self, conversations: Sequence[Conversation]) -> list[Rollout | Halt]:
        (one,) = conversations
        self.tools.append([tool["function"]["name"] for tool in one.tools])
        self.messages.append(list(one.messages))
        return [self.turns[len(one.rollouts)] if len(one.rollouts) < len(self.turns) else Rollout("Done.", (), ())]


def _told(episode: Episode) -> list[str]:
    return [message["content"] for message in episode.messages if message["role"] == "tool"]


def _counts(rate: Rate | None) -> tuple[int, int]:
    assert rate is not None
    return rate.count, rate.total


@pytest.mark.parametrize("category", bfcl.CATEGORIES)
def test_the_ground_truth_passes_everywhere_without_an_error(
    category: str, entries: dict[str, list[dict[str, Any]]], servers: Servers
) -> None:
    summary = summarise(_run(entries[category], Replay(), servers))
    assert _counts(summary.one_shot) == _counts(summary.strict) == (200, 200)
    assert (summary.errors, summary.unheard) == ({}, {})


@pytest.mark.parametrize(
    ("kind", "seen", "unseen"),
    [
        ("unknown_tool", (200, 200), (0, 0)),
        ("unknown_argument", (200, 200), (0, 0)),
        ("missing_argument", (166, 166), (0, 0)),
        ("wrong_value", (101, 101), (66, 78)),
    ],
)
def test_injected_errors_are_recovered_from_as_often_as_the_package_allows(
    kind: str,
    seen: tuple[int, int],
    unseen: tuple[int, int],
    entries: dict[str, list[dict[str, Any]]],
    servers: Servers,
) -> None:
    spoiled = [e for e in entries["multi_turn_base"] if kind != "wrong_value" or _first_call(e)["arguments"]]
    episodes = _run(spoiled, ReplayWithErrors(kind), servers)
    # The first assistant turn is the wrong call: it met an error, or passed in silence.
    at_once = [any((error.turn, error.step) == (0, 0) for error in e.execution_errors) for e in episodes]
    met = [e.success for e, error in zip(episodes, at_once, strict=True) if error]
    silent = [e.success for e, error in zip(episodes, at_once, strict=True) if not error]
    assert (sum(met), len(met)) == seen
    if kind == "wrong_value":
        assert (sum(silent), len(silent)) == unseen
    if kind in ("unknown_tool", "unknown_argument"):
        assert {error.kind for e in episodes for error in e.execution_errors} == {kind}
        assert summarise(episodes).steps_to_recover.value == 1


def _first_call(entry: dict[str, Any]) -> dict[str, Any]:
    return dict(next(turn for turn in entry["reference"] if turn)[0])


@pytest.mark.parametrize(
    ("kind", "passing"), [("unknown_tool", 0), ("unknown_argument", 0), ("missing_argument", 33), ("wrong_value", 18)]
)
def test_without_the_recovery_only_what_did_no_harm_passes(
    kind: str, passing: int, entries: dict[str, list[dict[str, Any]]], servers: Servers
) -> None:
    spoiled = [e for e in entries["multi_turn_base"] if kind != "wrong_value" or _first_call(e)["arguments"]]
    summary = summarise(_run(spoiled, ReplayWithErrors(kind, recover=False), servers))
    assert _counts(summary.success)[0] == passing
    assert summary.recovery.count == 0


def test_the_stuck_agent_is_forced_to_quit_and_never_recovers(
    entries: dict[str, list[dict[str, Any]]], servers: Servers
) -> None:
    episodes = _run(entries["multi_turn_base"][:10], Stuck(), servers)
    summary = summarise(episodes)
    assert {e.ended for e in episodes} == {"max_steps"}
    assert {e.steps for e in episodes} == {bfcl.MAX_STEPS + 1}
    assert (summary.success.value, summary.recovery.value, summary.identical_reinvocation.value) == (0.0, 0.0, 1.0)


def test_the_official_figure_forgives_what_the_strict_one_does_not(
    entries: dict[str, list[dict[str, Any]]], servers: Servers
) -> None:
    class Rash(Replay):
        """Makes a failing call in every turn in which it should ask."""

        def script(self, conversation: Conversation) -> Iterator[str]:
            for turn in conversation.reference:
                yield from map(render, turn.steps or (((ToolCall("no_such_function")),),))
                yield turn.reply

    summary = summarise(_run(entries["multi_turn_miss_param"][:40], Rash(), servers))
    assert _counts(summary.success) == (40, 40)
    assert _counts(summary.strict) == (0, 40)


def test_withheld_functions_are_added_when_the_official_loop_adds_them(
    entries: dict[str, list[dict[str, Any]]], servers: Servers
) -> None:
    entry = entries["multi_turn_miss_func"][0]
    agent = _Says()
    _run([entry], agent, servers)
    assert ["sort" in tools for tools in agent.tools] == [False, False, False, True, True]
    assert agent.messages[3][-1] == {"role": "user", "content": bfcl.NEW_FUNCTIONS}


def test_every_tool_is_shown_in_openai_form(entries: dict[str, list[dict[str, Any]]]) -> None:
    from fission_grpo.toolcall import Toolbox

    found = set()
    for entry in (one for category in bfcl.CATEGORIES for one in entries[category]):
        specs = bfcl._specs(entry["function"])
        Toolbox(specs)
        found |= set(_types([spec["function"]["parameters"] for spec in specs]))
        assert not any("response" in spec["function"] for spec in specs)
    assert found == {"object", "string", "integer", "number", "boolean", "array"}


def test_a_float_is_told_as_the_package_tells_it(entries: dict[str, list[dict[str, Any]]]) -> None:
    entry = next(e for e in entries["multi_turn_base"] if "MathAPI" in e["involved_classes"])
    (add,) = [spec["function"] for spec in bfcl._specs(entry["function"]) if spec["function"]["name"] == "add"]
    assert add["parameters"]["properties"]["a"] == {
        "type": "number",
        "format": "float",
        "description": "First number. This is a float type value.",
    }


def _types(schema: Any) -> Iterator[str]:
    for inner in schema if isinstance(schema, list) else schema.values():
        if isinstance(inner, dict):
            if isinstance(inner.get("type"), str):
                yield inner["type"]
            yield from _types(inner)
        elif isinstance(inner, list):
            yield from _types([one for one in inner if isinstance(one, dict)])


def _files(entries: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return entries["multi_turn_base"][0]  # a file system


def _maths(entries: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return next(e for e in entries["multi_turn_base"] if "MathAPI" in e["involved_classes"])


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("__import__('os').system", {"command": "touch MARK"}),
        ToolCall("__import__('subprocess').run(['touch', 'MARK']) or ls", {}),
        ToolCall("ls(__import__('os').system('touch MARK')) or ls", {}),
        ToolCall("sys.exit", {}),
        ToolCall("exit", {}),
        ToolCall("_load_scenario", {"scenario": {}}),
        ToolCall("__class__", {}),
        ToolCall("ls", {"a=__import__('os').system('touch MARK'), b": 1}),
        ToolCall("ls", {"**": {"a": 1}}),
        ToolCall("cd", {"folder": "'+__import__('os').system('touch MARK')+'"}),
        ToolCall("cd", {"folder": {"__class__": "str"}}),
    ],
)
def test_nothing_that_a_model_says_is_evaluated(
    call: ToolCall, entries: dict[str, list[dict[str, Any]]], servers: Servers, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    armed = ToolCall(*json.loads(json.dumps([call.name, call.arguments]).replace("MARK", str(mark))))
    (episode,) = _run([_files(entries)], _Says(render([armed])), servers)
    assert not mark.exists()
    assert len(episode.execution_errors) == 1
    assert episode.execution_errors[0].kind in ("unknown_tool", "unknown_argument", "exception", "tool_error")
    assert (episode.ended, episode.success) == ("check_failed", False)  # and the checker came to its verdict


def test_a_call_that_never_returns_is_an_error_and_the_rollout_goes_on(
    entries: dict[str, list[dict[str, Any]]], servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CALL_SECONDS", 2.0)
    entry = _maths(entries)
    hanging = ToolCall("power", {"base": 99, "exponent": 99999999})
    script = [render([hanging])]
    for turn in entry["reference"]:
        script += [*([render([ToolCall(**call) for call in turn])] if turn else []), "Done."]
    start = time.monotonic()
    (episode,) = _run([entry], _Says(*script), servers)
    assert time.monotonic() - start < 20
    assert [error.kind for error in episode.execution_errors] == ["timeout"]
    assert (episode.success, episode.steps_to_recover[:1]) == (True, [1])


def test_a_string_that_looks_like_a_call_stays_a_string(
    entries: dict[str, list[dict[str, Any]]], servers: Servers
) -> None:
    entry = _files(entries)
    text = "run sort(x), then 'ls'(y) \\( \\\\( é"
    with servers.world(entry) as world:
        assert world.execute(ToolCall("touch", {"file_name": "note.txt"})).kind is None
        made = [
            ToolCall("touch", {"file_name": "note.txt"}),
            ToolCall("echo", {"content": text, "file_name": "note.txt"}),
        ]
        assert world.execute(made[1]).kind is None
        seen = json.loads(world.execute(ToolCall("cat", {"file_name": "note.txt"})).text)
        assert seen == {"file_content": text}
        # The checker executes the same calls again, and compares with a truth that never held a bracket.
        truth = ["touch(file_name='note.txt')", f"echo(content={text!r}, file_name='note.txt')".replace("(x", "\\x28x")]
        truth[1] = truth[1].replace("(y", "\\x28y").replace("\\\\(", "\\\\\\x28")
        assert world.judge([[made]], [truth]).valid
        assert not world.judge([[made[:1]]], [truth]).valid


def test_what_is_no_error_by_the_packages_rule_is_told_apart(
    entries: dict[str, list[dict[str, Any]]], servers: Servers
) -> None:
    every = [e for category in bfcl.CATEGORIES for e in entries[category]]
    with servers.world(next(e for e in every if "TicketAPI" in e["involved_classes"])) as world:
        world.execute(ToolCall("logout"))
        assert world.execute(ToolCall("get_user_tickets")).kind == "tool_error"  # [{"error": …}]
        assert world.execute(ToolCall("ticket_login", {"username": "", "password": ""})).soft
    with servers.world(next(e for e in every if "TradingBot" in e["involved_classes"])) as world:
        world.execute(ToolCall("trading_logout"))
        assert world.execute(ToolCall("get_watchlist")).kind == "tool_error"  # ["Error: …"]
        assert world.execute(ToolCall("get_stock_info", {"symbol": "NOPE"})).kind in ("tool_error", None)


def test_malformed_calls_are_dropped_in_silence_and_noted(
    entries: dict[str, list[dict[str, Any]]], servers: Servers
) -> None:
    entry = _files(entries)
    cut = Rollout('<tool_call>\n{"name": "ls"', (), (), finished=False)
    flood = render([ToolCall("ls")] * 10_000)
    mixed = render([ToolCall("ls", {"a": True})]) + "\n<tool_call>\n{oops\n</tool_call>"
    (episode,) = _run([entry], _Says("<tool_call>\n{oops\n</tool_call>", cut, flood, mixed, "Done."), servers)
    assert episode.unheard == {"invalid_json": 2, "truncated": 1, "too_many_calls": 1}
    assert (episode.turns, episode.steps) == (4, 5)  # three turns ended at once; in the fourth the good call was made
    assert len(_told(episode)) == 1
    assert [error.kind for error in episode.execution_errors] == []


def test_numbers_reach_a_tool_as_they_were_written(entries: dict[str, list[dict[str, Any]]], servers: Servers) -> None:
    calls = [ToolCall("add", {"a": 1.0, "b": 2.0}), ToolCall("add", {"a": 1, "b": 2})]
    (episode,) = _run([_maths(entries)], _Says(render(calls)), servers)
    assert _told(episode) == ['{"result": 3.0}', '{"result": 3}']


def test_a_halt_ends_the_episode_and_rollouts_share_nothing(
    entries: dict[str, list[dict[str, Any]]], servers: Servers
) -> None:
    entry = _files(entries)
    (halted,) = _run(
        [entry], _Says(render([ToolCall("mkdir", {"dir_name": "new"})]), Halt("context_full", "long")), servers
    )
    assert (halted.ended, halted.detail) == ("context_full", "long")
    again = [_run([entry], Replay(), servers)[0] for _ in range(3)]
    assert Counter(e.success for e in again) == {True: 3}


def test_limits_and_a_python_without_the_package(servers: Servers, tmp_path: Path) -> None:
    plays = bfcl.plays(servers, ["multi_turn_base", "multi_turn_miss_func"], limit=3)
    assert list(plays) == [(f"multi_turn_{name}_{i}", 0) for name in ("base", "miss_func") for i in range(3)]
    import sys

    with Servers(Path(sys.executable)) as broken, pytest.raises(BfclError, match="does not load 'multi_turn_base'"):
        broken.load("multi_turn_base")


def test_a_huge_number_is_an_error_in_the_packages_words(
    entries: dict[str, list[dict[str, Any]]], servers: Servers
) -> None:
    (episode,) = _run([_maths(entries)], _Says(render([ToolCall("power", {"base": 99, "exponent": 9999})])), servers)
    assert [error.kind for error in episode.execution_errors] == ["exception"]
    assert _told(episode)[0].startswith("Error during execution: Exceeds the limit")


def test_hanging_calls_end_in_refusals_and_a_process_that_dies_in_an_outcome(
    entries: dict[str, list[dict[str, Any]]], servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CALL_SECONDS", 0.5)
    hanging = ToolCall("power", {"base": 99, "exponent": 99999999})
    start = time.monotonic()
    (episode,) = _run([_maths(entries)], _Says(render([hanging] * 100)), servers)
    assert time.monotonic() - start < 20
    assert Counter(error.kind for error in episode.execution_errors) == {"timeout": 100}
    assert "too many calls gave no answer" in _told(episode)[-1]
    monkeypatch.setattr(client, "LONG_SECONDS", 0.0001)
    (lost,) = _run([_files(entries)], Replay(), servers)
    assert (lost.ended, lost.strict) == ("check_failed", False)
    assert lost.detail.startswith("BFCL's process failed: no answer within")
