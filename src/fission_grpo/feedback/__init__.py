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


def diagnose(failure: Failure, sources: Mapping[str, Source]) -> Feedback:
    """The feedback f on one failure (paper §3.3.2): from the first of `sources` that may speak.

    On format errors only the source named `format` is asked, on wrong calls all others. A source may speak when it has
    a message and the leak guard passes it; when none may, the static sentence is used: without sources, always
    (Fission-Static).
    """
    refused: list[str] = []
    for name, source in sources.items():
        said = source(failure) if (name == "format") == bool(failure.format_errors) else None
        if not said or not said.strip():
            continue
        text = error_message(said)
        if leaks(text, failure) is None:
            return Feedback(text, name, tuple(refused))
        refused.append(name)
    return Feedback(STATIC_SENTENCE, "static", tuple(refused))
