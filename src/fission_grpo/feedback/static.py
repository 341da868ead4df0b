"""The fixed sentence: the ablation Fission-Static (paper §4.4, footnote 2), and every other source's last resort."""

from __future__ import annotations

from fission_grpo.feedback.base import Failure

STATIC_SENTENCE = (
    "ERROR: Function call failed. Please verify your output format, function name, required parameters, "
    "and parameter values are correct."
)


def static_feedback(failure: Failure) -> str:
    """The same sentence for every failure."""
    return STATIC_SENTENCE
