"""`fission-grpo data check`: whether a domain keeps its promises, and whether its scenario's ground truth is proven."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fission_grpo.chat import ToolCall
from fission_grpo.data.funnel import Judged, judge
from fission_grpo.data.modules import find
from fission_grpo.data.scenarios import Scenario
from fission_grpo.data.scenarios.words import SPLITS
from fission_grpo.data.tasks import PatternError, candidates
from fission_grpo.data.verify.visible import strings
from fission_grpo.domains import DOMAINS, Domain, ToolError
from fission_grpo.errors import first_line

WORLDS, CALLS = 12, 60
"""Worlds tried, and random calls made in each."""
TASKS = 150
"""Tasks generated for each split."""
TOLERATED = 0.2
"""Share of a pattern's turns that may fall; the funnel drops them."""


@dataclass
class PatternReport:
    """How one pattern's turns fared."""

    turns: int = 0
    passed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Reasons of those that fell."""


@dataclass
class Report:
    """What was found about one domain."""

    domain: type[Domain]
    defects: list[str] = field(default_factory=list)
    """One line each: tool or pattern, and reason."""
    patterns: dict[str, PatternReport] = field(default_factory=dict)
    tasks: int = 0

    def found(self, where: Callable[..., Any], defect: str) -> None:
        """Adds a defect of something that is written where `where` is."""
        self.defects.append(f"{inspect.getsourcefile(where) or where.__module__}: {defect}")


def check(domain: type[Domain], scenario: Scenario | None) -> Report:
    """Tries the domain with random calls and, where it keeps its promises, proves the scenario's tasks."""
    report = Report(domain)
    for defect in {_kind_of(defect): defect for defect in _domain_defects(domain)}.values():
        report.found(domain, defect)
    if scenario is not None and not report.defects:
        _check_scenario(scenario, report)
    return report


def _domain_defects(domain: type[Domain]) -> Iterator[str]:
    """Broken promises of a domain, found by random calls in random worlds."""
    try:
        first, again = (domain.fresh(1).snapshot() for _ in range(2))
    except Exception as error:  # a domain may fail in any way; whichever it is, it is the finding
        yield f"fresh: raises {type(error).__name__}: {first_line(error)}"
        return
    if first != again:
        yield "fresh: the same seed gives different worlds"
    for seed in range(WORLDS):
        rng, world = Random(seed), domain.fresh(seed)  # noqa: S311
        for _ in range(CALLS):
            before = world.snapshot()
            call = random_call(rng, world)
            problem = _misbehaviour(world, call, before)
            if problem:
                yield f"{call.name}: {problem} (arguments {json.dumps(call.arguments)[:120]})"
                world = domain.restore(before)


def _kind_of(defect: str) -> str:
    """The tool and what it does, without the values: each is reported once."""
    return ":".join(defect.split(":")[:2])


def _misbehaviour(world: Domain, call: ToolCall, before: dict[str, Any]) -> str | None:
    """What one call does that no tool may do."""
    try:
        result = world.call(call)
    except ToolError as error:
        return None if world.snapshot() == before else f"changes the state before it raises: {error}"
    except Exception as error:  # a tool may fail in any way; whichever it is, it is the finding
        return f"raises {type(error).__name__} where only ToolError is allowed: {first_line(error)}"
    try:
        json.dumps(result, allow_nan=False)
    except (TypeError, ValueError) as error:
        return f"its result is not JSON: {first_line(error)}"
    if not _comes_back(world):
        return "its state does not come back from a snapshot"
    if not _repeats(world.restore(before), call, result, world.snapshot()):
        return "depends on something outside the state, or on chance"
    return None


def _repeats(twin: Domain, call: ToolCall, result: Any, state: dict[str, Any]) -> bool:
    """Whether the call does in a world of the same state what it did before."""
    try:
        return bool((twin.call(call), twin.snapshot()) == (result, state))
    except Exception:  # it succeeded before
        return False


def _comes_back(world: Domain) -> bool:
    try:
        snapshot = world.snapshot()
        return bool(world.restore(json.loads(json.dumps(snapshot))).snapshot() == snapshot)
    except (TypeError, ValueError):  # not JSON, or not a valid state
        return False


def random_call(rng: Random, world: Domain) -> ToolCall:
    """A call that fits its schema, with strings of the world and some junk; now and then it does not fit."""
    function = rng.choice(world.specs())["function"]
    known = [*strings(world.snapshot()), "", "no such thing", "2026-13-45"]
    parameters = function["parameters"]
    arguments = {
        name: _random_value(rng, schema, known)
        for name, schema in parameters["properties"].items()
        if name in parameters["required"] or rng.random() < 0.5
    }
    if arguments and rng.random() < 0.1:
        arguments[rng.choice(list(arguments))] = rng.choice([None, True, -1, 1e300, [], {}, "x"])
    return ToolCall(function["name"], arguments)


def _random_value(rng: Random, schema: dict[str, Any], known: list[str]) -> Any:
    schema = rng.choice(schema.get("anyOf", [schema]))
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "array":
            return [_random_value(rng, schema.get("items", {}), known) for _ in range(rng.randrange(4))]
        case "object":
            return {name: _random_value(rng, part, known) for name, part in schema.get("properties", {}).items()}
        case "boolean":
            return rng.random() < 0.5
        case "integer" | "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum", -3))
            high = schema.get("maximum", schema.get("exclusiveMaximum", 200))
            drawn = rng.randint(int(low), max(int(low), int(high)))
            return drawn if schema["type"] == "integer" else float(drawn)
        case "null":
            return None
    return rng.choice(known)


def _check_scenario(scenario: Scenario, report: Report) -> None:
    """Proves the tasks of every split, and counts by pattern."""
    report.patterns = {name: PatternReport() for name in scenario.patterns}
    for split in ("test",) if scenario.unseen else SPLITS:
        try:
            before = report.tasks
            for candidate in islice(candidates(scenario, split, seed=0), TASKS):
                _count(judge(*candidate), report)
            if report.tasks == before:
                report.found(scenario.build, f"{split}: the patterns give no task of at least two turns")
        except PatternError as error:
            report.found(scenario.build, f"{split}: {first_line(error)}")
    for name, pattern in report.patterns.items():
        if not pattern.turns:
            report.found(scenario.build, f"pattern {name}: no world offers it")
        elif pattern.passed < (1 - TOLERATED) * pattern.turns:
            reason = pattern.reasons.most_common(1)[0][0]
            fallen = f"{pattern.turns - pattern.passed} of {pattern.turns} turns fall"
            report.found(scenario.build, f"pattern {name}: {fallen}, e.g. {reason}")


def _count(judged: Judged, report: Report) -> None:
    """Adds one trajectory's turns; what is incoherent counts against the turn that is."""
    report.tasks += 1
    bad: dict[int, str] = {}
    if judged.incoherent:
        where, _, reason = judged.incoherent.partition(": ")
        bad[int(where.rpartition(" ")[2]) if where.startswith("turn ") else 0] = reason or where
    for found in judged.refuted.values():
        for id, reason in found.items():
            bad.setdefault(int(id.rpartition("/")[2].partition(".")[0]), reason)
    last = max(bad) if judged.incoherent else len(judged.task.turns)
    for number, turn in enumerate(judged.task.turns[: last + 1]):
        pattern = report.patterns[turn.pattern]
        pattern.turns += 1
        pattern.passed += number not in bad
        if number in bad:
            pattern.reasons[bad[number]] += 1


def check_modules(names: list[str], console: Console) -> bool:
    """Checks domains by name or file, all built-in ones if none are named, and prints what was found; is all well?"""
    reports = [check(*find(name)) for name in names or DOMAINS]
    for report in reports:
        _show(report, console)
    return not any(report.defects for report in reports)


def _show(report: Report, console: Console) -> None:
    tools, name = len(report.domain.specs()), report.domain.name
    console.print(Text(f"{name}: {tools} tools, {WORLDS * CALLS} random calls, {report.tasks} tasks", style="bold"))
    if report.patterns:
        table = Table("pattern", "turns", "passed", "what most often falls")
        for pattern, counted in report.patterns.items():
            reasons = [reason for reason, _ in counted.reasons.most_common(1)]
            table.add_row(pattern, str(counted.turns), str(counted.passed), Text(" ".join(reasons)[:110]))
        console.print(table)
    for defect in report.defects:
        console.print(Text(defect), style="red", soft_wrap=True)
    if not report.defects:
        console.print("no defects")
