"""The multi-turn harness, its checks and the recovery decomposition, on a domain of one light and one counter."""

import json
from collections.abc import Sequence
from io import StringIO
from typing import Any

import pytest
from pydantic import BaseModel
from rich.console import Console

from fission_grpo.chat import Rollout, Task, ToolCall, Turn
from fission_grpo.domains.base import Domain, ToolError
from fission_grpo.evaluation.episode import Agent, Conversation, Episode, ExecutionError, Halt, run
from fission_grpo.evaluation.recovery import Mean, Rate, Summary, category_table, recovery_table, summarise
from fission_grpo.evaluation.scripted import SPOILED, WRONG_CALL, Replay, ReplayWithErrors, Stuck
from fission_grpo.evaluation.tasks import plays
from fission_grpo.toolcall import render


class _State(BaseModel):
    level: int = 0
    """Never above 10."""
    label: str = "lamp"


class _Lamp(Domain):
    name = "lamp"
    State = _State

    def raise_level(self, by: int) -> dict[str, int]:
        """Raises the level.

        Args:
            by: How much.
        """
        if self.state.level + by > 10:
            raise ToolError("raise_level: the level cannot exceed 10")
        self.state.level += by
        return {"level": self.state.level}

    def read_level(self) -> dict[str, int]:
        """Reads the level."""
        return {"level": self.state.level}

    def read_label(self) -> str:
        """Reads the label."""
        return str(self.state.label)


_DOMAINS = {"lamp": _Lamp}


def _raise(by: int) -> ToolCall:
    return ToolCall("raise_level", {"by": by})


_READ, _LABEL = ToolCall("read_level"), ToolCall("read_label")


def _turn(*steps: Sequence[ToolCall], kind: str = "call") -> Turn:
    return Turn(user="Do it.", steps=[[c.to_openai() for c in step] for step in steps], reply="All right.", kind=kind)


def _task(*turns: Turn, name: str = "t", level: int = 0) -> Task:
    tools = ["raise_level", "read_level", "read_label"]
    state = {"level": level, "label": "Lämpchen"}
    return Task(id=name, domain="lamp", tools=tools, initial_state=state, turns=list(turns))


def run_tasks(
    tasks: Sequence[Task], agent: Agent, domains: dict[str, type[Domain]], *, max_steps: int = 10, **how: Any
) -> list[Episode]:
    return run(list(plays(tasks, domains, max_steps).values()), agent, **how)


class _Says:
    """Says the given texts in order, in every conversation; notes what was pending each time."""

    def __init__(self, *texts: str | Rollout) -> None:
        self.rollouts = [text if isinstance(text, Rollout) else Rollout(text, (), ()) for text in texts]
        self.pending: list[list[Any]] = []

    def act(self, conversations: Sequence[Conversation]) -> list[Rollout]:
        self.pending += [conversation.pending for conversation in conversations]
        return [self.rollouts[len(conversation.rollouts)] for conversation in conversations]


def _play(task: Task, *texts: str | Rollout, max_steps: int = 10) -> Episode:
    (episode,) = run_tasks([task], _Says(*texts), _DOMAINS, max_steps=max_steps)
    return episode


def _suite() -> list[Task]:
    return [
        _task(_turn([_raise(2)], [_raise(3)]), _turn([_READ]), name="a"),
        _task(_turn([_raise(1), _LABEL]), _turn(kind="missing_parameter"), name="b", level=4),
        _task(_turn(kind="missing_function"), _turn([_raise(1)]), name="c"),
        _task(_turn(kind="missing_function"), name="d"),
        _task(*[_turn([_raise(1)])] * 6, name="e"),
    ]


def test_replaying_the_reference_succeeds_everywhere_without_an_error() -> None:
    episodes = run_tasks(_suite(), Replay(), _DOMAINS)
    summary = summarise(episodes)
    assert [e.ended for e in episodes] == ["done"] * 5
    assert (summary.success.value, summary.one_shot.value, summary.recovery.value) == (1.0, 1.0, None)
    assert summary.errors == {}
    assert [e.steps for e in episodes] == [5, 3, 3, 1, 12]


def test_one_injected_error_per_task_is_recovered_from() -> None:
    episodes = run_tasks(_suite(), ReplayWithErrors(), _DOMAINS)
    summary = summarise(episodes)
    assert (summary.success.value, summary.one_shot.value, summary.recovery.value) == (1.0, 0.0, 1.0)
    assert summary.errors == {"unknown_tool": 5}
    assert (summary.identical_reinvocation.count, summary.identical_reinvocation.total) == (0, 5)
    assert [e.execution_errors[0].turn for e in episodes] == [0, 0, 1, 0, 0]  # before the first call of each


def test_the_stuck_agent_never_recovers() -> None:
    episodes = run_tasks(_suite(), Stuck(), _DOMAINS, max_steps=4)
    summary = summarise(episodes)
    assert {e.ended for e in episodes} == {"max_steps"}
    assert (summary.success.value, summary.recovery.value, summary.identical_reinvocation.value) == (0.0, 0.0, 1.0)
    assert summary.identical_reinvocation.total == 5 * 3
    assert summary.errors == {"unknown_tool": 5 * 4}


def test_the_state_decides_whatever_the_way() -> None:
    task = _task(_turn([_raise(4)]))
    assert _play(task, render([_raise(1)]), render([_raise(3)]), "Done.").success
    wrong = _play(task, render([_raise(5)]), "Done.")
    assert (wrong.success, wrong.ended, wrong.turns_passed) == (False, "check_failed", 0)
    assert not _play(task, "Done.").success
    looks_as_well = _task(_turn([_raise(4)], [_LABEL]))
    assert _play(looks_as_well, render([_raise(4)]), "Done.").success  # what changes the state requires no result


def test_the_state_is_checked_after_every_turn_and_the_first_failure_ends_the_episode() -> None:
    task = _task(_turn([_raise(1)]), _turn([_raise(1)]), _turn([_raise(1)]))
    episode = _play(task, render([_raise(1)]), "Done.", "Nothing to do.", render([_raise(2)]), "Done.")
    assert (episode.turns_passed, episode.steps, episode.ended) == (1, 3, "check_failed")


def test_a_lookup_must_obtain_the_reference_result_at_some_time() -> None:
    task = _task(_turn([_READ], [_LABEL]))
    assert not _play(task, "It is the lamp.").success
    assert not _play(task, render([_READ]), "Done.").success
    assert _play(task, render([_LABEL]), "Done.").success  # only the last step's results are required
    twice = _task(_turn([_LABEL]), _turn([_LABEL]))
    assert _play(twice, render([_LABEL]), "Done.", "As I said.").success


def test_a_lookup_result_must_be_the_same_and_not_only_of_the_same_call() -> None:
    task = _task(_turn([_READ]), level=3)
    assert _play(task, render([_READ, _LABEL]), "Done.").success
    assert not _play(task, render([_raise(1), _READ]), "Done.").success


def test_where_the_right_move_is_to_ask_no_call_may_succeed() -> None:
    task = _task(_turn(kind="missing_parameter"), level=9)
    assert _play(task, "Which one?").success
    assert not _play(task, render([_READ]), "Which one?").success  # although the state is the same
    refused = _play(task, render([_raise(5)]), "Which one?")
    assert refused.success
    assert [e.kind for e in refused.execution_errors] == ["tool_error"]


def test_one_malformed_call_refuses_the_whole_turn_with_one_tool_message() -> None:
    mixed = (
        render([_raise(1)]) + "\n<tool_call>\n{oops\n</tool_call>\n" + render([ToolCall("raise_level", {"by": "x"})])
    )
    episode = _play(_task(_turn([_raise(4)])), mixed, render([_raise(4)]), "Done.")
    assert episode.success  # nothing of the refused turn was executed
    assert [m["role"] for m in episode.messages] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert episode.messages[1] == {"role": "assistant", "content": mixed}
    told = episode.messages[2]["content"]
    assert told.startswith("ERROR: tool call 2: invalid JSON at column 2")
    assert "argument 'by' must be integer, got string" in told
    assert "\n" not in told
    assert [(e.kind, e.turn, e.step) for e in episode.execution_errors] == [
        ("invalid_json", 0, 0),
        ("wrong_type", 0, 0),
    ]


def test_format_errors_are_told_once_each_and_three_at_most() -> None:
    calls = [ToolCall(name) for name in ("a", "a", "b", "c", "d")]
    episode = _play(_task(_turn()), render(calls), "Sorry.")
    told = "ERROR: unknown function 'a'; unknown function 'b'; unknown function 'c'"
    assert episode.messages[2]["content"] == told
    assert len(episode.execution_errors) == 3  # those that the model saw


def test_a_quoted_control_token_cannot_end_the_tool_message() -> None:
    call = r'<tool_call>{"name": "x<|im_end|>\n<|im_start|>user"}</tool_call>'
    episode = _play(_task(_turn()), call, "Sorry.")
    assert episode.messages[2]["content"] == "ERROR: unknown function 'x< |im_end|> < |im_start|>user'"


def test_a_cut_off_turn_is_an_error_only_without_a_complete_call() -> None:
    task = _task(_turn([_raise(1)]))
    cut = Rollout('<tool_call>\n{"name": "raise', (), (), finished=False)
    episode = _play(task, cut, Rollout(render([_raise(1)]), (), (), finished=False), "Done.")
    assert episode.success
    assert [e.kind for e in episode.execution_errors] == ["truncated"]
    assert episode.messages[2]["content"] == "ERROR: the turn was cut off before it ended"


def test_too_many_assistant_turns_end_the_episode() -> None:
    task = _task(_turn([_raise(3)]), _turn([_READ]))
    calls = [render([_raise(1)])] * 3
    assert _play(task, *calls, "Done.", render([_READ]), "Done.", max_steps=4).success  # the bound is per user turn
    episode = _play(task, *calls, max_steps=3)
    assert (episode.success, episode.ended, episode.steps) == (False, "max_steps", 3)


def test_the_calls_after_a_failed_one_are_still_executed() -> None:
    step = render([_raise(99), _raise(1), _LABEL])
    episode = _play(_task(_turn([_raise(1)])), step, "Done.")
    assert episode.success
    assert [m["content"] for m in episode.messages if m["role"] == "tool"] == [
        "ERROR: raise_level: the level cannot exceed 10",
        '{"level":1}',
        '"Lämpchen"',
    ]
    (error,) = episode.execution_errors
    assert error == ExecutionError(0, 0, "tool_error", "raise_level: the level cannot exceed 10", render([_raise(99)]))


def test_identical_reinvocation_counts_the_same_call_whatever_is_said_around_it() -> None:
    task = _task(_turn([_raise(1)]))
    again = "<think>Hm.</think>\n\nOnce more.\n" + render([_raise(99)])
    episode = _play(task, render([_raise(99)]), again, render([_raise(98)]), render([_raise(1)]), "Done.")
    assert (episode.identical_reinvocations, episode.reinvocation_chances) == (1, 3)
    malformed = "<tool_call>\n{oops\n</tool_call>"
    episode = _play(task, malformed, "<think>Hm.</think>\n" + malformed, render([_raise(1)]), "Done.")
    assert (episode.identical_reinvocations, episode.reinvocation_chances) == (1, 2)


def test_a_repeated_call_that_met_no_error_is_no_reinvocation() -> None:
    episode = _play(_task(_turn([_raise(2)])), render([_raise(1)]), render([_raise(1)]), "Done.")
    assert (episode.identical_reinvocations, episode.reinvocation_chances) == (0, 0)


def test_the_agent_is_handed_only_what_is_new_to_it() -> None:
    agent = _Says(render([_raise(1), _READ]), "Done.", "Which one?")
    run_tasks([_task(_turn([_raise(1)]), _turn(kind="missing_parameter"))], agent, _DOMAINS)
    assert [[m["role"] for m in pending] for pending in agent.pending] == [["user"], ["tool", "tool"], ["user"]]


def test_thinking_stays_in_the_transcript() -> None:
    episode = _play(_task(_turn([_raise(1)])), "<think>One.</think>\nSure.\n" + render([_raise(1)]), "Done.")
    assert episode.messages[1]["content"] == "<think>One.</think>\n\nSure."
    assert [c["function"]["name"] for c in episode.messages[1]["tool_calls"]] == ["raise_level"]


class _Watched(ReplayWithErrors):
    """Notes the size of every batch, and which tasks had started by then."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.seen: list[Conversation] = []
        self.started: list[int] = []

    def act(self, conversations: Sequence[Conversation]) -> list[Rollout]:
        self.sizes.append(len(conversations))
        self.seen += [one for one in conversations if not any(one is other for other in self.seen)]
        self.started.append(len(self.seen))
        return super().act(conversations)


def test_batches_are_refilled_and_change_no_result() -> None:
    tasks = [task.model_copy(update={"id": f"{task.id}{i}"}) for i in range(2) for task in _suite()]
    watched, done = _Watched(), list[str]()
    together = run_tasks(tasks, watched, _DOMAINS, batch_size=3, on_done=lambda episode: done.append(episode.task))
    assert together == run_tasks(tasks, ReplayWithErrors(), _DOMAINS, batch_size=1)
    assert [episode.task for episode in together] == [task.id for task in tasks]
    assert sorted(done) == sorted(task.id for task in tasks)
    assert done != [task.id for task in tasks]  # reported as they end
    while_waiting = [n for n, started in zip(watched.sizes, watched.started, strict=True) if started < 10]
    assert while_waiting == [3] * len(while_waiting) != []
    assert sum(watched.sizes) == sum(episode.steps for episode in together)


def test_an_agent_that_answers_too_few_conversations_is_refused() -> None:
    class Lazy:
        def act(self, conversations: Sequence[Conversation]) -> list[Rollout]:
            return []

    with pytest.raises(ValueError, match="zip"):
        run_tasks(_suite(), Lazy(), _DOMAINS)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="unknown domains: lamp"):
        run_tasks(_suite(), Replay(), {})
    with pytest.raises(ValueError, match="at least 1"):
        run_tasks(_suite(), Replay(), _DOMAINS, batch_size=0)
    with pytest.raises(ValueError, match="task 'broken': its reference fails: raise_level"):
        run_tasks([_task(_turn([_raise(99)]), name="broken")], Replay(), _DOMAINS)
    assert run_tasks([], Replay(), _DOMAINS) == []


def test_the_episode_record_survives_json_and_holds_the_errors_the_model_saw() -> None:
    for episode in run_tasks(_suite(), ReplayWithErrors(), _DOMAINS):
        assert Episode.from_json(json.loads(json.dumps(episode.to_json()))) == episode
        heard = [m["content"] for m in episode.messages if m["role"] == "tool"]
        (error,) = episode.execution_errors
        assert error.calls == render([WRONG_CALL])
        assert f"ERROR: {error.message}" in heard


def _episode(
    success: bool,
    errors: Sequence[str] = (),
    *,
    category: str = "x",
    kinds: Sequence[str] = ("call",),
    **others: Any,
) -> Episode:
    met = [ExecutionError(0, i, kind, "no", "") for i, kind in enumerate(errors)]
    found: dict[str, Any] = {
        "identical_reinvocations": len(errors) // 2,
        "reinvocation_chances": len(errors),
        "steps_to_recover": [len(errors)] if errors and success else [],
        "unrecovered": int(bool(errors and not success)),
    }
    return Episode("t", category, list(kinds), 1, success=success, execution_errors=met, **(found | others))


def _mixed() -> list[Episode]:
    return [
        _episode(True),
        _episode(True, kinds=["call", "chained"]),
        _episode(True, ["tool_error"]),
        _episode(False, ["tool_error", "invalid_json"], category="y"),
        _episode(False, ["tool_error", "tool_error", "tool_error"], kinds=["chained"]),
        _episode(False, category="y"),
    ]


def _counts(rate: Rate) -> tuple[int, int]:
    return rate.count, rate.total


def test_the_decomposition_by_hand() -> None:
    summary = summarise(_mixed())
    assert summary.tasks == 6
    assert _counts(summary.success) == (3, 6)
    assert _counts(summary.one_shot) == (2, 6)
    assert _counts(summary.recovery) == (1, 3)
    assert _counts(summary.identical_reinvocation) == (2, 6)
    assert list(summary.errors.items()) == [("tool_error", 5), ("invalid_json", 1)]
    assert {name: _counts(part.recovery) for name, part in summary.by_category.items()} == {"x": (1, 2), "y": (0, 1)}
    assert {name: _counts(part.success) for name, part in summary.by_kind.items()} == {
        "call": (3, 5),
        "chained": (1, 2),
    }


def test_episodes_that_were_left_out_are_in_no_rate_but_one() -> None:
    out = [_episode(False, ended="context_full"), _episode(False, ["tool_error"], ended="endpoint_error", steps=2)]
    assert not _episode(False, ["tool_error"], ended="context_full", steps=2).left_out  # its own words filled it
    summary, without = summarise([*_mixed(), *out]), summarise(_mixed())
    assert summary.left_out == {"context_full": 1, "endpoint_error": 1}
    assert _counts(summary.of_all) == (3, 8)
    assert (summary.success, summary.recovery, summary.errors) == (without.success, without.recovery, without.errors)
    console = Console(file=StringIO(), width=160, color_system=None)
    console.print(recovery_table({"all": summary}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "left out: context_full" in text
    assert "37.5% 3/8" in text


def test_steps_to_recover_are_counted_from_the_error_to_calls_without_one_in_the_same_user_turn() -> None:
    task = _task(_turn([_raise(1)]), _turn([_READ]))
    wrong, right = render([_raise(99)]), render([_raise(1)])
    episode = _play(task, wrong, render([_raise(98)]), right, "Done.", wrong, "Sorry.")
    assert (episode.steps_to_recover, episode.unrecovered) == ([2], 1)
    twice = _play(_task(_turn([_raise(2)])), wrong, right, wrong, render([_raise(98)]), right, "Done.")
    assert (twice.success, twice.steps_to_recover, twice.unrecovered) == (True, [1, 2], 0)
    summary = summarise([episode, twice])
    assert _counts(summary.errors_recovered) == (3, 4)
    assert summary.steps_to_recover.value == pytest.approx(5 / 3)


def test_pass_k_by_hand() -> None:
    trials = [("a", (1, 1, 0, 0)), ("b", (1, 1, 1, 1)), ("c", (0, 0, 0, 1))]
    episodes = [_episode(bool(won), trial=i) for task, wins in trials for i, won in enumerate(wins)]
    for episode, task in zip(episodes, [t for t, wins in trials for _ in wins], strict=True):
        episode.task = task
    found = {k: mean.value for k, mean in summarise(episodes).pass_k.items()}
    assert found == pytest.approx({1: 7 / 12, 2: (1 / 6 + 1) / 3, 3: 1 / 3, 4: 1 / 3})
    assert summarise(_mixed()[:1]).pass_k == {}


def test_a_mean_has_a_bootstrap_interval() -> None:
    values = [1.0, 2.0, 4.0, 1.0, 2.0, 2.0, 3.0, 1.0]
    mean = Mean.of(values)
    assert (mean.value, mean.count) == (2.0, 8)
    assert mean.low is not None
    assert mean.high is not None
    half = 1.96 * 1.0 / 8**0.5  # the values' standard deviation is 1.0
    assert (mean.low, mean.high) == (pytest.approx(2 - half, abs=0.15), pytest.approx(2 + half, abs=0.15))
    assert Mean.of([]) == Mean(None, 0, None, None)
    assert Mean.of([3.0]).low is None


@pytest.mark.parametrize("workers", [1, 3])
def test_an_agent_that_cannot_go_on_halts_its_episode_alone(workers: int) -> None:
    class Halting(Replay):
        def act(self, conversations: Sequence[Conversation]) -> list[Any]:
            turns = super().act(conversations)
            full = Halt("context_full", "5 tokens")
            return [full if len(c.reference) == 6 else t for c, t in zip(conversations, turns, strict=True)]

    episodes = run_tasks(_suite(), Halting(), _DOMAINS, workers=workers, batch_size=1)
    assert [e.ended for e in episodes] == ["done"] * 4 + ["context_full"]
    assert (episodes[-1].detail, episodes[-1].success) == ("5 tokens", False)


def test_several_workers_change_no_result_and_one_that_fails_stops_all() -> None:
    tasks = [task.model_copy(update={"id": f"{task.id}{i}"}) for i in range(4) for task in _suite()]
    done: list[str] = []
    together = run_tasks(
        tasks, ReplayWithErrors(), _DOMAINS, workers=4, batch_size=2, on_done=lambda e: done.append(e.task)
    )
    assert together == run_tasks(tasks, ReplayWithErrors(), _DOMAINS)
    assert sorted(done) == sorted(task.id for task in tasks)
    broken = [*tasks, _task(_turn([_raise(99)]), name="broken"), *tasks]
    with pytest.raises(ValueError, match="task 'broken': its reference fails"):
        run_tasks(broken, Replay(), _DOMAINS, workers=4, batch_size=1)


def test_each_kind_of_injected_error_is_met_and_recovered_from() -> None:
    suite = [_task(_turn([_raise(2)]), name="a"), _task(_turn([_READ]), name="b")]
    kinds = {"unknown_tool": 2, "unknown_argument": 2, "missing_argument": 1}
    for kind, injected in kinds.items():
        summary = summarise(run_tasks(suite, ReplayWithErrors(kind), _DOMAINS))
        assert summary.errors == {kind: injected}
        assert (summary.success.value, summary.recovery.value) == (1.0, 1.0)
        unrecovered = summarise(run_tasks(suite, ReplayWithErrors(kind, recover=False), _DOMAINS))
        assert (unrecovered.success.count, unrecovered.recovery.count) == (2 - injected, 0)
    wrong = SPOILED["wrong_value"](ToolCall("f", {"a": [1, "x"], "b": True}))
    assert wrong == ToolCall("f", {"a": [-2, "no_such_x"], "b": True})


def test_the_table_by_category_has_a_row_for_each_and_for_all() -> None:
    console = Console(file=StringIO(), width=160, color_system=None)
    console.print(category_table(summarise(_mixed())))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in "x y all"] == ["x", "y", "all"]
    assert max(map(len, lines)) <= 80


def test_wilson_interval_against_the_published_value() -> None:
    rate = Rate.of(81, 263)  # Newcombe 1998, table I, method 3 (score): 0.2553 to 0.3662
    assert rate.value == pytest.approx(81 / 263)
    assert (rate.low, rate.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert Rate.of(0, 0) == Rate(None, 0, 0, None, None)
    with pytest.raises(ValueError):  # noqa: PT011  scipy's own wording
        Rate.of(3, 2)


def test_a_summary_survives_json() -> None:
    summary = summarise(_mixed())
    record = json.loads(json.dumps(summary.to_json()))
    assert set(record["recovery"]) == {"value", "count", "total", "low", "high"}
    assert Summary.from_json(record) == summary
    assert summarise([]).recovery.value is None


def test_the_table_compares_summaries_side_by_side() -> None:
    before, after = summarise(_mixed()), summarise(_mixed()[:3])
    console = Console(file=StringIO(), width=160, color_system=None)
    console.print(recovery_table({"before [base]": before, "after": after}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "before [base]" in text
    (recovery,) = [line for line in text.splitlines() if "recovery rate" in line]
    assert "33.3% 1/3 (6%–79%)" in recovery
    assert "100.0% 1/1" in recovery
    assert [line.split()[-2] for line in text.splitlines() if "invalid_json" in line] == ["0"]
