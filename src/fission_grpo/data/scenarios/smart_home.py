"""Goal patterns of the smart home."""

from __future__ import annotations

from fission_grpo.data.scenarios.goals import Goal, Pattern, Pool, Scenario, Vague, Words, call, listing
from fission_grpo.domains.smart_home import Device, SmartHome

POOLS = {
    "rooms": Pool(
        ["kitchen", "bedroom", "living room", "bathroom", "office", "hallway", "dining room", "guest room"],
        ["nursery", "attic", "study", "garage", "library", "basement"],
    ),
    "doors": Pool(
        ["front door", "back door", "side door", "patio door", "balcony door"],
        ["main entrance", "cellar door", "garden gate", "terrace door"],
    ),
    "devices": Pool(
        ["lamp", "fan", "oven", "radio", "television", "kettle", "heater", "printer", "washer"],
        ["humidifier", "projector", "toaster", "speaker", "dryer", "aquarium pump"],
    ),
    "pins": Pool(["4821", "7350", "1946", "5508", "2273", "6914"], ["3067", "8142", "9035", "1729"]),
    "numbers": Pool(range(10, 60), range(60, 100)),
    "brightness": Pool([10, 20, 30, 40, 50, 60, 70, 80, 90], [15, 25, 35, 45, 55, 65, 75, 85]),
    "celsius": Pool([18, 19, 21, 22.5, 23, 24], [17, 20.5, 22, 25]),
    "minutes": Pool([10, 15, 20, 30, 45, 60], [12, 25, 40, 50]),
}


def build(words: Words) -> SmartHome:
    """A random home of the split's names."""
    return SmartHome.populate(
        words.rng,
        rooms=words.sample("rooms", 4),
        doors=words.sample("doors", 3),
        devices=words.pools["devices"].of(words.split),
        pins=words.pools["pins"].of(words.split),
        numbers=words.pools["numbers"].of(words.split),
    )


def _open_windows(home: SmartHome) -> list[str]:
    return [name for name, room in home.state.rooms.items() if room.window_open]


def _unlocked(home: SmartHome) -> list[str]:
    return [name for name, locked in home.state.doors.items() if not locked]


def _devices(home: SmartHome, room: str) -> dict[str, Device]:
    return {key: device for key, device in home.state.devices.items() if device.room == room}


def dim_light(home: SmartHome, words: Words) -> Goal:
    [room], brightness = words.choose(list(home.state.rooms), 1), words.pick("brightness")
    step = [call("set_light", room=room, brightness=brightness)]
    return Goal({"room": room, "brightness": brightness}, [step], f"The {room} light is at {brightness} percent.")


def lock_one_door(home: SmartHome, words: Words) -> Goal | None:
    doors = words.choose(_unlocked(home), 1)
    if not doors:
        return None
    return Goal({"door": doors[0]}, [[call("lock_door", door=doors[0], locked=True)]], f"The {doors[0]} is locked.")


def close_window(home: SmartHome, words: Words) -> Goal | None:
    rooms = words.choose(_open_windows(home), 1)
    if not rooms:
        return None
    step = [call("set_window", room=rooms[0], open=False)]
    return Goal({"room": rooms[0]}, [step], f"The window in the {rooms[0]} is closed.")


def disarm(home: SmartHome, words: Words) -> Goal:
    pin = home.state.pin
    return Goal({"pin": pin}, [[call("set_alarm", mode="off", pin=pin)]], "The alarm is off.")


def two_lights(home: SmartHome, words: Words) -> Goal:
    first, second = words.choose(list(home.state.rooms), 2)
    low, high = words.sample("brightness", 2)
    step = [call("set_light", room=first, brightness=low), call("set_light", room=second, brightness=high)]
    values = {"first": first, "second": second, "low": low, "high": high}
    return Goal(values, [step], f"The lights are at {low} percent in the {first} and {high} in the {second}.")


def door_and_light(home: SmartHome, words: Words) -> Goal | None:
    doors, [room] = words.choose(_unlocked(home), 1), words.choose(list(home.state.rooms), 1)
    if not doors:
        return None
    step = [call("lock_door", door=doors[0], locked=True), call("set_light", room=room, brightness=0)]
    return Goal({"door": doors[0], "room": room}, [step], f"The {doors[0]} is locked and the {room} light is off.")


def two_windows(home: SmartHome, words: Words) -> Goal | None:
    rooms = words.choose(_open_windows(home), 2)
    if len(rooms) < 2:
        return None
    step = [call("set_window", room=room, open=False) for room in rooms]
    values = {"first": rooms[0], "second": rooms[1]}
    return Goal(values, [step], f"The windows in the {listing(rooms)} are closed.")


def switch_on(home: SmartHome, words: Words) -> Goal | None:
    room = words.choose(list(home.state.rooms), 1)[0]
    idle = [(key, device) for key, device in _devices(home, room).items() if not device.on]
    if not idle:
        return None
    key, device = words.rng.choice(idle)
    steps = [[call("find_devices", room=room)], [call("switch_device", device_id=key, on=True)]]
    return Goal({"room": room, "device": device.name}, steps, f"The {device.name} in the {room} is on.")


def switch_on_for(home: SmartHome, words: Words) -> Goal | None:
    goal, minutes = switch_on(home, words), words.pick("minutes")
    if goal is None:
        return None
    found, [switch] = goal.steps
    timed = call(switch.name, **switch.arguments, minutes=minutes)
    reply = f"The {goal.values['device']} is on for {minutes} minutes."
    return Goal(goal.values | {"minutes": minutes}, [found, [timed]], reply)


def all_off(home: SmartHome, words: Words) -> Goal | None:
    room = words.choose(list(home.state.rooms), 1)[0]
    running = [key for key, device in _devices(home, room).items() if device.on]
    if not running:
        return None
    steps = [[call("find_devices", room=room)], [call("switch_device", device_id=key, on=False) for key in running]]
    return Goal({"room": room}, steps, f"Everything in the {room} is off now.")


def lock_up(home: SmartHome, words: Words) -> Goal | None:
    doors = _unlocked(home)
    if not doors:
        return None
    steps = [[call("home_status")], [call("lock_door", door=door, locked=True) for door in doors]]
    return Goal({}, steps, f"I locked the {listing(doors)}.")


def heat_open_room(home: SmartHome, words: Words) -> Goal | None:
    rooms = words.choose(_open_windows(home), 1)
    if not rooms:
        return None
    room, mode, celsius = rooms[0], words.rng.choice(["eco", "comfort"]), words.pick("celsius")
    steps = [
        [call("set_window", room=room, open=False)],
        [call("set_heating", room=room, mode=mode, celsius=celsius)],
    ]
    values = {"room": room, "mode": mode, "celsius": celsius}
    return Goal(values, steps, f"The window is closed and the {room} heats to {celsius} degrees.")


def heat_unseen_room(home: SmartHome, words: Words) -> Goal:
    [room] = words.choose(list(home.state.rooms), 1)
    mode, celsius = words.rng.choice(["eco", "comfort"]), words.pick("celsius")
    close = [[call("set_window", room=room, open=False)]] if home.state.rooms[room].window_open else []
    heat = [call("set_heating", room=room, mode=mode, celsius=celsius)]
    values = {"room": room, "mode": mode, "celsius": celsius}
    return Goal(values, [[call("home_status")], *close, heat], f"The {room} heats to {celsius} degrees.")


def arm_away(home: SmartHome, words: Words) -> Goal | None:
    pin = home.state.pin
    doors = [call("lock_door", door=door, locked=True) for door in _unlocked(home)]
    windows = [call("set_window", room=room, open=False) for room in _open_windows(home)]
    if len(doors + windows) > 3:
        return None
    secure = [doors + windows] if doors + windows else []
    steps = [[call("home_status")], *secure, [call("set_alarm", mode="away", pin=pin)]]
    return Goal({"pin": pin}, steps, "The house is secured and the alarm is set to away.")


PATTERNS = [
    Pattern(
        "call",
        dim_light,
        Pool(
            [
                "Set the light in the {room} to {brightness} percent.",
                "Please dim the {room} light to {brightness}%.",
                "Could you put the {room} light at {brightness} percent?",
                "{room} light, {brightness} percent please.",
                "I'd like {brightness}% brightness in the {room}.",
                "Change the {room} lighting to {brightness} percent.",
            ],
            [
                "The {room} lighting should go to {brightness} percent.",
                "Make it {brightness}% bright in the {room}.",
                "Would you adjust the lamp level of the {room} to {brightness} percent?",
            ],
        ),
        Vague(
            Pool(
                [
                    "Dim the light in the {room}.",
                    "Please adjust the {room} light.",
                    "Can you change the brightness in the {room}?",
                    "The {room} light is wrong, set it differently.",
                    "I want another light level in the {room}.",
                    "Set the {room} light.",
                ],
                [
                    "The lighting of the {room} needs changing.",
                    "Modify how bright the {room} is.",
                    "Tune the {room} light.",
                ],
            ),
            "What brightness in percent would you like in the {room}?",
            Pool(
                ["{brightness} percent.", "Make it {brightness}%.", "To {brightness} percent, please."],
                ["Go for {brightness}.", "I'd say {brightness} percent."],
            ),
        ),
    ),
    Pattern(
        "call",
        lock_one_door,
        Pool(
            [
                "Lock the {door}.",
                "Please lock the {door}.",
                "Could you lock the {door} for me?",
                "I forgot to lock the {door}, do it.",
                "The {door} should be locked.",
                "Make sure you lock the {door}.",
            ],
            ["Bolt the {door}, would you?", "Can the {door} be locked now?", "Get the {door} locked."],
        ),
        Vague(
            Pool(
                [
                    "Lock the door.",
                    "Please lock a door for me.",
                    "Could you lock one of the doors?",
                    "I forgot to lock a door.",
                    "One door should be locked.",
                    "Lock that door over there.",
                ],
                ["Bolt that door, would you?", "Can one door be locked now?", "Get the other door locked."],
            ),
            "Which door should I lock?",
            Pool(
                ["The {door}.", "I mean the {door}.", "{door}, please."],
                ["It's the {door}.", "That would be the {door}."],
            ),
        ),
    ),
    Pattern(
        "call",
        close_window,
        Pool(
            [
                "Close the window in the {room}.",
                "Please shut the {room} window.",
                "Could you close the {room} window?",
                "It's drafty, close the window in the {room}.",
                "The {room} window should be shut.",
                "Shut the window of the {room} now.",
            ],
            [
                "Would you have the {room} window closed?",
                "Rain is coming into the {room}, shut its window.",
                "No open window in the {room}, please.",
            ],
        ),
        Vague(
            Pool(
                [
                    "Close the window.",
                    "Please shut a window.",
                    "Could you close one window?",
                    "It's drafty, close that window.",
                    "A window should be shut.",
                    "Shut the window now.",
                ],
                ["Would you have that window closed?", "Rain is coming in, shut the window.", "Get one window closed."],
            ),
            "In which room should I close the window?",
            Pool(
                ["In the {room}.", "The one in the {room}.", "{room}, please."],
                ["That of the {room}.", "It's the {room} one."],
            ),
        ),
    ),
    Pattern(
        "call",
        disarm,
        Pool(
            [
                "Turn the alarm off, the PIN is {pin}.",
                "Please switch off the alarm with PIN {pin}.",
                "Disarm the alarm. PIN {pin}.",
                "Could you turn off the alarm? My PIN is {pin}.",
                "Alarm off please, {pin} is the PIN.",
                "I'm home, disable the alarm using PIN {pin}.",
            ],
            [
                "Deactivate the alarm, code {pin}.",
                "With the PIN {pin}, put the alarm to off.",
                "We no longer need the alarm on; PIN is {pin}.",
            ],
        ),
        Vague(
            Pool(
                [
                    "Turn the alarm off.",
                    "Please switch off the alarm.",
                    "Disarm the alarm.",
                    "Could you turn off the alarm?",
                    "Alarm off please.",
                    "I'm home, disable the alarm.",
                ],
                ["Deactivate the alarm.", "Put the alarm to off.", "We no longer need the alarm on."],
            ),
            "What is the alarm PIN?",
            Pool(["The PIN is {pin}.", "It's {pin}.", "Use {pin}."], ["{pin} is the code.", "Take {pin}."]),
        ),
    ),
    Pattern(
        "parallel",
        two_lights,
        Pool(
            [
                "Set the {first} light to {low} percent and the {second} light to {high} percent.",
                "Please put the light in the {first} at {low}% and in the {second} at {high}%.",
                "{first} light to {low} percent, {second} light to {high} percent.",
                "I want {low}% light in the {first} and {high}% in the {second}.",
                "Could you dim the {first} to {low} percent and the {second} to {high} percent?",
                "Lights: {first} {low} percent, {second} {high} percent.",
            ],
            [
                "Brightness {low}% for the {first}, then {high}% for the {second}.",
                "Have the {first} lit at {low} percent, the {second} at {high} percent.",
                "Two lights to change: the {first} to {low} and the {second} to {high} percent.",
            ],
        ),
    ),
    Pattern(
        "parallel",
        door_and_light,
        Pool(
            [
                "Lock the {door} and turn the {room} light off.",
                "Please lock the {door} and switch off the light in the {room}.",
                "Could you lock the {door} and put out the {room} light?",
                "Off to bed: lock the {door}, {room} light off.",
                "Lock the {door}. Also turn off the {room} light.",
                "I need the {door} locked and the light in the {room} off.",
            ],
            [
                "Bolt the {door} and kill the {room} light.",
                "Get the {door} locked, and no light in the {room} please.",
                "Make the {room} dark and lock the {door} first.",
            ],
        ),
    ),
    Pattern(
        "parallel",
        two_windows,
        Pool(
            [
                "Close the windows in the {first} and the {second}.",
                "Please shut the {first} window and the {second} window.",
                "Could you close the {first} and {second} windows?",
                "A storm is coming, close the windows of the {first} and the {second}.",
                "Shut both windows, {first} and {second}.",
                "The windows in the {first} and in the {second} should be closed.",
            ],
            [
                "Rain! {first} window and {second} window shut, please.",
                "Neither the {first} nor the {second} should have its window open.",
                "Would you get the windows of {first} and {second} closed?",
            ],
        ),
    ),
    Pattern(
        "chained",
        switch_on,
        Pool(
            [
                "Turn on the {device} in the {room}.",
                "Please switch on the {room} {device}.",
                "Could you turn the {device} in the {room} on?",
                "I need the {device} in the {room} running.",
                "{room} {device} on, please.",
                "Start the {device} in the {room}.",
            ],
            [
                "Power up the {device} of the {room}.",
                "Get the {room} {device} going.",
                "Would you have the {device} in the {room} on?",
            ],
        ),
    ),
    Pattern(
        "chained",
        switch_on_for,
        Pool(
            [
                "Turn on the {device} in the {room} for {minutes} minutes.",
                "Please switch the {room} {device} on for {minutes} minutes.",
                "Could you run the {device} in the {room} for {minutes} minutes?",
                "Start the {device} in the {room}, off again after {minutes} minutes.",
                "{minutes} minutes of the {device} in the {room}, please.",
                "I want the {device} in the {room} on, with a timer of {minutes} minutes.",
            ],
            [
                "Power up the {room} {device} for just {minutes} minutes.",
                "Let the {device} of the {room} go for {minutes} minutes.",
                "Have the {room} {device} on, auto-off at {minutes} minutes.",
            ],
        ),
    ),
    Pattern(
        "chained",
        all_off,
        Pool(
            [
                "Turn off whatever device is on in the {room}.",
                "Please switch off every running device in the {room}.",
                "Check the devices in the {room} and turn off those that are on.",
                "Could you turn off all devices still on in the {room}?",
                "Nothing should be running in the {room}; switch off what is on.",
                "Find what is on in the {room} and switch it off.",
            ],
            [
                "Every active device in the {room} must go off.",
                "Shut down the devices left on in the {room}.",
                "See which devices run in the {room} and kill them.",
            ],
        ),
    ),
    Pattern(
        "chained",
        lock_up,
        Pool(
            [
                "Check the doors and lock those that are unlocked.",
                "Please lock every door that is still unlocked.",
                "Could you lock whichever doors are unlocked?",
                "See which doors are unlocked and lock them.",
                "Look at the doors and lock the unlocked ones.",
                "Find out what doors are not locked, then lock them.",
            ],
            [
                "Any door not locked yet should be.",
                "Verify the doors and bolt the unlocked ones.",
                "Lock up whatever doors are not locked.",
            ],
        ),
    ),
    Pattern(
        "precondition",
        heat_open_room,
        Pool(
            [
                "The {room} window is open. Heat the {room} to {celsius} degrees in {mode} mode.",
                "Set {room} heating to {mode} at {celsius} degrees; note its window is open.",
                "I left the {room} window open and now want {mode} heating there at {celsius} degrees.",
                "Window's open in the {room}, but I'd like {mode} heating at {celsius} degrees there.",
                "Please heat the {room} in {mode} mode to {celsius} degrees. Its window is still open.",
                "With the window open it's cold in the {room}: {mode} heating, {celsius} degrees please.",
            ],
            [
                "{celsius} degrees and {mode} heating in the {room}, whose window stands open.",
                "Somebody opened the {room} window. Get its heating to {mode}, {celsius} degrees.",
                "Warm the {room} ({mode}, {celsius} degrees) even though its window is open right now.",
            ],
        ),
    ),
    Pattern(
        "precondition",
        heat_unseen_room,
        Pool(
            [
                "Heat the {room} to {celsius} degrees in {mode} mode; I don't know if its window is open.",
                "Set {room} heating to {mode}, {celsius} degrees. Check the window first.",
                "Please put the {room} on {mode} heating at {celsius} degrees, not sure about the window.",
                "See whether the {room} window is closed, then set {mode} heating to {celsius} degrees there.",
                "I want {mode} heating at {celsius} degrees in the {room}. The window may be open.",
                "Check the {room} window and heat the room to {celsius} degrees in {mode} mode.",
            ],
            [
                "Perhaps the {room} window is open; anyway, {mode} heating there at {celsius} degrees.",
                "Look at the window, then warm the {room} to {celsius} degrees with {mode} mode.",
                "First see how the {room} window stands, then {mode} heating there, {celsius} degrees.",
            ],
        ),
    ),
    Pattern(
        "precondition",
        arm_away,
        Pool(
            [
                "I'm leaving. Check the house and set the alarm to away, PIN {pin}.",
                "Please check that all is shut and arm the alarm in away mode, PIN {pin}.",
                "Set the alarm to away with PIN {pin}; check doors and windows first.",
                "We go on holiday: see that everything is closed and locked, alarm away, PIN {pin}.",
                "Could you secure the house and set alarm mode away? PIN {pin}.",
                "Check the home and arm away. The PIN is {pin}.",
            ],
            [
                "Nobody will be home: look over the house, then alarm to away with code {pin}.",
                "Arm away ({pin}) after making sure of the doors and windows.",
                "Verify the house is shut, and the alarm goes to away. Code {pin}.",
            ],
        ),
    ),
]

SCENARIO = Scenario(build, POOLS, PATTERNS)
