"""The second verifier: no single edit of a turn's calls may reach the same state and answers.

If one did, the turn would have two right solutions, Eq. 3 would punish one of them, and the policy would learn nothing
but the generator's taste. Edits: another tool, another visible value, a call dropped or made twice, made a step earlier
or in another order. An edit counts only where every value it needs stands in the dialogue by then; explicit defaults
are no difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from fission_grpo.chat import Decision, Task, ToolCall, Turn, result_message
from fission_grpo.data.verify.visible import Visible, leaves, strings
from fission_grpo.domains import DOMAINS, Domain, ToolError

State = dict[str, Any]

MAX_RENAMED = 3
"""Most arguments whose values are tried on another tool's required parameters, whatever these are called (ours)."""


def unique(task: Task, decisions: Sequence[Decision]) -> dict[str, str]:
    """Decision ids with the reason why their turn is ambiguous; empty where every turn has one solution.

    A turn's decisions stand and fall together.
    """
    domain = DOMAINS[task.domain].restore(task.initial_state)
    known = Visible()
    reasons: dict[int, str] = {}
    for number, turn in enumerate(task.turns):
        known.add(turn.user)
        reference = _Reference.of(domain, task, turn, known)
        if reason := next(_alternatives(reference), None):
            reasons[number] = reason
        known = reference.known[-1].copy()
    return {
        decision.id: reasons[number]
        for decision in decisions
        if (number := int(decision.id.rpartition("/")[2].partition(".")[0])) in reasons
    }


@dataclass(frozen=True)
class _Reference:
    """A turn's calls in sequence, and what held before each of them and after the last."""

    domain: type[Domain]
    specs: dict[str, dict[str, Any]]
    """Parameter schemas of the tools shown."""
    calls: list[ToolCall]
    steps: list[int]
    """The step that each call belongs to."""
    states: list[State]
    known: list[Visible]
    """What is visible to the assistant when it makes each call (all calls of a step see the same), and at the end."""
    results: list[str]
    """As the assistant reads them."""
    ordered: bool

    @classmethod
    def of(cls, domain: Domain, task: Task, turn: Turn, known: Visible) -> _Reference:
        """Plays the turn on `domain`."""
        calls, steps, states, results, visible = [], [], [], [], []
        for number, step in enumerate(turn.calls):
            after = known.copy()
            for call in step:
                calls.append(call)
                steps.append(number)
                states.append(domain.snapshot())
                visible.append(known)
                results.append(_result(domain, call))
                after.add(results[-1])
            known = after
        specs = {spec["function"]["name"]: spec["function"]["parameters"] for spec in domain.specs(task.tools)}
        states.append(domain.snapshot())
        return cls(type(domain), specs, calls, steps, states, [*visible, known], results, turn.ordered)

    def places(self, step: int) -> list[int]:
        """The calls of one step."""
        return [place for place, of in enumerate(self.steps) if of == step]

    def answers(self) -> list[str]:
        """Results that must be obtained: what the last step merely looks up."""
        last = self.places(self.steps[-1])
        return [self.results[place] for place in last if self.states[place] == self.states[place + 1]]

    def world(self, place: int) -> Domain:
        """A world of its own, as it was before the call at `place`; one past the last, as it was in the end."""
        return self.domain.restore(self.states[place])


def _alternatives(reference: _Reference) -> Iterator[str]:
    """Every single edit that would do as well, in words."""
    for place, call in enumerate(reference.calls):
        if _same_end(reference, place, reference.world(place)):
            yield f"{_brief(call)} is superfluous"
        yield from _twice(reference, place)
        yield from _earlier(reference, place)
        yield from _otherwise(reference, place)
    for step in sorted(set(reference.steps)):
        yield from _orders(reference, reference.places(step))


def _otherwise(reference: _Reference, place: int) -> Iterator[str]:
    """Another tool or value in place of one call."""
    world = reference.world(place)
    for edited in _edits(reference, place):
        try:
            result = _result(world, edited)
        except ToolError:
            continue
        changed = world.snapshot() != reference.states[place]
        if _same_end(reference, place, world, result):
            yield f"{_brief(edited)} does as well as {_brief(reference.calls[place])}"
        if changed or world.snapshot() != reference.states[place]:
            world = reference.world(place)


def _twice(reference: _Reference, place: int) -> Iterator[str]:
    """A call made once more, where that has an effect."""
    world = reference.world(place + 1)
    try:
        world.call(reference.calls[place])
    except ToolError:
        return
    if world.snapshot() != reference.states[place + 1] and _same_end(reference, place, world, reference.results[place]):
        yield f"{_brief(reference.calls[place])} may be made twice"


def _earlier(reference: _Reference, place: int) -> Iterator[str]:
    """A call that could stand in the step before: its values are known by then, and its order there does not matter."""
    call, step = reference.calls[place], reference.steps[place]
    if step == 0:
        return
    before = reference.places(step - 1)
    if not _speakable(call, reference.known[place], reference.known[before[0]]):
        return
    siblings = [other for other in reference.places(step) if other != place]
    world = reference.world(before[0])
    try:
        first = _result(world, call)
        for other in before:
            if _result(world, reference.calls[other]) != reference.results[other]:
                return
        for other in siblings:
            world.call(reference.calls[other])
    except ToolError:
        return
    if first == reference.results[place] and world.snapshot() == reference.states[reference.places(step)[-1] + 1]:
        yield f"{_brief(call)} could be made a step earlier"


def _orders(reference: _Reference, places: list[int]) -> Iterator[str]:
    """Whether the order inside a step matters exactly where the turn says so: every two neighbours are swapped."""
    for i in range(len(places) - 1):
        swapped = [*places[:i], places[i + 1], places[i], *places[i + 2 :]]
        same = _reordered(reference, swapped, places[0])
        if same == reference.ordered:
            named = f"{_brief(reference.calls[places[i]])} and {_brief(reference.calls[places[i + 1]])}"
            yield f"the order of {named} {'does not matter' if same else 'matters'}"


def _reordered(reference: _Reference, order: Sequence[int], start: int) -> bool:
    """Whether calls made in another order leave the same state, and those that only look up find the same."""
    world = reference.world(start)
    for place in order:
        try:
            result = _result(world, reference.calls[place])
        except ToolError:
            return False
        reads = reference.states[place] == reference.states[place + 1]
        if reads and result != reference.results[place]:
            return False
    return bool(world.snapshot() == reference.states[max(order) + 1])


def _same_end(reference: _Reference, place: int, world: Domain, result: str | None = None) -> bool:
    """Whether the calls after `place`, made in `world`, end as the reference does.

    `result` is what the call at `place` gave instead; without one it was dropped. Calls of later steps need their
    values to be visible under the results obtained.
    """
    step = reference.steps[place]
    obtained = [*reference.results[:place], *([] if result is None else [result])]
    known = reference.known[place].copy()
    for text in obtained[reference.steps.index(step) :]:
        known.add(text)
    for later in range(place + 1, len(reference.calls)):
        call = reference.calls[later]
        if reference.steps[later] > step and not _speakable(call, reference.known[later], known):
            return False
        try:
            obtained.append(_result(world, call))
        except ToolError:
            return False
        known.add(obtained[-1])
    return world.snapshot() == reference.states[-1] and all(
        any(_tells(other, answer) for other in obtained) or reference.known[0].knows(answer)
        for answer in reference.answers()
    )


def _tells(result: str, answer: str) -> bool:
    """Whether a result is the answer, or holds all of its values where there are at least two."""
    wanted, given = ({str(leaf) for leaf in leaves(json.loads(text))} for text in (answer, result))
    return result == answer or (len(wanted) > 1 and wanted <= given)


def _result(world: Domain, call: ToolCall) -> str:
    return result_message(world.call(call))


def _speakable(call: ToolCall, reference: Visible, known: Visible) -> bool:
    """Whether an assistant that knows `known` can make a call that the reference makes knowing `reference`.

    What does not even stand in the reference's dialogue is meant by it ("the kids' doctor") and needs no telling.
    """
    return all(known.knows(leaf) or not reference.knows(leaf) for leaf in leaves(call.arguments))


def _edits(reference: _Reference, place: int) -> Iterator[ToolCall]:
    """The call at `place` with another tool, or with one other visible value."""
    call = reference.calls[place]
    for name, schema in reference.specs.items():
        if name != call.name:
            yield from _with_tool(call, name, schema)
    candidates = _Candidates(reference, place)
    schema = reference.specs[call.name]
    for name, part in schema["properties"].items():
        if name not in call.arguments:
            values = [value for value in candidates.of(part, None) if value != part.get("default")]
        else:
            values = list(candidates.of(part, call.arguments[name]))
            if name not in schema["required"] and call.arguments[name] != part.get("default"):
                yield ToolCall(call.name, {key: value for key, value in call.arguments.items() if key != name})
        for value in values:
            yield ToolCall(call.name, {**call.arguments, name: value})


def _with_tool(call: ToolCall, name: str, schema: dict[str, Any]) -> Iterator[ToolCall]:
    """Another tool with the arguments it has in common, or with the same values under its own names."""
    kept = {key: value for key, value in call.arguments.items() if key in schema["properties"]}
    required = schema["required"]
    if set(required) <= set(kept):
        yield ToolCall(name, kept)
    elif len(required) == len(call.arguments) <= MAX_RENAMED:
        for values in permutations(call.arguments.values()):
            yield ToolCall(name, dict(zip(required, values, strict=True)))


class _Candidates:
    """Values that an argument could have had instead."""

    def __init__(self, reference: _Reference, place: int) -> None:
        known = reference.known[place]
        made = [call.arguments for call in reference.calls[: place + 1]]
        entities = dict.fromkeys([*strings(reference.states[place]), *strings(made)])
        self._strings = [text for text in entities if known.knows(text)]
        self._numbers = sorted(known.numbers())

    def of(self, schema: dict[str, Any], value: Any) -> Iterator[Any]:
        """Other values for a part of an argument; of a list or object, one part of it differs."""
        for option in schema.get("anyOf", [schema]):
            yield from (other for other in self._fitting(option, value) if not _equal(other, value))

    def _fitting(self, schema: dict[str, Any], value: Any) -> Iterator[Any]:
        if "enum" in schema:
            yield from schema["enum"]
        elif schema.get("type") == "boolean":
            yield from (True, False)
        elif schema.get("type") == "integer":
            yield from (int(number) for number in self._numbers if number.is_integer())
        elif schema.get("type") == "number":
            yield from (int(number) if number.is_integer() else number for number in self._numbers)
        elif schema.get("type") == "string":
            yield from self._strings
        elif isinstance(value, list):
            for i, item in enumerate(value):
                yield [*value[:i], *value[i + 1 :]]
                yield from ([*value[:i], other, *value[i + 1 :]] for other in self.of(schema.get("items", {}), item))
        elif isinstance(value, dict):
            for key, item in value.items():
                part = schema.get("properties", {}).get(key, {})
                yield from ({**value, key: other} for other in self.of(part, item))


def _equal(left: Any, right: Any) -> bool:
    """Equal as JSON, but for true and 1."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _brief(call: ToolCall) -> str:
    said = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in call.arguments.items())
    return f"{call.name}({said})"
