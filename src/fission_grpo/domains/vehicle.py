"""A car: doors, brake, engine, fuel, climate, headlights and navigation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.base import Domain, ToolError

Door = Literal["driver", "passenger", "rear_left", "rear_right"]
DOORS: tuple[Door, ...] = get_args(Door)
KM_PER_LITRE = 15


class Place(BaseModel):
    """A place the navigation knows."""

    name: str
    category: str
    km: int


class CarState(BaseModel):
    """The whole car and its map."""

    locked: dict[Door, bool]
    brake: bool = False
    engine: bool = False
    litres: int
    tank: int = 50
    celsius: float | None = None
    """Climate target; None: off."""
    fan: int = 2
    headlights: Literal["off", "auto", "low", "high"] = "off"
    places: dict[str, Place]
    destination: str | None = None
    route: Literal["fastest", "shortest", "eco"] = "fastest"


class Vehicle(Domain):
    """The car."""

    name = "vehicle_control"
    State = CarState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random car among a few places."""
        rng = random.Random(seed)  # noqa: S311
        places = ["Central Station", "City Museum", "Harbour Cafe", "North Clinic", "Ridge Hotel", "Plaza Parking"]
        return cls.populate(rng, places=places, categories=["cafe", "hotel", "parking"], numbers=range(100, 1000))

    @classmethod
    def populate(
        cls, rng: random.Random, places: Sequence[str], categories: Sequence[str], numbers: Sequence[int]
    ) -> Self:
        """A random car that knows `places`, their ids from `numbers`, two or so of each category."""
        named = list(zip(rng.sample(numbers, len(places)), rng.sample(places, len(places)), strict=True))
        distances = rng.sample(range(2, 90), len(places))
        return cls(
            CarState(
                locked={door: rng.random() < 0.5 for door in DOORS},
                brake=rng.random() < 0.3,
                engine=rng.random() < 0.5,
                litres=rng.randrange(8, 30),
                places={
                    f"PL{number}": Place(name=name, category=categories[i % len(categories)], km=distances[i])
                    for i, (number, name) in enumerate(named)
                },
            )
        )

    def vehicle_status(self) -> dict[str, Any]:
        """Show doors, brake, engine and fuel."""
        return {
            "unlocked": [door for door, locked in self.state.locked.items() if not locked],
            "brake": self.state.brake,
            "engine": self.state.engine,
            "fuel_litres": self.state.litres,
        }

    def lock_doors(self, doors: list[Door], locked: bool = True) -> dict[str, Any]:
        """Lock or unlock doors.

        Args:
            doors: Doors to change.
            locked: False to unlock.
        """
        if not doors:
            raise ToolError("lock_doors: doors must name at least one door")
        if len(set(doors)) < len(doors):
            raise ToolError(f"lock_doors: a door is named twice in {doors}")
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
            unlocked = [door for door, locked in self.state.locked.items() if not locked]
            if unlocked:
                raise ToolError(f"set_engine: cannot start, unlocked doors: {', '.join(unlocked)}")
            if not self.state.brake:
                raise ToolError("set_engine: cannot start, brake is not pressed")
        self.state.engine = running
        if not running:
            self.state.celsius = None
        return {"engine": running}

    def set_climate(
        self, celsius: Annotated[float, Field(ge=16, le=28)], fan: Annotated[int, Field(ge=1, le=5)] = 2
    ) -> dict[str, Any]:
        """Set climate. Requires engine running.

        Args:
            celsius: Target temperature.
            fan: Fan level.
        """
        if not self.state.engine:
            raise ToolError("set_climate: engine is off")
        self.state.celsius, self.state.fan = celsius, fan
        return {"celsius": celsius, "fan": fan}

    def set_headlights(self, mode: Literal["off", "auto", "low", "high"]) -> dict[str, Any]:
        """Set headlights.

        Args:
            mode: Beam mode.
        """
        self.state.headlights = mode
        return {"headlights": mode}

    def refuel(self, litres: Annotated[int, Field(ge=1, le=50)]) -> dict[str, Any]:
        """Add fuel. Requires engine off.

        Args:
            litres: Litres to add.
        """
        if self.state.engine:
            raise ToolError("refuel: engine is running")
        if self.state.litres + litres > self.state.tank:
            raise ToolError(
                f"refuel: {litres} litres do not fit, tank holds {self.state.tank} and has {self.state.litres}"
            )
        self.state.litres += litres
        return {"fuel_litres": self.state.litres}

    def find_place(self, query: str) -> list[dict[str, Any]]:
        """Find places by name or category.

        Args:
            query: Name or category.
        """
        wanted = query.strip().lower()
        found = [
            {"id": key, "name": place.name, "km": place.km}
            for key, place in self.state.places.items()
            if wanted and wanted in (place.name.lower(), place.category.lower())
        ]
        if not found:
            categories = ", ".join(sorted({place.category for place in self.state.places.values()}))
            raise ToolError(f"find_place: nothing matches '{query}'; categories: {categories}")
        return found

    def navigate(self, place_id: str, route: Literal["fastest", "shortest", "eco"] = "fastest") -> dict[str, Any]:
        """Start navigation to a place.

        Args:
            place_id: Id from find_place.
            route: Route type.
        """
        place = self.state.places.get(place_id)
        if place is None:
            raise ToolError(f"navigate: no place with id '{place_id}'; find_place gives ids such as PL123")
        reach = self.state.litres * KM_PER_LITRE
        if place.km > reach:
            raise ToolError(f"navigate: {place.name} is {place.km} km away, fuel lasts for {reach} km")
        self.state.destination, self.state.route = place_id, route
        return {"destination": place.name, "route": route, "km": place.km}
