"""The executable domains: nothing but ToolError, no change on refusal, snapshots that restore."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission_grpo.chat import ToolCall
from fission_grpo.domains import DOMAINS, Domain, Healthcare, SmartHome, ToolError, Vehicle

JUNK = st.one_of(st.none(), st.booleans(), st.integers(-5, 200), st.floats(), st.text(max_size=6), st.just([]))


def known_strings(value: Any) -> list[str]:
    """Every string of a state, keys included: names and ids that calls may hit."""
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *known_strings(item))]
    if isinstance(value, list):
        return [text for item in value for text in known_strings(item)]
    return [value] if isinstance(value, str) else []


def fitting(schema: dict[str, Any], strings: list[str]) -> st.SearchStrategy[Any]:
    """Values that satisfy an argument's schema."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "array":
        return st.lists(fitting(schema["items"], strings), max_size=3)
    low, high = schema.get("minimum", 0), schema.get("maximum", 100)
    return {
        "boolean": st.booleans(),
        "integer": st.integers(low, high),
        "number": st.floats(low, high),
        "string": st.sampled_from(strings),
    }[schema["type"]]


@st.composite
def worlds_with_calls(draw: st.DrawFn) -> tuple[Domain, list[ToolCall]]:
    domain = DOMAINS[draw(st.sampled_from(sorted(DOMAINS)))].fresh(draw(st.integers(0, 30)))
    strings = known_strings(domain.snapshot())

    def one_call() -> ToolCall:
        function = draw(st.sampled_from(domain.specs()))["function"]
        properties = function["parameters"]["properties"]
        arguments = {key: draw(fitting(schema, strings)) for key, schema in properties.items()}
        if arguments and draw(st.integers(0, 4)) == 0:
            arguments[draw(st.sampled_from([*arguments, "surplus"]))] = draw(JUNK)
        return ToolCall(function["name"], arguments)

    return domain, [one_call() for _ in range(draw(st.integers(1, 8)))]


@settings(max_examples=120, deadline=None)
@given(worlds_with_calls())
def test_calls_raise_only_tool_errors_and_refusals_change_nothing(case: tuple[Domain, list[ToolCall]]) -> None:
    domain, calls = case
    for call in calls:
        before = domain.snapshot()
        try:
            json.dumps(domain.call(call), allow_nan=False)
        except ToolError:
            assert domain.snapshot() == before
        assert domain.restore(json.loads(json.dumps(domain.snapshot()))).snapshot() == domain.snapshot()


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_same_seed_same_world(domain: type[Domain]) -> None:
    assert domain.fresh(3).snapshot() == domain.fresh(3).snapshot() != domain.fresh(4).snapshot()


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_specs_are_short(domain: type[Domain]) -> None:
    specs = domain.specs()
    assert 7 <= len(specs) <= 9
    assert len(json.dumps(specs)) < 3200
    assert all(len(spec["function"]["description"].split()) <= 10 for spec in specs)


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
