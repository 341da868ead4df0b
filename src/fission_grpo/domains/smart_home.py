"""A home: rooms with a window, heating, light and devices; outer doors; an alarm."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field

from fission_grpo.domains.base import Domain, ToolError


class Device(BaseModel):
    """A switchable device."""

    name: str
    room: str
    on: bool = False
    minutes: int = 0
    """Minutes until it switches itself off; 0: it stays on."""


class Room(BaseModel):
    """One room."""

    window_open: bool = False
    brightness: int = 0
    heating: Literal["off", "eco", "comfort"] = "off"
    celsius: float = 20.0


class HomeState(BaseModel):
    """The whole home."""

    rooms: dict[str, Room]
    doors: dict[str, bool]
    """Door name to whether it is locked."""
    devices: dict[str, Device]
    alarm: Literal["off", "home", "away"] = "off"
    pin: str


class SmartHome(Domain):
    """The smart home."""

    name = "smart_home"
    State = HomeState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random home with everyday names."""
        rng = random.Random(seed)  # noqa: S311
        return cls.populate(
            rng,
            rooms=["kitchen", "bedroom", "bathroom", "office"],
            doors=["front door", "back door", "side door"],
            devices=["lamp", "fan", "oven", "radio", "television"],
            pins=["4821", "7350"],
            numbers=range(10, 100),
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        rooms: Sequence[str],
        doors: Sequence[str],
        devices: Sequence[str],
        pins: Sequence[str],
        numbers: Sequence[int],
    ) -> Self:
        """A random home of the given names; every room gets two devices, whose ids end in one of `numbers`."""
        ids = iter(rng.sample(numbers, 2 * len(rooms)))
        installed = {
            f"dev-{next(ids)}": Device(name=name, room=room, on=rng.random() < 0.5)
            for room in rooms
            for name in rng.sample(devices, 2)
        }
        return cls(
            HomeState(
                rooms={room: Room(window_open=rng.random() < 0.5) for room in rooms},
                doors={door: rng.random() < 0.5 for door in doors},
                devices=installed,
                pin=rng.choice(pins),
            )
        )

    def home_status(self) -> dict[str, Any]:
        """Show doors, windows and alarm."""
        windows = {name: "open" if room.window_open else "closed" for name, room in self.state.rooms.items()}
        doors = {name: "locked" if locked else "unlocked" for name, locked in self.state.doors.items()}
        return {"doors": doors, "windows": windows, "alarm": self.state.alarm}

    def find_devices(self, room: str) -> list[dict[str, Any]]:
        """List a room's devices with ids.

        Args:
            room: Room name.
        """
        self._room("find_devices", room)
        return [
            {"id": key, "name": device.name, "on": device.on}
            for key, device in self.state.devices.items()
            if device.room == room
        ]

    def switch_device(
        self, device_id: str, on: bool, minutes: Annotated[int, Field(ge=0, le=240)] = 0
    ) -> dict[str, Any]:
        """Switch a device on or off.

        Args:
            device_id: Id from find_devices.
            on: True for on.
            minutes: Auto-off timer; 0 is none.
        """
        device = self.state.devices.get(device_id)
        if device is None:
            raise ToolError(f"switch_device: no device with id '{device_id}'; ids look like dev-12 (see find_devices)")
        if minutes and not on:
            raise ToolError(f"switch_device: minutes={minutes} only applies when on is true")
        device.on, device.minutes = on, minutes
        return {"id": device_id, "on": on}

    def set_light(self, room: str, brightness: Annotated[int, Field(ge=0, le=100)]) -> dict[str, Any]:
        """Set a room's light.

        Args:
            room: Room name.
            brightness: Percent; 0 is off.
        """
        self._room("set_light", room).brightness = brightness
        return {"room": room, "brightness": brightness}

    def set_window(self, room: str, open: bool) -> dict[str, Any]:
        """Open or close a room's window.

        Args:
            room: Room name.
            open: True to open.
        """
        window = self._room("set_window", room)
        if open and window.heating != "off":
            raise ToolError(f"set_window: heating in {room} is set to {window.heating}")
        self._refuse_when_armed("set_window", open)
        window.window_open = open
        return {"room": room, "window": "open" if open else "closed"}

    def set_heating(
        self,
        room: str,
        mode: Literal["off", "eco", "comfort"],
        celsius: Annotated[float, Field(ge=5, le=28)] = 20.0,
    ) -> dict[str, Any]:
        """Set heating. Requires the room's window closed.

        Args:
            room: Room name.
            mode: Heating mode.
            celsius: Target temperature.
        """
        heated = self._room("set_heating", room)
        if mode != "off" and heated.window_open:
            raise ToolError(f"set_heating: window in {room} is open")
        heated.heating, heated.celsius = mode, celsius
        return {"room": room, "mode": mode, "celsius": celsius}

    def lock_door(self, door: str, locked: bool) -> dict[str, Any]:
        """Lock or unlock a door.

        Args:
            door: Door name.
            locked: True to lock.
        """
        if door not in self.state.doors:
            raise ToolError(f"lock_door: no door '{door}'; doors: {', '.join(self.state.doors)}")
        self._refuse_when_armed("lock_door", not locked)
        self.state.doors[door] = locked
        return {"door": door, "locked": locked}

    def set_alarm(self, mode: Literal["off", "home", "away"], pin: str) -> dict[str, Any]:
        """Set alarm. Away requires doors locked, windows closed.

        Args:
            mode: Alarm mode.
            pin: Four-digit PIN.
        """
        if pin != self.state.pin:
            raise ToolError(f"set_alarm: PIN '{pin}' not accepted")
        if mode == "away":
            doors = [name for name, locked in self.state.doors.items() if not locked]
            windows = [name for name, room in self.state.rooms.items() if room.window_open]
            if doors:
                raise ToolError(f"set_alarm: cannot arm away, unlocked: {', '.join(doors)}")
            if windows:
                raise ToolError(f"set_alarm: cannot arm away, window open in: {', '.join(windows)}")
        self.state.alarm = mode
        return {"alarm": mode}

    def _room(self, tool: str, room: str) -> Room:
        if room not in self.state.rooms:
            raise ToolError(f"{tool}: no room '{room}'; rooms: {', '.join(self.state.rooms)}")
        found: Room = self.state.rooms[room]
        return found

    def _refuse_when_armed(self, tool: str, opening: bool) -> None:
        if opening and self.state.alarm == "away":
            raise ToolError(f"{tool}: alarm is armed in mode away")
