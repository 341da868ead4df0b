"""The composite reward of a rollout: Eq. 2, Eq. 3 and the efficiency term."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from fission_grpo.chat import Decision, Rollout, ToolCall
from fission_grpo.settings import Settings
from fission_grpo.toolcall import TRUNCATED, FormatError, ParsedTurn, Toolbox, parse


class RewardSettings(Settings):
    """Eq. 2 and Eq. 3; every default that is not the paper's is ours."""

    alpha: float = Field(0.5, ge=0, le=1)
    """Share of the function name in a call's correctness (Eq. 3); the rest is its arguments."""
    format_weight: tuple[float, float] = (3.0, 2.0)
    """w_fmt at the start and at the end of training (Eq. 2)."""
    correctness_weight: tuple[float, float] = (2.0, 3.0)
    """w_corr at the start and at the end of training (Eq. 2)."""
    length_weight: float = 1.0
    """w_len (Eq. 2)."""
    schedule: Literal["linear", "cosine"] = "linear"
    """How the weights move from start to end."""
    target_length: int | None = Field(None, ge=1)
    """L* in tokens; empty: the length of each decision's reference turn."""
    sigma_below: float = Field(0.5, gt=0)
    """Width of the efficiency Gaussian below L*, in units of L*."""
    sigma_above: float = Field(1.0, gt=0)
    """Width of the efficiency Gaussian above L*, in units of L*."""


@dataclass(frozen=True)
class Reward:
    """R and its parts, each part in [0, 1]; `format_errors` says why `fmt` is 0."""

    total: float
    fmt: float
    corr: float
    length: float
    format_errors: tuple[FormatError, ...]


@dataclass(frozen=True)
class Scored:
    """A rollout with its parsed turn and its reward."""

    rollout: Rollout
    turn: ParsedTurn
    reward: Reward


def score(
    rollout: Rollout,
    decision: Decision,
    toolbox: Toolbox,
    *,
    reference_length: int | None,
    progress: float,
    settings: RewardSettings,
) -> Scored:
    """Scores one rollout against y*. `progress` t in [0, 1].

    `reference_length` in tokens; without one, and without a target length in the settings, any length scores 1.
    """
    turn, truth = parse(rollout.text, toolbox), decision.calls
    errors = format_errors(turn, truth, finished=rollout.finished)
    fmt = 0.0 if errors else 1.0
    corr = correctness(turn, truth, toolbox, alpha=settings.alpha, ordered=decision.ordered) if truth else fmt
    target = settings.target_length or reference_length or len(rollout.ids)
    length = efficiency(len(rollout.ids), target, below=settings.sigma_below, above=settings.sigma_above)
    total = composite(fmt, corr, length, progress=progress, settings=settings)
    return Scored(rollout, turn, Reward(total, fmt, corr, length, errors))


def composite(fmt: float, corr: float, length: float, *, progress: float, settings: RewardSettings) -> float:
    """Eq. 2: R = (w_fmt(t)·R_fmt + w_corr(t)·R_corr + w_len·R_len) / 3."""
    w_fmt = _scheduled(settings.format_weight, progress, settings.schedule)
    w_corr = _scheduled(settings.correctness_weight, progress, settings.schedule)
    return (w_fmt * fmt + w_corr * corr + settings.length_weight * length) / 3


def format_errors(turn: ParsedTurn, target: Sequence[ToolCall], *, finished: bool) -> tuple[FormatError, ...]:
    """Everything that makes R_fmt = 0: what the parser found, and whether the turn calls exactly when y* does."""
    errors = list(turn.errors)
    called = bool(turn.calls) or attempted_calls(turn) > 0
    if target and not called:
        errors.append(FormatError("no_call", "no function call found: expected a <tool_call> block"))
    if called and not target:
        message = "no call can be made here: all is done already, or a needed value is missing, or no function serves"
        errors.append(FormatError("unexpected_call", message))
    if not target and not called and not turn.text:
        errors.append(FormatError("empty", "the turn says nothing"))
    if not finished:
        errors.append(TRUNCATED)
    return tuple(errors)


def attempted_calls(turn: ParsedTurn) -> int:
    """Number of calls the turn attempts, malformed ones included."""
    malformed = {"invalid_json", "not_an_object", "missing_name"}
    closed = len(turn.calls) + sum(error.kind in malformed for error in turn.errors)
    return max([closed, *(error.call or 0 for error in turn.errors if error.kind == "unclosed_tag")])


def correctness(
    turn: ParsedTurn, target: Sequence[ToolCall], toolbox: Toolbox, *, alpha: float, ordered: bool = False
) -> float:
    """R_corr: Eq. 3 per call, best one-to-one matching over several calls; missing and superfluous calls both cost.

    With `ordered`, the matching must keep the order of both sides.
    """
    most = max(attempted_calls(turn), len(target))
    if not turn.calls or not target:
        return 0.0 if most else 1.0
    values = np.array([[call_correctness(call, true, toolbox, alpha=alpha) for true in target] for call in turn.calls])
    if ordered:
        return _best_in_order(values) / most
    return float(values[linear_sum_assignment(values, maximize=True)].sum()) / most


def call_correctness(call: ToolCall, true: ToolCall, toolbox: Toolbox, *, alpha: float) -> float:
    """Eq. 3 for one call: α·1[N = N*] + (1−α)·mean token F1 over the union M of argument names."""
    if call.name != true.name:
        return 0.0
    names = call.arguments.keys() | true.arguments.keys()
    if not names:
        return 1.0
    properties = toolbox.properties(true.name)
    total = sum(_argument_f1(name, call.arguments, true.arguments, properties) for name in names)
    return alpha + (1 - alpha) * (total / len(names))  # in this order an exact call is exactly 1


_ABSENT = object()


def _argument_f1(name: str, given: Mapping[str, Any], true: Mapping[str, Any], properties: Mapping[str, Any]) -> float:
    """F1 of one argument; where one side leaves it out, its schema default stands in, and without one it scores 0."""
    schema = properties.get(name)
    default = schema.get("default", _ABSENT) if isinstance(schema, Mapping) else _ABSENT
    a, b = given.get(name, default), true.get(name, default)
    return 0.0 if a is _ABSENT or b is _ABSENT else token_f1(a, b)


def token_f1(a: Any, b: Any) -> float:
    """Token-level F1 of two JSON values in canonical form, as bags of words; numbers are equal by value.

    Ours: different values with the same words (2025-05-06 and 2025-06-05) count one word less than equal ones.
    """
    text_a, text_b = _canonical(a), _canonical(b)
    if text_a == text_b:
        return 1.0
    bag_a, bag_b = Counter(_TOKEN.findall(text_a)), Counter(_TOKEN.findall(text_b))
    words = bag_a.total() + bag_b.total()
    shared = 2 * (bag_a & bag_b).total()
    return max(0, min(shared, words - 1)) / words if words else 0.0


def _canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, integral floats as integers."""
    return json.dumps(_integral(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _integral(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_integral(item) for item in value]
    if isinstance(value, dict):
        return {key: _integral(item) for key, item in value.items()}
    return value


_TOKEN = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|[^\W\d_]+|[^\w\s\"{}\[\]:,]")
"""Words, numbers and symbols of canonical JSON, without JSON's own punctuation."""


def _best_in_order(values: np.ndarray) -> float:
    """Largest sum of `values[i, j]` over pairs that increase in both i and j."""
    best = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    for i, j in np.ndindex(*values.shape):
        best[i + 1, j + 1] = max(best[i, j + 1], best[i + 1, j], best[i, j] + values[i, j])
    return float(best[-1, -1])


def efficiency(n: int, target: int, *, below: float, above: float) -> float:
    """R_len: a piecewise Gaussian of the turn's length n, 1 at `target` L*; widths in units of L*. All in tokens."""
    sigma = (below if n < target else above) * target
    return math.exp(-((n - target) ** 2) / (2 * sigma**2))


def _scheduled(ends: tuple[float, float], progress: float, schedule: str) -> float:
    t = min(max(progress, 0.0), 1.0)
    if schedule == "cosine":
        t = (1 - math.cos(math.pi * t)) / 2
    return ends[0] + (ends[1] - ends[0]) * t
