"""Goal patterns of the fitness club."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.fitness import (
    ACTIVITIES,
    CLASSES,
    EQUIPMENT,
    FOCUSES,
    LEVELS,
    SPECIALTIES,
    Course,
    Fitness,
    Hour,
    Level,
    Plan,
)

POOLS = {
    "styles": [
        "Power", "Gentle", "Sunrise", "Express", "Advanced", "Slow", "Evening", "Total", "Intense", "Mindful",
        "Lunchtime", "Outdoor", "Cardio", "Classic", "Dynamic", "Candlelight", "Senior", "Starter", "Tabata", "Fusion",
        "Turbo", "Restorative", "Weekend", "Family",
    ],
    "formats": [
        "Yoga", "Spin", "Zumba", "Barre", "Bootcamp", "Step", "Aqua Fit", "Kickboxing", "Stretch", "Core", "Pump",
        "Rowing Crew", "Tai Chi", "Dance", "Circuit", "Trampoline", "Kettlebells", "Calisthenics", "Body Balance",
        "Capoeira", "Hula Hoop", "TRX", "Mobility Flow", "Jump Rope",
    ],
    "plans": [
        "Iron Start", "Long Run", "Loose Hips", "Lean Eight", "Heavy Duty", "Row On", "Free Flow", "Slow Burner",
        "Bear Strength", "Marathon Base", "Supple Spine", "Summer Shape", "Barbell Club", "Hill Climber", "Open Joints",
        "Light Feet", "Solid Core", "Second Wind", "Easy Reach", "Afterburn", "Titan", "Steady Pulse", "Deep Stretch",
        "Waistline", "Granite", "Tempo Builder", "Cat and Cow", "Calorie Crush", "Anvil", "Endless Mile",
        "Limber Limbs", "Trim Track", "Oak Tree", "Engine Room", "Silk Road", "Feather", "Deadlift Diary", "Big Lungs",
        "Morning Bend", "Melt",
    ],
}  # fmt: skip


def build(words: Words) -> Fitness:
    """A random club of the split's classes, plans and people."""
    people, classes = (8, 32) if words.large else (7, 9)
    titles = [f"{style} {form}" for style, form in product(words.pools["styles"], words.pools["formats"])]
    times = words.times(classes + 5, "05:30", "22:30", 5)
    words.rng.shuffle(times)
    return Fitness.populate(
        words.rng,
        names=words.people(people),
        titles=words.choose(titles, classes),
        plans=words.sample("plans", 8),
        keys=words.numbers(people + classes + 26, 1000, 9999),
        dates=words.dates(4, days=200),
        times=times,
    )


SCENARIO = Scenario(Fitness, build, POOLS, language=Path(__file__).with_suffix(".toml"))


def _open_to(club: Fitness, class_id: str, member_id: str, level: Level | None = None, left: str = "") -> bool:
    """Whether the member may book the class, once at `level` (the present one if none) and out of the class `left`."""
    course, member = club.state.classes[class_id], club.state.members[member_id]
    level = level or member.level
    booked = [key for key in _booked(club, member_id) if key != left]
    taken: list[Course | Hour] = [*(club.state.classes[key] for key in booked), *member.trainings]
    return (
        member_id not in course.members
        and LEVELS.index(level) >= LEVELS.index(course.level)
        and course.spots > 0
        and len(booked) < CLASSES[level]
        and all((entry.date, entry.time) != (course.date, course.time) for entry in taken)
    )


def _booked(club: Fitness, member_id: str) -> list[str]:
    return [key for key, course in club.state.classes.items() if member_id in course.members]


def _shared(club: Fitness, member_id: str) -> bool:
    """Whether another member is in all of the member's classes."""
    mine = set(_booked(club, member_id))
    return any(mine <= set(_booked(club, key)) for key in club.state.members if key != member_id)


def _full(club: Fitness, member_id: str) -> bool:
    """Whether the member has as many classes as the level allows."""
    return len(_booked(club, member_id)) >= CLASSES[club.state.members[member_id].level]


def _may_follow(club: Fitness, member_id: str, plan_id: str, inducted: bool = False) -> bool:
    """Whether the plan can be assigned; `inducted`: once the member knows all its equipment."""
    plan, member = club.state.plans[plan_id], club.state.members[member_id]
    known = inducted or set(plan.equipment) <= set(member.inductions)
    return known and member.plan_id != plan_id and LEVELS.index(member.level) >= LEVELS.index(plan.level)


def _minutes(club: Fitness, member_id: str) -> int:
    return sum(session.minutes for session in club.state.members[member_id].sessions)


def _spoken(names: Any) -> str:
    return listing([name.replace("_", " ") for name in names])


def _hours(club: Fitness, specialty: str, date: str) -> dict[str, Hour]:
    """Free hours by id."""
    return {
        key: hour
        for trainer in club.state.trainers.values()
        if trainer.specialty == specialty
        for key, hour in trainer.free.items()
        if hour.date == date
    }


def _at(course: Course) -> dict[str, str]:
    """A class as replies name it."""
    return {"title": course.title, "date": course.date, "time": course.time}


def _record(club: Fitness, *members: str) -> set[str]:
    """What the records of members make known."""
    plans = {plan for key in members if (plan := club.state.members[key].plan_id)}
    return plans.union(*(_booked(club, key) for key in members))


@SCENARIO.pattern("call")
def log_training(club: Fitness, words: Words) -> Goal:
    return _logged(
        club, words.rng.choice(list(club.state.members)), words.rng.choice(ACTIVITIES), words.number(10, 180)
    )


def _logged(club: Fitness, member: str, activity: str, minutes: int) -> Goal:
    log = call("log_session", member_id=member, activity=activity, minutes=minutes)
    values = {"member": member, "activity": activity, "minutes": minutes, "sum": _minutes(club, member) + minutes}
    return Goal(values, [[log]])


@SCENARIO.pattern("call", after="log_training")
def log_again(club: Fitness, words: Words, past: Goal) -> Goal:
    other = words.rng.choice([key for key in club.state.members if key != past.values["member"]])
    return _logged(club, other, past.values["activity"], past.values["minutes"])


@SCENARIO.pattern("call")
def classes_on_day(club: Fitness, words: Words) -> Goal:
    date = words.rng.choice(sorted({course.date for course in club.state.classes.values()}))
    found = {key: course for key, course in club.state.classes.items() if course.date == date}
    *_, last = sorted(found.values(), key=lambda course: course.time)
    first = min(found.values(), key=lambda course: course.time)
    values = {"date": words.say_date(date), "first": first.title, "early": first.time}
    shown = {date, *found, *(course.title for course in found.values())}
    return Goal(values | {"last": last.title, "late": last.time}, [[call("list_classes", date=date)]], shown)


@SCENARIO.pattern("call")
def goal_set(club: Fitness, words: Words) -> Goal:
    member, [by] = words.rng.choice(list(club.state.members)), words.dates(1, "2026-08-01", 500)
    metric, value = words.rng.choice(
        [
            ("weekly_km", words.number(5, 90)),
            ("weekly_minutes", words.number(60, 600, 5)),
            ("body_weight", words.number(52, 110)),
        ]
    )
    step = [call("set_goal", member_id=member, goal={"metric": metric, "value": value, "by": by})]
    said = metric.replace("_", " ")
    aim = f"a {said} of {value}" if metric == "body_weight" else f"{value} {said}"
    return Goal({"member": member, "metric": said, "value": value, "aim": aim, "date": words.say_date(by)}, [step])


@SCENARIO.pattern("call")
def class_known(club: Fitness, words: Words) -> Goal | None:
    key, member = words.rng.choice(list(club.state.classes)), words.rng.choice(list(club.state.members))
    if not _open_to(club, key, member):
        return None
    values = {"class_id": key, "member": member} | _at(club.state.classes[key])
    return Goal(values, [[call("book_class", class_id=key, member_id=member)]])


@SCENARIO.pattern("call", after="class_known")
def leave_that(club: Fitness, words: Words, past: Goal) -> Goal | None:
    key, member = past.values["class_id"], past.values["member"]
    if member not in club.state.classes[key].members:
        return None
    values = {"class_id": key, "member": member, "title": past.values["title"]}
    return Goal(values, [[call("leave_class", class_id=key, member_id=member)]])


@SCENARIO.pattern("call", test_only=True)
def level_up(club: Fitness, words: Words) -> Goal | None:
    member, level = words.rng.choice(list(club.state.members)), words.rng.choice(LEVELS)
    if level == club.state.members[member].level or len(_booked(club, member)) > CLASSES[level]:
        return None
    return Goal({"member": member, "level": level}, [[call("set_level", member_id=member, level=level)]])


@SCENARIO.pattern("parallel")
def two_records(club: Fitness, words: Words) -> Goal | None:
    first, second = words.choose(list(club.state.members), 2)
    one, two = _minutes(club, first), _minutes(club, second)
    if one == two:
        return None
    values = {"first": first, "second": second, "one": one, "two": two, "winner": first if one > two else second}
    step = [call("get_member", member_id=first), call("get_member", member_id=second)]
    return Goal(values, [step], _record(club, first, second))


@SCENARIO.pattern("parallel")
def session_and_induction(club: Fitness, words: Words) -> Goal | None:
    first, second = words.choose(list(club.state.members), 2)
    lacking = [item for item in EQUIPMENT if item not in club.state.members[second].inductions]
    shown = words.choose(lacking, words.rng.choice([1, 2]))
    if not shown:
        return None
    logged = _logged(club, first, words.rng.choice(ACTIVITIES), words.number(10, 180))
    step = [*logged.steps[0], call("record_induction", member_id=second, equipment=shown)]
    return Goal(logged.values | {"other": second, "equipment": _spoken(shown)}, [step])


@SCENARIO.pattern("parallel", test_only=True)
def leave_and_log(club: Fitness, words: Words) -> Goal | None:
    first, second = words.choose(list(club.state.members), 2)
    left = words.choose(_booked(club, first), 1)
    if not left:
        return None
    activity, minutes, km = (
        words.rng.choice(["running", "rowing", "cycling"]),
        words.number(90, 180),
        words.number(4, 24),
    )
    step = [
        call("leave_class", class_id=left[0], member_id=first),
        call("log_session", member_id=second, activity=activity, minutes=minutes, km=km),
    ]
    values = {"member": first, "class_id": left[0], "title": club.state.classes[left[0]].title, "other": second}
    values |= {"activity": activity, "minutes": minutes, "km": km, "sum": _minutes(club, second) + minutes}
    return Goal(values, [step])


@SCENARIO.pattern("chained")
def class_by_name(club: Fitness, words: Words) -> Goal | None:
    (key, course), member = (
        words.rng.choice(list(club.state.classes.items())),
        words.rng.choice(list(club.state.members)),
    )
    if not _open_to(club, key, member):
        return None
    name = club.state.members[member].name
    steps = [
        [call("find_member", name=name), call("list_classes", date=course.date)],
        [call("book_class", class_id=key, member_id=member)],
    ]
    shown = {other for other, known in club.state.classes.items() if known.date == course.date}
    values = _at(course) | {"name": name, "date": words.say_date(course.date)}
    return Goal(values, steps, {member, course.date, *shown})


@SCENARIO.pattern("chained")
def training_slot(club: Fitness, words: Words) -> Goal | None:
    premium = [key for key, member in club.state.members.items() if member.level == "premium"]
    booking = _training(club, words, words.rng.choice(premium)) if premium else None
    if booking is None:
        return None
    values, look, book = booking
    name = club.state.members[values["member"]].name
    steps = [[call("find_member", name=name), look], [book]]
    return Goal(values | {"name": name}, steps, {*values["hours"].split(), values["member"]})


def _training(club: Fitness, words: Words, member: str) -> tuple[dict[str, Any], Any, Any] | None:
    """What is said of a trainer's hour for a member, the look-up and the booking."""
    specialty, wish = words.rng.choice(SPECIALTIES), words.rng.choice(["earliest", "latest"])
    days = {hour.date for trainer in club.state.trainers.values() for hour in trainer.free.values()}
    date = words.rng.choice(sorted(days))
    hours = _hours(club, specialty, date)
    if len(hours) < 2:
        return None
    key = sorted(hours, key=lambda key: hours[key].time)[0 if wish == "earliest" else -1]
    entries = [*(club.state.classes[one] for one in _booked(club, member)), *club.state.members[member].trainings]
    if any((entry.date, entry.time) == (date, hours[key].time) for entry in entries):
        return None
    values = {"member": member, "specialty": specialty, "date": words.say_date(date), "wish": wish}
    values |= {"time": hours[key].time, "hours": " ".join(hours)}
    look = call("trainer_hours", specialty=specialty, date=date)
    return values, look, call("book_training", member_id=member, hour_id=key)


@SCENARIO.pattern("chained")
def plan_by_length(club: Fitness, words: Words) -> Goal | None:
    focus, wish = words.rng.choice(FOCUSES), words.rng.choice(["shortest", "longest"])
    plans = {key: plan for key, plan in club.state.plans.items() if plan.focus == focus}
    key = sorted(plans, key=lambda key: plans[key].weeks)[0 if wish == "shortest" else -1]
    fit = [member for member in club.state.members if _may_follow(club, member, key)]
    if not fit:
        return None
    member = words.rng.choice(fit)
    steps = [[call("find_plans", focus=focus)], [call("assign_plan", member_id=member, plan_id=key)]]
    values = {"member": member, "focus": focus.replace("_", " "), "wish": wish, "plan": key}
    return Goal(values | {"title": plans[key].name, "weeks": plans[key].weeks}, steps, _named(plans))


def _named(plans: dict[str, Plan]) -> set[str]:
    return set(plans) | {plan.name for plan in plans.values()} | {plan.focus for plan in plans.values()}


@SCENARIO.pattern("chained", test_only=True)
def copy_plan(club: Fitness, words: Words) -> Goal | None:
    model, member = words.choose(list(club.state.members), 2)
    plan, name = club.state.members[model].plan_id, club.state.members[model].name
    followers = [key for key, other in club.state.members.items() if other.plan_id == plan]
    if plan is None or len(followers) > 1 or not _may_follow(club, member, plan):
        return None
    steps = [
        [call("find_member", name=name)],
        [call("get_member", member_id=model)],
        [call("assign_plan", member_id=member, plan_id=plan)],
    ]
    values = {"name": name, "member": member, "plan": plan, "title": club.state.plans[plan].name}
    return Goal(values, steps, {model, *_record(club, model)})


@SCENARIO.pattern("call", test_only=True, after="copy_plan")
def same_plan(club: Fitness, words: Words, past: Goal) -> Goal | None:
    key = past.values["plan"]
    fit = [member for member in club.state.members if _may_follow(club, member, key)]
    if not fit:
        return None
    member = words.rng.choice(fit)
    values = {"member": member, "title": past.values["title"]}
    return Goal(values, [[call("assign_plan", member_id=member, plan_id=key)]])


@SCENARIO.pattern("chained", test_only=True)
def join_classes(club: Fitness, words: Words) -> Goal | None:
    model, member = words.choose(list(club.state.members), 2)
    classes = _booked(club, model)
    room = CLASSES[club.state.members[member].level] - len(_booked(club, member))
    if not 0 < len(classes) <= room or _shared(club, model) or not all(_open_to(club, key, member) for key in classes):
        return None
    steps = [
        [call("get_member", member_id=model)],
        [call("book_class", class_id=key, member_id=member) for key in classes],
    ]
    titles = listing([club.state.classes[key].title for key in classes])
    return Goal({"model": model, "member": member, "titles": titles}, steps, _record(club, model))


@SCENARIO.pattern("precondition")
def upgrade_then_class(club: Fitness, words: Words) -> Goal | None:
    key, member = words.rng.choice(list(club.state.classes)), words.rng.choice(list(club.state.members))
    level = words.rng.choice(LEVELS[1:])
    if (
        club.state.members[member].level != "basic"
        or club.state.classes[key].level == "basic"
        or _open_to(club, key, member)
        or not _open_to(club, key, member, level)
    ):
        return None
    steps = [
        [call("set_level", member_id=member, level=level)],
        [call("book_class", class_id=key, member_id=member)],
    ]
    values = {"member": member, "class_id": key, "level": level} | _at(club.state.classes[key])
    return Goal(values, steps)


@SCENARIO.pattern("precondition")
def swap_class(club: Fitness, words: Words) -> Goal | None:
    full = [key for key in club.state.members if _full(club, key)]
    member = words.rng.choice(full) if full else ""
    old, new = words.choose(_booked(club, member), 1), words.rng.choice(list(club.state.classes))
    if not old or not _open_to(club, new, member, left=old[0]):
        return None
    steps = [
        [call("leave_class", class_id=old[0], member_id=member)],
        [call("book_class", class_id=new, member_id=member)],
    ]
    values = {"member": member, "old": old[0], "new": new} | _at(club.state.classes[new])
    return Goal(values, steps)


@SCENARIO.pattern("precondition")
def induction_first(club: Fitness, words: Words) -> Goal | None:
    offers = [
        (member, key)
        for member, known in club.state.members.items()
        for key, plan in club.state.plans.items()
        if plan.equipment and not set(plan.equipment) & set(known.inductions) and _may_follow(club, member, key, True)
    ]
    if not offers:
        return None
    # the more equipment, the less likely that the dialogue has named all of it
    most = max(len(club.state.plans[key].equipment) for _, key in offers)
    member, key = words.rng.choice([offer for offer in offers if len(club.state.plans[offer[1]].equipment) == most])
    plan = club.state.plans[key]
    steps = [
        [call("find_plans", focus=plan.focus)],
        [call("record_induction", member_id=member, equipment=list(plan.equipment))],
        [call("assign_plan", member_id=member, plan_id=key)],
    ]
    values = {"member": member, "plan": plan.name, "focus": plan.focus.replace("_", " "), "weeks": plan.weeks}
    others = {other: known for other, known in club.state.plans.items() if known.focus == plan.focus}
    return Goal(values | {"equipment": _spoken(plan.equipment)}, steps, _named(others))


@SCENARIO.pattern("precondition", test_only=True)
def upgrade_for_training(club: Fitness, words: Words) -> Goal | None:
    others = [key for key, member in club.state.members.items() if member.level != "premium"]
    booking = _training(club, words, words.rng.choice(others)) if others else None
    if booking is None:
        return None
    values, look, book = booking
    steps = [[call("set_level", member_id=values["member"], level="premium"), look], [book]]
    return Goal(values, steps, set(values["hours"].split()))


@SCENARIO.pattern("precondition", test_only=True)
def clear_for_new(club: Fitness, words: Words) -> Goal | None:
    full = [key for key in club.state.members if _full(club, key)]
    member = words.rng.choice(full) if full else ""
    booked, new = _booked(club, member), words.rng.choice(list(club.state.classes))
    course = club.state.classes[new]
    if not booked or _shared(club, member) or new in booked or not course.spots:
        return None
    if LEVELS.index(club.state.members[member].level) < LEVELS.index(course.level):
        return None
    if any((hour.date, hour.time) == (course.date, course.time) for hour in club.state.members[member].trainings):
        return None
    name = club.state.members[member].name
    steps = [
        [call("find_member", name=name)],
        [call("get_member", member_id=member)],
        [call("leave_class", class_id=key, member_id=member) for key in booked],
        [call("book_class", class_id=new, member_id=member)],
    ]
    titles = listing([club.state.classes[key].title for key in booked])
    values = {"name": name, "class_id": new, "titles": titles} | _at(course)
    return Goal(values, steps, {member, *_record(club, member)})
