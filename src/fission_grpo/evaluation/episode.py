"""The multi-turn harness: plays tasks with an agent, executes its calls, checks every user turn.

A user turn is checked as BFCL's multi-turn suite (which the paper evaluates on, §4) checks it: the domain's state must
equal the state that the reference calls lead to, and what the reference merely looked up, the agent must have looked
up too. Ours: an episode ends at the first user turn that fails its check, since its outcome is decided. An error that
would have come later is thus never seen, so episodes that had silently failed by then are no part of the recovery rate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, Self

from fission_grpo.chat import (
    Message,
    Novelty,
    Rollout,
    Task,
    ToolCall,
    ToolSpec,
    Turn,
    assistant_message,
    error_message,
    result_message,
    tool_message,
)
from fission_grpo.domains.base import Domain, ToolError
from fission_grpo.toolcall import TRUNCATED, FormatError, ParsedTurn, Toolbox, parse, render, told

Ended = Literal["done", "check_failed", "max_steps", "context_full"]


@dataclass
class Conversation:
    """A dialogue in play, as the agent sees it. `task` is for scripted agents; a model must not look at it."""

    task: Task
    tools: list[ToolSpec]
    messages: list[Message] = field(default_factory=list)
    """Everything said so far."""
    pending: list[Message] = field(default_factory=list)
    """User and tool messages since the agent's last turn: what an agent that appends token ids has yet to append."""
    rollouts: list[Rollout] = field(default_factory=list)
    """The agent's turns so far, exactly as sampled."""
    context: Any = None
    """The agent's own slot, e.g. the token ids so far."""

    def _hear(self, *messages: Message) -> None:
        self.messages += messages
        self.pending += messages

    def _speak(self, rollout: Rollout, message: Message) -> None:
        self.rollouts.append(rollout)
        self.messages.append(message)
        self.pending = []


class Agent(Protocol):
    """Whatever can take the assistant's part."""

    def act(self, conversations: Sequence[Conversation]) -> Sequence[Rollout | None]:
        """The next assistant turn of every conversation, in their order; None where the dialogue is too long for it."""
        ...


@dataclass(frozen=True)
class ExecutionError:
    """One tool error or format error that the model saw."""

    turn: int
    """User turn, from 0."""
    step: int
    """Assistant turn within the user turn, from 0."""
    kind: str
    """`tool_error`, or the kind of the format error."""
    message: str
    calls: str
    """The refused call, or the whole assistant turn for a format error, as text."""


@dataclass
class Episode:
    """What became of one task."""

    task: str
    domain: str
    kinds: list[str]
    """Kinds of the task's turns, sorted, each once."""
    turns: int
    novelty: Novelty = "none"
    """As `Task.novelty`."""
    turns_passed: int = 0
    success: bool = False
    ended: Ended = "check_failed"
    steps: int = 0
    """Assistant turns in all."""
    execution_errors: list[ExecutionError] = field(default_factory=list)
    identical_reinvocations: int = 0
    """Assistant turns that repeat, directly after an error, exactly the calls (or the text) that met it."""
    reinvocation_chances: int = 0
    """Assistant turns directly after an error."""
    messages: list[Message] = field(default_factory=list)
    """The transcript. A malformed assistant turn stands in it as plain text, never as `tool_calls`."""

    def to_json(self) -> dict[str, Any]:
        """The episode as JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """The episode that `to_json` wrote."""
        return cls(**{**record, "execution_errors": [ExecutionError(**error) for error in record["execution_errors"]]})


def run_tasks(
    tasks: Sequence[Task],
    agent: Agent,
    domains: Mapping[str, type[Domain]],
    *,
    max_steps: int = 10,
    batch_size: int = 32,
    on_done: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Plays every task; returns the episodes in the order of `tasks`.

    Up to `batch_size` episodes are in play at once, and a new one starts as soon as one ends. `max_steps` bounds the
    assistant turns, closing words included, of one user turn. `on_done` is called as episodes end, in that order.
    Raises ValueError for a bad limit, an unknown domain or a task whose reference calls fail, KeyError for an unknown
    tool of a task.
    """
    if max_steps < 1 or batch_size < 1:
        raise ValueError("max_steps and batch_size must be at least 1")
    if unknown := {task.domain for task in tasks} - set(domains):
        raise ValueError(f"unknown domains: {', '.join(sorted(unknown))}")
    plays = [play(task, domains[task.domain], max_steps) for task in tasks]
    active: dict[int, Conversation] = {}
    ended: dict[int, Episode] = {}

    def advance(index: int, rollout: Rollout | None) -> None:
        try:
            active[index] = plays[index].send(rollout)
        except StopIteration as stop:
            active.pop(index, None)
            ended[index] = stop.value
            if on_done is not None:
                on_done(stop.value)

    waiting = iter(range(len(tasks)))
    while len(ended) < len(tasks):
        while len(active) < batch_size and (index := next(waiting, None)) is not None:
            advance(index, None)
        indices = list(active)
        rollouts = agent.act([active[index] for index in indices]) if indices else []
        for index, rollout in zip(indices, rollouts, strict=True):
            advance(index, rollout)
    return [ended[index] for index in range(len(tasks))]


def play(task: Task, domain: type[Domain], max_steps: int) -> Generator[Conversation, Rollout | None, Episode]:
    """One episode as a coroutine: yields the conversation whenever it is the assistant's turn, is sent the rollout.

    None in place of a rollout ends it: the agent cannot go on.
    """
    tools = domain.specs(task.tools)
    toolbox = Toolbox(tools)  # cheap: schemas are compiled once per process
    world, reference = domain.restore(task.initial_state), domain.restore(task.initial_state)
    conversation = Conversation(task, tools)
    kinds = sorted({turn.kind for turn in task.turns})
    episode = Episode(task.id, task.domain, kinds, len(task.turns), task.novelty, messages=conversation.messages)
    obtained: set[str] = set()
    for number, turn in enumerate(task.turns):
        required = _replay(reference, turn, task.id)
        conversation._hear({"role": "user", "content": turn.user})
        moves: list[_Move] = []
        while not moves or not moves[-1].closes:
            if len(moves) == max_steps:
                episode.ended = "max_steps"
                return episode
            rollout = yield conversation
            if rollout is None:
                episode.ended = "context_full"
                return episode
            move = _take(rollout, toolbox, world)
            conversation._speak(rollout, move.message)
            conversation._hear(*move.answers)
            _record(episode, number, moves, move)
            moves.append(move)
            obtained |= move.results
        called = any(move.results for move in moves)
        if (called and not turn.steps) or not required <= obtained or world.snapshot() != reference.snapshot():
            return episode
        episode.turns_passed += 1
    episode.success, episode.ended = True, "done"
    return episode


@dataclass(frozen=True)
class _Failure:
    kind: str
    message: str
    calls: str


@dataclass(frozen=True)
class _Move:
    """What one assistant turn came to."""

    message: Message
    invocation: str
    """What it invoked: equal for equal calls, or for equal text where nothing parsed."""
    answers: tuple[Message, ...] = ()
    results: frozenset[str] = frozenset()
    """Results of the calls that succeeded, as canonical JSON."""
    failures: tuple[_Failure, ...] = ()

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
        failures = tuple(_Failure(error.kind, error.message, rollout.text) for error in errors)
        return _Move(assistant_message(rollout.text, ()), invocation, (answer,), failures=failures)
    if not parsed.calls:
        return _Move(assistant_message(rollout.text, ()), invocation)
    thinking = f"<think>{parsed.think}</think>\n\n" if parsed.think else ""
    message = assistant_message(thinking + parsed.text, parsed.calls)
    answers, results, failures = _execute(parsed.calls, world)
    return _Move(message, invocation, answers, results, failures)


def _execute(
    calls: Sequence[ToolCall], world: Domain
) -> tuple[tuple[Message, ...], frozenset[str], tuple[_Failure, ...]]:
    """Executes the calls in order, each whatever became of those before it, as parallel calls are executed."""
    answers, results, failures = [], set(), []
    for call in calls:
        try:
            result = world.call(call)
        except ToolError as error:
            answers.append(tool_message(error_message(str(error))))
            failures.append(_Failure("tool_error", str(error), render([call])))
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


def _record(episode: Episode, turn: int, before: Sequence[_Move], move: _Move) -> None:
    """Counts one assistant turn, and compares it with the one before where that met an error."""
    episode.steps += 1
    for failure in move.failures:
        error = ExecutionError(turn, len(before), failure.kind, failure.message, failure.calls)
        episode.execution_errors.append(error)
    if before and before[-1].failures:
        episode.reinvocation_chances += 1
        episode.identical_reinvocations += move.invocation == before[-1].invocation


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
