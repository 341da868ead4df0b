"""BFCL's package at arm's length: a rollout's API instances, in a process that is killed when a call hangs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fission_grpo.chat import ToolCall
from fission_grpo.errors import UserError
from fission_grpo.evaluation.process import Gone, Pool, Process

CALL_SECONDS = 10.0
"""Longest time for one call (ours); what takes longer is an execution error, and has not happened."""
LONG_SECONDS = 300.0
"""Longest time for loading a category, and for the package's checker, which executes all calls again (ours)."""


MAX_HUNG = 3
"""Hung calls of a rollout that are waited for (ours); what is called after them is refused at once."""


class BfclError(UserError, RuntimeError):
    """BFCL's package cannot be used."""


@dataclass(frozen=True)
class Outcome:
    """What a call came to: the text that the model is shown, the kind of its error, and whether it failed softly."""

    text: str
    kind: str | None
    soft: bool = False


@dataclass(frozen=True)
class Verdict:
    """The package's verdict on a rollout, the stricter one, and why it failed."""

    valid: bool
    strict: bool
    detail: str


class Servers:
    """Processes of `server.py`, run by `python`. Use as a context manager: leaving it ends them all."""

    def __init__(self, python: Path) -> None:
        self._folder = tempfile.TemporaryDirectory()
        command = [str(python), "-I", str(Path(__file__).with_name("server.py"))]
        self._pool = Pool(lambda: Process(command, {"BFCL_PROJECT_ROOT": self._folder.name}))

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.__exit__()
        self._folder.cleanup()

    def load(self, category: str) -> list[dict[str, Any]]:
        """The entries of a category, each with `ground_truth` (strings) and `reference` (the same, parsed).

        Raises BfclError where the package does not run.
        """
        try:
            with self._pool.lend() as process:
                entries: list[dict[str, Any]] = process.ask({"load": category}, LONG_SECONDS)
        except Gone as gone:
            raise BfclError(f"bfcl-eval does not load '{category}': {gone}") from None
        return entries

    @contextmanager
    def world(self, entry: dict[str, Any]) -> Iterator[World]:
        """The API instances of one rollout of an entry."""
        world = World(entry, self._pool)
        try:
            yield world
        finally:
            world.leave()


class World:
    """One rollout's API instances. A call that hangs costs their process; another is brought to the same state."""

    def __init__(self, entry: dict[str, Any], pool: Pool) -> None:
        self._entry = {key: entry[key] for key in ("id", "initial_config", "involved_classes")}
        self._process: Process | None = None
        self._pool, self._done, self._hung = pool, list[ToolCall](), 0
        self._begin()

    def execute(self, call: ToolCall) -> Outcome:
        """Executes a call. Raises Gone where a new process cannot be brought to the old one's state."""
        if self._hung == MAX_HUNG:
            return Outcome("Error during execution: too many calls gave no answer", "timeout")
        try:
            outcome = Outcome(**self._ask({"execute": asdict(call)}, CALL_SECONDS))
        except Gone as gone:
            self._hung += 1
            self._begin()
            for done in self._done:
                self._ask({"execute": asdict(done)}, LONG_SECONDS)
            return Outcome(f"Error during execution: {gone}", "timeout")
        self._done.append(call)
        return outcome

    def judge(self, turns: Sequence[Sequence[Sequence[ToolCall]]], truth: Sequence[Sequence[str]]) -> Verdict:
        """The package's verdict on the calls made: turn, step, call. Raises Gone where it comes to none."""
        calls = [[[asdict(call) for call in step] for step in turn] for turn in turns]
        return Verdict(**self._ask({"judge": calls, "truth": truth}, LONG_SECONDS))

    def leave(self) -> None:
        """Ends the rollout; its process, where it still has one, is ready for another."""
        if self._process:
            with suppress(Gone):
                self._ask({}, CALL_SECONDS)
                self._pool.give(self._process)

    def _begin(self) -> None:
        self._process = self._pool.take()
        self._ask({"entry": self._entry}, LONG_SECONDS)

    def _ask(self, message: Any, seconds: float) -> Any:
        """The answer. Raises Gone where there is none, or where the rollout's own fork has failed."""
        assert self._process  # noqa: S101
        try:
            answer = self._process.ask(message, seconds)
            if answer.get("ended"):
                raise Gone("its process died")
        except Gone:
            self._process.end()
            self._process = None
            raise
        return answer
