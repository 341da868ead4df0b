"""Format errors in a parser's words (paper §3.3.2, case i)."""

from __future__ import annotations

from fission_grpo.feedback.base import Failure
from fission_grpo.toolcall import told


def format_feedback(failure: Failure) -> str | None:
    """The violated constraints, first ones first; None where the format is right."""
    return "; ".join(error.message for error in told(failure.format_errors)) or None
