"""TAU2 at arm's length: its simulations, in processes of `runner.py`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from fission_grpo.errors import UserError
from fission_grpo.evaluation.process import Gone, Pool, Process

RUNNER = Path(__file__).with_name("runner.py")
TURN_SECONDS = 600.0
"""Longest wait for the user's turn, the tools' results or the verdict (ours)."""


class Tau2Error(UserError, RuntimeError):
    """TAU2's package cannot be used."""


class Simulators:
    """Processes of `runner.py`, run by `python`. Use as a context manager: leaving it ends them all.

    A process takes 3 s to start and 250 MB; there are never more of them than simulations in play at once.
    """

    def __init__(self, python: Path, *, runner: Path = RUNNER, turn_seconds: float = TURN_SECONDS) -> None:
        command = [str(python), "-I", str(runner)]
        self._pool, self.turn_seconds = Pool(lambda: Process(command)), turn_seconds

    def __enter__(self) -> Simulators:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.__exit__()

    def lend(self) -> AbstractContextManager[Process]:
        """A process for the block. It ends with the block where an exception does, and serves again where none does."""
        return self._pool.lend()

    def task_ids(self, domain: str) -> list[str]:
        """The ids of a domain's tasks. Raises Tau2Error where TAU2 does not run."""
        try:
            with self.lend() as process:
                ids: list[str] = process.ask({"list": domain}, self.turn_seconds)["ids"]
        except Gone as gone:
            raise Tau2Error(f"TAU2 does not run: {gone}") from None
        return ids
