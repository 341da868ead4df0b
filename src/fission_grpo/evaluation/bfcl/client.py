"""BFCL's package at arm's length: a rollout's API instances, in a process that is killed when a call hangs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


_HUNG = ToolCall("hung")
"""What the checker is given for a call that hung: an error, too."""


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
        self._pool, self._done, self._hung = pool, list[ToolCall](), list[ToolCall]()
        self._begin()

    def execute(self, call: ToolCall) -> Outcome:
        """Executes a call."""
        try:
            outcome = Outcome(**self._ask({"execute": asdict(call)}, CALL_SECONDS))
        except Gone:
            self._hung.append(call)
            self._begin()
            for done in self._done:
                self._ask({"execute": asdict(done)}, CALL_SECONDS)
            return Outcome(f"Error during execution: no answer within {CALL_SECONDS:.0f} seconds", "timeout")
        self._done.append(call)
        return outcome

    def judge(self, turns: Sequence[Sequence[Sequence[ToolCall]]], truth: Sequence[Sequence[str]]) -> Verdict:
        """The package's verdict on the calls made: turn, step, call."""
        calls = [[[asdict(call if call not in self._hung else _HUNG) for call in s] for s in turn] for turn in turns]
        try:
            return Verdict(**self._ask({"judge": calls, "truth": truth}, LONG_SECONDS))
        except Gone as gone:
            self._begin()
            return Verdict(False, False, f"BFCL's checker failed: {gone}")

    def leave(self) -> None:
        """Ends the rollout; its process is ready for another."""
        try:
            self._ask({}, CALL_SECONDS)
        except Gone:
            return
        self._pool.give(self._process)

    def _begin(self) -> None:
        self._process = self._pool.take()
        self._ask({"entry": self._entry}, LONG_SECONDS)

    def _ask(self, message: Any, seconds: float) -> Any:
        """The answer. Raises Gone where there is none, or where the rollout's own fork has failed."""
        try:
            answer = self._process.ask(message, seconds)
            if answer.get("ended"):
                raise Gone("its rollout's process failed")
        except Gone:
            self._process.end()
            raise
        return answer
