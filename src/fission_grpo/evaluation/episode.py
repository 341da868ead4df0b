"""The harness: an agent plays multi-turn episodes from any source of tasks, and what it did is recorded in one form.

A source (our own tasks, BFCL, TAU2) writes a `Play`: a coroutine that yields the conversation whenever it is the
assistant's turn, is sent that turn, and returns the `Episode`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any, Literal, Protocol, Self

from fission_grpo.chat import Message, Novelty, Rollout, ToolCall, ToolSpec

Ended = Literal["done", "check_failed", "max_steps", "context_full", "endpoint_error"]


@dataclass(frozen=True)
class Halt:
    """In place of an assistant turn: why the agent cannot go on. Ends the episode."""

    ended: Literal["context_full", "endpoint_error"]
    detail: str = ""


@dataclass(frozen=True)
class ReferenceTurn:
    """What a perfect agent does in one user turn: its calls, one tuple per assistant turn, and its closing words."""

    steps: tuple[tuple[ToolCall, ...], ...]
    reply: str = ""


@dataclass
class Conversation:
    """A dialogue in play, as the agent sees it. `reference` is for scripted agents; a model must not look at it."""

    tools: list[ToolSpec]
    reference: Sequence[ReferenceTurn] = ()
    messages: list[Message] = field(default_factory=list)
    """Everything said so far."""
    pending: list[Message] = field(default_factory=list)
    """User and tool messages since the agent's last turn: what an agent that appends token ids has yet to append."""
    rollouts: list[Rollout] = field(default_factory=list)
    """The agent's turns so far, exactly as sampled."""
    context: Any = None
    """The agent's own slot, e.g. the token ids so far."""

    def hear(self, *messages: Message) -> None:
        """What the user or the tools say."""
        self.messages += messages
        self.pending += messages

    def speak(self, rollout: Rollout, message: Message) -> None:
        """The assistant's turn, as sampled and as it stands in the dialogue."""
        self.rollouts.append(rollout)
        self.messages.append(message)
        self.pending = []

    def show(self, tools: list[ToolSpec]) -> None:
        """Other tools from here on. They stand at the dialogue's beginning, so the agent has to read it anew."""
        self.tools, self.context = tools, None


class Agent(Protocol):
    """Whatever can take the assistant's part."""

    def act(self, conversations: Sequence[Conversation]) -> Sequence[Rollout | Halt]:
        """The next assistant turn of every conversation, in their order."""
        ...


@dataclass(frozen=True)
class Failure:
    """One error that an assistant turn met: its kind, what the model was told, and the refused call as text."""

    kind: str
    message: str
    calls: str


@dataclass(frozen=True)
class Step:
    """What one assistant turn came to."""

    invocation: str
    """What it invoked: equal for equal calls, or for equal text where nothing parsed."""
    called: bool
    """Whether it called any tool."""
    failures: tuple[Failure, ...] = ()
    """Errors that the model saw."""
    soft_failures: int = 0
    """Calls whose result says that they achieved nothing, without being an error."""


@dataclass(frozen=True)
class ExecutionError:
    """One tool error or format error that the model saw."""

    turn: int
    """User turn, from 0."""
    step: int
    """Assistant turn within the user turn, from 0."""
    kind: str
    """`tool_error`, the kind of the format error, or a kind of the source's own."""
    message: str
    calls: str
    """The refused call, or the whole assistant turn for a format error, as text."""


@dataclass
class Episode:
    """What became of one task."""

    task: str
    category: str
    """The part of its source that it belongs to: one of our domains, a BFCL category, a TAU2 domain."""
    kinds: list[str]
    """Kinds of the task's turns, sorted, each once."""
    turns: int
    """User turns that the task has; 0 where the user decides as the dialogue goes."""
    novelty: Novelty = "none"
    """As `Task.novelty`."""
    trial: int = 0
    """From 0, where a task is played several times."""
    turns_passed: int = 0
    success: bool = False
    strict: bool | None = None
    """Success by the stricter of two verdicts, where the source has two."""
    ended: Ended = "check_failed"
    detail: str = ""
    """Why it ended so, in words, where there is more to say."""
    steps: int = 0
    """Assistant turns in all."""
    execution_errors: list[ExecutionError] = field(default_factory=list)
    soft_failures: int = 0
    """Calls whose result says that they achieved nothing, without being an error."""
    unheard: dict[str, int] = field(default_factory=dict)
    """Malformed assistant turns that met silence instead of an error, by kind: what the source drops."""
    steps_to_recover: list[int] = field(default_factory=list)
    """For each error recovered from: assistant turns from it to the next calls without one, in its user turn."""
    unrecovered: int = 0
    """Errors, consecutive ones counted once, after which their user turn had no calls without one."""
    identical_reinvocations: int = 0
    """Assistant turns that repeat, directly after an error, exactly the calls (or the text) that met it."""
    reinvocation_chances: int = 0
    """Assistant turns directly after an error."""
    messages: list[Message] = field(default_factory=list)
    """The transcript. A malformed assistant turn stands in it as plain text, never as `tool_calls`."""

    @property
    def left_out(self) -> bool:
        """Whether it says nothing of the model's skill, and so is in no rate: its endpoint failed, or its very first
        prompt did not fit. A dialogue that outgrew the context later counts as a failure."""
        return self.ended == "endpoint_error" or (self.ended == "context_full" and self.steps == 0)

    def to_json(self) -> dict[str, Any]:
        """The episode as JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """The episode that `to_json` wrote."""
        return cls(**{**record, "execution_errors": [ExecutionError(**error) for error in record["execution_errors"]]})


class Record:
    """Writes assistant turns into an episode. One user turn's errors are never compared with another's."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode
        self._turn, self._steps, self._erring = -1, 0, 0
        self._before: Step | None = None

    def begin_turn(self) -> None:
        """The user has spoken."""
        self._turn += 1
        self._steps, self._erring, self._before = 0, 0, None

    def add(self, step: Step) -> None:
        """One assistant turn."""
        episode = self.episode
        episode.steps += 1
        episode.soft_failures += step.soft_failures
        for failure in step.failures:
            error = ExecutionError(self._turn, self._steps, failure.kind, failure.message, failure.calls)
            episode.execution_errors.append(error)
        if self._before and self._before.failures:
            episode.reinvocation_chances += 1
            episode.identical_reinvocations += step.invocation == self._before.invocation
        if self._erring and step.called and not step.failures:
            episode.steps_to_recover.append(self._erring)
            episode.unrecovered, self._erring = episode.unrecovered - 1, 0
        elif self._erring or step.failures:
            episode.unrecovered += not self._erring  # until shown otherwise
            self._erring += 1
        self._steps, self._before = self._steps + 1, step

    def unheard(self, kinds: Sequence[str]) -> None:
        """A malformed turn that nothing answers."""
        self.episode.unheard = dict(Counter(self.episode.unheard) + Counter(kinds))


Play = Generator[Conversation, Rollout | Halt, Episode]


def run(
    plays: Sequence[Callable[[], Play]],
    agent: Agent,
    *,
    batch_size: int = 32,
    workers: int = 1,
    on_done: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Plays every episode; returns them in the order of `plays`.

    Each of `workers` threads has up to `batch_size` episodes in play at once, whose turns the agent takes together;
    a new one starts as soon as one ends. `on_done` is called as episodes end, in that order, by one thread at a time.
    Raises ValueError for a bad limit, and whatever a play or the agent raises, once every thread has stopped.
    """
    if batch_size < 1 or workers < 1:
        raise ValueError("batch_size and workers must be at least 1")
    waiting, lock = iter(enumerate(plays)), Lock()
    ended: dict[int, Episode] = {}
    broken = False

    def start() -> tuple[int, Play] | None:
        with lock:
            following = None if broken else next(waiting, None)
        return following and (following[0], following[1]())

    def finish(index: int, episode: Episode) -> None:
        with lock:
            ended[index] = episode
            if on_done is not None:
                on_done(episode)

    def work() -> None:
        nonlocal broken
        try:
            _work(start, finish, agent, batch_size, lambda: broken)
        except BaseException:
            broken = True
            raise

    if workers == 1:
        work()
    else:
        with ThreadPoolExecutor(workers) as pool:
            try:
                for done in [pool.submit(work) for _ in range(workers)]:
                    done.result()
            except BaseException:  # Ctrl-C reaches only this thread
                broken = True
                raise
    return [ended[index] for index in range(len(plays))]


def _work(
    start: Callable[[], tuple[int, Play] | None],
    finish: Callable[[int, Episode], None],
    agent: Agent,
    batch_size: int,
    stopped: Callable[[], bool],
) -> None:
    """Plays episodes until none is left to start, or all is stopped."""
    active: dict[int, tuple[Play, Conversation]] = {}

    def advance(index: int, play: Play, turn: Rollout | Halt | None) -> None:
        try:
            active[index] = play, (next(play) if turn is None else play.send(turn))
        except StopIteration as stop:
            active.pop(index, None)
            finish(index, stop.value)

    try:
        while True:
            while len(active) < batch_size and (started := start()):
                advance(*started, None)
            if not active or stopped():
                return
            indices = list(active)
            turns = agent.act([active[index][1] for index in indices])
            for index, turn in zip(indices, turns, strict=True):
                advance(index, active[index][0], turn)
    finally:
        for play, _ in active.values():
            play.close()
