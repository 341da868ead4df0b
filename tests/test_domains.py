"""The executable domains: nothing but ToolError, no change on refusal, snapshots that restore."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission_grpo.chat import ToolCall
from fission_grpo.data.verify.visible import strings
from fission_grpo.domains import DOMAINS, Domain, Healthcare, SmartHome, ToolError, Vehicle
from fission_grpo.toolcall import Toolbox

JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 200), st.integers(), st.floats(), st.text(max_size=6), st.just([]),
    st.just({}), st.lists(st.text(max_size=2), max_size=2), st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)  # fmt: skip


def fitting(schema: dict[str, Any], known: list[str]) -> st.SearchStrategy[Any]:
    """Values that satisfy an argument's schema: strings of the world, so that calls hit something, and others."""
    if "anyOf" in schema:
        return st.one_of(*(fitting(option, known) for option in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    if schema["type"] == "array":
        return st.lists(fitting(schema["items"], known), max_size=3)
    if schema["type"] == "object":
        return st.fixed_dictionaries({key: fitting(part, known) for key, part in schema["properties"].items()})
    low, high = schema.get("minimum", -5), schema.get("maximum", 10**6)
    return {
        "boolean": st.booleans(),
        "integer": st.integers(low, high),
        "number": st.floats(low, high) | st.integers(low, high),
        "string": st.sampled_from(known) | st.text(max_size=8) | st.dates().map(str),
        "null": st.none(),
    }[schema["type"]]


@st.composite
def worlds_with_calls(draw: st.DrawFn, domain: type[Domain]) -> tuple[Domain, list[ToolCall]]:
    world = domain.fresh(draw(st.integers(0, 30)))
    known = list(strings(world.snapshot()))

    def one_call() -> ToolCall:
        function = draw(st.sampled_from(world.specs()))["function"]
        properties, required = function["parameters"]["properties"], function["parameters"]["required"]
        arguments = {
            key: draw(fitting(schema, known))
            for key, schema in properties.items()
            if key in required or draw(st.booleans())
        }
        if draw(st.integers(0, 4)) == 0:
            arguments[draw(st.sampled_from([*arguments, "surplus"]))] = draw(JUNK)
        return ToolCall(function["name"], arguments)

    return world, [one_call() for _ in range(draw(st.integers(1, 8)))]


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_calls_raise_only_tool_errors_and_refusals_change_nothing(domain: type[Domain], data: st.DataObject) -> None:
    world, calls = data.draw(worlds_with_calls(domain))
    for call in calls:
        before = world.snapshot()
        try:
            json.dumps(world.call(call), allow_nan=False)
        except ToolError:
            assert world.snapshot() == before
        assert world.restore(json.loads(json.dumps(world.snapshot()))).snapshot() == world.snapshot()


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_same_seed_same_world(domain: type[Domain]) -> None:
    assert domain.fresh(3).snapshot() == domain.fresh(3).snapshot() != domain.fresh(4).snapshot()


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_tools_are_many_and_their_specs_short(domain: type[Domain]) -> None:
    specs = domain.specs()
    assert 8 <= len(specs) <= 14
    assert len(json.dumps(specs)) < 4500
    assert all(len(spec["function"]["description"].split()) <= 14 for spec in specs)


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_schemas_use_what_callers_meet_elsewhere(domain: type[Domain]) -> None:
    """Enumerations, optional arguments, lists and nested objects, in schemas that stand alone."""
    parameters = [spec["function"]["parameters"] for spec in domain.specs()]
    text = json.dumps(parameters)
    assert "$ref" not in text
    assert '"enum"' in text
    assert '"array"' in text
    assert '"object"' in json.dumps([schema["properties"] for schema in parameters])
    assert any(set(schema["properties"]) - set(schema["required"]) for schema in parameters)
    Toolbox(domain.specs())


def test_calls_of_one_turn_stand_alone() -> None:
    """The first of three calls fails; the others change the state all the same (paper, Appendix D)."""
    home = SmartHome.fresh(0)
    rooms = list(home.state.rooms)
    calls = [ToolCall("set_light", {"room": room, "brightness": 37}) for room in ("moon", *rooms[:2])]
    refused = []
    for call in calls:
        try:
            home.call(call)
        except ToolError as error:
            refused.append(str(error))
    assert len(refused) == 1
    assert [home.state.rooms[room].brightness for room in rooms[:2]] == [37, 37]


def test_errors_are_one_line_whatever_they_quote() -> None:
    with pytest.raises(ToolError, match=r"^set_light: no room 'a b'; rooms: ") as caught:
        SmartHome.fresh(0).call(ToolCall("set_light", {"room": "a\nb", "brightness": 3}))
    assert "\n" not in str(caught.value)


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ToolError, match="celsius"):
        SmartHome.fresh(0).call(ToolCall("set_heating", {"room": "office", "mode": "off", "celsius": float("nan")}))


def test_heating_wants_the_window_closed() -> None:
    home = SmartHome.fresh(0)
    home.state.rooms["office"].window_open = True
    with pytest.raises(ToolError, match="window in office is open"):
        home.set_heating("office", "eco")
    home.set_window("office", open=False)
    assert home.set_heating("office", "eco")["mode"] == "eco"


def test_engine_wants_doors_and_brake() -> None:
    car = Vehicle.fresh(0)
    car.state.engine = car.state.brake = False
    car.state.locked["driver"] = False
    with pytest.raises(ToolError, match=r"unlocked doors: .*driver"):
        car.set_engine("start")
    car.lock_doors(["driver", "passenger", "rear_left", "rear_right"])
    with pytest.raises(ToolError, match="brake is not pressed"):
        car.set_engine("start")
    car.press_brake(True)
    assert car.set_engine("start") == {"engine": True}


def test_clinic_refuses_names_dates_and_taken_slots() -> None:
    clinic = Healthcare.fresh(0)
    taken = next(slot for slot in clinic.state.slots if slot.appointment)
    patient = next(iter(clinic.state.patients))
    with pytest.raises(ToolError, match="patient_id must look like P1234, got 'Anna Weber'"):
        clinic.book_appointment("Anna Weber", taken.doctor_id, taken.date, taken.time)
    with pytest.raises(ToolError, match="date must be YYYY-MM-DD"):
        clinic.book_appointment(patient, taken.doctor_id, "March 2, 2026", taken.time)
    with pytest.raises(ToolError, match=r"is not free .* free: "):
        clinic.book_appointment(patient, taken.doctor_id, taken.date, taken.time)
    with pytest.raises(ToolError, match="recorded allergy"):
        clinic.prescribe(patient, clinic.state.patients[patient].allergies[0], 7)
