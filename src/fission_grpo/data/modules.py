"""Domains and scenarios by name: the built-in ones, and those of a user's own Python file."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel

from fission_grpo.data.scenarios import SCENARIOS, Scenario
from fission_grpo.domains import DOMAINS, Domain
from fission_grpo.errors import UserError, first_line


class ModuleError(UserError):
    """A user's module cannot be used. The message is one line."""


def register(files: Sequence[str]) -> list[str]:
    """Adds the domains of Python files, which are executed, to the built-in ones; returns their names.

    Raises ModuleError for a file that is missing, fails to load, has not exactly one domain, or takes a built-in name.
    """
    return [_register(Path(file)) for file in files]


def find(name: str) -> tuple[type[Domain], Scenario | None]:
    """The domain and scenario of a built-in domain's name or of a Python file. Raises ModuleError as `register`."""
    if name not in DOMAINS:
        if not name.endswith(".py"):
            raise ModuleError(f"'{name}' is neither a Python file nor a domain; domains: {', '.join(DOMAINS)}")
        [name] = register([name])
    return DOMAINS[name], SCENARIOS.get(name)


def _register(path: Path) -> str:
    path = path.resolve()
    if not path.is_file():
        raise ModuleError(f"{path}: no such file")
    loaded = _load(path)
    own = [item for item in vars(loaded).values() if inspect.isclass(item) and item.__module__ == loaded.__name__]
    domains = [item for item in own if issubclass(item, Domain)]
    scenarios = [item for item in vars(loaded).values() if isinstance(item, Scenario)]
    if len(domains) != 1 or len(scenarios) > 1:
        counts = f"{len(domains)} and {len(scenarios)}"
        raise ModuleError(f"{path}: needs one subclass of Domain and at most one Scenario, has {counts}")
    [domain] = domains
    if problem := _unfinished(domain):
        raise ModuleError(f"{path}: {domain.__name__} {problem}")
    if domain.name in DOMAINS and inspect.getsourcefile(DOMAINS[domain.name]) != str(path):
        raise ModuleError(f"{path}: the name '{domain.name}' is taken by another domain")
    DOMAINS[domain.name] = domain
    for scenario in scenarios:
        SCENARIOS[domain.name] = scenario
    return domain.name


def _load(path: Path) -> ModuleType:
    """Executes a file as a module of a name of its own."""
    name = f"fission_grpo_own_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModuleError(f"{path}: not a Python file")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # type hints of its classes are looked up there
    try:
        spec.loader.exec_module(loaded)
    except (Exception, SystemExit) as error:  # the file is anybody's, and may fail in any way
        raise ModuleError(f"{path}: {type(error).__name__}: {first_line(error)}") from error
    return loaded


def _unfinished(domain: type[Domain]) -> str | None:
    """What a domain class still lacks."""
    name = getattr(domain, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w-]*", name):
        return "needs a `name` of letters, digits, _ and -"
    state = getattr(domain, "State", None)
    if not (inspect.isclass(state) and issubclass(state, BaseModel)):
        return "needs a `State`, a pydantic model"
    return None if domain.specs() else "has no tools: public methods with a docstring"
