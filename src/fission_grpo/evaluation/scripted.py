"""Agents without a model: they prove that a set of tasks can be solved and that the measures measure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

from fission_grpo.chat import Rollout, Task, ToolCall
from fission_grpo.evaluation.episode import Conversation
from fission_grpo.toolcall import render

WRONG_CALL = render([ToolCall("no_such_function")])
"""A call that no domain has: an execution error of kind `unknown_tool`."""


class Replay:
    """Plays the reference: succeeds at every task, without an error."""

    def script(self, task: Task) -> Iterable[str]:
        """Everything the agent will say in `task`, one text per assistant turn."""
        return (text for turn in task.turns for text in (*map(render, turn.calls), turn.reply))

    def act(self, conversations: Sequence[Conversation]) -> list[Rollout]:
        """The next line of every conversation's script."""
        return [Rollout(self._line(conversation), ids=(), logprobs=()) for conversation in conversations]

    def _line(self, conversation: Conversation) -> str:
        if conversation.context is None:
            conversation.context = iter(self.script(conversation.task))
        return next(conversation.context)


class ReplayWithErrors(Replay):
    """Errs once before the first call of a task (at its start, where it has none), then plays the reference."""

    def script(self, task: Task) -> Iterable[str]:
        lines = list(super().script(task))
        # Every turn before the first one that calls is a single line.
        lines.insert(next((i for i, turn in enumerate(task.turns) if turn.steps), 0), WRONG_CALL)
        return lines


class Stuck(Replay):
    """Repeats one wrong call for ever: never succeeds, never recovers."""

    def script(self, task: Task) -> Iterable[str]:
        return repeat(WRONG_CALL)
