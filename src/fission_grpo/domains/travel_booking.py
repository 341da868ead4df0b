"""A travel desk: trains, ferries, coaches and hotels, holds that must be paid, credit and points, passports."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import alike, each_once, iso_date, known, named
from fission_grpo.domains.base import Argument, Domain, ToolError

Mode = Literal["train", "ferry", "coach"]
FareClass = Literal["saver", "standard", "first"]
Status = Literal["held", "paid", "cancelled"]
Extra = Literal["bike", "luggage", "meal", "pet"]
MODES: tuple[Mode, ...] = get_args(Mode)
PERCENT: dict[FareClass, int] = {"saver": 60, "standard": 100, "first": 170}
"""Fare of each class, in percent of the standard fare."""
PRICES: dict[Extra, int] = {"bike": 9, "luggage": 6, "meal": 14, "pet": 11}
ON_COACHES: tuple[Extra, ...] = ("bike", "luggage")
HOLDS = 2
"""Unpaid bookings that a traveller may have at a time."""
POINTS_PER_EURO = 10
STATUSES: tuple[Status, ...] = ("paid", "held", "held", "held")
"""Of the bookings in a random desk."""


class Passport(Argument):
    """A traveller's passport."""

    number: str
    expires: str = Field(description="YYYY-MM-DD.")


class Traveller(BaseModel):
    """A customer of the desk."""

    name: str
    credit: int
    """Prepaid euros."""
    points: int
    passport: Passport | None = None


class Trip(BaseModel):
    """One departure and its free seats by class."""

    mode: Mode
    origin: str
    destination: str
    date: str
    departs: str
    minutes: int
    fares: dict[FareClass, int]
    seats: dict[FareClass, int]


class Hotel(BaseModel):
    """A hotel and its free rooms."""

    name: str
    city: str
    price: int
    """Euros per night."""
    rooms: int


class Booking(BaseModel):
    """Seats on a trip, or a room in a hotel."""

    traveller_id: str
    item: str
    """Id of the trip or hotel."""
    fare_class: FareClass | None = None
    """None for a room."""
    seats: int = 1
    check_in: str | None = None
    nights: int = 0
    extras: list[Extra] = []
    total: int
    status: Status = "held"


class DeskState(BaseModel):
    """The whole desk."""

    today: str
    travellers: dict[str, Traveller]
    trips: dict[str, Trip]
    hotels: dict[str, Hotel]
    bookings: dict[str, Booking]
    next_booking: int


class TravelBooking(Domain):
    """The travel desk."""

    name = "travel_booking"
    State = DeskState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random desk with everyday names."""
        rng = random.Random(seed)  # noqa: S311
        return cls.populate(
            rng,
            names=["Anna Weber", "Omar Haddad", "Lucy Chen", "Paul Novak"],
            cities=["Genoa", "Marseille", "Barcelona", "Naples"],
            hotels=["Harbour Inn", "Grand Quay", "Lantern House", "Hotel Meridian", "Pier Lodge", "Casa Azul"],
            keys=rng.sample(range(1000, 5000), 24),
            passports=["X4410932", "X7719023", "X2093341", "X5561120"],
            dates=["2026-04-02", "2026-05-11", "2026-05-14", "2026-06-20", "2028-01-31"],
            times=["06:40", "08:15", "09:05", "10:30", "12:20", "13:45", "15:10", "17:25", "18:50", "21:15"],
            prices=[58, 74, 92, 115, 148, 210, 24, 31, 38, 45, 52, 59, 66, 73, 88, 97],
            next_booking=rng.randrange(5000, 9000),
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        *,
        names: Sequence[str],
        cities: Sequence[str],
        hotels: Sequence[str],
        keys: Sequence[int],
        passports: Sequence[str],
        dates: Sequence[str],
        times: Sequence[str],
        prices: Sequence[int],
        next_booking: int,
    ) -> Self:
        """A random desk with a trip at each of `times`, all but seven alike.

        The first date is today, the last the expiry of passports. `keys`: numbers of the ids, one for each traveller,
        hotel, trip and of four bookings; `prices`: one for each hotel and trip; `passports`: one for each traveller.
        """
        key, price = map(str, keys), iter(prices)
        [today, *days, expires] = dates
        there, back, other = (cities[0], cities[1]), (cities[1], cities[0]), (cities[2], cities[3])
        first, second, third = rng.sample(MODES, 3)
        legs = [(*there, days[0], first)] * (len(times) - 7) + [(*there, days[0], second)] * 2
        legs += [(*there, days[1], first)] * 2 + [(*back, days[1], third)] + [(*other, days[2], second)] * 2
        people = {
            f"P{next(key)}": Traveller(
                name=name,
                credit=rng.randrange(2500, 6000),
                points=rng.randrange(200, 6000),
                passport=Passport(number=number, expires=expires) if rng.random() < 0.6 else None,
            )
            for name, number in zip(names, passports, strict=True)
        }
        rooms = {
            f"H{next(key)}": Hotel(name=name, city=cities[i % 4], price=next(price), rooms=rng.randrange(1, 30))
            for i, name in enumerate(hotels)
        }
        trips = {}
        for (origin, destination, day, mode), time in zip(legs, times, strict=True):
            standard = next(price)
            trips[f"T{next(key)}"] = Trip(
                mode=mode,
                origin=origin,
                destination=destination,
                date=day,
                departs=time,
                minutes=rng.randrange(45, 720),
                fares={fare_class: standard * percent // 100 for fare_class, percent in PERCENT.items()},
                seats={fare_class: rng.randrange(12, 90) for fare_class in PERCENT},
            )
        # one traveller with a paid and a held booking and little credit, one with as many holds as allowed
        short, full = rng.sample(list(people), 2)
        people[short].credit = rng.randrange(5, 30)
        bookings = {}
        for owner, status, trip in zip([short, short, full, full], STATUSES, rng.sample(list(trips), 4), strict=True):
            fare_class, seats = rng.choice(list(PERCENT)), rng.randrange(2, 4)
            bookings[f"B{next(key)}"] = Booking(
                traveller_id=owner,
                item=trip,
                fare_class=fare_class,
                seats=seats,
                total=trips[trip].fares[fare_class] * seats,
                status=status,
            )
        state = DeskState(
            today=today, travellers=people, trips=trips, hotels=rooms, bookings=bookings, next_booking=next_booking
        )
        return cls(state)

    def find_traveller(self, name: str) -> dict[str, Any]:
        """Look up a traveller's id.

        Args:
            name: Full name.
        """
        key, _ = named("find_traveller", "traveller", self.state.travellers, name)
        return {"traveller_id": key}

    def get_traveller(self, traveller_id: str) -> dict[str, Any]:
        """Show credit, points, passport and open bookings.

        Args:
            traveller_id: Like P1234.
        """
        traveller = self._traveller("get_traveller", traveller_id)
        return {
            "credit": traveller.credit,
            "points": traveller.points,
            "passport": traveller.passport.model_dump() if traveller.passport else None,
            "bookings": [
                key
                for key, booking in self.state.bookings.items()
                if booking.traveller_id == traveller_id and booking.status != "cancelled"
            ],
        }

    def set_passport(self, traveller_id: str, passport: Passport) -> dict[str, Any]:
        """Put a passport on file.

        Args:
            traveller_id: Like P1234.
            passport: Passport.
        """
        traveller = self._traveller("set_passport", traveller_id)
        if not passport.number.isalnum():
            raise ToolError(f"set_passport: number must be letters and digits, got '{passport.number}'")
        expires = iso_date("set_passport", "expires", passport.expires)
        if expires <= self.state.today:
            raise ToolError(f"set_passport: the passport expired on {expires}, today is {self.state.today}")
        traveller.passport = passport
        return {"traveller_id": traveller_id, "passport": passport.number}

    def top_up(self, traveller_id: str, amount: Annotated[int, Field(ge=1, le=5000)]) -> dict[str, Any]:
        """Add prepaid credit.

        Args:
            traveller_id: Like P1234.
            amount: Euros.
        """
        traveller = self._traveller("top_up", traveller_id)
        traveller.credit += amount
        return {"credit": traveller.credit}

    def search_trips(self, origin: str, destination: str, date: str, mode: Mode) -> list[dict[str, Any]]:
        """List departures with fares and free seats.

        Args:
            origin: City.
            destination: City.
            date: YYYY-MM-DD.
            mode: Transport.
        """
        day = iso_date("search_trips", "date", date)
        return [
            {"trip_id": key} | trip.model_dump(include={"departs", "minutes", "fares", "seats"})
            for key, trip in self.state.trips.items()
            if (trip.date, trip.mode) == (day, mode)
            and alike(trip.origin, origin)
            and alike(trip.destination, destination)
        ]

    def hold_seats(
        self,
        trip_id: str,
        traveller_id: str,
        fare_class: FareClass = "standard",
        seats: Annotated[int, Field(ge=1, le=40)] = 1,
    ) -> dict[str, Any]:
        """Hold seats until paid. Ferries need a valid passport.

        Args:
            trip_id: Like T1234.
            traveller_id: Who books.
            fare_class: Class.
            seats: How many.
        """
        traveller = self._traveller("hold_seats", traveller_id)
        trip: Trip = known("hold_seats", "trip", self.state.trips, trip_id, "search_trips gives ids such as T1234")
        if trip.mode == "ferry" and (traveller.passport is None or traveller.passport.expires < trip.date):
            raise ToolError(f"hold_seats: {traveller_id} has no passport valid on {trip.date}, a ferry requires one")
        if trip.seats[fare_class] < seats:
            raise ToolError(f"hold_seats: {trip_id} has {trip.seats[fare_class]} {fare_class} seats left, not {seats}")
        booking = Booking(
            traveller_id=traveller_id,
            item=trip_id,
            fare_class=fare_class,
            seats=seats,
            total=trip.fares[fare_class] * seats,
        )
        held = self._hold("hold_seats", booking)
        trip.seats[fare_class] -= seats
        return held

    def find_hotels(self, city: str) -> list[dict[str, Any]]:
        """List hotels with price per night and free rooms.

        Args:
            city: City.
        """
        return [
            {"hotel_id": key} | hotel.model_dump(exclude={"city"})
            for key, hotel in self.state.hotels.items()
            if alike(hotel.city, city)
        ]

    def hold_room(
        self, hotel_id: str, traveller_id: str, check_in: str, nights: Annotated[int, Field(ge=1, le=30)]
    ) -> dict[str, Any]:
        """Hold a hotel room until paid.

        Args:
            hotel_id: Like H1234.
            traveller_id: Who books.
            check_in: YYYY-MM-DD.
            nights: How many.
        """
        self._traveller("hold_room", traveller_id)
        day = iso_date("hold_room", "check_in", check_in)
        hotel: Hotel = known("hold_room", "hotel", self.state.hotels, hotel_id, "find_hotels gives ids such as H1234")
        if day < self.state.today:
            raise ToolError(f"hold_room: {day} is past, today is {self.state.today}")
        if not hotel.rooms:
            raise ToolError(f"hold_room: {hotel.name} is full")
        total = hotel.price * nights
        booking = Booking(traveller_id=traveller_id, item=hotel_id, check_in=day, nights=nights, total=total)
        held = self._hold("hold_room", booking)
        hotel.rooms -= 1
        return held

    def get_booking(self, booking_id: str) -> dict[str, Any]:
        """Show a booking.

        Args:
            booking_id: Like B1234.
        """
        booking = self._booking("get_booking", booking_id)
        shown = booking.model_dump(include={"traveller_id", "status", "total"})
        if booking.fare_class is None:
            hotel = self.state.hotels[booking.item]
            return shown | {"hotel": hotel.name, "check_in": booking.check_in, "nights": booking.nights}
        trip = self.state.trips[booking.item].model_dump(include={"origin", "destination", "date"})
        return shown | trip | booking.model_dump(include={"fare_class", "seats", "extras"})

    def add_extras(self, booking_id: str, extras: list[Extra]) -> dict[str, Any]:
        """Add extras to a held trip booking.

        Args:
            booking_id: Like B1234.
            extras: What to add.
        """
        booking = self._booking("add_extras", booking_id)
        each_once("add_extras", "extras", extras)
        if booking.fare_class is None:
            raise ToolError(f"add_extras: {booking_id} is a hotel booking, extras go with trips")
        if booking.status != "held":
            raise ToolError(f"add_extras: {booking_id} is {booking.status}, only held bookings take extras")
        if again := [extra for extra in extras if extra in booking.extras]:
            raise ToolError(f"add_extras: {booking_id} already includes {', '.join(again)}")
        if self.state.trips[booking.item].mode == "coach" and not set(extras) <= set(ON_COACHES):
            raise ToolError(f"add_extras: coaches offer only {', '.join(ON_COACHES)}")
        booking.extras = [*booking.extras, *extras]
        booking.total += sum(PRICES[extra] for extra in extras)
        return {"extras": booking.extras, "total": booking.total}

    def pay_booking(self, booking_id: str, with_points: bool = False) -> dict[str, Any]:
        """Pay a held booking from the traveller's credit or points.

        Args:
            booking_id: Like B1234.
            with_points: Pay 10 points per euro.
        """
        booking = self._booking("pay_booking", booking_id)
        if booking.status != "held":
            raise ToolError(f"pay_booking: {booking_id} is already {booking.status}")
        traveller = self.state.travellers[booking.traveller_id]
        if with_points:
            due = booking.total * POINTS_PER_EURO
            if traveller.points < due:
                raise ToolError(f"pay_booking: {traveller.points} points are below the {due} needed")
            traveller.points -= due
        else:
            if traveller.credit < booking.total:
                raise ToolError(f"pay_booking: credit {traveller.credit} is below the total {booking.total}")
            traveller.credit -= booking.total
        booking.status = "paid"
        return {"status": "paid", "credit": traveller.credit, "points": traveller.points}

    def cancel_booking(self, booking_id: str) -> dict[str, Any]:
        """Cancel. Payments become credit, except saver fares.

        Args:
            booking_id: Like B1234.
        """
        booking = self._booking("cancel_booking", booking_id)
        if booking.status == "cancelled":
            raise ToolError(f"cancel_booking: {booking_id} is already cancelled")
        if booking.status == "paid" and booking.fare_class == "saver":
            raise ToolError(f"cancel_booking: {booking_id} is a paid saver fare, which cannot be cancelled")
        refund = booking.total if booking.status == "paid" else 0
        self.state.travellers[booking.traveller_id].credit += refund
        if booking.fare_class is None:
            self.state.hotels[booking.item].rooms += 1
        else:
            self.state.trips[booking.item].seats[booking.fare_class] += booking.seats
        booking.status = "cancelled"
        return {"cancelled": booking_id, "refund": refund}

    def _hold(self, tool: str, booking: Booking) -> dict[str, Any]:
        """Enters a booking, if its traveller may hold one more."""
        open_holds = [
            key
            for key, other in self.state.bookings.items()
            if (other.traveller_id, other.status) == (booking.traveller_id, "held")
        ]
        if len(open_holds) >= HOLDS:
            raise ToolError(f"{tool}: {booking.traveller_id} has {HOLDS} unpaid bookings ({', '.join(open_holds)})")
        key = self._new_id("B", "next_booking", self.state.bookings)
        self.state.bookings[key] = booking
        return {"booking_id": key, "total": booking.total}

    def _traveller(self, tool: str, key: str) -> Traveller:
        return known(tool, "traveller", self.state.travellers, key, "find_traveller gives ids such as P1234")

    def _booking(self, tool: str, key: str) -> Booking:
        return known(tool, "booking", self.state.bookings, key, "get_traveller gives ids such as B1234")
