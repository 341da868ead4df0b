"""An evaluation's folder: what is done is kept, what is torn or to be tried again is not, others are refused."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from fission_grpo.chat import Rollout
from fission_grpo.evaluation.episode import Conversation, Episode, Play, run
from fission_grpo.evaluation.recovery import summarise
from fission_grpo.evaluation.results import Results, ResultsError, evaluate, read_episodes, read_summary
from fission_grpo.evaluation.scripted import Replay


def _episode(name: str, **others: Any) -> Episode:
    return Episode(name, "x", [], 1, **{"success": True, "ended": "done", **others})


def _plays(*names: str, played: list[str], failing: str = "") -> dict[tuple[str, int], Any]:
    def play(name: str) -> Play:
        played.append(name)
        if name == failing:
            raise KeyboardInterrupt
        return _episode(name)
        yield

    return {(name, 0): lambda name=name: play(name) for name in names}


def test_an_interrupted_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    played: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        evaluate(_plays("a", "b", "c", played=played, failing="b"), Replay(), Results(tmp_path, {"model": "m"}))
    with pytest.raises(ResultsError, match="not finished"):
        read_summary(tmp_path)
    summary = evaluate(_plays("a", "b", "c", played=played), Replay(), Results(tmp_path, {"model": "m"}))
    assert played == ["a", "b", "b", "c"]
    assert [episode.task for episode in read_episodes(tmp_path)] == ["a", "b", "c"]
    assert read_summary(tmp_path) == summary == summarise(read_episodes(tmp_path))


def test_a_torn_line_and_an_endpoints_failure_are_done_again(tmp_path: Path) -> None:
    results = Results(tmp_path, {})
    for episode in (_episode("a"), _episode("b", ended="endpoint_error", success=False), _episode("c")):
        results.add(episode)
    with (tmp_path / "episodes.jsonl").open("a") as file:
        file.write('{"task": "d", "categ')
    played: list[str] = []
    summary = evaluate(_plays("a", "b", "c", "d", played=played), Replay(), Results(tmp_path, {}))
    assert played == ["b", "d"]
    assert (summary.tasks, summary.left_out) == (4, {})
    assert len(read_episodes(tmp_path)) == 4


def test_trials_of_one_task_are_told_apart(tmp_path: Path) -> None:
    results = Results(tmp_path, {})
    results.add(_episode("a"))
    results.add(_episode("a", trial=1, success=False))
    assert [(e.trial, e.success) for e in read_episodes(tmp_path)] == [(0, True), (1, False)]


def test_another_evaluations_folder_is_refused(tmp_path: Path) -> None:
    Results(tmp_path, {"model": "m", "source": "bfcl"})
    with pytest.raises(ResultsError, match=r"another evaluation \(model, trials differ\)"):
        Results(tmp_path, {"model": "n", "source": "bfcl", "trials": 2})
    assert json.loads((tmp_path / "eval.json").read_text()) == {"model": "m", "source": "bfcl"}
    with pytest.raises(ResultsError, match="holds no results"):
        read_episodes(tmp_path / "nowhere")


def test_workers_write_whole_lines(tmp_path: Path) -> None:
    names = [f"t{i}" for i in range(50)]
    evaluate(_plays(*names, played=[]), Replay(), Results(tmp_path, {}), workers=8)
    assert sorted(episode.task for episode in read_episodes(tmp_path)) == sorted(names)


def test_an_interrupt_stops_all_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import Future

    def interrupted(self: Any, timeout: float | None = None) -> None:
        raise KeyboardInterrupt  # as Ctrl-C does in the thread that waits

    class Slow(Replay):
        def act(self, conversations: Any) -> Any:
            time.sleep(0.01)
            return [Rollout("", (), ()) for _ in conversations]

    def play() -> Play:
        for _ in range(10_000):
            yield Conversation([])
        return _episode("never")

    monkeypatch.setattr(Future, "result", interrupted)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run([play] * 4, Slow(), batch_size=1, workers=2)
    assert time.monotonic() - start < 10  # two episodes alone would take 100 s
