"""Comparing evaluations: differences by hand, intervals against a simulation, the figure."""

import struct
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fission_grpo.evaluation.compare import CompareError, compare, difference, difference_table, draw
from fission_grpo.evaluation.episode import Episode, ExecutionError
from fission_grpo.evaluation.recovery import summarise


def _episode(task: int, success: bool, erred: bool = False, category: str = "x", trial: int = 0) -> Episode:
    errors = [ExecutionError(0, 0, "tool_error", "no", "")] if erred else []
    return Episode(
        f"t{task}", category, [], 1, trial=trial, success=success, ended="done", execution_errors=errors,
        reinvocation_chances=int(erred), identical_reinvocations=int(erred and not success),
    )  # fmt: skip


def test_differences_are_taken_on_shared_tasks_only() -> None:
    one = [_episode(0, True), _episode(1, False, erred=True), _episode(2, True, erred=True), _episode(9, True)]
    other = [_episode(0, True), _episode(1, True, erred=True), _episode(2, True, erred=True), _episode(8, False)]
    assert difference("success", one, other).value == pytest.approx(1 / 3)
    assert difference("one_shot", one, other).value == 0
    assert difference("recovery", one, other).value == pytest.approx(1 - 1 / 2)
    assert difference("identical_reinvocation", one, other).value == pytest.approx(-1 / 2)
    assert difference("success", one, other).tasks == 3


def test_a_rate_of_nothing_has_no_difference() -> None:
    without = [_episode(i, True) for i in range(3)]
    found = difference("recovery", without, without)
    assert (found.value, found.low, found.tasks) == (None, None, 3)
    left_out = [_episode(0, False)]
    left_out[0].ended = "context_full"
    assert difference("success", left_out, without).tasks == 0


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(60):
        draws = rng.random((2, 80)) < np.array([[0.4], [0.6]])
        one, other = ([_episode(i, bool(won)) for i, won in enumerate(side)] for side in draws)
        found = difference("success", one, other)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.2 <= found.high
    assert 51 <= held <= 60  # 57 expected; 51 or fewer in 1 of 60 such tests


def test_pairing_narrows_the_interval() -> None:
    rng = np.random.default_rng(1)
    won = rng.random(100) < 0.5
    one = [_episode(i, bool(w)) for i, w in enumerate(won)]
    better = [_episode(i, bool(w) or i % 10 == 0) for i, w in enumerate(won)]
    found = difference("success", one, better)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 0.12  # unpaired: about 0.27


def test_the_table_and_the_refusal() -> None:
    a, b = [_episode(i, i > 1) for i in range(4)], [_episode(i, True) for i in range(4)]
    comparison = compare({"grpo": a, "fission": b})
    console = Console(file=StringIO(), width=120, color_system=None)
    console.print(difference_table(comparison))
    assert "+50.0%" in console.file.getvalue()  # type: ignore[attr-defined]
    with pytest.raises(CompareError, match="'grpo' and 'other' share no task"):
        compare({"grpo": a, "other": [_episode(7, True)]})


def test_the_figure_is_drawn_for_several_models_and_categories(tmp_path: Path) -> None:
    named = {
        name: summarise(
            [_episode(i, i % 3 > 0, i % 2 > 0, category) for i in range(9) for category in ("base", "long")]
        )
        for name in ("grpo", "fission")
    }
    file = tmp_path / "figures" / "recovery.png"
    draw(named, file)
    header = file.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", header[16:])
    assert width > height > 300
