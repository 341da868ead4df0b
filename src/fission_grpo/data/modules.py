"""Domains and scenarios by name: the built-in ones, and those of a user's own Python file."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

from fission_grpo.data.scenarios import SCENARIOS, Scenario
from fission_grpo.data.scenarios.goals import ScenarioError
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
    if not path.is_file():
        raise ModuleError(f"{path}: no such file")
    module = f"fission_grpo_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise ModuleError(f"{path}: not a Python file")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded  # type hints of its classes are looked up there
    try:
        spec.loader.exec_module(loaded)
    except (TypeError, SyntaxError, ImportError, ScenarioError) as error:
        raise ModuleError(f"{path}: {first_line(error)}") from error
    own = [item for item in vars(loaded).values() if inspect.isclass(item) and item.__module__ == module]
    domains = [item for item in own if issubclass(item, Domain)]
    scenarios = [item for item in vars(loaded).values() if isinstance(item, Scenario)]
    if len(domains) != 1 or len(scenarios) > 1:
        counts = f"{len(domains)} and {len(scenarios)}"
        raise ModuleError(f"{path}: needs one subclass of Domain and at most one Scenario, has {counts}")
    name = domains[0].name
    if name in DOMAINS and inspect.getsourcefile(DOMAINS[name]) != str(path):
        raise ModuleError(f"{path}: the name '{name}' is taken by another domain")
    DOMAINS[name] = domains[0]
    for scenario in scenarios:
        SCENARIOS[name] = scenario
    return name
