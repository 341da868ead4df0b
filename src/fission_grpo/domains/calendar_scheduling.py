"""A person's work calendar: events, invitations, attendees, meeting rooms, reminders."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import clock_time, each_once, filled, iso_date, known, named
from fission_grpo.domains.base import Argument, Domain, ToolError

Answer = Literal["accepted", "declined", "pending"]
Minutes = Literal[15, 30, 45, 60, 90]
Repeat = Literal["never", "daily", "weekly", "monthly"]


class Slot(Argument):
    """When an event takes place."""

    date: Annotated[str, Field(description="YYYY-MM-DD")]
    start: Annotated[str, Field(description="HH:MM")]
    minutes: Minutes


class Hours(BaseModel):
    """From when to when somebody works."""

    opens: str
    closes: str


class Person(BaseModel):
    """A colleague."""

    name: str
    hours: Hours


class Room(BaseModel):
    """A meeting room."""

    name: str
    seats: int


class Event(BaseModel):
    """An event on the calendar or an invitation to one."""

    title: str
    slot: Slot
    organizer: str | None = None
    """Who invited the owner; None: the owner's own event."""
    answer: Answer = "accepted"
    attendees: dict[str, Answer] = {}
    """Answers of the others, by person."""
    room_id: str | None = None
    reminder: int | None = None
    repeat: Repeat = "never"


class CalendarState(BaseModel):
    """The owner's calendar, the colleagues and the rooms, by id."""

    hours: Hours
    events: dict[str, Event]
    people: dict[str, Person]
    rooms: dict[str, Room]
    next_event: int


class CalendarScheduling(Domain):
    """The calendar, as its owner sees it."""

    name = "calendar_scheduling"
    State = CalendarState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random calendar with everyday names."""
        rng = random.Random(seed)  # noqa: S311
        return cls.populate(
            rng,
            ids=lambda prefix, count: [f"{prefix}{number}" for number in rng.sample(range(1000, 10000), count)],
            people=["Anna Weber", "Omar Haddad", "Lucy Chen", "Paul Novak"],
            rooms=["Oak", "Maple", "Birch"],
            seats=rng.sample(range(2, 20), 3),
            own=["Budget Review", "Design Sync", "Hiring Panel", "Team Lunch"],
            invitations=["Sales Kickoff", "Safety Drill", "Product Demo"],
            dates=["2026-03-02", "2026-03-09", "2026-04-01"],
            times=["09:00", "10:30", "13:15", "15:00"],
            next_event=rng.randrange(10000, 90000),
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        ids: Callable[[str, int], list[str]],
        people: Sequence[str],
        rooms: Sequence[str],
        seats: Sequence[int],
        own: Sequence[str],
        invitations: Sequence[str],
        dates: Sequence[str],
        times: Sequence[str],
        next_event: int,
    ) -> Self:
        """A random calendar of the given names and titles, own events apart from each other; `ids` by prefix."""
        colleagues = {
            key: Person(
                name=name, hours=Hours(opens=rng.choice(["07:00", "08:00"]), closes=f"{rng.randrange(15, 20)}:00")
            )
            for key, name in zip(ids("PE", len(people)), people, strict=True)
        }
        places = {
            key: Room(name=name, seats=count)
            for key, name, count in zip(ids("RM", len(rooms)), rooms, seats, strict=True)
        }
        apart = rng.sample([(date, time) for date in dates for time in times], len(own))
        titles, hosts = [*own, *invitations], people[: max(2, len(invitations) // 3)]
        events: dict[str, Event] = {}
        for key, title in zip(ids("EV", len(titles)), titles, strict=True):
            mine = len(events) < len(own)
            date, start = apart[len(events)] if mine else (rng.choice(dates), rng.choice(times))
            event = Event(title=title, slot=Slot(date=date, start=start, minutes=rng.choice([15, 30, 45, 60])))
            if not mine or rng.random() < 0.2:
                event.organizer = rng.choice(hosts)
            if not mine:
                event.answer = "pending"
            elif event.organizer is None:
                invited = rng.sample(list(colleagues), rng.randrange(3))
                event.attendees = {person: rng.choice(["accepted", "declined", "pending"]) for person in invited}
                if rng.random() < 0.4:
                    event.room_id = rng.choice([key for key, room in places.items() if room.seats > len(invited)])
            events[key] = event
        hours = Hours(opens=rng.choice(["08:00", "08:30", "09:00"]), closes=rng.choice(["16:30", "17:00", "18:00"]))
        return cls(CalendarState(hours=hours, events=events, people=colleagues, rooms=places, next_event=next_event))

    def list_events(self, date: str) -> list[dict[str, Any]]:
        """List the calendar's events of a day.

        Args:
            date: YYYY-MM-DD.
        """
        iso_date("list_events", "date", date)
        return [
            {"event_id": key, "title": event.title, "start": event.slot.start, "minutes": event.slot.minutes}
            for key, event in self.state.events.items()
            if event.answer == "accepted" and event.slot.date == date
        ]

    def get_event(self, event_id: str) -> dict[str, Any]:
        """Show an event's room, attendees, reminder and repetition.

        Args:
            event_id: Id such as EV1234.
        """
        event = self._event("get_event", event_id)
        attendees = [
            {"person_id": key, "name": self.state.people[key].name, "answer": answer}
            for key, answer in event.attendees.items()
        ]
        room = event.room_id and self.state.rooms[event.room_id].name
        return {"room": room, "attendees": attendees, "reminder": event.reminder, "repeat": event.repeat}

    def create_event(self, title: str, slot: Slot, repeat: Repeat = "never") -> dict[str, Any]:
        """Put an event on the calendar, within working hours.

        Args:
            title: Title.
            slot: When it takes place.
            repeat: How often it recurs.
        """
        filled("create_event", "title", title)
        self._check_free("create_event", slot)
        event_id = self._new_id("EV", "next_event", self.state.events)
        self.state.events[event_id] = Event(title=title, slot=slot, repeat=repeat)
        return {"event_id": event_id}

    def move_event(self, event_id: str, date: str, start: str) -> dict[str, Any]:
        """Move an own event; attendees answer anew.

        Args:
            event_id: Id such as EV1234.
            date: YYYY-MM-DD.
            start: HH:MM.
        """
        event = self._own("move_event", event_id)
        slot = Slot(date=date, start=start, minutes=event.slot.minutes)
        self._check_free("move_event", slot, event_id)
        for person_id in event.attendees:
            self._check_hours("move_event", person_id, slot)
        if event.room_id is not None:
            self._check_room("move_event", event.room_id, slot, event_id)
        event.slot = slot
        event.attendees = dict.fromkeys(event.attendees, "pending")
        return {"event_id": event_id, "date": date, "start": start}

    def cancel_event(self, event_id: str) -> dict[str, Any]:
        """Cancel an own event.

        Args:
            event_id: Id such as EV1234.
        """
        self._own("cancel_event", event_id)
        del self.state.events[event_id]
        return {"cancelled": event_id}

    def find_person(self, name: str) -> dict[str, Any]:
        """Look up a colleague's id and working hours.

        Args:
            name: Full name.
        """
        key, person = named("find_person", "colleague", self.state.people, name)
        return {"person_id": key, "hours": f"{person.hours.opens}-{person.hours.closes}"}

    def invite(self, event_id: str, person_ids: list[str]) -> dict[str, Any]:
        """Invite colleagues to an own event.

        Args:
            event_id: Id such as EV1234.
            person_ids: Ids from find_person.
        """
        event = self._own("invite", event_id)
        each_once("invite", "person_ids", person_ids)
        for person_id in person_ids:
            self._check_hours("invite", person_id, event.slot)
            if person_id in event.attendees:
                raise ToolError(f"invite: {person_id} is already invited to {event_id}")
        if event.room_id is not None:
            seats, needed = self.state.rooms[event.room_id].seats, 1 + len(event.attendees) + len(person_ids)
            if needed > seats:
                raise ToolError(f"invite: room {event.room_id} has {seats} seats, {event_id} would need {needed}")
        event.attendees |= dict.fromkeys(person_ids, "pending")
        return {"event_id": event_id, "attendees": len(event.attendees)}

    def find_room(self, name: str) -> dict[str, Any]:
        """Look up a meeting room's id and seats.

        Args:
            name: Name of the room.
        """
        names = ", ".join(room.name for room in self.state.rooms.values())
        key, room = named("find_room", "room", self.state.rooms, name, hint=f"rooms: {names}")
        return {"room_id": key, "seats": room.seats}

    def book_room(self, event_id: str, room_id: str) -> dict[str, Any]:
        """Book a room for an own event, replacing its present one.

        Args:
            event_id: Id such as EV1234.
            room_id: Id from find_room.
        """
        event = self._own("book_room", event_id)
        room = known("book_room", "room", self.state.rooms, room_id, "find_room gives ids such as RM1234")
        if event.room_id == room_id:
            raise ToolError(f"book_room: {event_id} already has room {room_id}")
        if room.seats < 1 + len(event.attendees):
            raise ToolError(f"book_room: {room_id} has {room.seats} seats, {event_id} needs {1 + len(event.attendees)}")
        self._check_room("book_room", room_id, event.slot)
        event.room_id = room_id
        return {"event_id": event_id, "room": room.name}

    def list_invitations(self) -> list[dict[str, Any]]:
        """List invitations that wait for an answer."""
        return [
            {"event_id": key, "title": event.title, **event.slot.model_dump(), "organizer": event.organizer}
            for key, event in self.state.events.items()
            if event.answer == "pending"
        ]

    def answer_invitation(self, event_id: str, answer: Literal["accepted", "declined"]) -> dict[str, Any]:
        """Accept or decline. Accepting needs a free calendar.

        Args:
            event_id: Id from list_invitations.
            answer: The answer.
        """
        event = self._event("answer_invitation", event_id)
        if event.organizer is None:
            raise ToolError(f"answer_invitation: {event_id} is an own event; cancel_event removes it")
        if event.answer == answer:
            raise ToolError(f"answer_invitation: {event_id} is already {answer}")
        if answer == "accepted":
            self._check_clash("answer_invitation", event.slot)
        event.answer = answer
        return {"event_id": event_id, "answer": answer}

    def set_reminder(self, event_id: str, minutes: Annotated[int, Field(ge=1, le=1440)]) -> dict[str, Any]:
        """Set the reminder of an event on the calendar.

        Args:
            event_id: Id such as EV1234.
            minutes: How long before.
        """
        event = self._event("set_reminder", event_id)
        if event.answer != "accepted":
            raise ToolError(f"set_reminder: the invitation {event_id} is {event.answer}, accept it first")
        event.reminder = minutes
        return {"event_id": event_id, "reminder": minutes}

    def set_working_hours(self, opens: str, closes: str) -> dict[str, Any]:
        """Set the owner's working hours.

        Args:
            opens: HH:MM.
            closes: HH:MM.
        """
        if clock_time("set_working_hours", "opens", opens) >= clock_time("set_working_hours", "closes", closes):
            raise ToolError(f"set_working_hours: opens {opens} must be before closes {closes}")
        self.state.hours = Hours(opens=opens, closes=closes)
        return {"opens": opens, "closes": closes}

    def _event(self, tool: str, key: str) -> Event:
        return known(tool, "event", self.state.events, key, "list_events gives ids such as EV1234")

    def _own(self, tool: str, event_id: str) -> Event:
        event = self._event(tool, event_id)
        if event.organizer is not None:
            raise ToolError(f"{tool}: {event_id} is organized by {event.organizer}")
        return event

    def _check_free(self, tool: str, slot: Slot, event_id: str | None = None) -> None:
        """The slot lies in the owner's working hours, and nothing but `event_id` is on the calendar then."""
        iso_date(tool, "date", slot.date)
        clock_time(tool, "start", slot.start)
        hours = self.state.hours
        if not _within(slot, hours):
            raise ToolError(f"{tool}: {slot.start} for {slot.minutes} minutes is not in {hours.opens}-{hours.closes}")
        self._check_clash(tool, slot, event_id)

    def _check_clash(self, tool: str, slot: Slot, event_id: str | None = None) -> None:
        for key, event in self.state.events.items():
            if key != event_id and event.answer == "accepted" and _overlap(event.slot, slot):
                raise ToolError(f"{tool}: {slot.date} {slot.start} clashes with {event.title} at {event.slot.start}")

    def _check_hours(self, tool: str, person_id: str, slot: Slot) -> None:
        person = known(tool, "person", self.state.people, person_id, "find_person gives ids such as PE1234")
        if not _within(slot, person.hours):
            raise ToolError(
                f"{tool}: {person_id} works {person.hours.opens}-{person.hours.closes}, not at {slot.start}"
            )

    def _check_room(self, tool: str, room_id: str, slot: Slot, event_id: str | None = None) -> None:
        """Nothing but `event_id` has the room then."""
        for key, event in self.state.events.items():
            if key != event_id and event.room_id == room_id and _overlap(event.slot, slot):
                raise ToolError(f"{tool}: room {room_id} is taken by {key} then")


def _minute(time: str) -> int:
    """The minute of the day."""
    return 60 * int(time[:2]) + int(time[3:])


def _within(slot: Slot, hours: Hours) -> bool:
    start = _minute(slot.start)
    return _minute(hours.opens) <= start and start + slot.minutes <= _minute(hours.closes)


def _overlap(one: Slot, two: Slot) -> bool:
    if one.date != two.date:
        return False
    first, second = _minute(one.start), _minute(two.start)
    return first < second + two.minutes and second < first + one.minutes
