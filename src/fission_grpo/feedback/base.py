"""What a source of feedback is given and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fission_grpo.chat import Decision
from fission_grpo.toolcall import FormatError, ParsedTurn


@dataclass(frozen=True)
class Failure:
    """One failed turn of one decision, as the reward judged it."""

    decision: Decision
    text: str
    """The failed turn, verbatim as sampled."""
    turn: ParsedTurn
    format_errors: tuple[FormatError, ...] = ()
    """The turn's own errors and the contextual ones: no_call, unexpected_call, truncated."""


@dataclass(frozen=True)
class Feedback:
    """What the model is told (`text`, one line that begins with `ERROR: `) and who said it (`source`)."""

    text: str
    source: str
    refused: tuple[str, ...] = ()
    """Sources whose message the leak guard refused, in the order they were asked."""


Source = Callable[[Failure], str | None]
"""Says what went wrong, or None where it has nothing to say."""
