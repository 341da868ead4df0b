"""TAU2's tasks as a source of episodes: its orchestrator, user simulator and evaluator; our agent as its assistant.

A call goes to TAU2 whatever its arguments, and TAU2's `ToolMessage.error` says whether it failed. What is no call or
reply at all (malformed, cut off, empty) would end a simulation: the model is told so instead, as in our own tasks.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from fission_grpo.chat import (
    Message,
    Rollout,
    ToolCall,
    ToolSpec,
    assistant_message,
    error_message,
    harmless,
    tool_message,
)
from fission_grpo.errors import UserError
from fission_grpo.evaluation.episode import (
    Conversation,
    Ended,
    Episode,
    Failure,
    Halt,
    Play,
    Record,
    ReferenceTurn,
    Step,
)
from fission_grpo.evaluation.process import Gone, Process
from fission_grpo.evaluation.tau2.client import Simulators
from fission_grpo.toolcall import TRUNCATED, ParsedTurn, parse, render, told

DOMAINS = ("retail", "airline", "telecom")
MAX_MALFORMED = 3
"""Malformed assistant turns in a row that end an episode (ours)."""
MAX_CALLS = 100
"""Most calls of one assistant turn (ours); a turn with more is malformed."""


@dataclass(frozen=True)
class UserModel:
    """The model behind TAU2's user simulator, served by an OpenAI-compatible endpoint."""

    model: str
    """Its name there."""
    base_url: str
    """Up to and including `/v1`."""
    api_key: str = field(default="none", repr=False)
    temperature: float = 0.0
    """TAU2's own default; at 0 trials differ only as far as the agent or the endpoint draws."""
    timeout: float = 300.0
    """Seconds after which a request is given up; with all retries, less than `client.TURN_SECONDS` is best."""
    retries: int = 4
    """How often a request is sent again where it failed."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Put into every request as it is, for example `{"chat_template_kwargs": {"enable_thinking": False}}`."""


def plays(
    simulators: Simulators,
    domain: str,
    user: UserModel | None,
    *,
    limit: int | None = None,
    trials: int = 1,
    seed: int = 300,
    max_steps: int = 200,
    max_errors: int = 10,
) -> dict[tuple[str, int], Callable[[], Play]]:
    """How to play each task of a domain, by its name (`retail/17`) and trial.

    Args:
        simulators: TAU2's processes; to be kept until the plays have ended.
        domain: One of `DOMAINS`.
        user: Who plays the user. None: a script that takes the user's part in the ground truth, for scripted agents.
        limit: Only the first so many tasks.
        trials: How often each task is played. All trials of a task follow the first trials of all.
        seed: Each trial's seed is drawn from it as TAU2 draws it; 300 is TAU2's default.
        max_steps: Most messages of a simulation, calls of tools included; 200 is TAU2's default.
        max_errors: Failed calls, the user's included, that end a simulation; 10 is TAU2's default.

    Raises UserError for an unknown domain, and Tau2Error where TAU2 does not run.
    """
    if domain not in DOMAINS:
        raise UserError(f"TAU2 has no domain '{domain}': it has {', '.join(DOMAINS)}")
    ids = simulators.task_ids(domain)[:limit]
    draw = random.Random(seed)  # noqa: S311
    limits = {"max_steps": max_steps, "max_errors": max_errors}
    asked = {"domain": domain, **limits, "user": asdict(user) if user else None}
    return {
        (f"{domain}/{task}", trial): partial(play, simulators, {**asked, "task": task, "seed": trial_seed}, trial)
        for trial, trial_seed in enumerate(draw.randint(0, 1_000_000) for _ in range(trials))
        for task in ids
    }


def play(simulators: Simulators, asked: Mapping[str, Any], trial: int) -> Play:
    """One episode of the simulation that is `asked` for (`runner.py`)."""
    conversation = Conversation([])
    domain = asked["domain"]
    name = f"{domain}/{asked['task']}"
    episode = Episode(name, domain, [], turns=0, trial=trial, messages=conversation.messages)
    try:
        with simulators.lend() as process:
            yield from _dialogue(process, simulators.turn_seconds, asked, conversation, episode)
    except Gone as gone:
        episode.ended, episode.detail = "endpoint_error", f"TAU2: {gone}"
    return episode


@dataclass(frozen=True)
class Said:
    """A well-formed assistant turn: words, calls, or both."""

    text: str
    calls: tuple[ToolCall, ...]
    invocation: str
    """Equal for equal calls, or for equal text where nothing is called."""

    def step(self, failures: Sequence[Failure]) -> Step:
        """What the turn came to."""
        return Step(self.invocation, bool(self.calls), tuple(failures))


def assistant_turn(
    conversation: Conversation, record: Record
) -> Generator[Conversation, Rollout | Halt, Said | Halt | None]:
    """The agent's next well-formed turn, already part of the conversation but not of the record.

    A malformed one is answered with an error and recorded. None after `MAX_MALFORMED` of them in a row.
    """
    for _ in range(MAX_MALFORMED):
        rollout = yield conversation
        if isinstance(rollout, Halt):
            return rollout
        parsed = parse(rollout.text)
        errors = _malformed(rollout, parsed)
        if not errors:
            thinking = f"<think>{parsed.think}</think>\n\n" if parsed.think else ""
            conversation.speak(rollout, assistant_message(thinking + parsed.text, parsed.calls))
            calls = json.dumps([asdict(call) for call in parsed.calls], sort_keys=True)
            return Said(parsed.text, parsed.calls, calls if parsed.calls else parsed.text)
        conversation.speak(rollout, assistant_message(rollout.text, ()))
        conversation.hear(tool_message(error_message("; ".join(error.message for error in errors))))
        record.add(Step(rollout.text.rpartition("</think>")[2].strip(), bool(parsed.calls), errors))
    return None


def give_up(episode: Episode, halt: Halt | None) -> None:
    """Notes why `assistant_turn` gave no turn."""
    if halt:
        episode.ended, episode.detail = halt.ended, halt.detail
    else:
        episode.ended, episode.detail = "max_steps", f"{MAX_MALFORMED} malformed turns in a row"


def kind_of(call: ToolCall, tools: Sequence[ToolSpec]) -> str:
    """The kind of a failed call, by what its tool declares."""
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
    if call.name not in schemas:
        return "unknown_tool"
    if call.arguments.keys() - schemas[call.name].get("properties", {}).keys():
        return "unknown_argument"
    if set(schemas[call.name].get("required", ())) - call.arguments.keys():
        return "missing_argument"
    return "tool_error"


def _dialogue(
    process: Process, seconds: float, asked: Mapping[str, Any], conversation: Conversation, episode: Episode
) -> Generator[Conversation, Rollout | Halt, None]:
    """Plays until TAU2 or the agent ends it. Raises Gone."""
    record, said = Record(episode), None
    event = process.ask(asked, seconds)
    if event["event"] == "start":
        conversation.tools, conversation.reference = event["tools"], [_reference(turn) for turn in event["reference"]]
        conversation.hear(*map(_message, event["messages"]))
        event = process.hear(seconds)
    while True:
        heard = event.get("messages", ())
        if said:
            record.add(said.step(_failures(said.calls, heard, conversation.tools)))
        conversation.hear(*map(_message, heard))
        if event["event"] != "turn":
            _conclude(episode, event)
            return
        if any(message["role"] == "user" for message in heard):
            record.begin_turn()
        answer = yield from assistant_turn(conversation, record)
        if not isinstance(answer, Said):
            give_up(episode, answer)
            process.tell(None)
            return
        said = answer
        event = process.ask({"content": said.text, "calls": [asdict(call) for call in said.calls]}, seconds)


def _failures(
    calls: Sequence[ToolCall], heard: Sequence[Mapping[str, Any]], tools: Sequence[ToolSpec]
) -> list[Failure]:
    """The calls that failed: their results come first in what is heard, in the calls' order."""
    return [
        Failure(kind_of(call, tools), message["content"], render([call]))
        for call, message in zip(calls, heard, strict=False)
        if message.get("error")
    ]


def _conclude(episode: Episode, event: Mapping[str, Any]) -> None:
    if event["event"] == "failed":
        by_user = event["by"] == "user"
        episode.ended = "endpoint_error" if by_user else "check_failed"
        episode.detail = f"{'the user' if by_user else 'TAU2'} failed: {event['detail']}"
        return
    episode.success = abs(event["reward"] - 1) < 1e-6
    episode.ended = _ending(event["reason"], episode.success)
    checks = ", ".join(f"{kind} {reward:g}" for kind, reward in event["checks"].items())
    episode.detail = event["reason"] + (f" ({checks})" if checks else "")


def _ending(reason: str, success: bool) -> Ended:
    if reason not in ("user_stop", "agent_stop"):
        return "max_steps"
    return "done" if success else "check_failed"


def _malformed(rollout: Rollout, parsed: ParsedTurn) -> tuple[Failure, ...]:
    """What makes a turn malformed. A cut-off turn without a call is told just that: its open tags follow."""
    wrong: list[tuple[str, str]] = [(error.kind, error.message) for error in told(parsed.errors)]
    if not parsed.calls and not rollout.finished:
        wrong = [(TRUNCATED.kind, TRUNCATED.message)]
    elif not (parsed.calls or parsed.text or wrong):
        wrong = [("empty", "the turn is empty: call a tool, or say something to the user")]
    elif len(parsed.calls) > MAX_CALLS:
        wrong = [("too_many_calls", f"{len(parsed.calls)} calls in one turn, where {MAX_CALLS} are allowed")]
    return tuple(Failure(kind, message, rollout.text) for kind, message in wrong)


def _message(message: Mapping[str, Any]) -> Message:
    return {"role": message["role"], "content": harmless(message["content"])}


def _reference(turn: Mapping[str, Any]) -> ReferenceTurn:
    steps = tuple(tuple(ToolCall(call["name"], call["arguments"]) for call in step) for step in turn["steps"])
    return ReferenceTurn(steps, turn["reply"])
