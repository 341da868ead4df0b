"""Where the words come from that a failed call is answered with: hybrid feedback (paper §3.3.2).

A format error gets a deterministic, parser-like message; a semantic error is put to the given sources in order. Every
message passes the leak guard or is not used, and a fixed sentence is the last resort.
"""

from __future__ import annotations

from collections.abc import Mapping

from fission_grpo.chat import error_message
from fission_grpo.feedback.base import Failure, Feedback, Source
from fission_grpo.feedback.execution import execution_feedback
from fission_grpo.feedback.format import format_feedback
from fission_grpo.feedback.leak import leaks
from fission_grpo.feedback.rules import rules_feedback
from fission_grpo.feedback.static import STATIC_SENTENCE, static_feedback

__all__ = [
    "STATIC_SENTENCE",
    "Failure",
    "Feedback",
    "Source",
    "diagnose",
    "execution_feedback",
    "format_feedback",
    "leaks",
    "rules_feedback",
    "static_feedback",
]

MAX_CHARACTERS = 300
"""Longest feedback, prefix included (ours)."""


def diagnose(failure: Failure, sources: Mapping[str, Source]) -> Feedback:
    """The feedback f on one failure (paper §3.3.2): `format` for a format error, else the first source that may speak.

    A source may speak when it has a message and the leak guard passes it; when none may, the static sentence is used.
    """
    asked: Mapping[str, Source] = {"format": format_feedback} if failure.format_errors else sources
    refused: list[str] = []
    for name, source in asked.items():
        text = _one_line(source(failure) or "")
        if text is None:
            continue
        if leaks(text, failure) is None:
            return Feedback(text, name, tuple(refused))
        refused.append(name)
    return Feedback(STATIC_SENTENCE, "static", tuple(refused))


def _one_line(text: str) -> str | None:
    """The message as it reaches the model, cut at a word; None where nothing is left of it."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(printable.replace("<|", "< |").split())  # a quoted control token must not end the chat turn
    if not line:
        return None
    line = error_message(line)
    return line if len(line) <= MAX_CHARACTERS else line[: MAX_CHARACTERS - 1].rsplit(" ", 1)[0][:MAX_CHARACTERS] + "…"
