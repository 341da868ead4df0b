"""Executing tasks: full dialogues, the decisions they factorise into, and the state a dialogue has reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from fission_grpo.chat import Decision, Message, Task, ToolCall, Turn, assistant_message, result_message, tool_message
from fission_grpo.domains import DOMAINS, Domain, ToolError


def replay(task: Task) -> list[Message]:
    """The task's whole dialogue with its reference executed. Raises ToolError where the reference is wrong."""
    domain = DOMAINS[task.domain].restore(task.initial_state)
    return [message for turn in task.turns for message in play_turn(domain, turn)]


def play_turn(domain: Domain, turn: Turn) -> list[Message]:
    """One user turn's messages, its reference executed on `domain`."""
    played = (message for calls in turn.calls for message in _play_step(domain, calls))
    return [{"role": "user", "content": turn.user}, *played, assistant_message(turn.reply, [])]


def _play_step(domain: Domain, calls: Sequence[ToolCall]) -> Iterator[Message]:
    yield assistant_message("", calls)
    for call in calls:
        yield tool_message(result_message(domain.call(call)))


def decisions(task: Task, dialogue: Sequence[Message] | None = None) -> list[Decision]:
    """The task's L decisions, one per assistant turn; the closing words are a decision to call nothing.

    `dialogue` is the task's as it was recorded; without one the reference is executed. Raises as `replay` then.
    """
    dialogue = replay(task) if dialogue is None else dialogue
    tools = DOMAINS[task.domain].specs(task.tools)
    places = [i for i, message in enumerate(dialogue) if message["role"] == "assistant"]
    steps = [(number, step) for number, turn in enumerate(task.turns) for step in range(len(turn.steps) + 1)]
    return [
        Decision(
            id=f"{task.id}/{number}.{step}",
            domain=task.domain,
            tools=[dict(tool) for tool in tools],
            messages=[dict(message) for message in dialogue[:place]],
            target=dialogue[place].get("tool_calls", []),
            reference=dialogue[place]["content"],
            ordered=task.turns[number].ordered,
            kind=_kind(task.turns[number], step),
            initial_state=task.initial_state,
        )
        for place, (number, step) in zip(places, steps, strict=True)
    ]


def _kind(turn: Turn, step: int) -> str:
    """After its last call a turn reports; a turn without calls asks or declines, as its kind says."""
    return "report" if turn.steps and step == len(turn.steps) else turn.kind


def replay_calls(domain_name: str, initial_state: dict[str, Any], messages: Sequence[dict[str, Any]]) -> Domain:
    """The domain in the state after all calls in `messages`; refused calls count for nothing, as when they were made.

    Raises KeyError for an unknown domain.
    """
    domain = DOMAINS[domain_name].restore(initial_state)
    for entry in (entry for message in messages for entry in message.get("tool_calls") or ()):
        with suppress(ToolError):
            domain.call(ToolCall.from_openai(entry))
    return domain
