"""The folder of an evaluation: what was asked, every episode as it ends, and the summary. What is done is kept.

eval.json        the source, the model and all settings; a folder is refused to another evaluation
episodes.jsonl   one line for each episode
summary.json     the decomposition; written last
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fission_grpo.errors import UserError
from fission_grpo.evaluation.episode import Agent, Episode, Play, run
from fission_grpo.evaluation.recovery import Summary, summarise


class ResultsError(UserError, ValueError):
    """A folder does not hold the results it should."""


Key = tuple[str, int]
"""A task's id and its trial."""


class Results:
    """An evaluation's folder. Raises ResultsError where it holds another evaluation's results."""

    def __init__(self, folder: Path, asked: Mapping[str, Any]) -> None:
        self.folder, self._lines = folder, folder / "episodes.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        file, wanted = folder / "eval.json", json.loads(json.dumps(asked))
        if file.exists():
            held = json.loads(file.read_text(encoding="utf-8"))
            if differing := [key for key in {**held, **wanted} if held.get(key) != wanted.get(key)]:
                raise ResultsError(
                    f"{folder} holds another evaluation ({', '.join(differing)} differ): choose another --out, "
                    "or delete the folder"
                )
        else:
            write_whole(file, json.dumps(wanted, indent=2, ensure_ascii=False) + "\n")
        self.done = {key_of(e): e for e in _read(self._lines) if e.ended != "endpoint_error"}
        # A line that a kill tore, and what is to be tried again, are left out.
        write_whole(self._lines, "".join(map(_line, self.done.values())))

    def add(self, episode: Episode) -> None:
        """Puts an episode on disk."""
        self.done[key_of(episode)] = episode
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(_line(episode))

    def summarise(self) -> Summary:
        """Writes the summary of what is done, and returns it."""
        summary = summarise(list(self.done.values()))
        write_whole(self.folder / "summary.json", json.dumps(summary.to_json(), indent=2) + "\n")
        return summary


def evaluate(
    plays: Mapping[Key, Callable[[], Play]],
    agent: Agent,
    results: Results,
    *,
    batch_size: int = 1,
    workers: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> Summary:
    """Plays what `results` does not hold yet, as `run` says; `advance` is called for every episode that is done."""
    missing = [play for key, play in plays.items() if key not in results.done]
    for _ in range(len(plays) - len(missing)):
        advance()

    def keep(episode: Episode) -> None:
        results.add(episode)
        advance()

    run(missing, agent, batch_size=batch_size, workers=workers, on_done=keep)
    return results.summarise()


def read_episodes(folder: Path) -> list[Episode]:
    """The episodes of a folder. Raises ResultsError where it holds none."""
    episodes = {key_of(episode): episode for episode in _read(folder / "episodes.jsonl")}
    if not episodes:
        raise ResultsError(f"{folder} holds no results of an evaluation")
    return list(episodes.values())


def read_summary(folder: Path) -> Summary:
    """The summary of a folder. Raises ResultsError where it has none: its evaluation is not finished."""
    file = folder / "summary.json"
    if not file.exists():
        raise ResultsError(f"{folder} holds no summary: its evaluation is not finished")
    return Summary.from_json(json.loads(file.read_text(encoding="utf-8")))


def key_of(episode: Episode) -> Key:
    """What tells an episode from the others of its evaluation."""
    return episode.task, episode.trial


def write_whole(file: Path, text: str) -> None:
    """Writes a whole file or none of it: a full disk leaves what was there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.partial")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(file)


def _line(episode: Episode) -> str:
    return json.dumps(episode.to_json(), ensure_ascii=False) + "\n"


def _read(file: Path) -> list[Episode]:
    """The whole lines of a file; the last may have been torn by a kill."""
    if not file.exists():
        return []
    whole = file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return [Episode.from_json(json.loads(line)) for line in whole]
