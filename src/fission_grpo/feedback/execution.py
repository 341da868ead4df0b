"""Real errors of a real runtime (ours): the failed calls are executed where the dialogue left the domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fission_grpo.chat import Decision, ToolCall
from fission_grpo.feedback.base import Failure, Source

Replay = Callable[[Decision, Sequence[ToolCall]], Sequence[str | None]]
"""Executes calls in the state the dialogue reached; for each call its error message, or None where it succeeded."""

MAX_ERRORS = 3
"""Errors told at once (ours)."""


def execution_feedback(replay: Replay) -> Source:
    """A source that says what the runtime said; it has nothing to say where every call succeeded."""

    def source(failure: Failure) -> str | None:
        calls = failure.turn.calls
        errors = replay(failure.decision, calls) if calls else ()
        told = [
            _named(call.name, error) if len(calls) > 1 else error
            for call, error in zip(calls, errors, strict=True)
            if error
        ]
        return "; ".join(dict.fromkeys(told[:MAX_ERRORS])) or None

    return source


def _named(name: str, error: str) -> str:
    return error if name in error else f"{name}: {error}"
