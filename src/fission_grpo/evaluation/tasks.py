"""Our own tasks as a source of episodes: the agent's calls are executed in a domain, and every user turn is checked.

A user turn is checked as BFCL's multi-turn suite (which the paper evaluates on, §4) checks it: the domain's state must
equal the state that the reference calls lead to, and what the reference merely looked up, the agent must have looked
up too. Ours: an episode ends at the first user turn that fails its check, since its outcome is decided. An error that
would have come later is thus never seen, so episodes that had silently failed by then are no part of the recovery rate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from fission_grpo.chat import (
    Message,
    Rollout,
    Task,
    ToolCall,
    Turn,
    assistant_message,
    error_message,
    result_message,
    tool_message,
)
from fission_grpo.domains.base import Domain, ToolError
from fission_grpo.evaluation.episode import Conversation, Episode, Failure, Halt, Play, Record, ReferenceTurn, Step
from fission_grpo.toolcall import TRUNCATED, FormatError, ParsedTurn, Toolbox, parse, render, told


def plays(
    tasks: Sequence[Task], domains: Mapping[str, type[Domain]], max_steps: int
) -> dict[tuple[str, int], Callable[[], Play]]:
    """How to play each task, in order, by its id and trial.

    `max_steps` bounds one user turn's assistant turns, the last words included.

    Raises ValueError for a bad limit or an unknown domain. A play raises ValueError where its reference calls fail,
    and KeyError for an unknown tool.
    """
    if max_steps < 1:
        raise ValueError("max_steps must be at least 1")
    if unknown := {task.domain for task in tasks} - set(domains):
        raise ValueError(f"unknown domains: {', '.join(sorted(unknown))}")
    return {(task.id, 0): partial(play, task, domains[task.domain], max_steps) for task in tasks}


def play(task: Task, domain: type[Domain], max_steps: int) -> Play:
    """One episode."""
    tools = domain.specs(task.tools)
    toolbox = Toolbox(tools)  # cheap: schemas are compiled once per process
    world, reference = domain.restore(task.initial_state), domain.restore(task.initial_state)
    conversation = Conversation(tools, [ReferenceTurn(turn.calls, turn.reply) for turn in task.turns])
    kinds = sorted({turn.kind for turn in task.turns})
    episode = Episode(task.id, task.domain, kinds, len(task.turns), task.novelty, messages=conversation.messages)
    record, obtained = Record(episode), set[str]()
    for turn in task.turns:
        required = _replay(reference, turn, task.id)
        record.begin_turn()
        conversation.hear({"role": "user", "content": turn.user})
        moves: list[_Move] = []
        while not moves or not moves[-1].closes:
            if len(moves) == max_steps:
                episode.ended = "max_steps"
                return episode
            rollout = yield conversation
            if isinstance(rollout, Halt):
                episode.ended, episode.detail = rollout.ended, rollout.detail
                return episode
            move = _take(rollout, toolbox, world)
            conversation.speak(rollout, move.message)
            conversation.hear(*move.answers)
            record.add(Step(move.invocation, bool(move.message.get("tool_calls")), move.failures))
            moves.append(move)
            obtained |= move.results
        called = any(move.results for move in moves)
        if (called and not turn.steps) or not required <= obtained or world.snapshot() != reference.snapshot():
            return episode
        episode.turns_passed += 1
    episode.success, episode.ended = True, "done"
    return episode


@dataclass(frozen=True)
class _Move:
    """What one assistant turn came to."""

    message: Message
    invocation: str
    """What it invoked: equal for equal calls, or for equal text where nothing parsed."""
    answers: tuple[Message, ...] = ()
    results: frozenset[str] = frozenset()
    """Results of the calls that succeeded, as canonical JSON."""
    failures: tuple[Failure, ...] = ()

    @property
    def closes(self) -> bool:
        """Whether it ends the user turn: nothing was called and nothing was wrong."""
        return not self.answers


def _take(rollout: Rollout, toolbox: Toolbox, world: Domain) -> _Move:
    """Parses one assistant turn and executes its calls on `world`. A turn with any format error is refused whole."""
    parsed = parse(rollout.text, toolbox)
    invocation = _invocation(rollout, parsed)
    if errors := _format_errors(rollout, parsed):
        answer = tool_message(error_message("; ".join(error.message for error in errors)))
        failures = tuple(Failure(error.kind, error.message, rollout.text) for error in errors)
        return _Move(assistant_message(rollout.text, ()), invocation, (answer,), failures=failures)
    if not parsed.calls:
        return _Move(assistant_message(rollout.text, ()), invocation)
    thinking = f"<think>{parsed.think}</think>\n\n" if parsed.think else ""
    message = assistant_message(thinking + parsed.text, parsed.calls)
    answers, results, failures = _execute(parsed.calls, world)
    return _Move(message, invocation, answers, results, failures)


def _execute(
    calls: Sequence[ToolCall], world: Domain
) -> tuple[tuple[Message, ...], frozenset[str], tuple[Failure, ...]]:
    """Executes the calls in order, each whatever became of those before it, as parallel calls are executed."""
    answers, results, failures = [], set(), []
    for call in calls:
        try:
            result = world.call(call)
        except ToolError as error:
            answers.append(tool_message(error_message(str(error))))
            failures.append(Failure("tool_error", str(error), render([call])))
        else:
            answers.append(tool_message(result_message(result)))
            results.add(_canonical(result))
    return tuple(answers), frozenset(results), tuple(failures)


def _format_errors(rollout: Rollout, parsed: ParsedTurn) -> tuple[FormatError, ...]:
    """What the model is told is wrong. A cut-off turn without a call is told just that: its open tags follow."""
    if not rollout.finished and not parsed.calls:
        return (TRUNCATED,)
    return told(parsed.errors)


def _invocation(rollout: Rollout, parsed: ParsedTurn) -> str:
    if not parsed.calls:
        return rollout.text.rpartition("</think>")[2].strip()
    # The errors tell apart turns whose calls parsed only in part.
    return _canonical([[asdict(call) for call in parsed.calls], [error.message for error in parsed.errors]])


def _replay(reference: Domain, turn: Turn, task_id: str) -> frozenset[str]:
    """Executes the reference calls; returns the required results: those of the last step where no state changed."""
    before = reference.snapshot()
    results: list[str] = []
    try:
        for calls in turn.calls:
            results = [_canonical(reference.call(call)) for call in calls]
    except ToolError as error:
        raise ValueError(f"task '{task_id}': its reference fails: {error}") from error
    return frozenset(results) if reference.snapshot() == before else frozenset()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
