"""Goals of somebody who plans meetings."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from fission_grpo.chat import ToolCall
from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.base import ToolError
from fission_grpo.domains.calendar_scheduling import CalendarScheduling, Event, Minutes

POOLS = {
    "titles": [
        "Budget Review", "Design Sync", "Hiring Panel", "Sales Kickoff", "Safety Drill", "Product Demo",
        "Risk Workshop", "Vendor Call", "Sprint Planning", "Board Briefing", "Press Interview", "Tax Consultation",
        "Data Audit",
        "Brand Update", "Customer Forum", "Office Move", "Payroll Check", "Patent Meeting", "Launch Rehearsal",
        "Yearly Appraisal", "Contract Talks", "Network Upgrade", "Ethics Training", "Market Outlook", "Quality Circle",
        "Photo Session", "Grant Proposal", "Archive Cleanup", "Roadmap Session", "Support Handover", "Pricing Debate",
        "Works Council", "Factory Tour", "Translation Review", "Energy Report", "Welcome Breakfast", "Beta Feedback",
        "Supplier Visit", "Legal Update", "Mentoring Hour", "Crisis Exercise", "Newsletter Draft", "Pension Advice",
        "Lab Inspection", "Podcast Recording", "Export Briefing", "Team Retrospective", "Fundraising Plan",
        "Privacy Seminar", "Website Relaunch", "Inventory Talk", "Fleet Decision",
    ],
    "rooms": [
        "Oak", "Maple", "Birch", "Cedar", "Willow", "Juniper", "Aspen", "Hazel", "Linden", "Rowan", "Larch", "Spruce",
        "Poplar", "Chestnut", "Alder", "Cypress", "Elm", "Laurel",
    ],
}  # fmt: skip


def _minute(time: str) -> int:
    return 60 * int(time[:2]) + int(time[3:])


def build(words: Words) -> CalendarScheduling:
    """A random calendar; own events are at least an hour apart."""
    apart: list[str] = []
    for time in words.times(12, "09:00", "15:30", 5):
        if not apart or _minute(time) >= _minute(apart[-1]) + 60:
            apart.append(time)
    invitations = 26 if words.large else 5
    titles = words.sample("titles", 9 + invitations)
    return CalendarScheduling.populate(
        words.rng,
        ids=words.ids,
        people=words.people(6),
        rooms=words.sample("rooms", 4),
        seats=words.rng.sample(range(2, 12), 4),
        own=titles[:9],
        invitations=titles[9:],
        dates=words.dates(9 if words.large else 4),
        times=apart,
        next_event=words.counter(),
    )


SCENARIO = Scenario(CalendarScheduling, build, POOLS, language=Path(__file__).with_suffix(".toml"), unseen=True)


def _works(calendar: CalendarScheduling, *calls: ToolCall) -> bool:
    """Whether the calls would be carried out one after the other."""
    copy = CalendarScheduling.restore(calendar.snapshot())
    try:
        for made in calls:
            copy.call(made)
    except ToolError:
        return False
    return True


def _own(calendar: CalendarScheduling) -> list[tuple[str, Event]]:
    return [(key, event) for key, event in calendar.state.events.items() if event.organizer is None]


def _pending(calendar: CalendarScheduling) -> dict[str, Event]:
    return {key: event for key, event in calendar.state.events.items() if event.answer == "pending"}


def _day(calendar: CalendarScheduling, date: str) -> dict[str, Event]:
    events = calendar.state.events.items()
    return {key: event for key, event in events if event.answer == "accepted" and event.slot.date == date}


def _names(events: dict[str, Event]) -> set[str]:
    """What listing these events makes known."""
    return {*events, *(event.title for event in events.values())}


def _day_shown(calendar: CalendarScheduling, date: str) -> set[str]:
    """What listing a day makes known."""
    return {date, *_names(_day(calendar, date))}


def _busy_days(calendar: CalendarScheduling) -> list[str]:
    return sorted({event.slot.date for event in calendar.state.events.values() if event.answer == "accepted"})


def _new_title(calendar: CalendarScheduling, words: Words) -> str:
    taken = {event.title for event in calendar.state.events.values()}
    return words.rng.choice([title for title in words.pools["titles"] if title not in taken])


def _reminder(words: Words) -> int:
    return words.number(25, 180, 5)


def _creation(words: Words, title: str, date: str, start: str, repeat: str | None = None) -> ToolCall:
    slot = {"date": date, "start": start, "minutes": words.rng.choice(get_args(Minutes))}
    return call("create_event", title=title, slot=slot, **({"repeat": repeat} if repeat else {}))


def _creation_values(words: Words, creation: ToolCall) -> dict[str, object]:
    slot = creation.arguments["slot"]
    return {
        "title": creation.arguments["title"],
        "date": words.say_date(slot["date"]),
        "start": words.say_time(slot["start"]),
        "minutes": slot["minutes"],
    }


@SCENARIO.pattern("call")
def day_plan(calendar: CalendarScheduling, words: Words) -> Goal | None:
    date = words.rng.choice(_busy_days(calendar))
    titles = [event.title for event in _day(calendar, date).values()]
    values = {"date": words.say_date(date), "titles": listing(titles)}
    return Goal(values, [[call("list_events", date=date)]], _day_shown(calendar, date))


@SCENARIO.pattern("call")
def add_event(calendar: CalendarScheduling, words: Words) -> Goal | None:
    title = _new_title(calendar, words)
    creation = _creation(words, title, words.dates(1)[0], words.times(1, "09:00", "15:00", 5)[0])
    if not _works(calendar, creation):
        return None
    return Goal(_creation_values(words, creation), [[creation]], {f"EV{calendar.state.next_event}"})


@SCENARIO.pattern("call", after="add_event")
def remind_new(calendar: CalendarScheduling, words: Words, past: Goal) -> Goal | None:
    title, before = past.values["title"], _reminder(words)
    event_id = next(key for key, event in calendar.state.events.items() if event.title == title)
    values = {"title": title, "before": before}
    return Goal(values, [[call("set_reminder", event_id=event_id, minutes=before)]])


@SCENARIO.pattern("call")
def recurring_event(calendar: CalendarScheduling, words: Words) -> Goal | None:
    title, repeat = _new_title(calendar, words), words.rng.choice(["daily", "weekly", "monthly"])
    creation = _creation(words, title, words.dates(1)[0], words.times(1, "09:00", "15:00", 5)[0], repeat)
    if not _works(calendar, creation):
        return None
    return Goal(
        _creation_values(words, creation) | {"repeat": repeat}, [[creation]], {f"EV{calendar.state.next_event}"}
    )


@SCENARIO.pattern("call")
def remind_by_id(calendar: CalendarScheduling, words: Words) -> Goal | None:
    before = _reminder(words)
    events = [key for key, event in calendar.state.events.items() if event.answer == "accepted"]
    event_id = words.rng.choice(events)
    if calendar.state.events[event_id].reminder is not None:
        return None
    values = {"event": event_id, "before": before}
    return Goal(values, [[call("set_reminder", event_id=event_id, minutes=before)]])


@SCENARIO.pattern("call", after="remind_by_id")
def same_reminder(calendar: CalendarScheduling, words: Words, past: Goal) -> Goal | None:
    before = past.values["before"]
    events = [
        key for key, event in calendar.state.events.items() if event.answer == "accepted" and event.reminder is None
    ]
    if not events:
        return None
    event_id = words.rng.choice(events)
    values = {"event": event_id, "before": before}
    return Goal(values, [[call("set_reminder", event_id=event_id, minutes=before)]])


@SCENARIO.pattern("call")
def shift_event(calendar: CalendarScheduling, words: Words) -> Goal | None:
    event_id, _ = words.rng.choice(_own(calendar))
    date, start = words.dates(1)[0], words.times(1, "09:00", "15:00", 5)[0]
    move = call("move_event", event_id=event_id, date=date, start=start)
    if not _works(calendar, move):
        return None
    return Goal({"event": event_id, "date": words.say_date(date), "start": words.say_time(start)}, [[move]])


@SCENARIO.pattern("call")
def answer_by_id(calendar: CalendarScheduling, words: Words) -> Goal | None:
    pending = list(_pending(calendar))
    if not pending:
        return None
    event_id, (verb, answer) = (
        words.rng.choice(pending),
        words.rng.choice([("accept", "accepted"), ("decline", "declined")]),
    )
    answered = call("answer_invitation", event_id=event_id, answer=answer)
    if not _works(calendar, answered):
        return None
    return Goal({"event": event_id, "verb": verb, "answer": answer}, [[answered]])


@SCENARIO.pattern("parallel")
def two_days(calendar: CalendarScheduling, words: Words) -> Goal | None:
    days = words.choose(_busy_days(calendar), 2)
    if len(days) < 2:
        return None
    first, second = days
    one, two = (listing([event.title for event in _day(calendar, date).values()]) for date in days)
    values = {"first": words.say_date(first), "second": words.say_date(second), "one": one, "two": two}
    shown = _day_shown(calendar, first) | _day_shown(calendar, second)
    return Goal(values, [[call("list_events", date=first), call("list_events", date=second)]], shown)


@SCENARIO.pattern("parallel")
def answer_two(calendar: CalendarScheduling, words: Words) -> Goal | None:
    pending = words.choose(list(_pending(calendar)), 2)
    if len(pending) < 2:
        return None
    yes, no = pending
    accepting = call("answer_invitation", event_id=yes, answer="accepted")
    if not _works(calendar, accepting):
        return None
    return Goal({"yes": yes, "no": no}, [[accepting, call("answer_invitation", event_id=no, answer="declined")]])


@SCENARIO.pattern("parallel")
def two_people(calendar: CalendarScheduling, words: Words) -> Goal | None:
    (first, one), (second, two) = words.choose(list(calendar.state.people.items()), 2)
    values = {
        "first": one.name,
        "second": two.name,
        "one": f"{one.hours.opens} to {one.hours.closes}",
        "two": f"{two.hours.opens} to {two.hours.closes}",
    }
    return Goal(values, [[call("find_person", name=one.name), call("find_person", name=two.name)]], {first, second})


@SCENARIO.pattern("chained")
def cancel_titled(calendar: CalendarScheduling, words: Words) -> Goal | None:
    event_id, event = words.rng.choice(_own(calendar))
    date = event.slot.date
    return Goal(
        {"title": event.title, "date": words.say_date(date)},
        [[call("list_events", date=date)], [call("cancel_event", event_id=event_id)]],
        _day_shown(calendar, date),
    )


@SCENARIO.pattern("chained")
def who_comes(calendar: CalendarScheduling, words: Words) -> Goal | None:
    attended = [(key, event) for key, event in _own(calendar) if event.attendees]
    if not attended:
        return None
    event_id, event = words.rng.choice(attended)
    date, people = event.slot.date, {key: calendar.state.people[key].name for key in event.attendees}
    answers = [f"{name} ({event.attendees[key]})" for key, name in people.items()]
    return Goal(
        {"title": event.title, "date": words.say_date(date), "answers": listing(answers)},
        [[call("list_events", date=date)], [call("get_event", event_id=event_id)]],
        {*_day_shown(calendar, date), *people, *people.values()},
    )


@SCENARIO.pattern("chained")
def invite_two(calendar: CalendarScheduling, words: Words) -> Goal | None:
    event_id, event = words.rng.choice(_own(calendar))
    date, people = event.slot.date, dict(words.choose(list(calendar.state.people.items()), 2))
    invitation = call("invite", event_id=event_id, person_ids=list(people))
    if not _works(calendar, invitation):
        return None
    first, second = (person.name for person in people.values())
    return Goal(
        {"title": event.title, "date": words.say_date(date), "first": first, "second": second},
        [
            [call("list_events", date=date), call("find_person", name=first), call("find_person", name=second)],
            [invitation],
        ],
        {*_day_shown(calendar, date), *people},
    )


@SCENARIO.pattern("chained")
def room_for_titled(calendar: CalendarScheduling, words: Words) -> Goal | None:
    event_id, event = words.rng.choice(_own(calendar))
    room_id, room = words.rng.choice(list(calendar.state.rooms.items()))
    date, booking = event.slot.date, call("book_room", event_id=event_id, room_id=room_id)
    if not _works(calendar, booking):
        return None
    return Goal(
        {"title": event.title, "date": words.say_date(date), "room": room.name, "seats": room.seats},
        [[call("list_events", date=date), call("find_room", name=room.name)], [booking]],
        {*_day_shown(calendar, date), room_id},
    )


@SCENARIO.pattern("chained")
def accept_titled(calendar: CalendarScheduling, words: Words) -> Goal | None:
    pending = _pending(calendar)
    if not pending:
        return None
    event_id, event = words.rng.choice(list(pending.items()))
    accepting = call("answer_invitation", event_id=event_id, answer="accepted")
    if not _works(calendar, accepting):
        return None
    values = {"title": event.title, "organizer": event.organizer}
    return Goal(values, [[call("list_invitations")], [accepting]], _names(pending))


@SCENARIO.pattern("parallel", after="accept_titled")
def decline_theirs(calendar: CalendarScheduling, words: Words, past: Goal) -> Goal | None:
    open_ids: dict[str, list[str]] = {}
    for key, event in _pending(calendar).items():
        open_ids.setdefault(str(event.organizer), []).append(key)
    several = sorted(
        organizer for organizer, ids in open_ids.items() if 2 <= len(ids) <= 4 and organizer != past.values["organizer"]
    )
    if not several:
        return None
    organizer = words.rng.choice(several)
    theirs = open_ids[organizer]
    declining = [call("answer_invitation", event_id=key, answer="declined") for key in theirs]
    return Goal({"organizer": organizer, "ids": listing(theirs)}, [declining])


@SCENARIO.pattern("chained")
def meeting_with(calendar: CalendarScheduling, words: Words) -> Goal | None:
    person_id, person = words.rng.choice(list(calendar.state.people.items()))
    creation = _creation(words, _new_title(calendar, words), words.dates(1)[0], words.times(1, "09:00", "15:00", 5)[0])
    event_id = f"EV{calendar.state.next_event}"
    invitation = call("invite", event_id=event_id, person_ids=[person_id])
    if not _works(calendar, creation, invitation):
        return None
    return Goal(
        _creation_values(words, creation) | {"person": person.name},
        [[creation, call("find_person", name=person.name)], [invitation]],
        {event_id, person_id},
    )


@SCENARIO.pattern("call", after="meeting_with")
def move_new(calendar: CalendarScheduling, words: Words, past: Goal) -> Goal | None:
    event_id = past.steps[-1][0].arguments["event_id"]
    date, start = words.dates(1)[0], words.times(1, "09:00", "15:00", 5)[0]
    slot, move = calendar.state.events[event_id].slot, call("move_event", event_id=event_id, date=date, start=start)
    if date == slot.date or start == slot.start or not _works(calendar, move):
        return None
    values = {"title": past.values["title"], "date": words.say_date(date), "start": words.say_time(start)}
    return Goal(values, [[move]])


@SCENARIO.pattern("precondition")
def clear_the_way(calendar: CalendarScheduling, words: Words) -> Goal | None:
    pending = _pending(calendar)
    if not pending:
        return None
    event_id, event = words.rng.choice(list(pending.items()))
    accepting, date = call("answer_invitation", event_id=event_id, answer="accepted"), event.slot.date
    own = [(key, other) for key, other in _own(calendar) if other.slot.date == date]
    if _works(calendar, accepting):
        return None
    for key, other in own:
        cancelling = call("cancel_event", event_id=key)
        if _works(calendar, cancelling, accepting):
            return Goal(
                {"title": event.title, "organizer": event.organizer, "other": other.title},
                [[call("list_invitations")], [call("list_events", date=date)], [cancelling], [accepting]],
                _names(pending) | _day_shown(calendar, date),
            )
    return None


@SCENARIO.pattern("precondition")
def accept_then_remind(calendar: CalendarScheduling, words: Words) -> Goal | None:
    pending, before = _pending(calendar), _reminder(words)
    if not pending:
        return None
    event_id, event = words.rng.choice(list(pending.items()))
    accepting = call("answer_invitation", event_id=event_id, answer="accepted")
    if not _works(calendar, accepting):
        return None
    return Goal(
        {"title": event.title, "before": before},
        [[call("list_invitations")], [accepting], [call("set_reminder", event_id=event_id, minutes=before)]],
        _names(pending),
    )


@SCENARIO.pattern("precondition")
def longer_hours(calendar: CalendarScheduling, words: Words) -> Goal | None:
    opens, start = words.times(2, "05:00", "07:55", 5)
    closes = words.times(1, "16:30", "20:00", 5)[0]
    creation = _creation(words, _new_title(calendar, words), words.dates(1)[0], start)
    hours = call("set_working_hours", opens=opens, closes=closes)
    if _works(calendar, creation) or not _works(calendar, hours, creation):
        return None
    return Goal(
        _creation_values(words, creation) | {"opens": words.say_time(opens), "closes": words.say_time(closes)},
        [[hours], [creation]],
        {f"EV{calendar.state.next_event}"},
    )


@SCENARIO.pattern("precondition")
def bigger_room(calendar: CalendarScheduling, words: Words) -> Goal | None:
    housed = [(key, event) for key, event in _own(calendar) if event.room_id is not None]
    if not housed:
        return None
    event_id, _ = words.rng.choice(housed)
    people = dict(words.choose(list(calendar.state.people.items()), 2))
    room_id, room = words.rng.choice(list(calendar.state.rooms.items()))
    booking = call("book_room", event_id=event_id, room_id=room_id)
    invitation = call("invite", event_id=event_id, person_ids=list(people))
    if _works(calendar, invitation) or not _works(calendar, booking, invitation):
        return None
    first, second = (person.name for person in people.values())
    lookups = [call("find_room", name=room.name), *(call("find_person", name=name) for name in (first, second))]
    return Goal(
        {"event": event_id, "first": first, "second": second, "room": room.name},
        [lookups, [booking], [invitation]],
        {*people, room_id},
    )
