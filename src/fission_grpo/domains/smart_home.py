"""A home: rooms with a window, heating, light and devices; outer doors; an alarm; routines that switch devices."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import clock_time, each_once, filled, known, spelled
from fission_grpo.domains.base import Argument, Domain, ToolError

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DAYS: tuple[Day, ...] = get_args(Day)
Heating = Literal["off", "eco", "comfort"]
Alarm = Literal["off", "home", "away"]
DEVICES_PER_ROOM = 3


class Device(BaseModel):
    """A switchable device."""

    name: str
    room: str
    watts: int
    on: bool = False
    minutes: int = 0
    """Minutes until it switches itself off; 0: it stays on."""


class Room(BaseModel):
    """One room."""

    window_open: bool = False
    brightness: int = 0
    heating: Heating = "off"
    celsius: float = 20.0
    """Target of the heating."""
    measured: float = 19.0


class Schedule(Argument):
    """When a routine runs."""

    time: str = Field(description="HH:MM.")
    days: list[Day]


class Routine(BaseModel):
    """Switches devices on or off by itself."""

    name: str
    schedule: Schedule
    device_ids: list[str]
    on: bool = True
    active: bool = True


class HomeState(BaseModel):
    """The whole home."""

    rooms: dict[str, Room]
    doors: dict[str, bool]
    """Door name to whether it is locked."""
    devices: dict[str, Device]
    routines: dict[str, Routine]
    next_routine: int
    max_watts: int
    alarm: Alarm = "off"
    pin: str


class SmartHome(Domain):
    """The smart home."""

    name = "smart_home"
    State = HomeState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random home with everyday names."""
        rng = random.Random(seed)  # noqa: S311
        numbers = rng.sample(range(100, 1000), 4 * DEVICES_PER_ROOM)
        return cls.populate(
            rng,
            rooms=["kitchen", "bedroom", "bathroom", "office"],
            doors=["front door", "back door", "side door"],
            devices=["fan", "radio", "kettle", "television", "printer"],
            device_ids=[f"dev-{number}" for number in numbers],
            routines={"R2207": "morning coffee", "R2213": "evening news", "R2240": "spring cleaning"},
            times=["06:30", "07:15", "18:45"],
            celsius=[18, 21.5, 23],
            pin=rng.choice(["4821", "7350"]),
            next_routine=2251,
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        *,
        rooms: Sequence[str],
        doors: Sequence[str],
        devices: Sequence[str],
        device_ids: Sequence[str],
        routines: dict[str, str],
        times: Sequence[str],
        celsius: Sequence[float],
        pin: str,
        next_routine: int,
    ) -> Self:
        """A random home of the given names; `routines` maps ids to names, `device_ids` has three for each room."""
        alarm: Alarm = rng.choice(["off", "home", "away"])
        placed = [(room, name) for room in rooms for name in rng.sample(devices, DEVICES_PER_ROOM)]
        watts = rng.sample(range(40, 1600, 20), len(placed))
        installed = {
            key: Device(name=name, room=room, watts=draw, on=rng.random() < 0.5)
            for key, (room, name), draw in zip(device_ids, placed, watts, strict=True)
        }
        load = sum(device.watts for device in installed.values() if device.on)
        return cls(
            HomeState(
                rooms={room: _random_room(rng, celsius, alarm != "away") for room in rooms},
                doors={door: alarm == "away" or rng.random() < 0.5 for door in doors},
                devices=installed,
                routines=_random_routines(rng, routines, list(installed), times),
                next_routine=next_routine,
                max_watts=load + rng.choice([200, 600, 1500, 3000]),
                alarm=alarm,
                pin=pin,
            )
        )

    def home_status(self) -> dict[str, Any]:
        """Show doors, windows, alarm and power."""
        windows = {name: "open" if room.window_open else "closed" for name, room in self.state.rooms.items()}
        doors = {name: "locked" if locked else "unlocked" for name, locked in self.state.doors.items()}
        power = {"used_watts": self._load(), "max_watts": self.state.max_watts}
        return {"doors": doors, "windows": windows, "alarm": self.state.alarm, "power": power}

    def room_status(self, room: str) -> dict[str, Any]:
        """Show a room's temperature, heating and light.

        Args:
            room: Room name.
        """
        shown = self._room("room_status", room)
        heating = {"mode": shown.heating, "celsius": None if shown.heating == "off" else shown.celsius}
        return {"measured_celsius": shown.measured, "heating": heating, "light": shown.brightness}

    def find_devices(self, room: str) -> list[dict[str, Any]]:
        """List a room's devices with ids.

        Args:
            room: Room name.
        """
        self._room("find_devices", room)
        return [
            {"id": key, "name": device.name, "on": device.on, "watts": device.watts}
            for key, device in self.state.devices.items()
            if device.room == room
        ]

    def switch_device(
        self, device_id: str, on: bool, minutes: Annotated[int, Field(ge=0, le=240)] = 0
    ) -> dict[str, Any]:
        """Switch a device. On requires enough power left.

        Args:
            device_id: Id from find_devices.
            on: True for on.
            minutes: Auto-off timer; 0 is none.
        """
        device = self._device("switch_device", device_id)
        if minutes and not on:
            raise ToolError(f"switch_device: minutes={minutes} only applies when on is true")
        left = self.state.max_watts - self._load()
        if on and not device.on and device.watts > left:
            raise ToolError(
                f"switch_device: {device.name} needs {device.watts} watts, "
                f"{left} of {self.state.max_watts} are left while other devices run"
            )
        device.on, device.minutes = on, minutes
        return {"id": device_id, "on": on, "minutes": minutes}

    def set_light(self, room: str, brightness: Annotated[int, Field(ge=0, le=100)]) -> dict[str, Any]:
        """Set a room's light.

        Args:
            room: Room name.
            brightness: Percent; 0 is off.
        """
        self._room("set_light", room).brightness = brightness
        return {"room": room, "brightness": brightness}

    def set_window(self, room: str, open: bool) -> dict[str, Any]:
        """Open or close a window. Open requires heating off.

        Args:
            room: Room name.
            open: True to open.
        """
        aired = self._room("set_window", room)
        if open and aired.heating != "off":
            raise ToolError(f"set_window: heating in {room} is set to {aired.heating}")
        self._refuse_when_armed("set_window", open)
        aired.window_open = open
        return {"room": room, "window": "open" if open else "closed"}

    def set_heating(
        self, room: str, mode: Heating, celsius: Annotated[float, Field(ge=5, le=28)] = 20.0
    ) -> dict[str, Any]:
        """Set heating. Requires the room's window closed.

        Args:
            room: Room name.
            mode: Heating mode.
            celsius: Target temperature.
        """
        heated = self._room("set_heating", room)
        if mode == "off" and celsius != 20.0:
            raise ToolError(f"set_heating: celsius={celsius:g} only applies when mode is eco or comfort")
        if mode != "off" and heated.window_open:
            raise ToolError(f"set_heating: window in {room} is open")
        heated.heating, heated.celsius = mode, celsius
        return {"room": room, "mode": mode} | ({} if mode == "off" else {"celsius": celsius})

    def lock_door(self, door: str, locked: bool) -> dict[str, Any]:
        """Lock or unlock a door.

        Args:
            door: Door name.
            locked: True to lock.
        """
        known("lock_door", "door", self.state.doors, door, f"doors: {', '.join(self.state.doors)}")
        self._refuse_when_armed("lock_door", not locked)
        self.state.doors[door] = locked
        return {"door": door, "locked": locked}

    def set_alarm(self, mode: Alarm, pin: str) -> dict[str, Any]:
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

    def list_routines(self) -> list[dict[str, Any]]:
        """List routines with ids, times and devices."""
        devices = self.state.devices
        return [
            {
                "id": key,
                "name": routine.name,
                "time": routine.schedule.time,
                "days": list(routine.schedule.days),
                "devices": [f"{devices[id].name} ({devices[id].room})" for id in routine.device_ids],
                "on": routine.on,
                "active": routine.active,
            }
            for key, routine in self.state.routines.items()
        ]

    def add_routine(self, name: str, schedule: Schedule, device_ids: list[str], on: bool = True) -> dict[str, Any]:
        """Add an active routine that switches devices.

        Args:
            name: New name.
            schedule: When it runs.
            device_ids: Ids from find_devices.
            on: False to switch off.
        """
        filled("add_routine", "name", name)
        if again := spelled(name, (routine.name for routine in self.state.routines.values())):
            raise ToolError(f"add_routine: a routine named '{again}' exists already")
        clock_time("add_routine", "time", schedule.time)
        each_once("add_routine", "days", schedule.days)
        each_once("add_routine", "device_ids", device_ids)
        for device_id in device_ids:
            self._device("add_routine", device_id)
        planned = Schedule(time=schedule.time, days=[day for day in DAYS if day in schedule.days])
        added = Routine(name=name, schedule=planned, device_ids=sorted(device_ids), on=on)
        self._refuse_clash("add_routine", added)
        key = self._new_id("R", "next_routine", self.state.routines)
        self.state.routines[key] = added
        return {"routine_id": key}

    def set_routine(self, routine_id: str, active: bool) -> dict[str, Any]:
        """Pause or resume a routine.

        Args:
            routine_id: Id from list_routines.
            active: False to pause.
        """
        hint = "list_routines gives ids such as R1234"
        routine: Routine = known("set_routine", "routine", self.state.routines, routine_id, hint)
        if routine.active == active:
            raise ToolError(f"set_routine: {routine_id} is already {'active' if active else 'paused'}")
        if active:
            self._refuse_clash("set_routine", routine)
        routine.active = active
        return {"routine_id": routine_id, "active": active}

    def _load(self) -> int:
        return sum(device.watts for device in self.state.devices.values() if device.on)

    def _room(self, tool: str, room: str) -> Room:
        return known(tool, "room", self.state.rooms, room, f"rooms: {', '.join(self.state.rooms)}")

    def _device(self, tool: str, device_id: str) -> Device:
        return known(tool, "device", self.state.devices, device_id, "find_devices gives ids such as dev-123")

    def _refuse_when_armed(self, tool: str, opening: bool) -> None:
        if opening and self.state.alarm == "away":
            raise ToolError(f"{tool}: alarm is armed in mode away")

    def _refuse_clash(self, tool: str, routine: Routine) -> None:
        for key, other in self.state.routines.items():
            if other is not routine and other.active and clashes(routine, other):
                raise ToolError(
                    f"{tool}: active routine {key} switches the same device at {other.schedule.time} on the same day"
                )


def clashes(one: Routine, other: Routine) -> bool:
    """Whether two routines want the same device at the same time of the same day."""
    first, second = one.schedule, other.schedule
    return (
        first.time == second.time
        and not set(first.days).isdisjoint(second.days)
        and not set(one.device_ids).isdisjoint(other.device_ids)
    )


def _random_room(rng: random.Random, celsius: Sequence[float], airy: bool) -> Room:
    """Its window may be open when `airy`; heated only while it is closed."""
    window_open = airy and rng.random() < 0.5
    heating: Heating = "off" if window_open else rng.choice(["off", "eco", "comfort"])
    return Room(
        window_open=window_open,
        brightness=rng.choice([0, 100]),
        heating=heating,
        celsius=20.0 if heating == "off" else rng.choice(celsius),
        measured=rng.randrange(150, 260) / 10,
    )


def _random_routines(
    rng: random.Random, names: dict[str, str], device_ids: list[str], times: Sequence[str]
) -> dict[str, Routine]:
    """Routines of which no two active ones clash; the last may be paused because it would clash with an active one."""
    drawn: list[Routine] = []
    for name in names.values():
        days = rng.sample(DAYS, rng.choice([1, 2, 3]))
        schedule = Schedule(time=rng.choice(times), days=[day for day in DAYS if day in days])
        picked = sorted(rng.sample(device_ids, rng.choice([1, 1, 2])))
        routine = Routine(name=name, schedule=schedule, device_ids=picked, on=rng.random() < 0.7)
        routine.active = rng.random() < 0.6 and not any(clashes(routine, other) for other in drawn)
        drawn.append(routine)
    rivals = [routine for routine in drawn[:-1] if routine.active]
    if rivals and rng.random() < 0.5:
        rival = rng.choice(rivals)
        drawn[-1].schedule, drawn[-1].device_ids = rival.schedule.model_copy(deep=True), list(rival.device_ids)
        drawn[-1].active = False
    rng.shuffle(drawn)
    named = {routine.name: routine for routine in drawn}
    return {key: named[name] for key, name in names.items()}
