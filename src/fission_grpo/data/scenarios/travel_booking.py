"""Goal patterns of the travel desk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fission_grpo.chat import ToolCall
from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.travel_booking import HOLDS, ON_COACHES, PERCENT, PRICES, Booking, TravelBooking, Trip

POOLS = {
    "cities": [
        "Oslo", "Gothenburg", "Helsinki", "Tallinn", "Dublin", "Barcelona", "Genoa", "Naples", "Marseille", "Split",
        "Athens", "Bari", "Lisbon", "Hamburg", "Kiel", "Gdansk", "Riga", "Stockholm", "Copenhagen", "Amsterdam",
        "Rotterdam", "Bergen", "Cardiff", "Belfast", "Porto", "Valencia", "Venice", "Trieste", "Bilbao", "Santander",
        "Calais", "Ostend", "Palermo", "Malaga", "Turku", "Aarhus",
    ],
    "hotels": [
        "Harbour Inn", "Grand Quay", "Lantern House", "Hotel Meridian", "Pier Lodge", "Casa Azul", "The Copper Kettle",
        "Villa Serena", "Old Customs House", "Hotel Borealis", "Seagull Rooms", "Park Residence", "Hotel Miramar",
        "The Weathervane", "Tower Suites", "Fisherman's Rest", "Hotel Aurora", "The Blue Door", "Garden Court",
        "Kastell Hotel", "Promenade House", "The Night Porter", "Hotel Zenit", "Linden Lodge", "Market Square Hotel",
        "The Gilded Oar", "Hotel Palma", "Station View", "Opera Rooms", "Hotel Fjord", "The Quiet Courtyard",
        "Bastion Hotel", "Hotel Celeste", "Canal Corner", "The Red Anchor", "Hotel Vesper",
    ],
}  # fmt: skip
WISHES = {"earliest": ("departs", 1), "latest": ("departs", -1), "quickest": ("minutes", 1)}
"""What a user wants of a trip, the attribute it concerns, and the sign that makes it least."""


def build(words: Words) -> TravelBooking:
    """A random desk of the split's cities, hotels and people."""
    people, hotels, trips = (5, 8, 28) if words.large else (4, 6, 10)
    times = words.times(trips, "05:00", "23:30", 5)
    words.rng.shuffle(times)
    return TravelBooking.populate(
        words.rng,
        names=words.people(people),
        cities=words.sample("cities", 4),
        hotels=words.sample("hotels", hotels),
        keys=words.numbers(people + hotels + trips + 4, 1000, 6999),
        passports=words.ids("X", people, 5),
        dates=[*words.dates(4, days=140), *words.dates(1, "2027-06-01", 900)],
        times=times,
        prices=words.numbers(hotels + trips, 18, 400),
        next_booking=words.counter(),
    )


SCENARIO = Scenario(TravelBooking, build, POOLS, language=Path(__file__).with_suffix(".toml"))


def _open(desk: TravelBooking, status: str, traveller: str | None = None) -> list[str]:
    """Ids of the bookings in a state, all travellers' or one's."""
    return [
        key
        for key, booking in desk.state.bookings.items()
        if booking.status == status and traveller in (None, booking.traveller_id)
    ]


def _ready(desk: TravelBooking) -> list[str]:
    """Travellers who may hold one more booking."""
    return [key for key in desk.state.travellers if len(_open(desk, "held", key)) < HOLDS]


def _boards(desk: TravelBooking, traveller: str, trip: Trip) -> bool:
    passport = desk.state.travellers[traveller].passport
    return trip.mode != "ferry" or (passport is not None and passport.expires >= trip.date)


def _refundable(booking: Booking) -> bool:
    return booking.status == "held" or (booking.status == "paid" and booking.fare_class != "saver")


def _leg(desk: TravelBooking, words: Words) -> dict[str, Trip]:
    """The trips of one mode on a random route and day."""
    model = words.rng.choice(list(desk.state.trips.values()))
    return _departures(desk, model, model.date)


def _departures(desk: TravelBooking, like: Trip, date: str) -> dict[str, Trip]:
    alike = (like.origin, like.destination, like.mode, date)
    return {
        key: trip
        for key, trip in desk.state.trips.items()
        if (trip.origin, trip.destination, trip.mode, trip.date) == alike
    }


def _wished(trips: dict[str, Trip], wish: str) -> str | None:
    """The one trip that is, say, earliest."""
    attribute, sign = WISHES[wish]
    ranked = sorted(trips, key=lambda key: getattr(trips[key], attribute), reverse=sign < 0)
    if len(ranked) < 2 or getattr(trips[ranked[0]], attribute) == getattr(trips[ranked[1]], attribute):
        return None
    return ranked[0]


def _route(words: Words, trip: Trip) -> dict[str, Any]:
    """A route, day and mode as sentences name them."""
    said = {"origin": trip.origin, "destination": trip.destination, "date": words.say_date(trip.date)}
    return said | {"mode": trip.mode}


def _search(trip: Trip) -> ToolCall:
    return call("search_trips", origin=trip.origin, destination=trip.destination, date=trip.date, mode=trip.mode)


@SCENARIO.pattern("call")
def show_booking(desk: TravelBooking, words: Words) -> Goal:
    key, booking = words.rng.choice(list(desk.state.bookings.items()))
    values = {"booking": key, "status": booking.status, "total": booking.total}
    return Goal(values, [[call("get_booking", booking_id=key)]], {booking.traveller_id})


@SCENARIO.pattern("call")
def top_up_credit(desk: TravelBooking, words: Words) -> Goal:
    key, amount = words.rng.choice(list(desk.state.travellers)), words.number(50, 3000, 10)
    values = {"traveller": key, "amount": amount, "credit": desk.state.travellers[key].credit + amount}
    return Goal(values, [[call("top_up", traveller_id=key, amount=amount)]])


@SCENARIO.pattern("call")
def trips_by_mode(desk: TravelBooking, words: Words) -> Goal | None:
    leg = _leg(desk, words)
    if len(leg) < 2:
        return None
    some = next(iter(leg.values()))
    departures = sorted(trip.departs for trip in leg.values())
    values = {"times": listing(departures), "first": departures[0], "last": departures[-1]}
    return Goal(_route(words, some) | values, [[_search(some)]], set(leg))


@SCENARIO.pattern("call")
def seats_on_trip(desk: TravelBooking, words: Words) -> Goal | None:
    (key, trip), seats = words.rng.choice(list(desk.state.trips.items())), words.number(2, 24)
    fare_class, travellers = words.rng.choice(["saver", "first"]), words.choose(_ready(desk), 1)
    if trip.seats[fare_class] < seats or not all(_boards(desk, traveller, trip) for traveller in travellers):
        return None
    return _held(desk, key, travellers[0], seats, fare_class) if travellers else None


def _held(desk: TravelBooking, trip: str, traveller: str, seats: int, fare_class: Any) -> Goal:
    hold = call("hold_seats", trip_id=trip, traveller_id=traveller, fare_class=fare_class, seats=seats)
    total, booking = desk.state.trips[trip].fares[fare_class] * seats, f"B{desk.state.next_booking}"
    values = {"trip": trip, "traveller": traveller, "seats": seats, "fare_class": fare_class, "total": total}
    return Goal(values | {"booking": booking}, [[hold]])


@SCENARIO.pattern("call", after="seats_on_trip")
def extras_on_it(desk: TravelBooking, words: Words, past: Goal) -> Goal | None:
    key = past.values["booking"]
    booking = desk.state.bookings[key]
    offered = ON_COACHES if desk.state.trips[booking.item].mode == "coach" else tuple(PRICES)
    extras = words.choose([extra for extra in offered if extra not in booking.extras], words.rng.choice([1, 2]))
    if booking.status != "held" or not extras:
        return None
    total = booking.total + sum(PRICES[extra] for extra in extras)
    values = {"booking": key, "extras": listing(extras), "total": total}
    return Goal(values, [[call("add_extras", booking_id=key, extras=extras)]])


@SCENARIO.pattern("call", test_only=True)
def room_known(desk: TravelBooking, words: Words) -> Goal | None:
    key, travellers = words.rng.choice(list(desk.state.hotels)), words.choose(_ready(desk), 1)
    if not desk.state.hotels[key].rooms or not travellers:
        return None
    nights, [check_in] = words.number(2, 28), words.dates(1, "2026-06-01", 200)
    return _stay(desk, words, key, travellers[0], check_in, nights)


def _stay(desk: TravelBooking, words: Words, hotel: str, traveller: str, check_in: str, nights: int) -> Goal:
    hold = call("hold_room", hotel_id=hotel, traveller_id=traveller, check_in=check_in, nights=nights)
    values = {"hotel": hotel, "traveller": traveller, "check_in": check_in, "nights": nights}
    values |= {"date": words.say_date(check_in), "total": desk.state.hotels[hotel].price * nights}
    return Goal(values | {"booking": f"B{desk.state.next_booking}"}, [[hold]])


@SCENARIO.pattern("call", test_only=True, after="room_known")
def same_for_companion(desk: TravelBooking, words: Words, past: Goal) -> Goal | None:
    others = [key for key in _ready(desk) if key != past.values["traveller"]]
    if not others or not desk.state.hotels[past.values["hotel"]].rooms:
        return None
    hotel, check_in, nights = (past.values[part] for part in ("hotel", "check_in", "nights"))
    return _stay(desk, words, hotel, words.rng.choice(others), check_in, nights)


@SCENARIO.pattern("parallel")
def cancel_and_top_up(desk: TravelBooking, words: Words) -> Goal | None:
    key, booking = words.rng.choice(list(desk.state.bookings.items()))
    if not _refundable(booking):
        return None
    other = words.rng.choice([one for one in desk.state.travellers if one != booking.traveller_id])
    amount = words.number(50, 3000, 10)
    step = [call("cancel_booking", booking_id=key), call("top_up", traveller_id=other, amount=amount)]
    refund = booking.total if booking.status == "paid" else 0
    credit = desk.state.travellers[other].credit + amount
    values = {"booking": key, "traveller": other, "amount": amount, "refund": refund, "credit": credit}
    return Goal(values, [step], {booking.traveller_id})


@SCENARIO.pattern("parallel")
def two_cities(desk: TravelBooking, words: Words) -> Goal:
    cities = words.choose(sorted({hotel.city for hotel in desk.state.hotels.values()}), 2)
    found = {key: hotel for key, hotel in desk.state.hotels.items() if hotel.city in cities}
    best = min(found.values(), key=lambda hotel: hotel.price)
    values = {"first": cities[0], "second": cities[1], "hotel": best.name, "city": best.city, "price": best.price}
    step = [call("find_hotels", city=city) for city in cities]
    return Goal(values, [step], set(found) | {hotel.name for hotel in found.values()})


@SCENARIO.pattern("parallel", test_only=True)
def two_passports(desk: TravelBooking, words: Words) -> Goal | None:
    lacking = [key for key, traveller in desk.state.travellers.items() if traveller.passport is None]
    if len(lacking) < 2:
        return None
    (first, second), numbers = words.choose(lacking, 2), words.ids("X", 2, 5)
    expires = words.dates(2, "2027-06-01", 900)
    step = [
        call("set_passport", traveller_id=key, passport={"number": number, "expires": date})
        for key, number, date in zip((first, second), numbers, expires, strict=True)
    ]
    values = {"first": first, "second": second, "one": numbers[0], "other": numbers[1]}
    return Goal(values | {"until": words.say_date(expires[0]), "till": words.say_date(expires[1])}, [step])


@SCENARIO.pattern("chained")
def hold_best(desk: TravelBooking, words: Words) -> Goal | None:
    leg, wish, travellers = _leg(desk, words), words.rng.choice(list(WISHES)), words.choose(_ready(desk), 1)
    key = _wished(leg, wish)
    if key is None or not travellers or not _boards(desk, travellers[0], leg[key]) or not leg[key].seats["standard"]:
        return None
    trip = leg[key]
    steps = [[_search(trip)], [call("hold_seats", trip_id=key, traveller_id=travellers[0])]]
    values = _route(words, trip) | {"wish": wish, "traveller": travellers[0], "booking": f"B{desk.state.next_booking}"}
    values |= {"trip": key, "departs": trip.departs, "total": trip.fares["standard"]}
    return Goal(values, steps, set(leg))


@SCENARIO.pattern("call", after="hold_best")
def pay_that(desk: TravelBooking, words: Words, past: Goal) -> Goal | None:
    key = past.values["booking"]
    booking = desk.state.bookings[key]
    traveller = desk.state.travellers[booking.traveller_id]
    with_points = words.rng.random() < 0.5
    due, funds = (10 * booking.total, traveller.points) if with_points else (booking.total, traveller.credit)
    if booking.status != "held" or funds < due:
        return None
    means = "loyalty points" if with_points else "prepaid credit"
    pay = call("pay_booking", booking_id=key, **({"with_points": True} if with_points else {}))
    return Goal({"booking": key, "means": means, "left": funds - due}, [[pay]])


@SCENARIO.pattern("chained")
def room_by_name(desk: TravelBooking, words: Words) -> Goal | None:
    (key, hotel), travellers = words.rng.choice(list(desk.state.hotels.items())), words.choose(_ready(desk), 1)
    if not hotel.rooms or not travellers:
        return None
    nights, [check_in] = words.number(2, 28), words.dates(1, "2026-06-01", 200)
    name = desk.state.travellers[travellers[0]].name
    steps = [
        [call("find_traveller", name=name), call("find_hotels", city=hotel.city)],
        [call("hold_room", hotel_id=key, traveller_id=travellers[0], check_in=check_in, nights=nights)],
    ]
    values = {"name": name, "hotel": hotel.name, "city": hotel.city, "date": words.say_date(check_in)}
    values |= {"nights": nights, "total": hotel.price * nights, "booking": f"B{desk.state.next_booking}"}
    found = {other for other, room in desk.state.hotels.items() if room.city == hotel.city}
    return Goal(values, steps, {travellers[0], *found})


@SCENARIO.pattern("chained")
def book_and_pay(desk: TravelBooking, words: Words) -> Goal | None:
    leg, travellers = _leg(desk, words), words.choose(_ready(desk), 1)
    fare_class: Any = words.rng.choice(["saver", "first"])
    ranked = sorted(leg, key=lambda key: leg[key].fares[fare_class])
    if len(ranked) < 2 or not travellers:
        return None
    best, second = leg[ranked[0]], leg[ranked[1]]
    traveller, fare = desk.state.travellers[travellers[0]], best.fares[fare_class]
    if fare == second.fares[fare_class] or not best.seats[fare_class]:
        return None
    if traveller.credit < fare or not _boards(desk, travellers[0], best):
        return None
    booking = f"B{desk.state.next_booking}"
    steps = [
        [call("find_traveller", name=traveller.name), _search(best)],
        [call("hold_seats", trip_id=ranked[0], traveller_id=travellers[0], fare_class=fare_class)],
        [call("pay_booking", booking_id=booking)],
    ]
    values = _route(words, best) | {"name": traveller.name, "fare_class": fare_class, "fare": fare}
    values |= {"booking": booking, "departs": best.departs, "credit": traveller.credit - fare}
    return Goal(values, steps, {travellers[0], *leg})


@SCENARIO.pattern("chained", test_only=True)
def stay_at_destination(desk: TravelBooking, words: Words) -> Goal | None:
    ready = _ready(desk)
    trips = {
        key: desk.state.trips[booking.item]
        for key, booking in desk.state.bookings.items()
        if booking.fare_class and booking.status != "cancelled" and booking.traveller_id in ready
    }
    if not trips:
        return None
    key, trip = words.rng.choice(list(trips.items()))
    rooms = {other: hotel for other, hotel in desk.state.hotels.items() if hotel.city == trip.destination}
    best = min(rooms, key=lambda other: rooms[other].price, default="")
    if len(rooms) < 2 or not rooms[best].rooms:
        return None
    nights, owner = words.number(2, 28), desk.state.bookings[key].traveller_id
    steps = [
        [call("get_booking", booking_id=key)],
        [call("find_hotels", city=trip.destination)],
        [call("hold_room", hotel_id=best, traveller_id=owner, check_in=trip.date, nights=nights)],
    ]
    values = {"reservation": key, "nights": nights, "hotel": rooms[best].name, "total": rooms[best].price * nights}
    shown = {owner, trip.origin, trip.destination, *rooms, *(hotel.name for hotel in rooms.values())}
    return Goal(values | {"booking": f"B{desk.state.next_booking}"}, steps, shown)


@SCENARIO.pattern("chained", test_only=True)
def clear_out(desk: TravelBooking, words: Words) -> Goal | None:
    owners = {booking.traveller_id for booking in desk.state.bookings.values()}
    owner = words.rng.choice(sorted(owners))
    mine = [key for key in desk.state.bookings if key in _open(desk, "held", owner) + _open(desk, "paid", owner)]
    if len(mine) < 2 or not all(_refundable(desk.state.bookings[key]) for key in mine):
        return None
    name = desk.state.travellers[owner].name
    steps = [
        [call("find_traveller", name=name)],
        [call("get_traveller", traveller_id=owner)],
        [call("cancel_booking", booking_id=key) for key in mine],
    ]
    return Goal({"name": name, "bookings": listing(mine)}, steps, {owner, *mine})


@SCENARIO.pattern("precondition")
def passport_first(desk: TravelBooking, words: Words) -> Goal | None:
    ferries = [key for key, trip in desk.state.trips.items() if trip.mode == "ferry"]
    lacking = [key for key in _ready(desk) if desk.state.travellers[key].passport is None]
    if not lacking:
        return None
    trip, traveller, seats = words.rng.choice(ferries), words.rng.choice(lacking), words.number(2, 24)
    if desk.state.trips[trip].seats["standard"] < seats:
        return None
    [number], [expires] = words.ids("X", 1, 5), words.dates(1, "2027-06-01", 900)
    steps = [
        [call("set_passport", traveller_id=traveller, passport={"number": number, "expires": expires})],
        [call("hold_seats", trip_id=trip, traveller_id=traveller, seats=seats)],
    ]
    values = {"trip": trip, "traveller": traveller, "seats": seats, "number": number, "until": words.say_date(expires)}
    total = desk.state.trips[trip].fares["standard"] * seats
    return Goal(values | {"total": total, "booking": f"B{desk.state.next_booking}"}, steps)


@SCENARIO.pattern("precondition")
def short_credit(desk: TravelBooking, words: Words) -> Goal | None:
    amount, held = words.number(200, 3000, 20), words.choose(_open(desk, "held"), 1)
    if not held:
        return None
    booking = desk.state.bookings[held[0]]
    credit = desk.state.travellers[booking.traveller_id].credit
    if not credit < booking.total <= credit + amount:
        return None
    steps = [
        [call("get_booking", booking_id=held[0])],
        [call("top_up", traveller_id=booking.traveller_id, amount=amount)],
        [call("pay_booking", booking_id=held[0])],
    ]
    values = {"booking": held[0], "amount": amount, "total": booking.total, "left": credit + amount - booking.total}
    return Goal(values, steps, {booking.traveller_id})


@SCENARIO.pattern("precondition")
def free_a_hold(desk: TravelBooking, words: Words) -> Goal | None:
    full = [key for key in desk.state.travellers if len(_open(desk, "held", key)) >= HOLDS]
    (key, trip), seats = words.rng.choice(list(desk.state.trips.items())), words.number(2, 24)
    fare_class: Any = words.rng.choice(list(PERCENT))
    if not full or trip.seats[fare_class] < seats or not _boards(desk, full[0], trip):
        return None
    dropped = words.rng.choice(_open(desk, "held", full[0]))
    wanted = {"fare_class": fare_class} if fare_class != "standard" else {}
    steps = [
        [call("cancel_booking", booking_id=dropped)],
        [call("hold_seats", trip_id=key, traveller_id=full[0], seats=seats, **wanted)],
    ]
    values = {"traveller": full[0], "old": dropped, "trip": key, "seats": seats, "fare_class": fare_class}
    total = trip.fares[fare_class] * seats
    return Goal(values | {"total": total, "booking": f"B{desk.state.next_booking}"}, steps)


@SCENARIO.pattern("precondition", test_only=True)
def another_day(desk: TravelBooking, words: Words) -> Goal | None:
    full = [key for key in desk.state.travellers if len(_open(desk, "held", key)) >= HOLDS]
    held = words.choose(_open(desk, "held", full[0]) if full else [], 1)
    if not held:
        return None
    booking, wish = desk.state.bookings[held[0]], words.rng.choice(list(WISHES))
    if booking.fare_class is None:
        return None
    old = desk.state.trips[booking.item]
    days = {trip.date for trip in desk.state.trips.values()} - {old.date}
    found = [leg for day in sorted(days) if (leg := _departures(desk, old, day))]
    leg = words.rng.choice(found) if found else {}
    key = _wished(leg, wish)
    if key is None or leg[key].seats[booking.fare_class] < booking.seats or not _boards(desk, full[0], leg[key]):
        return None
    wanted = {} if booking.fare_class == "standard" else {"fare_class": booking.fare_class}
    steps = [
        [call("get_booking", booking_id=held[0])],
        [_search(leg[key]), call("cancel_booking", booking_id=held[0])],
        [call("hold_seats", trip_id=key, traveller_id=full[0], seats=booking.seats, **wanted)],
    ]
    values = {"old": held[0], "date": words.say_date(leg[key].date), "wish": wish, "mode": old.mode}
    values |= {"departs": leg[key].departs}
    return Goal(values | {"booking": f"B{desk.state.next_booking}"}, steps, {full[0], old.origin, *leg})


@SCENARIO.pattern("precondition", test_only=True)
def refund_to_pay(desk: TravelBooking, words: Words) -> Goal | None:
    paid = words.choose([key for key in _open(desk, "paid") if _refundable(desk.state.bookings[key])], 1)
    owner = desk.state.bookings[paid[0]].traveller_id if paid else ""
    held = words.choose(_open(desk, "held", owner), 1)
    if not paid or not held:
        return None
    refund, total = desk.state.bookings[paid[0]].total, desk.state.bookings[held[0]].total
    credit = desk.state.travellers[owner].credit
    if not credit < total <= credit + refund:
        return None
    steps = [[call("cancel_booking", booking_id=paid[0])], [call("pay_booking", booking_id=held[0])]]
    values = {"paid": paid[0], "held": held[0], "refund": refund, "total": total, "left": credit + refund - total}
    return Goal(values, steps, {owner})
