"""Who may import whom, as docs/architecture.md draws it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fission_grpo

ROOT = Path(fission_grpo.__file__).parent
HEAVY = {"torch", "transformers", "peft", "trl", "accelerate", "datasets"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "cache": set(),
    "settings": set(),
    "chat": {"errors"},
    "toolcall": {"chat", "errors"},
    "reward": {"chat", "toolcall", "settings", "errors"},
    "feedback": {"chat", "toolcall", "errors"},
    "fission": {"chat", "reward", "feedback", "settings", "errors"},
    "metrics": {"fission", "errors"},
    "domains": {"chat", "errors"},
    "data": {"chat", "toolcall", "domains", "settings", "errors"},
    "evaluation": {"chat", "toolcall", "domains", "settings", "cache", "errors"},
    "inspection": {"errors"},
    "objective": {"settings", "errors"},
    "policy": {"chat", "objective", "settings", "cache", "errors"},
    "trainer": {"chat", "toolcall", "reward", "feedback", "fission", "metrics", "policy", "settings", "errors"},
}
"""Rooms below the command line; those that compose them may import any of these."""
COMPOSING = {"config", "evaluate", "run", "warm_start", "error_corpus", "cli"}
PURE = sorted(MAY_IMPORT.keys() - {"objective", "policy", "trainer"})

FILES = sorted(ROOT.rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def module_name(file: Path) -> str:
    return ".".join(("fission_grpo", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def imported_at_load(body: list[ast.stmt]) -> Iterator[str]:
    """Dotted names that loading a module imports: not what functions import, not what only type checkers see."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from imported_at_load(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ("body", "orelse", "finalbody"):
                yield from imported_at_load(getattr(node, block, []))
            for handler in getattr(node, "handlers", []):
                yield from imported_at_load(handler.body)


def imports_of(file: Path) -> list[list[str]]:
    return [name.split(".") for name in imported_at_load(ast.parse(file.read_text(encoding="utf-8")).body)]


def test_every_room_has_its_place() -> None:
    assert {room_of(file) for file in FILES} - {"__init__"} == MAY_IMPORT.keys() | COMPOSING


@pytest.mark.parametrize("room", ["__init__", *MAY_IMPORT])
def test_a_room_imports_only_what_it_may(room: str) -> None:
    for file in (file for file in FILES if room_of(file) == room):
        ours = {parts[1] for parts in imports_of(file) if parts[0] == "fission_grpo"}
        forbidden = ours - MAY_IMPORT.get(room, set()) - {room}
        assert not forbidden, f"{module_name(file)} imports {sorted(forbidden)}"


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_names_no_heavy_library(room: str) -> None:
    for file in (file for file in FILES if room_of(file) == room):
        heavy = {parts[0] for parts in imports_of(file)} & HEAVY
        assert not heavy, f"{module_name(file)} imports {sorted(heavy)}"


def test_pure_rooms_load_without_torch() -> None:
    modules = ["fission_grpo", *(module_name(file) for file in FILES if room_of(file) in PURE)]
    code = (
        "import importlib, sys\n"
        f"for name in {modules}:\n"
        "    importlib.import_module(name)\n"
        f"    loaded = {HEAVY} & set(sys.modules)\n"
        "    assert not loaded, f'{name} loads {sorted(loaded)}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
