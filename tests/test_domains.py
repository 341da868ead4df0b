"""The executable domains: nothing but ToolError, no change on refusal, snapshots that restore."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from fission_grpo.chat import ToolCall
from fission_grpo.data.verify.visible import strings
from fission_grpo.domains import (
    DOMAINS,
    Banking,
    CalendarScheduling,
    Domain,
    EcommerceOrders,
    FoodDelivery,
    Healthcare,
    SmartHome,
    SupportDesk,
    ToolError,
    Vehicle,
    Warehouse,
)
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


def smallest(schema: dict[str, Any], surplus: bool) -> Any:
    """A value that satisfies the schema, but for a key too many in its objects when `surplus`."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "array":
            return [smallest(schema["items"], surplus)]
        case "object":
            nested = {key: smallest(part, surplus) for key, part in schema["properties"].items()}
            return nested | ({"surplus": 1} if surplus else {})
        case "boolean":
            return False
        case "string":
            return "x" * schema.get("minLength", 1)
    return schema.get("minimum", 1)


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_unknown_keys_of_nested_arguments_are_refused(domain: type[Domain]) -> None:
    assert "additionalProperties" not in json.dumps(domain.specs())
    tried = 0
    for spec in domain.specs():
        tool, properties = spec["function"]["name"], spec["function"]["parameters"]["properties"]
        for argument, schema in properties.items():
            if schema.get("items", schema).get("type") == "object":
                arguments = {key: smallest(part, surplus=key == argument) for key, part in properties.items()}
                with pytest.raises(ToolError, match=rf"^{tool}: unknown argument '{argument}\.(0\.)?surplus'$"):
                    domain.fresh(0).call(ToolCall(tool, arguments))
                tried += 1
    assert tried


def test_a_nested_model_that_takes_unknown_keys_is_refused() -> None:
    with pytest.raises(TypeError, match="Loose must derive from Argument"):

        class Careless(Domain):
            def act(self, how: Loose) -> None:
                """Act.

                Args:
                    how: How.
                """


class Loose(BaseModel):
    """Takes any keys and drops them."""

    way: str


def test_a_counter_skips_ids_that_are_taken() -> None:
    desk, clinic, store, food = SupportDesk.fresh(0), Healthcare.fresh(0), Warehouse.fresh(0), FoodDelivery.fresh(0)
    tickets, patients, orders = dict(desk.state.tickets), dict(clinic.state.patients), dict(food.state.orders)
    promised = dict(store.state.reservations)
    desk.state.next_ticket = int(next(iter(tickets))[1:])
    clinic.state.next_patient = int(next(iter(patients))[1:])
    store.state.next_reservation = int(next(iter(promised))[1:])
    food.state.next_order = int(next(iter(orders))[1:])

    customer = next(iter(desk.state.customers))
    desk.state.customers[customer].plan = "premium"
    desk.call(ToolCall("open_ticket", {"customer_id": customer, "subject": "no signal", "team": "technical"}))
    contact = {"phone": "555-0123", "city": "Porto"}
    clinic.call(ToolCall("register_patient", {"name": "Zoe Quist", "contact": contact, "allergies": []}))
    sku = next(sku for sku in store.state.products if store.show_stock(sku)["available"])
    store.call(ToolCall("reserve_stock", {"sku": sku, "quantity": 1, "customer": "Zoe Quist"}))
    item = next(key for key, item in food.state.items.items() if not item.sold_out)
    place = food.state.restaurants[food.state.items[item].restaurant]
    place.opens, place.minimum, place.zones, food.state.cart = "00:00", 1, [food.state.addresses["home"].zone], []
    food.call(ToolCall("add_to_cart", {"item_id": item}))
    food.call(ToolCall("place_order", {"address_label": "Home", "payment": "card"}))

    for before, after in (
        (tickets, desk.state.tickets),
        (patients, clinic.state.patients),
        (promised, store.state.reservations),
        (orders, food.state.orders),
    ):
        assert len(after) == len(before) + 1
        assert all(after[key] == entry for key, entry in before.items())


def test_names_are_kept_without_spaces_around_and_found_in_any_case() -> None:
    home, shop, food = SmartHome.fresh(0), EcommerceOrders.fresh(0), FoodDelivery.fresh(0)
    arguments = {"schedule": {"time": "05:05", "days": ["sunday"]}, "device_ids": [next(iter(home.state.devices))]}
    with pytest.raises(ToolError, match="'morning coffee' exists already"):
        home.call(ToolCall("add_routine", {"name": " Morning  Coffee "} | arguments))
    sku = next(sku for sku, item in shop.state.variants.items() if item.stock)
    address = {"street": " 1 Hill Lane", "city": "Leeds "}
    lines = [{"sku": sku, "quantity": 1}]
    placed = shop.call(ToolCall("place_order", {"customer": " Zoe Q ", "lines": lines, "address": address}))
    assert shop.state.orders[placed["order_id"]].customer == "Zoe Q"
    assert shop.get_order(placed["order_id"])["address"] == "1 Hill Lane, Leeds"
    assert [order["order_id"] for order in shop.find_orders("zoe q")] == [placed["order_id"]]
    with pytest.raises(ToolError, match="exists already"):
        food.call(ToolCall("save_address", {"label": " Home ", "address": {"street": "2 Elm Road", "zone": "north"}}))
    with pytest.raises(ToolError, match="argument 'label'"):
        food.call(ToolCall("save_address", {"label": "   ", "address": {"street": "2 Elm Road", "zone": "north"}}))


@pytest.mark.parametrize(("date", "told"), [("30.2.2026", "must be YYYY-MM-DD"), ("2026-02-30", "does not exist")])
def test_dates_are_refused_for_their_form_or_because_there_is_no_such_day(date: str, told: str) -> None:
    tried = 0
    for domain in DOMAINS.values():
        for spec in domain.specs():
            tool, properties = spec["function"]["name"], spec["function"]["parameters"]["properties"]
            if list(properties) == ["date"]:
                tried += 1
                with pytest.raises(ToolError, match=told):
                    domain.fresh(0).call(ToolCall(tool, {"date": date}))
    assert tried >= 3


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


def test_a_new_route_to_the_same_place_keeps_its_stops() -> None:
    car = Vehicle.fresh(0)
    goal, stop, *_ = car.state.places
    car.state.litres, car.state.destination, car.state.stops = 40, goal, [stop]
    km = car.state.places[goal].km + car.state.places[stop].detour_km
    car.state.drivers[car.state.driver_id].max_km = km - 1
    with pytest.raises(ToolError, match=rf"is {km} km away"):
        car.navigate(goal, "eco")
    car.state.drivers[car.state.driver_id].max_km = km
    assert car.navigate(goal, "eco")["km"] == km
    assert car.state.stops == [stop]


def test_a_room_that_the_event_has_is_not_taken_by_another() -> None:
    calendar = CalendarScheduling.fresh(0)
    event_id, event = next((key, event) for key, event in calendar.state.events.items() if event.organizer is None)
    event.room_id = next(iter(calendar.state.rooms))
    with pytest.raises(ToolError, match=f"{event_id} already has room {event.room_id}"):
        calendar.book_room(event_id, event.room_id)


def test_money_may_go_to_payees_and_own_accounts() -> None:
    bank = Banking.fresh(0)
    with pytest.raises(ToolError, match=r"no payee or own account 'AC0'; find_payee and get_account give ids"):
        bank.transfer(next(iter(bank.state.accounts)), "AC0", 1)


def test_orders_and_tags_are_refused_in_words() -> None:
    store, desk = Warehouse.fresh(0), SupportDesk.fresh(0)
    draft = next(key for key, order in store.state.orders.items() if order.state == "draft")
    with pytest.raises(ToolError, match="is draft, must be approved before it is sent"):
        store.set_order_state(draft, "sent")
    key = next(key for key, ticket in desk.state.tickets.items() if ticket.tags and ticket.status != "closed")
    tag = desk.state.tickets[key].tags[0]
    with pytest.raises(ToolError, match=f"cannot add {tag}$"):
        desk.edit_tags(key, [tag])
    with pytest.raises(ToolError, match="a tag must not be blank"):
        desk.edit_tags(key, [" "])
