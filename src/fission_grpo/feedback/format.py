"""Format errors in a parser's words (paper §3.3.2, case i)."""

from __future__ import annotations

from fission_grpo.feedback.base import Failure

MAX_ERRORS = 3
"""Errors told at once (ours)."""


def format_feedback(failure: Failure) -> str | None:
    """The violated constraints, first ones first; None where the format is right."""
    messages = dict.fromkeys(error.message for error in failure.format_errors)
    return "; ".join(list(messages)[:MAX_ERRORS]) or None
