"""Goal patterns of the car."""

from __future__ import annotations

from fission_grpo.data.scenarios.goals import Goal, Pattern, Pool, Scenario, Vague, Words, call, listing
from fission_grpo.domains.vehicle import DOORS, Place, Vehicle

POOLS = {
    "places": Pool(
        ["Central Station", "City Museum", "Harbour Cafe", "Hill Clinic", "Ridge Hotel", "Plaza Garage", "Oak Bakery",
         "Lake Camping", "Union Stadium", "Mill Theatre"],
        ["West Airport", "Sunset Diner", "Castle Gardens", "Old Town Library", "Bay Aquarium", "Fern Lodge",
         "Summit Arena"],
    ),
    "categories": Pool(["restaurant", "hotel", "parking"], ["pharmacy", "charger", "supermarket"]),
    "numbers": Pool(range(100, 500), range(500, 1000)),
    "celsius": Pool([18, 19, 20, 21.5, 22, 24], [17, 20.5, 23, 25]),
    "fan": Pool([1, 3, 5], [4]),
    "litres": Pool([5, 8, 10, 12, 15, 20], [6, 9, 14, 18]),
}  # fmt: skip


def build(words: Words) -> Vehicle:
    """A random car among the split's places."""
    pools = {name: words.pools[name].of(words.split) for name in ("categories", "numbers")}
    return Vehicle.populate(words.rng, places=words.sample("places", 6), **pools)


def _unlocked(car: Vehicle) -> list[str]:
    return [door for door, locked in car.state.locked.items() if not locked]


def _spoken(doors: list[str]) -> str:
    return listing([door.replace("_", " ") for door in doors])


def _place(car: Vehicle, words: Words) -> tuple[str, Place]:
    found: tuple[str, Place] = words.rng.choice(sorted(car.state.places.items()))
    return found


def headlights(car: Vehicle, words: Words) -> Goal:
    mode = words.rng.choice(["off", "auto", "low", "high"])
    return Goal({"mode": mode}, [[call("set_headlights", mode=mode)]], f"The headlights are set to {mode}.")


def lock_some(car: Vehicle, words: Words) -> Goal:
    doors = words.choose(DOORS, words.rng.choice([1, 2]))
    return Goal({"doors": _spoken(list(doors))}, [[call("lock_doors", doors=doors)]], "The doors are locked.")


def unlock_some(car: Vehicle, words: Words) -> Goal:
    doors = words.choose(DOORS, words.rng.choice([1, 2]))
    step = [call("lock_doors", doors=doors, locked=False)]
    return Goal({"doors": _spoken(list(doors))}, [step], "The doors are unlocked.")


def climate(car: Vehicle, words: Words) -> Goal | None:
    celsius, fan = words.pick("celsius"), words.pick("fan")
    if not car.state.engine:
        return None
    step = [call("set_climate", celsius=celsius, fan=fan)]
    return Goal({"celsius": celsius, "fan": fan}, [step], f"The climate is set to {celsius} degrees, fan {fan}.")


def refuel_parked(car: Vehicle, words: Words) -> Goal | None:
    litres = words.pick("litres")
    if car.state.engine or car.state.litres + litres > car.state.tank:
        return None
    return Goal({"litres": litres}, [[call("refuel", litres=litres)]], f"I added {litres} litres.")


def lock_and_lights(car: Vehicle, words: Words) -> Goal:
    doors, mode = words.choose(DOORS, 2), words.rng.choice(["off", "auto", "low", "high"])
    step = [call("lock_doors", doors=doors), call("set_headlights", mode=mode)]
    values = {"doors": _spoken(list(doors)), "mode": mode}
    return Goal(values, [step], f"The doors are locked and the headlights are set to {mode}.")


def climate_and_lights(car: Vehicle, words: Words) -> Goal | None:
    celsius, mode = words.pick("celsius"), words.rng.choice(["auto", "low", "high"])
    if not car.state.engine:
        return None
    step = [call("set_climate", celsius=celsius), call("set_headlights", mode=mode)]
    values = {"celsius": celsius, "mode": mode}
    return Goal(values, [step], f"Climate is at {celsius} degrees and headlights are on {mode}.")


def two_places(car: Vehicle, words: Words) -> Goal:
    first, second = (place.name for place in words.choose(list(car.state.places.values()), 2))
    near, far = sorted(
        (place for place in car.state.places.values() if place.name in (first, second)), key=lambda place: place.km
    )
    step = [call("find_place", query=first), call("find_place", query=second)]
    return Goal({"first": first, "second": second}, [step], f"{near.name} is nearer: {near.km} km against {far.km} km.")


def drive_to(car: Vehicle, words: Words) -> Goal:
    key, place = _place(car, words)
    steps = [[call("find_place", query=place.name)], [call("navigate", place_id=key)]]
    return Goal({"place": place.name}, steps, f"Navigation to {place.name} has started, {place.km} km.")


def drive_by_route(car: Vehicle, words: Words) -> Goal:
    (key, place), route = _place(car, words), words.rng.choice(["shortest", "eco"])
    steps = [[call("find_place", query=place.name)], [call("navigate", place_id=key, route=route)]]
    return Goal({"place": place.name, "route": route}, steps, f"The {route} route to {place.name} is set.")


def nearest(car: Vehicle, words: Words) -> Goal:
    category = words.pick("categories")
    matching = {key: place for key, place in car.state.places.items() if place.category == category}
    key = min(matching, key=lambda key: matching[key].km)
    steps = [[call("find_place", query=category)], [call("navigate", place_id=key)]]
    reply = f"I set course for {matching[key].name}, {matching[key].km} km away."
    return Goal({"category": category}, steps, reply, {place.name for place in matching.values()})


def lock_the_rest(car: Vehicle, words: Words) -> Goal | None:
    doors = _unlocked(car)
    if not doors:
        return None
    steps = [[call("vehicle_status")], [call("lock_doors", doors=doors)]]
    return Goal({}, steps, f"I locked the {_spoken(doors)} {'door' if len(doors) == 1 else 'doors'}.")


def start_unseen(car: Vehicle, words: Words) -> Goal | None:
    if car.state.engine:
        return None
    doors = _unlocked(car)
    lock = [call("lock_doors", doors=doors)] if doors else []
    brake = [] if car.state.brake else [call("press_brake", pressed=True)]
    ready = [lock + brake] if lock + brake else []
    return Goal({}, [[call("vehicle_status")], *ready, [call("set_engine", mode="start")]], "The engine is running.")


def start_told(car: Vehicle, words: Words) -> Goal | None:
    doors = _unlocked(car)
    if car.state.engine or car.state.brake or len(doors) not in (1, 2):
        return None
    ready = [call("lock_doors", doors=doors), call("press_brake", pressed=True)]
    return Goal({"doors": _spoken(doors)}, [ready, [call("set_engine", mode="start")]], "The engine is running.")


def refuel_running(car: Vehicle, words: Words) -> Goal | None:
    litres = words.pick("litres")
    if not car.state.engine or car.state.litres + litres > car.state.tank:
        return None
    steps = [[call("set_engine", mode="stop")], [call("refuel", litres=litres)]]
    return Goal({"litres": litres}, steps, f"The engine is off and {litres} litres are in.")


def climate_cold_engine(car: Vehicle, words: Words) -> Goal | None:
    celsius = words.pick("celsius")
    if car.state.engine or _unlocked(car):
        return None
    brake = [] if car.state.brake else [[call("press_brake", pressed=True)]]
    steps = [*brake, [call("set_engine", mode="start")], [call("set_climate", celsius=celsius)]]
    values = {"celsius": celsius, "brake": "pressed" if car.state.brake else "not pressed"}
    return Goal(values, steps, f"The engine runs and the climate is at {celsius} degrees.")


PATTERNS = [
    Pattern(
        "call",
        headlights,
        Pool(
            [
                "Set the headlights to {mode}.",
                "Please put the headlights on {mode}.",
                "Headlights {mode}, please.",
                "Could you switch the headlights to {mode}?",
                "I want the headlights in {mode} mode.",
                "Change the headlights to {mode}.",
            ],
            ["Front lights to {mode}.", "Would you turn the beams to {mode}?", "Let the headlights be {mode}."],
        ),
        Vague(
            Pool(
                [
                    "Change the headlights.",
                    "Please set the headlights.",
                    "Could you adjust the headlights?",
                    "I want the headlights in another mode.",
                    "The headlights are in the wrong mode.",
                    "Switch the headlights to something else.",
                ],
                ["Do something about the front lights.", "Modify the beams.", "The front lights need another setting."],
            ),
            "Which headlight mode: off, auto, low or high?",
            Pool(["{mode}.", "Set them to {mode}.", "{mode}, please."], ["I'd take {mode}.", "Let it be {mode}."]),
        ),
    ),
    Pattern(
        "call",
        lock_some,
        Pool(
            [
                "Lock these doors: {doors}.",
                "Please lock the {doors} door.",
                "Could you lock {doors}?",
                "Doors to lock: {doors}.",
                "I need {doors} locked.",
                "Lock up {doors}, please.",
            ],
            ["Secure {doors}.", "Have the lock shut on {doors}.", "Would you see that {doors} gets locked?"],
        ),
        Vague(
            Pool(
                [
                    "Lock the door.",
                    "Please lock some of the doors.",
                    "Could you lock a car door?",
                    "I need a door locked.",
                    "A door needs locking.",
                    "Lock one side, please.",
                ],
                ["Secure that door.", "Would you see that a door gets locked?", "Have the lock shut on one door."],
            ),
            "Which doors should I lock?",
            Pool(["{doors}.", "I mean {doors}.", "Just {doors}."], ["Take {doors}.", "That would be {doors}."]),
        ),
    ),
    Pattern(
        "call",
        unlock_some,
        Pool(
            [
                "Unlock these doors: {doors}.",
                "Please unlock the {doors} door.",
                "Could you unlock {doors}?",
                "Doors to unlock: {doors}.",
                "I need {doors} unlocked.",
                "Open the lock of {doors}, please.",
            ],
            ["Release {doors}.", "Let someone in by {doors}, unlock it.", "Would you see that {doors} gets unlocked?"],
        ),
    ),
    Pattern(
        "call",
        climate,
        Pool(
            [
                "The engine is running; set the climate to {celsius} degrees, fan level {fan}.",
                "Climate to {celsius} degrees with fan {fan}, the engine runs already.",
                "Engine's on. Please set {celsius} degrees and fan level {fan}.",
                "We're driving, put the climate at {celsius} degrees and the fan at {fan}.",
                "I'd like {celsius} degrees with fan level {fan}. Engine is running.",
                "With the engine running, set the climate: {celsius} degrees, fan {fan}.",
            ],
            [
                "Motor is on; make it {celsius} degrees in here, fan at level {fan}.",
                "On the road now, so {celsius} degrees please and fan step {fan}.",
                "Cabin at {celsius} degrees, fan {fan}; the engine's going.",
            ],
        ),
    ),
    Pattern(
        "call",
        refuel_parked,
        Pool(
            [
                "The engine is off. Add {litres} litres of fuel.",
                "Please refuel {litres} litres, the engine is off.",
                "We're parked with the engine off, put in {litres} litres.",
                "Engine's off, so refuel {litres} litres.",
                "Could you add {litres} litres of fuel? The engine is off.",
                "Fuel up {litres} litres while the engine is off.",
            ],
            [
                "Motor's off at the pump: {litres} litres, please.",
                "Standing still, engine off. Fill in {litres} litres.",
                "Pump {litres} litres into the tank, the engine isn't on.",
            ],
        ),
        Vague(
            Pool(
                [
                    "The engine is off. Add some fuel.",
                    "Please refuel, the engine is off.",
                    "We're parked with the engine off, put in fuel.",
                    "Engine's off, so refuel the car.",
                    "Could you add fuel? The engine is off.",
                    "Fuel up while the engine is off.",
                ],
                [
                    "Motor's off at the pump: fuel, please.",
                    "Standing still, engine off. Fill in some.",
                    "Pump fuel into the tank, the engine isn't on.",
                ],
            ),
            "How many litres should I add?",
            Pool(
                ["{litres} litres.", "Add {litres}.", "Make it {litres} litres."],
                ["{litres} will do.", "I'd say {litres} litres."],
            ),
        ),
    ),
    Pattern(
        "parallel",
        lock_and_lights,
        Pool(
            [
                "Lock {doors} and set the headlights to {mode}.",
                "Please lock the doors {doors} and put the headlights on {mode}.",
                "Doors {doors} locked, headlights {mode}.",
                "Could you lock {doors} and switch the headlights to {mode}?",
                "I need {doors} locked and headlights in {mode} mode.",
                "Lock {doors}. Also, headlights {mode}.",
            ],
            [
                "Secure {doors}, front lights to {mode}.",
                "Have {doors} locked and the beams at {mode}.",
                "Two things: {doors} locked, front lights {mode}.",
            ],
        ),
    ),
    Pattern(
        "parallel",
        climate_and_lights,
        Pool(
            [
                "The engine is running. Set the climate to {celsius} degrees and the headlights to {mode}.",
                "Engine's on: climate {celsius} degrees, headlights {mode}.",
                "We're driving; please set {celsius} degrees and headlights {mode}.",
                "Put the climate at {celsius} degrees and the headlights on {mode}, the engine runs.",
                "I want {celsius} degrees in here and headlights {mode}; the engine is running.",
                "With the engine running, set climate to {celsius} degrees, headlights to {mode}.",
            ],
            [
                "Motor is on: cabin {celsius} degrees, front lights {mode}.",
                "On the road: {celsius} degrees inside and beams at {mode}.",
                "Make it {celsius} degrees and turn the front lights to {mode}, the engine's going.",
            ],
        ),
    ),
    Pattern(
        "parallel",
        two_places,
        Pool(
            [
                "Which is nearer, {first} or {second}?",
                "Look up {first} and {second} and tell me which is closer.",
                "Please find both {first} and {second} and compare the distance.",
                "Is {first} closer than {second}?",
                "How far are {first} and {second}?",
                "Compare the distance to {first} and to {second}.",
            ],
            [
                "Between {first} and {second}, what's the shorter drive?",
                "I can't decide between {first} and {second}; how far is each?",
                "Check how distant {first} and {second} are.",
            ],
        ),
    ),
    Pattern(
        "chained",
        drive_to,
        Pool(
            [
                "Navigate to {place}.",
                "Please take me to {place}.",
                "Could you start navigation to {place}?",
                "I need to get to {place}.",
                "Let's drive to {place}.",
                "Directions to {place}, please.",
            ],
            ["Guide me over to {place}.", "We want to go to {place}.", "Set our destination: {place}."],
        ),
    ),
    Pattern(
        "chained",
        drive_by_route,
        Pool(
            [
                "Navigate to {place} by the {route} route.",
                "Please take the {route} route to {place}.",
                "Could you start navigation to {place}, {route} route?",
                "Drive to {place}, using the {route} route.",
                "{route} route to {place}, please.",
                "I want the {route} way to {place}.",
            ],
            [
                "Guide me to {place}, and pick the {route} route.",
                "Our destination is {place}; {route} routing.",
                "Go to {place} with route type {route}.",
            ],
        ),
    ),
    Pattern(
        "chained",
        nearest,
        Pool(
            [
                "Take me to the nearest {category}.",
                "Navigate to the closest {category}.",
                "Please find the nearest {category} and start navigation.",
                "Where's the closest {category}? Drive there.",
                "I need a {category}, the nearest one. Navigate there.",
                "Start navigation to the {category} that is closest.",
            ],
            [
                "Guide me to whichever {category} is least far.",
                "Bring us to the {category} with the shortest distance.",
                "We want to go to a {category}, as near as possible.",
            ],
        ),
    ),
    Pattern(
        "chained",
        lock_the_rest,
        Pool(
            [
                "Lock whichever doors are still unlocked.",
                "Check the doors and lock the unlocked ones.",
                "Please see which doors are unlocked and lock them.",
                "Could you lock every door that is not locked yet?",
                "Find the unlocked doors and lock them.",
                "Look for unlocked doors, then lock those.",
            ],
            [
                "Any door left open should be locked.",
                "Verify the doors; secure the unlocked ones.",
                "Some doors aren't locked. Fix that.",
            ],
        ),
    ),
    Pattern(
        "precondition",
        start_unseen,
        Pool(
            [
                "Start the engine. Check the car first.",
                "Please check the car's status and start the engine.",
                "Could you get the engine started? I don't know about doors and brake.",
                "I want to leave; see to the doors and brake and start the engine.",
                "Check doors and brake, then start the engine.",
                "Get the car ready and start the engine.",
            ],
            [
                "Fire up the engine, after looking at doors and brake.",
                "Make whatever checks are needed and turn the engine on.",
                "Engine on, please. No idea what state the car is in.",
            ],
        ),
    ),
    Pattern(
        "precondition",
        start_told,
        Pool(
            [
                "Start the engine. Only {doors} is unlocked, and the brake isn't pressed.",
                "Unlocked: {doors}. Brake released. Please start the engine.",
                "I'd like to start the engine; {doors} still unlocked and my foot is off the brake.",
                "The brake is not pressed and {doors} unlocked. Start the engine.",
                "Start the engine for me, noting {doors} unlocked and the brake released.",
                "Brake's not pressed, {doors} not locked: get the engine started.",
            ],
            [
                "Fire up the engine: unlocked is {doors}, the others are locked, brake free.",
                "Turn the engine on. Nobody presses the brake and {doors} isn't locked.",
                "Engine on, please; what's missing is the lock of {doors} and the brake.",
            ],
        ),
    ),
    Pattern(
        "precondition",
        refuel_running,
        Pool(
            [
                "The engine is running. I need {litres} litres of fuel added.",
                "Engine's still on; please refuel {litres} litres.",
                "Add {litres} litres of fuel, the engine is running right now.",
                "We just arrived with the engine running, put in {litres} litres.",
                "Could you refuel {litres} litres? The engine is still running.",
                "With the engine on at the moment, get {litres} litres into the tank.",
            ],
            [
                "Motor's going, but I want {litres} litres pumped in.",
                "At the pump with a running engine: {litres} litres, please.",
                "Fill in {litres} litres; mind that the engine isn't off yet.",
            ],
        ),
    ),
    Pattern(
        "precondition",
        climate_cold_engine,
        Pool(
            [
                "The engine is off, all doors are locked, brake {brake}. Set the climate to {celsius} degrees.",
                "Climate to {celsius} degrees please; engine off, doors locked, brake {brake}.",
                "Doors are locked, the brake is {brake}, engine off. I want {celsius} degrees.",
                "Engine's off. Doors are all locked and the brake is {brake}. Make it {celsius} degrees.",
                "I'd like the climate at {celsius} degrees. Doors locked, brake {brake}, engine off.",
                "All locked, brake {brake}, engine off: climate {celsius} degrees.",
            ],
            [
                "Cabin at {celsius} degrees, please. Motor off, every door locked, brake {brake}.",
                "It's cold: {celsius} degrees. Every door is locked, the brake is {brake}, the engine isn't on.",
                "With doors locked, brake {brake} and no engine on, bring the cabin to {celsius} degrees.",
            ],
        ),
    ),
]

SCENARIO = Scenario(build, POOLS, PATTERNS)
