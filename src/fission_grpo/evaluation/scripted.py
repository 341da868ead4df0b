"""Agents without a model: they prove that a source's tasks can be solved and that the measures measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice, repeat
from typing import Any

from fission_grpo.chat import Rollout, ToolCall
from fission_grpo.evaluation.episode import Conversation
from fission_grpo.toolcall import render

WRONG_CALL = ToolCall("no_such_function")
"""A call that no source has: an execution error of kind `unknown_tool`."""


class Replay:
    """Plays the reference: succeeds at every task, without an error."""

    def script(self, conversation: Conversation) -> Iterable[str]:
        """Everything the agent will say, one text per assistant turn."""
        return (text for turn in conversation.reference for text in (*map(render, turn.steps), turn.reply))

    def act(self, conversations: Sequence[Conversation]) -> list[Rollout]:
        """The next line of every conversation's script."""
        return [Rollout(self._line(conversation), ids=(), logprobs=()) for conversation in conversations]

    def _line(self, conversation: Conversation) -> str:
        return next(islice(self.script(conversation), len(conversation.rollouts), None))


class ReplayWithErrors(Replay):
    """Errs once, before the first call of a task, then plays the reference.

    `kind` says how the first right call is spoiled (`SPOILED`); a task in which it cannot be is replayed as it is. With
    `recover` off the wrong call stands in place of the right one.
    """

    def __init__(self, kind: str = "unknown_tool", recover: bool = True) -> None:
        self.kind, self.recover = kind, recover

    def script(self, conversation: Conversation) -> Iterable[str]:
        lines = list(super().script(conversation))
        # Every turn before the first one that calls is a single line.
        turns = [turn.steps for turn in conversation.reference]
        first = next((i for i, steps in enumerate(turns) if steps), None)
        right, *others = [WRONG_CALL] if first is None else turns[first][0]
        wrong = SPOILED[self.kind](right)
        if wrong is not None and self.recover:
            lines.insert(first or 0, render([wrong]))
        elif wrong is not None:
            lines[first or 0] = render([wrong, *others])
        return lines


class Stuck(Replay):
    """Repeats one wrong call for ever: never succeeds, never recovers."""

    def script(self, conversation: Conversation) -> Iterable[str]:
        return repeat(render([WRONG_CALL]))


def _with_unknown_argument(call: ToolCall) -> ToolCall:
    return ToolCall(call.name, {**call.arguments, "no_such_argument": 1})


def _without_an_argument(call: ToolCall) -> ToolCall | None:
    first = next(iter(call.arguments), None)
    return ToolCall(call.name, {k: v for k, v in call.arguments.items() if k != first}) if first else None


def _with_wrong_value(call: ToolCall) -> ToolCall | None:
    first = next(iter(call.arguments), None)
    return ToolCall(call.name, {**call.arguments, first: _wrong(call.arguments[first])}) if first else None


def _wrong(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return -value - 1
    if isinstance(value, list | tuple):
        return [_wrong(one) for one in value]
    return f"no_such_{value}"


SPOILED: dict[str, Callable[[ToolCall], ToolCall | None]] = {
    "unknown_tool": lambda _: WRONG_CALL,
    "unknown_argument": _with_unknown_argument,
    "missing_argument": _without_an_argument,
    "wrong_value": _with_wrong_value,
}
"""How a right call is made a wrong one, by kind; None where it cannot be: it has no argument."""
