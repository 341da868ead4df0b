"""The coherence check: whether a dialogue makes sense as a whole, before any verifier looks at its decisions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from fission_grpo.chat import Task, ToolCall, Turn, result_message
from fission_grpo.data.verify.visible import Visible, strings
from fission_grpo.domains import DOMAINS, Domain, ToolError

LARGEST_COUNT = 40
"""Numbers up to this one may count things, and need not stand in the dialogue (ours)."""
MAX_CHARACTERS = 24_000
"""Longest dialogue, tool results included (ours)."""
STEM = 5
"""Letters that a word must share with an enumerated value to name it: "declining" names `declined` (ours)."""


def incoherence(task: Task) -> str | None:
    """The first thing that is wrong with a task, with the turn it is in; None where all is well."""
    domain = DOMAINS[task.domain].restore(task.initial_state)
    known = Visible()
    said: set[str] = set()
    for number, turn in enumerate(task.turns):
        problem = next(_problems(task, number, domain, known), None)
        if turn.user in said:
            problem = "the user repeats a turn word for word"
        if problem:
            return f"turn {number}: {problem}"
        said.add(turn.user)
    spoken = sum(len(turn.user) + len(turn.reply) for turn in task.turns)
    return None if spoken + len(known) <= MAX_CHARACTERS else "the dialogue is too long"


def _problems(task: Task, number: int, domain: Domain, known: Visible) -> Iterator[str]:
    """What is wrong with one turn; plays it on `domain` and adds what it makes known to `known`."""
    turn = task.turns[number]
    if "{" in turn.user or "{" in turn.reply or not turn.user.strip() or not turn.reply.strip():
        yield "a sentence is empty or not filled in"
    if bool(turn.steps) == turn.kind.startswith("missing"):
        yield f"a turn of kind {turn.kind} has {'calls' if turn.steps else 'no calls'}"
    if turn.kind == "missing_function" and (not turn.lacks or set(turn.lacks) & set(task.tools)):
        yield "it is declined although its tools are shown, or nobody says which they would be"
    known.add(turn.user)
    if turn.kind == "missing_parameter":
        yield from _guessable(task.turns[number + 1 : number + 2], domain, known)
    asked = [before.user for before in task.turns[max(0, number - 1) : number] if before.kind == "missing_parameter"]
    yield from _played(turn.calls, domain, known, set(task.tools), Visible([*asked, turn.user]))
    if unknown := [fact for fact in _facts(turn.reply, domain) if not known.knows(fact)]:
        yield f"the reply says what nothing shows: {unknown[0]!r}"


def _played(
    steps: Sequence[Sequence[ToolCall]], domain: Domain, known: Visible, tools: set[str], said: Visible
) -> Iterator[str]:
    """What is wrong with the calls of a turn; executes them, and adds their results to `known` step by step."""
    schemas = {spec["function"]["name"]: spec["function"]["parameters"]["properties"] for spec in domain.specs()}
    for step in steps:
        results = []
        for call in step:
            if call.name not in tools or call.name not in schemas:
                yield f"{call.name} is not among the tools shown"
            yield from _ungrounded(call, schemas.get(call.name, {}), known, said)
            try:
                results.append(result_message(domain.call(call)))
            except ToolError as error:
                yield f"the reference is refused: {error}"
        for result in results:
            known.add(result)


def _ungrounded(call: ToolCall, schemas: dict[str, Any], known: Visible, said: Visible) -> Iterator[str]:
    """Arguments whose value nobody named: neither the user nor a result; of an enumerated value its stem is enough."""
    for name, value in call.arguments.items():
        for leaf, enumerated in _leaves(value, schemas.get(name, {})):
            if known.knows(leaf) or (enumerated and said.knows_stem(str(leaf), STEM)):
                continue
            yield f"{call.name}: nobody said the value of '{name}', {leaf!r}"


def _guessable(following: Sequence[Turn], domain: Domain, known: Visible) -> Iterator[str]:
    """A user who leaves nothing out has no parameter missing: the calls must not be possible yet."""
    if not following:
        yield "a parameter is asked for and never supplied"
    for supplied in following:
        twin, tools = domain.restore(domain.snapshot()), {spec["function"]["name"] for spec in domain.specs()}
        problems = _played(supplied.calls, twin, known.copy(), tools, known)
        if next(problems, None) is None:
            yield "the parameter that should be missing is already known"


def _leaves(value: Any, schema: dict[str, Any]) -> Iterator[tuple[Any, bool]]:
    """The parts of an argument, each with whether its schema enumerates it."""
    options = schema.get("anyOf", [schema])
    if isinstance(value, dict):
        schema = next((option for option in options if "properties" in option), {})
        for key, item in value.items():
            yield from _leaves(item, schema.get("properties", {}).get(key, {}))
    elif isinstance(value, list):
        schema = next((option for option in options if "items" in option), {})
        for item in value:
            yield from _leaves(item, schema.get("items", {}))
    else:
        yield value, any(value in option.get("enum", [option.get("const")]) for option in options)


def _facts(reply: str, domain: Domain) -> list[Any]:
    """What closing words claim: ids, dates, times, names of the world, and numbers that are more than a count."""
    ids = re.findall(r"\b[A-Z]+-?\d[\w-]*\b", reply)
    claimed = Visible([reply])
    numbers = [number for number in claimed.numbers() if number > LARGEST_COUNT]
    entities = {text for text in strings(domain.snapshot()) if re.search(r"[A-Z]", text) and claimed.knows(text)}
    return [*ids, *numbers, *claimed.moments(), *sorted(entities)]
