"""A car: doors, brake, engine, fuel, climate, headlights, drivers, and navigation with stops."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import alike, each_once, known, named
from fission_grpo.domains.base import Argument, Domain, ToolError

Door = Literal["driver", "passenger", "rear_left", "rear_right"]
DOORS: tuple[Door, ...] = get_args(Door)
Zone = Literal["front", "rear"]
ZONES: tuple[Zone, ...] = get_args(Zone)
Fan = Literal["auto", "low", "medium", "high"]
Beam = Literal["off", "auto", "low", "high"]
BEAMS: tuple[Beam, ...] = get_args(Beam)
Route = Literal["fastest", "shortest", "eco"]
KM_PER_LITRE = 10
MOST_STOPS = 4


class Climate(Argument):
    """What one zone's climate aims at."""

    celsius: Annotated[float, Field(ge=16, le=28)]
    fan: Fan = "auto"


class Place(BaseModel):
    """A place the navigation knows."""

    name: str
    category: str
    km: int
    """Distance as a destination."""
    detour_km: int
    """What it adds to a trip as a stop."""


class Driver(BaseModel):
    """Someone with a key, and the longest trip they may make."""

    name: str
    max_km: int


class CarState(BaseModel):
    """The whole car, its drivers and its map."""

    locked: dict[Door, bool]
    brake: bool
    engine: bool
    litres: int
    tank: int
    climate: dict[Zone, Climate] = {}
    """Targets by zone; a zone without one is off."""
    headlights: Beam
    drivers: dict[str, Driver]
    driver_id: str
    places: dict[str, Place]
    destination: str | None = None
    route: Route = "fastest"
    stops: list[str] = []


class Vehicle(Domain):
    """The car."""

    name = "vehicle_control"
    State = CarState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random car among a few places."""
        rng = random.Random(seed)  # noqa: S311
        places = ["Central Station", "City Museum", "Harbour Cafe", "North Clinic", "Ridge Hotel", "Plaza Parking"]
        return cls.populate(
            rng,
            places={f"PL{rng.randrange(1000, 2000) + 1000 * i}": name for i, name in enumerate(places)},
            categories=["cafe", "hotel", "parking"] * 2,
            drivers={"D1001": "Anna Weber", "D1002": "Omar Haddad", "D1003": "Lucy Chen"},
            litres=rng.randrange(4, 41),
            room=rng.randrange(25, 51),
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        places: Mapping[str, str],
        categories: Sequence[str],
        drivers: Mapping[str, str],
        litres: int,
        room: int,
    ) -> Self:
        """A random car: names of places and drivers by id, a category per place, `litres` of fuel and room for more.

        Half of the drivers may only make short trips.
        """
        engine = rng.random() < 0.5
        distances, short = rng.sample(range(8, 180), len(places)), len(drivers) // 2
        limits = rng.sample(range(40, 100, 5), short) + rng.sample(range(150, 400, 10), len(drivers) - short)
        return cls(
            CarState(
                locked=dict.fromkeys(DOORS, True) if rng.random() < 0.4 else {d: rng.random() < 0.6 for d in DOORS},
                brake=rng.random() < 0.4,
                engine=engine,
                litres=litres,
                tank=litres + room,
                headlights=rng.choice(BEAMS),
                drivers={
                    key: Driver(name=name, max_km=limit)
                    for (key, name), limit in zip(drivers.items(), limits, strict=True)
                },
                driver_id=rng.choice(list(drivers)),
                places={
                    key: Place(name=name, category=category, km=km, detour_km=rng.randrange(1, 9))
                    for (key, name), category, km in zip(places.items(), categories, distances, strict=True)
                },
            )
        )

    def vehicle_status(self) -> dict[str, Any]:
        """Show doors, brake, engine, fuel and driver."""
        return {
            "unlocked": self._unlocked(),
            "brake": self.state.brake,
            "engine": self.state.engine,
            "fuel_litres": self.state.litres,
            "free_litres": self.state.tank - self.state.litres,
            "driver": self.state.drivers[self.state.driver_id].name,
        }

    def lock_doors(self, doors: list[Door], locked: bool = True) -> dict[str, Any]:
        """Lock or unlock. Unlocking a running car requires brake pressed.

        Args:
            doors: Doors to change.
            locked: False to unlock.
        """
        each_once("lock_doors", "doors", doors)
        if not locked and self.state.engine and not self.state.brake:
            raise ToolError("lock_doors: cannot unlock, engine is running and brake is not pressed")
        for door in doors:
            self.state.locked[door] = locked
        return {"doors": doors, "locked": locked}

    def press_brake(self, pressed: bool) -> dict[str, Any]:
        """Press or release the brake.

        Args:
            pressed: True to press.
        """
        self.state.brake = pressed
        return {"brake": pressed}

    def set_engine(self, mode: Literal["start", "stop"]) -> dict[str, Any]:
        """Start or stop. Start requires doors locked, brake pressed.

        Args:
            mode: What to do.
        """
        running = mode == "start"
        if running == self.state.engine:
            raise ToolError(f"set_engine: engine is already {'running' if running else 'off'}")
        if running:
            if unlocked := self._unlocked():
                raise ToolError(f"set_engine: cannot start, unlocked doors: {', '.join(unlocked)}")
            if not self.state.brake:
                raise ToolError("set_engine: cannot start, brake is not pressed")
        self.state.engine = running
        if not running:
            self.state.climate = {}
        return {"engine": running}

    def set_climate(self, zone: Zone, climate: Climate) -> dict[str, Any]:
        """Set a zone's climate. Requires engine running.

        Args:
            zone: Part of the cabin.
            climate: Temperature and fan.
        """
        if not self.state.engine:
            raise ToolError("set_climate: engine is off")
        self.state.climate[zone] = climate
        return {"zone": zone, "celsius": climate.celsius, "fan": climate.fan}

    def set_headlights(self, mode: Beam) -> dict[str, Any]:
        """Set headlights.

        Args:
            mode: Beam mode.
        """
        self.state.headlights = mode
        return {"headlights": mode}

    def refuel(self, litres: Annotated[int, Field(ge=1, le=60)]) -> dict[str, Any]:
        """Add fuel. Requires engine off.

        Args:
            litres: Litres to add.
        """
        if self.state.engine:
            raise ToolError("refuel: engine is running")
        if self.state.litres + litres > self.state.tank:
            held = f"tank holds {self.state.tank} and has {self.state.litres}"
            raise ToolError(f"refuel: {litres} litres do not fit, {held}")
        self.state.litres += litres
        return {"fuel_litres": self.state.litres}

    def find_driver(self, name: str) -> dict[str, Any]:
        """Look up a driver's id and trip limit.

        Args:
            name: Full name.
        """
        key, driver = named("find_driver", "driver", self.state.drivers, name)
        return {"driver_id": key, "max_km": driver.max_km}

    def switch_driver(self, driver_id: str) -> dict[str, Any]:
        """Change who drives. Requires engine off.

        Args:
            driver_id: Id from find_driver.
        """
        hint = "find_driver gives ids such as D1234"
        driver: Driver = known("switch_driver", "driver", self.state.drivers, driver_id, hint)
        if driver_id == self.state.driver_id:
            raise ToolError(f"switch_driver: {driver.name} is already the driver")
        if self.state.engine:
            raise ToolError("switch_driver: engine is running")
        self.state.driver_id = driver_id
        return {"driver": driver.name}

    def find_place(self, query: str) -> list[dict[str, Any]]:
        """Find places by name or category.

        Args:
            query: Name or category.
        """
        found = [
            {"id": key, "name": place.name, "km": place.km, "detour_km": place.detour_km}
            for key, place in self.state.places.items()
            if alike(place.name, query) or alike(place.category, query)
        ]
        if not found:
            categories = ", ".join(sorted({place.category for place in self.state.places.values()}))
            raise ToolError(f"find_place: nothing matches '{query}'; categories: {categories}")
        return found

    def navigate(self, place_id: str, route: Route = "fastest") -> dict[str, Any]:
        """Start navigation. Requires fuel, and driver's limit not exceeded.

        Args:
            place_id: Id from find_place.
            route: Route type.
        """
        place = self._place("navigate", place_id)
        if (place_id, route) == (self.state.destination, self.state.route):
            raise ToolError(f"navigate: already navigating to {place.name}, {route} route")
        stops = self.state.stops if place_id == self.state.destination else []
        km = self._reach("navigate", place, stops)
        self.state.destination, self.state.route, self.state.stops = place_id, route, stops
        return {"destination": place.name, "route": route, "km": km}

    def add_stops(self, place_ids: list[str]) -> dict[str, Any]:
        """Add stops to the navigation under way.

        Args:
            place_ids: Ids from find_place, in order.
        """
        if self.state.destination is None:
            raise ToolError("add_stops: no navigation under way")
        each_once("add_stops", "place_ids", place_ids)
        stops = [*self.state.stops, *place_ids]
        for key in place_ids:
            place = self._place("add_stops", key)
            if key in (self.state.destination, *self.state.stops):
                raise ToolError(f"add_stops: {place.name} is already on the route")
        if len(stops) > MOST_STOPS:
            raise ToolError(f"add_stops: {len(stops)} stops would be on the route, at most {MOST_STOPS} fit")
        km = self._reach("add_stops", self.state.places[self.state.destination], stops)
        self.state.stops = stops
        return {"stops": [self.state.places[key].name for key in stops], "km": km}

    def _unlocked(self) -> list[str]:
        return [door for door, locked in self.state.locked.items() if not locked]

    def _place(self, tool: str, place_id: str) -> Place:
        return known(tool, "place", self.state.places, place_id, "find_place gives ids such as PL1234")

    def _reach(self, tool: str, goal: Place, stops: list[str]) -> int:
        """Length of the trip, if the driver may go and the fuel lasts that far."""
        km = goal.km + sum(self.state.places[key].detour_km for key in stops)
        name = f"{goal.name} with {len(stops)} stops" if stops else goal.name
        driver, reach = self.state.drivers[self.state.driver_id], self.state.litres * KM_PER_LITRE
        if km > driver.max_km:
            raise ToolError(f"{tool}: {name} is {km} km away, driver {driver.name} may go {driver.max_km} km")
        if km > reach:
            raise ToolError(f"{tool}: {name} is {km} km away, fuel lasts for {reach} km")
        return km
