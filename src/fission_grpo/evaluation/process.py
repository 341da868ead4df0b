"""Benchmark packages at arm's length: processes that answer requests, one line of JSON each way, and can be killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any


class Gone(Exception):
    """The process died, or did not answer in time; says which, in words."""


class Process:
    """One process, whose standard input and output are ours to talk with."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._line, theirs = socket.socketpair()
        self._ear = self._line.makefile("rb")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # so that what it forks ends with it, and Ctrl-C is ours to handle
            )

    def ask(self, message: Any, seconds: float) -> Any:
        """Tells `message` and waits for the answer. Raises Gone."""
        self.tell(message)
        return self.hear(seconds)

    def tell(self, message: Any) -> None:
        """Tells `message`. Raises Gone."""
        try:
            self._line.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            raise Gone(self._last_words()) from None

    def hear(self, seconds: float) -> Any:
        """What the process says next. Raises Gone where that takes longer; the process is of no use then."""
        self._line.settimeout(seconds)
        try:
            line = self._ear.readline()
        except TimeoutError:
            raise Gone(f"no answer within {seconds:.0f} seconds") from None
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise Gone(self._last_words())
        return json.loads(line)

    def end(self) -> None:
        """Kills the process and what it has forked."""
        self._kill()
        for file in (self._log, self._ear, self._line):
            file.close()

    def _kill(self) -> int:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def _last_words(self) -> str:
        """Why the process died: its last line on stderr."""
        code = self._kill()
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with code {code}: {words[-1] if words else 'without a word'}"


class Pool:
    """Processes, each lent to one episode at a time. Use as a context manager: leaving it ends them all."""

    def __init__(self, start: Callable[[], Process]) -> None:
        self._start, self._lock = start, Lock()
        self._idle: list[Process] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._idle:
            process.end()

    def take(self) -> Process:
        """An idle process, or a new one."""
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        return idle or self._start()

    def give(self, process: Process) -> None:
        """Takes a process back that is ready for another episode."""
        with self._lock:
            self._idle.append(process)

    @contextmanager
    def lend(self) -> Iterator[Process]:
        """A process for the block. It ends with the block where an exception does, and serves again where none does."""
        process = self.take()
        try:
            yield process
        except BaseException:  # a play that is closed leaves by GeneratorExit
            process.end()
            raise
        self.give(process)
