"""Goal patterns of the car."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fission_grpo.chat import ToolCall
from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.vehicle_control import BEAMS, DOORS, KM_PER_LITRE, MOST_STOPS, Driver, Place, Vehicle

POOLS: dict[str, list[Any]] = {
    "quarters": [
        "Harbour", "Hill", "Castle", "Mill", "Ridge", "Oak", "Abbey", "Union", "Lake", "Station", "Summit", "Bay",
        "Fern", "Plaza", "Market", "Forest", "Canal", "Chapel", "Orchard", "Meadow", "Tower", "Linden", "Quarry",
        "Falcon", "Bridge", "Cedar", "Granite", "Willow", "Sunset", "Amber", "Heron", "Maple", "Copper", "Ferry",
        "Juniper", "Beacon", "Stadium", "Poplar", "Silver", "Coral", "Valley", "Hazel", "Marble", "Swan", "Airport",
        "Birch", "Crown", "Laurel",
    ],
    "categories": [
        "hotel", "restaurant", "pharmacy", "car wash", "supermarket", "campsite", "bakery", "museum", "cinema",
        "theatre", "library", "florist", "swimming pool", "gym", "hardware store", "zoo", "bookshop", "car park",
        "post office", "garden centre",
    ],
    "celsius": [
        16, 21.5, 19, 24.5, 22, 17.5, 26, 18.5, 23, 20.5, 27, 25.5, 17, 28, 20, 22.5, 26.5, 19.5, 24, 16.5, 25, 23.5,
        21, 18, 27.5,
    ],
}  # fmt: skip
SITES = ("Corner", "Court", "Yard", "Gate", "Row", "Point", "House", "Terrace")
"""What places are called, after their quarter."""
LOCKS = {"locks"}
"""Claimed by every goal about single doors: once their names are said, nothing needs looking up."""


def build(words: Words) -> Vehicle:
    """A random car among the split's places; in a large world most of them are of one category."""
    count = 48 if words.large else 15
    names = words.choose([f"{quarter} {site}" for quarter in words.pools["quarters"] for site in SITES], count)
    categories = words.sample("categories", 3)
    return Vehicle.populate(
        words.rng,
        places=dict(zip(words.ids("PL", count), names, strict=True)),
        categories=[categories[i % 3 if i < 15 else 0] for i in range(count)],
        drivers=dict(zip(words.ids("D", 4), words.people(4), strict=True)),
        litres=words.number(3, 30),
        room=words.number(25, 50),
    )


SCENARIO = Scenario(Vehicle, build, POOLS, language=Path(__file__).with_suffix(".toml"))


def _unlocked(car: Vehicle) -> list[str]:
    return [door for door, locked in car.state.locked.items() if not locked]


def _spoken(doors: list[str]) -> str:
    return f"the {listing([door.replace('_', ' ') for door in doors])} door{'s' if len(doors) > 1 else ''}"


def _limit(car: Vehicle) -> int:
    """How far the present driver may go."""
    driver: Driver = car.state.drivers[car.state.driver_id]
    return driver.max_km


def _range(car: Vehicle) -> int:
    """How far the fuel lasts."""
    return int(car.state.litres * KM_PER_LITRE)


def _places(car: Vehicle, words: Words, count: int) -> list[tuple[str, Place]]:
    return words.choose(sorted(car.state.places.items()), count)


def _goals(car: Vehicle, words: Words, more_than: int, at_most: int) -> list[tuple[str, Place]]:
    """One place so many km away that is not the destination; none where there is no such place."""
    fitting = [
        (key, place)
        for key, place in sorted(car.state.places.items())
        if more_than < place.km <= at_most and key != car.state.destination
    ]
    return words.choose(fitting, 1)


def _other_driver(car: Vehicle, words: Words) -> tuple[str, Driver]:
    others = [(key, driver) for key, driver in sorted(car.state.drivers.items()) if key != car.state.driver_id]
    return words.rng.choice(others)


def _fuel(car: Vehicle, words: Words) -> int | None:
    """An amount that can be put in, were the engine off."""
    litres = words.number(3, 25)
    return litres if car.state.litres + litres <= car.state.tank else None


def _differs(car: Vehicle, zone: str, celsius: float, fan: str | None = None) -> bool:
    """Whether the zone does not have the temperature yet, and keeps its fan where none is named."""
    present = car.state.climate.get(zone)
    return present is None or (present.celsius != celsius and (fan is not None or present.fan == "auto"))


def _fits(car: Vehicle, key: str, stop: str) -> bool:
    """Whether a trip with this further stop is within fuel and limit."""
    kept = car.state.stops if key == car.state.destination else []
    km = car.state.places[key].km + sum(car.state.places[stop].detour_km for stop in [*kept, stop])
    return stop not in [key, *kept] and len(kept) < MOST_STOPS and km <= min(_limit(car), _range(car))


def _repairs(car: Vehicle, doors: list[str]) -> tuple[list[ToolCall], str]:
    """What makes the engine start, and in words."""
    lock = call("lock_doors", doors=doors)
    if car.state.brake:
        return [lock], f"locked {_spoken(doors)}"
    return [lock, call("press_brake", pressed=True)], f"locked {_spoken(doors)} and pressed the brake"


@SCENARIO.pattern("call")
def headlights(car: Vehicle, words: Words) -> Goal | None:
    mode = words.rng.choice([mode for mode in BEAMS if mode != car.state.headlights])
    return Goal({"mode": mode}, [[call("set_headlights", mode=mode)]])


@SCENARIO.pattern("call")
def refuel_parked(car: Vehicle, words: Words) -> Goal | None:
    litres = _fuel(car, words)
    if car.state.engine or litres is None:
        return None
    return Goal({"litres": litres, "total": car.state.litres + litres}, [[call("refuel", litres=litres)]])


@SCENARIO.pattern("call")
def unlock_some(car: Vehicle, words: Words) -> Goal | None:
    doors = words.choose([door for door in DOORS if car.state.locked[door]], words.rng.choice([1, 2]))
    if not doors or (car.state.engine and not car.state.brake):
        return None
    return Goal({"doors": _spoken(list(doors))}, [[call("lock_doors", doors=doors, locked=False)]], LOCKS)


@SCENARIO.pattern("call")
def cabin(car: Vehicle, words: Words) -> Goal | None:
    zone, celsius = words.rng.choice(["front", "rear"]), words.pick("celsius")
    if not car.state.engine or not _differs(car, zone, celsius):
        return None
    step = [call("set_climate", zone=zone, climate={"celsius": celsius})]
    return Goal({"zone": zone, "celsius": celsius}, [step])


@SCENARIO.pattern("call", after="refuel_parked")
def same_again(car: Vehicle, words: Words, past: Goal) -> Goal | None:
    total = car.state.litres + past.values["litres"]
    if car.state.engine or total > car.state.tank:
        return None
    return Goal({"total": total}, [[call("refuel", litres=past.values["litres"])]])


@SCENARIO.pattern("call", after="drive_to")
def reroute(car: Vehicle, words: Words, past: Goal) -> Goal | None:
    key, route = past.steps[-1][0].arguments["place_id"], words.rng.choice(["shortest", "eco"])
    if car.state.destination != key or car.state.route == route:
        return None
    values = {"route": route, "place": car.state.places[key].name}
    return Goal(values, [[call("navigate", place_id=key, route=route)]])


@SCENARIO.pattern("parallel")
def climate_and_lights(car: Vehicle, words: Words) -> Goal | None:
    zone, fan = words.rng.choice(["front", "rear"]), words.rng.choice(["low", "medium", "high"])
    celsius, mode = words.pick("celsius"), words.rng.choice(BEAMS)
    if not car.state.engine or mode == car.state.headlights or not _differs(car, zone, celsius, fan):
        return None
    step = [
        call("set_climate", zone=zone, climate={"celsius": celsius, "fan": fan}),
        call("set_headlights", mode=mode),
    ]
    return Goal({"zone": zone, "celsius": celsius, "fan": fan, "mode": mode}, [step])


@SCENARIO.pattern("parallel")
def two_places(car: Vehicle, words: Words) -> Goal | None:
    found = [place for _, place in _places(car, words, 2)]
    near, far = sorted(found, key=lambda place: place.km)
    values = {
        "first": found[0].name, "second": found[1].name,
        "near": near.name, "near_km": near.km, "far": far.name, "far_km": far.km,
    }  # fmt: skip
    return Goal(values, [[call("find_place", query=place.name) for place in found]])


@SCENARIO.pattern("chained")
def drive_to(car: Vehicle, words: Words) -> Goal | None:
    for key, place in _goals(car, words, 0, min(_limit(car), _range(car))):
        steps = [[call("find_place", query=place.name)], [call("navigate", place_id=key)]]
        return Goal({"place": place.name, "km": place.km}, steps)
    return None


@SCENARIO.pattern("chained")
def nearest(car: Vehicle, words: Words) -> Goal | None:
    category = _places(car, words, 1)[0][1].category
    matching = {key: place for key, place in car.state.places.items() if place.category == category}
    key = min(matching, key=lambda key: matching[key].km)
    if key == car.state.destination or matching[key].km > min(_limit(car), _range(car)):
        return None
    steps = [[call("find_place", query=category)], [call("navigate", place_id=key)]]
    values = {"category": category, "found": matching[key].name, "km": matching[key].km}
    return Goal(values, steps, {place.name for place in matching.values()})


@SCENARIO.pattern("chained", after="nearest")
def stop_on_the_way(car: Vehicle, words: Words, past: Goal) -> Goal | None:
    goal = past.steps[-1][0].arguments["place_id"]
    unseen = {key: place.name for key, place in sorted(car.state.places.items()) if place.name not in past.shown}
    for key in words.choose([key for key in unseen if _fits(car, goal, key)], 1):
        steps = [[call("find_place", query=unseen[key])], [call("add_stops", place_ids=[key])]]
        return Goal({"stop": unseen[key], "goal": car.state.places[goal].name}, steps)
    return None


@SCENARIO.pattern("chained")
def round_trip(car: Vehicle, words: Words) -> Goal | None:
    (key, place), (on_way, stop) = _places(car, words, 2)
    route = words.rng.choice(["shortest", "eco"])
    if key == car.state.destination or not _fits(car, key, on_way):
        return None
    steps = [
        [call("find_place", query=place.name), call("find_place", query=stop.name)],
        [call("navigate", place_id=key, route=route)],
        [call("add_stops", place_ids=[on_way])],
    ]
    km = place.km + stop.detour_km
    return Goal({"place": place.name, "stop": stop.name, "route": route, "km": km}, steps)


@SCENARIO.pattern("chained")
def fill_up(car: Vehicle, words: Words) -> Goal | None:
    free = car.state.tank - car.state.litres
    if car.state.engine or not free:
        return None
    values = {"free": free, "tank": car.state.tank}
    return Goal(values, [[call("vehicle_status")], [call("refuel", litres=free)]])


@SCENARIO.pattern("chained")
def lock_the_rest(car: Vehicle, words: Words) -> Goal | None:
    doors = _unlocked(car)
    if not 1 <= len(doors) < len(DOORS):
        return None
    return Goal({"doors": _spoken(doors)}, [[call("vehicle_status")], [call("lock_doors", doors=doors)]], LOCKS)


@SCENARIO.pattern("precondition")
def start_unseen(car: Vehicle, words: Words) -> Goal | None:
    doors = _unlocked(car)
    if car.state.engine or not 1 <= len(doors) < len(DOORS):
        return None
    repairs, done = _repairs(car, doors)
    return Goal({"done": done}, [[call("vehicle_status")], repairs, [call("set_engine", mode="start")]], LOCKS)


@SCENARIO.pattern("precondition")
def start_told(car: Vehicle, words: Words) -> Goal | None:
    doors = _unlocked(car)
    if car.state.engine or car.state.brake or len(doors) not in (1, 2, 3):
        return None
    ready = [call("lock_doors", doors=doors), call("press_brake", pressed=True)]
    return Goal({"doors": _spoken(doors)}, [ready, [call("set_engine", mode="start")]], LOCKS)


@SCENARIO.pattern("precondition")
def refuel_running(car: Vehicle, words: Words) -> Goal | None:
    litres = _fuel(car, words)
    if not car.state.engine or litres is None:
        return None
    steps = [[call("set_engine", mode="stop")], [call("refuel", litres=litres)]]
    return Goal({"litres": litres, "total": car.state.litres + litres}, steps)


@SCENARIO.pattern("precondition")
def relay(car: Vehicle, words: Words) -> Goal | None:
    key, driver = _other_driver(car, words)
    if not car.state.engine or not car.state.brake or _unlocked(car):
        return None
    steps = [
        [call("set_engine", mode="stop"), call("find_driver", name=driver.name)],
        [call("switch_driver", driver_id=key)],
        [call("set_engine", mode="start")],
    ]
    return Goal({"name": driver.name}, steps)


@SCENARIO.pattern("call", test_only=True)
def turn_key(car: Vehicle, words: Words) -> Goal | None:
    if not car.state.engine and (_unlocked(car) or not car.state.brake):
        return None
    action = "stop" if car.state.engine else "start"
    state = "off" if car.state.engine else "running"
    return Goal({"action": action, "state": state}, [[call("set_engine", mode=action)]])


@SCENARIO.pattern("call", test_only=True, after="compare_limits")
def further_driver(car: Vehicle, words: Words, past: Goal) -> Goal | None:
    ids = {driver.name: key for key, driver in car.state.drivers.items()}
    name = past.values["high"]
    if car.state.engine or ids[name] == car.state.driver_id:
        return None
    return Goal({"name": name}, [[call("switch_driver", driver_id=ids[name])]])


@SCENARIO.pattern("parallel", test_only=True)
def zones(car: Vehicle, words: Words) -> Goal | None:
    front, rear = words.sample("celsius", 2)
    if not car.state.engine or not (_differs(car, "front", front) and _differs(car, "rear", rear)):
        return None
    step = [
        call("set_climate", zone="front", climate={"celsius": front}),
        call("set_climate", zone="rear", climate={"celsius": rear}),
    ]
    return Goal({"front": front, "rear": rear}, [step])


@SCENARIO.pattern("parallel", test_only=True)
def compare_limits(car: Vehicle, words: Words) -> Goal | None:
    pair = words.choose([driver for _, driver in sorted(car.state.drivers.items())], 2)
    low, high = sorted(pair, key=lambda driver: driver.max_km)
    values = {
        "first": pair[0].name, "second": pair[1].name,
        "low": low.name, "low_km": low.max_km, "high": high.name, "high_km": high.max_km,
    }  # fmt: skip
    return Goal(values, [[call("find_driver", name=driver.name) for driver in pair]])


@SCENARIO.pattern("chained", test_only=True)
def who_drives(car: Vehicle, words: Words) -> Goal | None:
    driver = car.state.drivers[car.state.driver_id]
    values = {"driver": driver.name, "km": driver.max_km}
    return Goal(values, [[call("vehicle_status")], [call("find_driver", name=driver.name)]])


@SCENARIO.pattern("precondition", test_only=True)
def let_out(car: Vehicle, words: Words) -> Goal | None:
    doors = words.choose([door for door in DOORS if car.state.locked[door]], words.rng.choice([1, 2]))
    if not car.state.engine or car.state.brake or not doors:
        return None
    steps = [[call("press_brake", pressed=True)], [call("lock_doors", doors=doors, locked=False)]]
    return Goal({"doors": _spoken(list(doors))}, steps, LOCKS)


@SCENARIO.pattern("precondition", test_only=True)
def long_drive(car: Vehicle, words: Words) -> Goal | None:
    driver_id, driver = _other_driver(car, words)
    if car.state.engine:
        return None
    for key, place in _goals(car, words, _limit(car), min(driver.max_km, _range(car))):
        steps = [
            [call("find_driver", name=driver.name), call("find_place", query=place.name)],
            [call("switch_driver", driver_id=driver_id)],
            [call("navigate", place_id=key)],
        ]
        return Goal({"place": place.name, "name": driver.name, "km": place.km}, steps)
    return None


@SCENARIO.pattern("precondition", test_only=True)
def depart(car: Vehicle, words: Words) -> Goal | None:
    (key, driver), doors = _other_driver(car, words), _unlocked(car)
    if car.state.engine or not 1 <= len(doors) < len(DOORS) or doors == ["driver"]:  # a word its sentences say anyway
        return None
    repairs, done = _repairs(car, doors)
    steps = [
        [call("vehicle_status"), call("find_driver", name=driver.name)],
        [*repairs, call("switch_driver", driver_id=key)],
        [call("set_engine", mode="start")],
    ]
    return Goal({"name": driver.name, "done": done}, steps, LOCKS)


@SCENARIO.pattern("precondition", test_only=True)
def refuel_and_go(car: Vehicle, words: Words) -> Goal | None:
    litres = _fuel(car, words)
    if car.state.engine or litres is None:
        return None
    for key, place in _goals(car, words, _range(car), min(_limit(car), _range(car) + litres * KM_PER_LITRE)):
        steps = [
            [call("refuel", litres=litres), call("find_place", query=place.name)],
            [call("navigate", place_id=key)],
        ]
        return Goal({"place": place.name, "litres": litres, "km": place.km}, steps)
    return None
