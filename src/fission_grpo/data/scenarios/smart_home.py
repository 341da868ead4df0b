"""Goal patterns of the smart home."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.smart_home import (
    DAYS,
    DEVICES_PER_ROOM,
    Device,
    Heating,
    Routine,
    Schedule,
    SmartHome,
    clashes,
)

POOLS: dict[str, list[Any]] = {
    "rooms": ["kitchen", "bedroom", "living room", "bathroom", "office", "hallway", "dining room", "guest room",
              "nursery", "attic", "study", "garage", "library", "basement", "laundry room", "playroom", "sunroom",
              "workshop", "gym", "music room", "loft", "conservatory", "utility room", "entrance hall"],
    "doors": ["front door", "back door", "side door", "patio door", "balcony door", "main entrance", "cellar door",
              "garden gate", "terrace door", "porch door", "service entrance", "courtyard gate", "driveway gate",
              "shed door", "veranda door", "alley door", "roof hatch", "carport door", "mudroom door", "pool gate"],
    "devices": ["fan", "radio", "television", "kettle", "printer", "humidifier", "projector", "speaker",
                "air purifier", "computer", "game console", "monitor", "record player", "aquarium pump",
                "coffee maker", "massage chair", "sewing machine", "heated blanket", "toaster", "mini fridge",
                "robot vacuum", "treadmill", "garment steamer", "scanner"],
    "moods": ["quiet", "bright", "early", "late", "lazy", "busy", "gentle", "quick", "summer", "winter", "rainy",
              "sunny", "festive", "plain", "long", "short", "weekly", "big", "simple", "royal", "cozy", "calm", "rapid",
              "secret"],
    "occasions": ["breakfast", "cinema", "laundry", "dinner", "workout", "nap", "cleaning", "gardening", "homework",
                  "party", "siesta", "arrival", "karaoke", "bedtime", "yoga", "wake-up", "painting", "baking", "gaming",
                  "chess", "puzzle", "podcast", "brunch", "meditation"],
    "celsius": [16, 16.5, 17, 17.5, 18, 18.5, 19, 19.5, 20.5, 21, 21.5, 22, 22.5, 23, 23.5, 24, 24.5, 25, 25.5, 26],
}  # fmt: skip


def build(words: Words) -> SmartHome:
    """A random home of the split's names; a large one has many routines."""
    rooms, routines = words.sample("rooms", 4), 18 if words.large else 5
    return SmartHome.populate(
        words.rng,
        rooms=rooms,
        doors=words.sample("doors", 3),
        devices=words.pools["devices"],
        device_ids=words.ids("dev-", DEVICES_PER_ROOM * len(rooms), digits=3),
        routines=dict(zip(words.ids("R", routines), words.choose(_routine_names(words), routines), strict=True)),
        times=words.times(6, "05:30", "23:00"),
        celsius=words.pools["celsius"],
        pin=words.ids("", 1)[0],
        next_routine=words.counter(),
    )


def _routine_names(words: Words) -> list[str]:
    return [f"{mood} {occasion}" for mood, occasion in product(words.pools["moods"], words.pools["occasions"])]


SCENARIO = Scenario(SmartHome, build, POOLS, language=Path(__file__).with_suffix(".toml"))


def _rooms(home: SmartHome, window_open: bool, heated: bool = False) -> list[str]:
    """Rooms with their window and heating as wanted."""
    return [
        name
        for name, room in home.state.rooms.items()
        if room.window_open == window_open and (room.heating != "off") == heated
    ]


def _unlocked(home: SmartHome) -> list[str]:
    return [name for name, locked in home.state.doors.items() if not locked]


def _devices(home: SmartHome, room: str, on: bool) -> list[tuple[str, Device]]:
    """A room's devices that are on, or that are off."""
    return [(key, device) for key, device in home.state.devices.items() if device.room == room and device.on == on]


def _left(home: SmartHome) -> int:
    """Watts that may still be drawn."""
    power = home.home_status()["power"]
    left: int = power["max_watts"] - power["used_watts"]
    return left


def _brightness(home: SmartHome, words: Words, rooms: list[str]) -> list[int]:
    """A new brightness for each room, all different."""
    current = {home.state.rooms[room].brightness for room in rooms}
    return [value for value in words.numbers(len(rooms) + 2, 2, 98) if value not in current][: len(rooms)]


def _warmth(home: SmartHome, words: Words, room: str) -> tuple[Heating, float] | None:
    """A heating mode and target that the room does not have yet."""
    mode: Heating = words.rng.choice(["eco", "comfort"])
    celsius: float = words.pick("celsius")
    now = home.state.rooms[room]
    return None if (now.heating, now.celsius) == (mode, celsius) else (mode, celsius)


def _routine(home: SmartHome, words: Words, active: bool) -> tuple[str, Routine] | None:
    """A routine that is active, or that is paused."""
    found = [(key, routine) for key, routine in home.state.routines.items() if routine.active == active]
    return words.rng.choice(found) if found else None


def _new_name(home: SmartHome, words: Words) -> str:
    """A name that no routine has."""
    taken = {routine.name for routine in home.state.routines.values()}
    return words.rng.choice([name for name in _routine_names(words) if name not in taken])


def _blocked(home: SmartHome, routine: Routine) -> bool:
    """Whether an active routine clashes with it."""
    return any(other.active and clashes(routine, other) for other in home.state.routines.values())


def _days(days: Sequence[str]) -> str:
    return listing([day.capitalize() for day in days])


@SCENARIO.pattern("call")
def dim_light(home: SmartHome, words: Words) -> Goal | None:
    [room] = words.choose(list(home.state.rooms), 1)
    [brightness] = _brightness(home, words, [room])
    return Goal({"room": room, "brightness": brightness}, [[call("set_light", room=room, brightness=brightness)]])


@SCENARIO.pattern("call")
def lock_one_door(home: SmartHome, words: Words) -> Goal | None:
    doors = words.choose(_unlocked(home), 1)
    if not doors:
        return None
    return Goal({"door": doors[0]}, [[call("lock_door", door=doors[0], locked=True)]])


@SCENARIO.pattern("call")
def disarm(home: SmartHome, words: Words) -> Goal | None:
    if home.state.alarm == "off":
        return None
    pin = home.state.pin
    return Goal({"pin": pin}, [[call("set_alarm", mode="off", pin=pin)]])


@SCENARIO.pattern("parallel")
def two_lights(home: SmartHome, words: Words) -> Goal | None:
    rooms = words.choose(list(home.state.rooms), 2)
    levels = _brightness(home, words, rooms)
    step = [call("set_light", room=room, brightness=level) for room, level in zip(rooms, levels, strict=True)]
    return Goal({"first": rooms[0], "second": rooms[1], "low": levels[0], "high": levels[1]}, [step])


@SCENARIO.pattern("parallel")
def good_night(home: SmartHome, words: Words) -> Goal | None:
    doors, windows = words.choose(_unlocked(home), 1), words.choose(_rooms(home, window_open=True), 1)
    if not doors or not windows:
        return None
    room = words.rng.choice([name for name in home.state.rooms if name != windows[0]])
    [brightness] = _brightness(home, words, [room])
    step = [
        call("lock_door", door=doors[0], locked=True),
        call("set_window", room=windows[0], open=False),
        call("set_light", room=room, brightness=brightness),
    ]
    return Goal({"door": doors[0], "airy": windows[0], "room": room, "brightness": brightness}, [step])


@SCENARIO.pattern("parallel")
def compare_rooms(home: SmartHome, words: Words) -> Goal | None:
    first, second = words.choose(list(home.state.rooms), 2)
    one, two = (home.state.rooms[room].measured for room in (first, second))
    if one == two:
        return None
    values = {"first": first, "second": second, "one": one, "two": two, "warmer": first if one > two else second}
    return Goal(values, [[call("room_status", room=first), call("room_status", room=second)]])


@SCENARIO.pattern("chained")
def switch_on_for(home: SmartHome, words: Words) -> Goal | None:
    [room], minutes, left = words.choose(list(home.state.rooms), 1), words.number(4, 120, 2), _left(home)
    idle = [(key, device) for key, device in _devices(home, room, on=False) if device.watts <= left]
    if not idle:
        return None
    key, device = words.rng.choice(idle)
    steps = [[call("find_devices", room=room)], [call("switch_device", device_id=key, on=True, minutes=minutes)]]
    return Goal({"room": room, "device": device.name, "minutes": minutes}, steps)


@SCENARIO.pattern("chained")
def all_off(home: SmartHome, words: Words) -> Goal | None:
    [room] = words.choose(list(home.state.rooms), 1)
    running = _devices(home, room, on=True)
    if not running:
        return None
    names = [device.name for _, device in running]
    off = [call("switch_device", device_id=key, on=False) for key, _ in running]
    return Goal({"room": room, "devices": listing(names)}, [[call("find_devices", room=room)], off], set(names))


@SCENARIO.pattern("chained")
def lock_up(home: SmartHome, words: Words) -> Goal | None:
    doors = _unlocked(home)
    if not doors:
        return None
    steps = [[call("home_status")], [call("lock_door", door=door, locked=True) for door in doors]]
    return Goal({"doors": listing(doors)}, steps, {*doors})


@SCENARIO.pattern("chained")
def pause_routine(home: SmartHome, words: Words) -> Goal | None:
    found = _routine(home, words, active=True)
    if found is None:
        return None
    key, routine = found
    steps = [[call("list_routines")], [call("set_routine", routine_id=key, active=False)]]
    return Goal({"routine": routine.name}, steps)


@SCENARIO.pattern("chained")
def schedule_devices(home: SmartHome, words: Words) -> Goal | None:
    [room], count = words.choose(list(home.state.rooms), 1), words.rng.choice([1, 2])
    every = [(key, device) for on in (False, True) for key, device in _devices(home, room, on)]
    chosen = words.choose(every, count)
    name = _new_name(home, words)
    [time], drawn = words.times(1, "05:30", "23:00"), words.choose(DAYS, words.rng.choice([1, 2, 3]))
    days, ids = [day for day in DAYS if day in drawn], [key for key, _ in chosen]
    added = Routine(name=name, schedule=Schedule(time=time, days=days), device_ids=ids)
    if _blocked(home, added):
        return None
    on = words.rng.random() < 0.6
    add = call("add_routine", name=name, schedule={"time": time, "days": days}, device_ids=ids)
    if not on:
        add.arguments["on"] = False
    values = {
        "room": room,
        "devices": listing([device.name for _, device in chosen]),
        "routine": name,
        "time": words.say_time(time),
        "days": _days(days),
        "state": "on" if on else "off",
    }
    return Goal(values, [[call("find_devices", room=room)], [add]])


@SCENARIO.pattern("precondition")
def heat_open_room(home: SmartHome, words: Words) -> Goal | None:
    rooms = words.choose(_rooms(home, window_open=True), 1)
    warmth = _warmth(home, words, rooms[0]) if rooms else None
    if warmth is None:
        return None
    room, (mode, celsius) = rooms[0], warmth
    steps = [
        [call("set_window", room=room, open=False)],
        [call("set_heating", room=room, mode=mode, celsius=celsius)],
    ]
    return Goal({"room": room, "mode": mode, "celsius": celsius}, steps)


@SCENARIO.pattern("precondition")
def swap_devices(home: SmartHome, words: Words) -> Goal | None:
    left, pairs = _left(home), []
    for room in home.state.rooms:
        running, idle = _devices(home, room, on=True), _devices(home, room, on=False)
        pairs += [(a, b) for a, b in product(running, idle) if left < b[1].watts <= left + a[1].watts]
    if not pairs:
        return None
    (stopped, old), (started, new) = words.rng.choice(pairs)
    steps = [
        [call("find_devices", room=new.room)],
        [call("switch_device", device_id=stopped, on=False)],
        [call("switch_device", device_id=started, on=True)],
    ]
    return Goal({"room": new.room, "old": old.name, "new": new.name}, steps)


@SCENARIO.pattern("precondition")
def arm_away(home: SmartHome, words: Words) -> Goal | None:
    pin, unlocked = home.state.pin, _unlocked(home)
    airy = [name for name, room in home.state.rooms.items() if room.window_open]
    secure = [call("lock_door", door=door, locked=True) for door in unlocked]
    secure += [call("set_window", room=room, open=False) for room in airy]
    if not unlocked or len(secure) > 5 or home.state.alarm == "away":
        return None
    done = [f"locked the {door}" for door in unlocked] + [f"closed the {room} window" for room in airy]
    steps = [[call("home_status")], secure, [call("set_alarm", mode="away", pin=pin)]]
    return Goal({"pin": pin, "done": listing(done)}, steps, {*unlocked, *airy})


@SCENARIO.pattern("call", after="heat_open_room")
def rather_warm(home: SmartHome, words: Words, past: Goal) -> Goal | None:
    room, mode, celsius = past.values["room"], past.values["mode"], words.pick("celsius")
    now = home.state.rooms[room]
    if (now.heating, now.celsius) != (mode, past.values["celsius"]) or celsius == now.celsius:
        return None
    step = [call("set_heating", room=room, mode=mode, celsius=celsius)]
    return Goal({"room": room, "celsius": celsius, "mode": mode}, [step])


@SCENARIO.pattern("call", after="schedule_devices")
def hold_routine(home: SmartHome, words: Words, past: Goal) -> Goal | None:
    name = past.values["routine"]
    key = next((key for key, item in home.state.routines.items() if item.name == name and item.active), None)
    if key is None:
        return None
    return Goal({"routine": name}, [[call("set_routine", routine_id=key, active=False)]])


@SCENARIO.pattern("call", test_only=True)
def close_window(home: SmartHome, words: Words) -> Goal | None:
    rooms = words.choose(_rooms(home, window_open=True), 1)
    if not rooms:
        return None
    return Goal({"room": rooms[0]}, [[call("set_window", room=rooms[0], open=False)]])


@SCENARIO.pattern("parallel", test_only=True)
def two_heatings(home: SmartHome, words: Words) -> Goal | None:
    closed = _rooms(home, window_open=False) + _rooms(home, window_open=False, heated=True)
    rooms = words.choose(closed, 2)
    if len(rooms) < 2:
        return None
    one, two = (_warmth(home, words, room) for room in rooms)
    if one is None or two is None:
        return None
    step = [
        call("set_heating", room=room, mode=mode, celsius=celsius)
        for room, (mode, celsius) in zip(rooms, (one, two), strict=True)
    ]
    values = {
        "first": rooms[0],
        "second": rooms[1],
        "mode": one[0],
        "celsius": one[1],
        "other": two[0],
        "warmth": two[1],
    }
    return Goal(values, [step])


@SCENARIO.pattern("chained", test_only=True)
def hungriest_off(home: SmartHome, words: Words) -> Goal | None:
    [room] = words.choose(list(home.state.rooms), 1)
    running = _devices(home, room, on=True)
    if len(running) < 2:
        return None
    key, device = max(running, key=lambda item: item[1].watts)
    steps = [[call("find_devices", room=room)], [call("switch_device", device_id=key, on=False)]]
    shown = {device.name for _, device in running}
    return Goal({"room": room, "device": device.name, "watts": device.watts}, steps, shown)


@SCENARIO.pattern("chained", test_only=True)
def copy_schedule(home: SmartHome, words: Words) -> Goal | None:
    model, key = words.rng.choice([*home.state.routines.values()]), words.rng.choice([*home.state.devices])
    device, name = home.state.devices[key], _new_name(home, words)
    added = Routine(name=name, schedule=model.schedule, device_ids=[key])
    if _blocked(home, added):
        return None
    steps = [
        [call("list_routines"), call("find_devices", room=device.room)],
        [call("add_routine", name=name, schedule=model.schedule.model_dump(), device_ids=[key])],
    ]
    values = {
        "model": model.name,
        "routine": name,
        "room": device.room,
        "device": device.name,
        "time": model.schedule.time,
        "days": _days(model.schedule.days),
    }
    return Goal(values, steps)


@SCENARIO.pattern("precondition", test_only=True)
def resume_rival(home: SmartHome, words: Words) -> Goal | None:
    running = {key: routine for key, routine in home.state.routines.items() if routine.active}
    pairs = []
    for key, routine in home.state.routines.items():
        rivals = [other for other in running.items() if not routine.active and clashes(routine, other[1])]
        pairs += [((key, routine), rivals[0])] if len(rivals) == 1 else []
    if not pairs:
        return None
    (key, routine), (rival_key, rival) = words.rng.choice(pairs)
    steps = [
        [call("list_routines")],
        [call("set_routine", routine_id=rival_key, active=False)],
        [call("set_routine", routine_id=key, active=True)],
    ]
    return Goal({"routine": routine.name, "rival": rival.name}, steps)


@SCENARIO.pattern("precondition", test_only=True)
def come_home(home: SmartHome, words: Words) -> Goal | None:
    if home.state.alarm != "away":
        return None
    pin, [door], [room] = (
        home.state.pin,
        words.choose(list(home.state.doors), 1),
        words.choose(list(home.state.rooms), 1),
    )
    [brightness] = _brightness(home, words, [room])
    steps = [
        [call("set_alarm", mode="off", pin=pin), call("set_light", room=room, brightness=brightness)],
        [call("lock_door", door=door, locked=False)],
    ]
    return Goal({"pin": pin, "door": door, "room": room, "brightness": brightness}, steps)


@SCENARIO.pattern("precondition", test_only=True)
def air_room(home: SmartHome, words: Words) -> Goal | None:
    rooms = words.choose(_rooms(home, window_open=False, heated=True), 1)
    if not rooms or home.state.alarm == "away":
        return None
    [room], heated = rooms, home.state.rooms[rooms[0]]
    steps = [[call("set_heating", room=room, mode="off")], [call("set_window", room=room, open=True)]]
    return Goal({"room": room, "mode": heated.heating, "celsius": f"{heated.celsius:g}"}, steps)


@SCENARIO.pattern("precondition", test_only=True, after="air_room")
def heat_again(home: SmartHome, words: Words, past: Goal) -> Goal | None:
    room, mode, celsius = past.values["room"], past.values["mode"], float(past.values["celsius"])
    if not home.state.rooms[room].window_open:
        return None
    steps = [
        [call("set_window", room=room, open=False)],
        [call("set_heating", room=room, mode=mode, celsius=celsius)],
    ]
    return Goal({"room": room, "mode": mode, "celsius": past.values["celsius"]}, steps)
