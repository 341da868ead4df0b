"""Goal patterns of the messenger."""

from __future__ import annotations

from datetime import date as Date
from datetime import timedelta
from pathlib import Path

from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.messaging import MAX_ADMINS, MAX_PINS, Channel, Contact, Messaging

POOLS = {
    "channels": [
        "atrium", "paperclip", "night-shift", "roadmap", "bike-commute", "field-trials", "press-desk", "quarterly",
        "onboarding", "book-swap", "site-outages", "coffee-corner", "lab-orders", "interns", "pricing", "green-office",
        "hackweek", "legal-review", "photo-club", "rollout", "customer-voice", "standup", "archive-move", "run-club",
        "translations", "payroll-help", "north-branch", "data-room", "warehouse-floor", "show-and-tell", "budget",
        "pantry",
    ],
    "titles": [
        "data analyst", "office manager", "staff engineer", "copywriter", "recruiter", "lab technician",
        "product designer", "paralegal", "sales lead", "translator", "security officer", "accountant",
        "event planner", "research fellow", "network engineer", "head of support", "illustrator", "payroll clerk",
        "site manager", "press officer", "test engineer", "archivist", "procurement lead", "data steward",
        "workplace nurse", "logistics planner", "brand manager", "field technician",
    ],
    "subjects": [
        "The release checklist", "Our booth layout", "The vendor contract", "Tuesday's workshop", "The cafeteria menu",
        "Next month's roster", "The backup server", "Our onboarding guide", "The parking permit", "The annual survey",
        "Monday's client call", "The pilot study", "Our training budget", "The badge printer", "The spring newsletter",
        "The water cooler", "Our insurance renewal", "The login page", "The fire drill", "Friday's demo",
        "The shipping label", "Our press kit", "The audit report", "The coffee grinder", "The travel policy",
        "Wednesday's interview", "The staging cluster", "Our team photo", "The rooftop terrace", "The bug backlog",
        "Our holiday calendar", "The loading dock", "The keynote video", "Thursday's retrospective", "The spare laptop",
        "Our pricing table", "The visitor log", "The lift repair", "The grant proposal", "Our style guide",
    ],
    "predicates": [
        "is ready for review", "has been moved to next week", "still needs two volunteers", "was approved this morning",
        "looks better than expected", "will be discussed after lunch", "is on hold until further notice",
        "needs a final signature", "has a new owner", "is waiting for the finance team", "went live an hour ago",
        "needs to be redone", "is finished at last", "has been cancelled", "deserves a second look",
        "was handed over yesterday", "turned out cheaper", "is missing an attachment", "causes confusion again",
        "is open for comments",
    ],
    "files": [
        "floorplan.pdf", "signage.png", "minutes.docx", "ledger.xlsx", "trailer.mp4", "quote.pdf", "seating.csv",
        "poster.svg", "contract.docx", "telemetry.json", "logo.ai", "handout.pdf", "forecast.xlsx", "teaser.mov",
        "survey.csv", "wireframe.fig", "agenda.odt", "schematic.dwg", "jingle.wav", "receipt.jpg",
    ],
}  # fmt: skip


def build(words: Words) -> Messaging:
    """A workspace of the split's people and channels; its user sometimes sits within quiet hours."""
    people = words.people(7)
    posts = 15 + (words.rng.randint(23, 29) if words.large else 2)
    texts = words.choose([f"{s} {p}" for s in words.pools["subjects"] for p in words.pools["predicates"]], posts + 2)
    late = words.rng.random() < 0.3
    now = words.times(1, "22:00", "23:55", 5) if late else words.times(1, "08:30", "18:30", 5)
    titles = words.sample("titles", len(people))
    return Messaging.populate(
        words.rng,
        contacts={
            key: Contact(name=name, title=title)
            for key, name, title in zip(words.ids("U", len(people)), people, titles, strict=True)
        },
        channels=dict(zip(words.ids("C", 5), words.sample("channels", 5), strict=True)),
        messages=dict(zip(words.ids("M", posts), texts[2:], strict=True)),
        drafts=dict(zip(words.ids("D", 2), texts[:2], strict=True)),
        moments=(words.dates(1, days=240)[0], now[0]),
        quiet=(words.times(1, "19:00", "21:30", 5)[0], words.times(1, "05:00", "08:00", 5)[0]),
        counters=(words.counter(), words.counter()),
    )


SCENARIO = Scenario(Messaging, build, POOLS, language=Path(__file__).with_suffix(".toml"))


def _channels(messenger: Messaging, words: Words, led: bool = False) -> list[tuple[str, Channel]]:
    """All channels in random order; with `led` those that the user administers."""
    me, every = messenger.state.me, sorted(messenger.state.channels.items())
    found = [(key, room) for key, room in every if not led or room.members[me] == "admin"]
    return words.choose(found, len(found))


def _named(messenger: Messaging, name: str) -> tuple[str, Channel]:
    return next((key, room) for key, room in messenger.state.channels.items() if room.name == name)


def _people(messenger: Messaging, words: Words, count: int) -> list[tuple[str, Contact]]:
    """Colleagues, the user excepted."""
    others = [(key, contact) for key, contact in sorted(messenger.state.contacts.items()) if key != messenger.state.me]
    return words.choose(others, count)


def _draft_in(messenger: Messaging, channel_id: str) -> str | None:
    found = (key for key, draft in messenger.state.drafts.items() if draft.channel_id == channel_id and not draft.at)
    return next(found, None)


def _pins(messenger: Messaging, channel_id: str) -> list[str]:
    return [key for key, post in messenger.state.messages.items() if post.channel_id == channel_id and post.pinned]


def _admins(room: Channel) -> list[str]:
    return [key for key, role in room.members.items() if role == "admin"]


def _quiet_at(messenger: Messaging, time: str) -> bool:
    start, end = messenger.state.quiet.start, messenger.state.quiet.end
    return start <= time < end if start < end else time >= start or time < end


def _new_text(messenger: Messaging, words: Words) -> str:
    """A sentence that nobody has written yet."""
    known = {post.text for post in [*messenger.state.messages.values(), *messenger.state.drafts.values()]}
    while (text := f"{words.pick('subjects')} {words.pick('predicates')}") in known:
        pass
    return text


def _new_draft(messenger: Messaging) -> str:
    return f"D{messenger.state.next_draft}"


@SCENARIO.pattern("call")
def quiet_hours(messenger: Messaging, words: Words) -> Goal | None:
    start, end = *words.times(1, "18:00", "23:30", 5), *words.times(1, "05:00", "09:30", 5)
    if (start, end) == (messenger.state.quiet.start, messenger.state.quiet.end):
        return None
    steps = [[call("set_quiet_hours", hours={"start": start, "end": end})]]
    return Goal({"start": words.say_time(start), "end": words.say_time(end)}, steps)


@SCENARIO.pattern("call")
def who_is(messenger: Messaging, words: Words) -> Goal | None:
    _, contact = _people(messenger, words, 1)[0]
    return Goal({"name": contact.name, "title": contact.title}, [[call("find_contact", name=contact.name)]])


@SCENARIO.pattern("call")
def mute_known(messenger: Messaging, words: Words) -> Goal | None:
    key, room = _channels(messenger, words)[0]
    hours = words.number(2, 72)
    if room.muted == hours:
        return None
    return Goal({"channel_id": key, "hours": hours}, [[call("mute_channel", channel_id=key, hours=hours)]], {room.name})


@SCENARIO.pattern("parallel")
def two_contacts(messenger: Messaging, words: Words) -> Goal | None:
    (_, first), (_, second) = _people(messenger, words, 2)
    values = {"first": first.name, "second": second.name, "one": first.title, "other": second.title}
    return Goal(values, [[call("find_contact", name=first.name), call("find_contact", name=second.name)]])


@SCENARIO.pattern("parallel")
def evening_peace(messenger: Messaging, words: Words) -> Goal | None:
    key, room = _channels(messenger, words)[0]
    start, end = *words.times(1, "18:00", "23:30", 5), *words.times(1, "05:00", "09:30", 5)
    hours = words.number(2, 72)
    if room.muted == hours or (start, end) == (messenger.state.quiet.start, messenger.state.quiet.end):
        return None
    step = [
        call("set_quiet_hours", hours={"start": start, "end": end}),
        call("mute_channel", channel_id=key, hours=hours),
    ]
    values = {"start": words.say_time(start), "end": words.say_time(end), "channel_id": key, "hours": hours}
    return Goal(values, [step], {room.name})


@SCENARIO.pattern("chained")
def post_message(messenger: Messaging, words: Words) -> Goal | None:
    key, room = _channels(messenger, words)[0]
    if _draft_in(messenger, key) or _quiet_at(messenger, messenger.state.now):
        return None
    text = _new_text(messenger, words)
    steps = [
        [call("find_channel", name=room.name)],
        [call("write_draft", channel_id=key, text=text)],
        [call("send_draft", draft_id=_new_draft(messenger))],
    ]
    return Goal({"channel": room.name, "text": text}, steps, {key})


@SCENARIO.pattern("call", after="post_message")
def pin_that(messenger: Messaging, words: Words, past: Goal) -> Goal | None:
    key, room = _named(messenger, past.values["channel"])
    if room.members[messenger.state.me] != "admin" or len(_pins(messenger, key)) >= MAX_PINS:
        return None
    posted = f"M{messenger.state.next_message - 1}"
    return Goal({"message_id": posted}, [[call("pin_message", message_id=posted)]])


@SCENARIO.pattern("chained")
def invite(messenger: Messaging, words: Words) -> Goal | None:
    key, room = _channels(messenger, words, led=True)[0]
    user, contact = _people(messenger, words, 1)[0]
    role = words.rng.choice(["member", "guest"] if len(_admins(room)) >= MAX_ADMINS else ["member", "guest", "admin"])
    if user in room.members:
        return None
    given = {} if role == "member" else {"role": role}
    steps = [
        [call("find_channel", name=room.name), call("find_contact", name=contact.name)],
        [call("add_members", channel_id=key, user_ids=[user], **given)],
    ]
    return Goal({"channel": room.name, "name": contact.name, "role": role}, steps, {key})


@SCENARIO.pattern("call", after="invite")
def mute_that(messenger: Messaging, words: Words, past: Goal) -> Goal | None:
    key, room = _named(messenger, past.values["channel"])
    hours = words.number(2, 72)
    if room.muted == hours:
        return None
    return Goal({"hours": hours}, [[call("mute_channel", channel_id=key, hours=hours)]])


@SCENARIO.pattern("chained")
def reply_in_thread(messenger: Messaging, words: Words) -> Goal | None:
    key, room = _channels(messenger, words)[0]
    if _draft_in(messenger, key) or _quiet_at(messenger, messenger.state.now):
        return None
    posts = [item for item in messenger.state.messages.items() if item[1].channel_id == key]
    answered, post = words.rng.choice(posts)
    text, file, mb = _new_text(messenger, words), words.pick("files"), words.number(2, 25)
    steps = [
        [call("find_channel", name=room.name)],
        [call("list_messages", channel_id=key)],
        [call("write_draft", channel_id=key, text=text, reply_to=answered, files=[{"name": file, "mb": mb}])],
        [call("send_draft", draft_id=_new_draft(messenger))],
    ]
    return Goal({"channel": room.name, "quote": post.text, "text": text, "file": file, "mb": mb}, steps, {key})


@SCENARIO.pattern("chained")
def give_role(messenger: Messaging, words: Words) -> Goal | None:
    key, room = _channels(messenger, words, led=True)[0]
    user, contact = _people(messenger, words, 1)[0]
    role = words.rng.choice(["admin", "member", "guest"])
    held = room.members.get(user)
    if held in (None, role) or (role == "admin" and len(_admins(room)) >= MAX_ADMINS):
        return None
    steps = [
        [call("find_channel", name=room.name), call("find_contact", name=contact.name)],
        [call("set_role", channel_id=key, user_id=user, role=role)],
    ]
    return Goal({"channel": room.name, "name": contact.name, "role": role}, steps, {key})


@SCENARIO.pattern("precondition")
def clear_draft(messenger: Messaging, words: Words) -> Goal | None:
    key, room = _channels(messenger, words)[0]
    old = _draft_in(messenger, key)
    if not old or _quiet_at(messenger, messenger.state.now):
        return None
    text = _new_text(messenger, words)
    steps = [
        [call("find_channel", name=room.name)],
        [call("send_draft", draft_id=old)],
        [call("write_draft", channel_id=key, text=text)],
        [call("send_draft", draft_id=_new_draft(messenger))],
    ]
    return Goal({"channel": room.name, "text": text}, steps, {key, old})


@SCENARIO.pattern("precondition")
def schedule_past_quiet(messenger: Messaging, words: Words) -> Goal | None:
    key, room = _channels(messenger, words)[0]
    time, start = words.times(2, "19:30", "23:55", 5)
    end = words.times(1, "05:00", "09:30", 5)[0]
    if _draft_in(messenger, key) or not _quiet_at(messenger, time):
        return None
    tomorrow = Date.fromisoformat(messenger.state.today) + timedelta(days=1)
    date, text = words.dates(1, tomorrow.isoformat(), 60)[0], _new_text(messenger, words)
    steps = [
        [call("set_quiet_hours", hours={"start": start, "end": end}), call("find_channel", name=room.name)],
        [call("write_draft", channel_id=key, text=text)],
        [call("schedule_draft", draft_id=_new_draft(messenger), at={"date": date, "time": time})],
    ]
    clock = {name: words.say_time(value) for name, value in (("time", time), ("start", start), ("end", end))}
    return Goal({"channel": room.name, "text": text, "date": words.say_date(date)} | clock, steps, {key})


@SCENARIO.pattern("precondition")
def swap_pins(messenger: Messaging, words: Words) -> Goal | None:
    key, room = next(
        ((key, room) for key, room in _channels(messenger, words, led=True) if len(_pins(messenger, key)) == MAX_PINS),
        ("", None),
    )
    if room is None:
        return None
    posts = messenger.state.messages
    old = words.rng.choice(_pins(messenger, key))
    new = words.rng.choice([key_ for key_, post in posts.items() if post.channel_id == key and not post.pinned])
    steps = [
        [call("find_channel", name=room.name)],
        [call("list_messages", channel_id=key)],
        [call("pin_message", message_id=old, pinned=False)],
        [call("pin_message", message_id=new)],
    ]
    return Goal({"channel": room.name, "old": posts[old].text, "new": posts[new].text}, steps, {key, old, new})


@SCENARIO.pattern("call", test_only=True)
def roster(messenger: Messaging, words: Words) -> Goal | None:
    key, room = _channels(messenger, words)[0]
    roster = listing([f"{user} ({role})" for user, role in room.members.items()])
    values = {"channel_id": key, "count": len(room.members), "roster": roster}
    names = (messenger.state.contacts[user].name for user in room.members)
    return Goal(values, [[call("list_members", channel_id=key)]], {room.name, *names})


@SCENARIO.pattern("parallel", test_only=True, after="roster")
def clear_guests(messenger: Messaging, words: Words, past: Goal) -> Goal | None:
    key = past.values["channel_id"]
    members = messenger.state.channels[key].members
    guests = [user for user, role in members.items() if role == "guest"]
    if members[messenger.state.me] != "admin" or len(guests) < 2:
        return None
    step = [call("set_role", channel_id=key, user_id=user, role="removed") for user in guests]
    return Goal({"guests": listing(guests)}, [step])


@SCENARIO.pattern("parallel", test_only=True)
def mute_two(messenger: Messaging, words: Words) -> Goal | None:
    (first, one), (second, other) = _channels(messenger, words)[:2]
    long, short = words.numbers(2, 2, 72)
    if one.muted == long or other.muted == short:
        return None
    step = [
        call("mute_channel", channel_id=first, hours=long),
        call("mute_channel", channel_id=second, hours=short),
    ]
    return Goal({"first": first, "second": second, "long": long, "short": short}, [step], {one.name, other.name})


@SCENARIO.pattern("chained", test_only=True)
def copy_guests(messenger: Messaging, words: Words) -> Goal | None:
    names = {key: contact.name for key, contact in messenger.state.contacts.items()}
    for source, room in _channels(messenger, words):
        guests = [key for key, role in room.members.items() if role == "guest"]
        if sum(set(guests) <= set(other.members) for other in messenger.state.channels.values()) > 1:
            continue
        for target, other in _channels(messenger, words, led=True):
            if not guests or set(guests) & set(other.members):
                continue
            steps = [
                [call("find_channel", name=room.name), call("find_channel", name=other.name)],
                [call("list_members", channel_id=source)],
                [call("add_members", channel_id=target, user_ids=guests)],
            ]
            values = {"source": room.name, "target": other.name, "guests": listing(guests)}
            return Goal(values, steps, {source, target, *(names[key] for key in room.members)})
    return None


@SCENARIO.pattern("chained", test_only=True)
def promote_author(messenger: Messaging, words: Words) -> Goal | None:
    for key, room in _channels(messenger, words, led=True):
        pins = _pins(messenger, key)
        user = messenger.state.messages[pins[0]].sender if len(pins) == 1 else messenger.state.me
        if len(_admins(room)) < MAX_ADMINS and room.members.get(user) in ("member", "guest"):
            name = messenger.state.contacts[user].name
            steps = [
                [call("find_channel", name=room.name)],
                [call("list_messages", channel_id=key)],
                [call("find_contact", name=name)],
                [call("set_role", channel_id=key, user_id=user, role="admin")],
            ]
            return Goal({"channel": room.name, "name": name}, steps, {key})
    return None


@SCENARIO.pattern("precondition", test_only=True)
def admin_swap(messenger: Messaging, words: Words) -> Goal | None:
    for key, room in _channels(messenger, words, led=True):
        leaders = [user for user in _admins(room) if user != messenger.state.me]
        others = [user for user, role in room.members.items() if role != "admin"]
        if len(leaders) == MAX_ADMINS - 1 and others:
            old, new = words.rng.choice(leaders), words.rng.choice(others)
            names = {"old": messenger.state.contacts[old].name, "new": messenger.state.contacts[new].name}
            look = [call("find_contact", name=name) for name in names.values()]
            steps = [
                [call("find_channel", name=room.name), *look],
                [call("set_role", channel_id=key, user_id=old, role="member")],
                [call("set_role", channel_id=key, user_id=new, role="admin")],
            ]
            return Goal({"channel": room.name} | names, steps, {key})
    return None


@SCENARIO.pattern("precondition", test_only=True)
def late_draft(messenger: Messaging, words: Words) -> Goal | None:
    start, end = words.times(1, "01:00", "05:00", 5)[0], words.times(1, "06:00", "09:30", 5)[0]
    waiting = [(key, room, draft) for key, room in _channels(messenger, words) if (draft := _draft_in(messenger, key))]
    if not waiting or not _quiet_at(messenger, messenger.state.now):
        return None
    key, room, draft = waiting[0]
    steps = [
        [call("set_quiet_hours", hours={"start": start, "end": end}), call("find_channel", name=room.name)],
        [call("send_draft", draft_id=draft)],
    ]
    values = {"channel": room.name, "start": words.say_time(start), "end": words.say_time(end)}
    return Goal(values, steps, {key, draft})
