"""Goal patterns of the registrar's desk."""

from __future__ import annotations

from pathlib import Path

from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.course_registration import DAYS, METHODS, CourseRegistration

POOLS = {
    "titles": [
        "Linear Algebra", "World History", "Genetics", "Microeconomics", "Organic Chemistry", "Modern Poetry",
        "Thermodynamics", "Social Psychology", "Data Structures", "Art of the Renaissance", "Marine Biology", "Ethics",
        "Signal Processing", "Film Studies", "Plant Physiology", "International Law", "Probability Theory",
        "African Literature", "Fluid Mechanics", "Sociology of Work", "Computer Networks", "Music Theory", "Immunology",
        "Urban Planning", "Quantum Physics", "Medieval Latin", "Soil Science", "Game Theory", "Compiler Design",
        "Theatre Practice", "Neuroanatomy", "Public Finance",
    ],
    "institutions": [
        "Northfield College", "Lakeside University", "Harbour Institute", "Brookdale Academy", "Eastgate University",
        "Pinecrest College", "Riverside Polytechnic", "Summit State", "Oakmont College", "Stonebridge University",
        "Westhaven Institute", "Marlow College", "Kingsport University", "Ashford Academy", "Glenview Polytechnic",
        "Redwood State", "Fairmont College", "Silverlake University", "Hillcrest Institute", "Bayview College",
        "Cedar Falls University", "Dunmore College", "Elmhurst Institute", "Foxglove Academy",
    ],
}  # fmt: skip


def build(words: Words) -> CourseRegistration:
    """A random desk with the split's courses and people; a large one offers each course at many hours."""
    people, titles = words.people(8), words.sample("titles", 3 if words.large else 5)
    return CourseRegistration.populate(
        words.rng,
        names=people[2:],
        advisors=people[:2],
        titles=titles,
        ids=words.ids("", 90),
        dates=words.dates(6, days=180),
        times=words.times(5, closes="18:00"),
        amounts=words.numbers(12, 120, 990, 5),
        counters=[words.counter()],
        per_course=20 if words.large else 3,
    )


SCENARIO = Scenario(CourseRegistration, build, POOLS, language=Path(__file__).with_suffix(".toml"))


def _pair(desk: CourseRegistration, words: Words, obstacles: set[str]) -> tuple[str, str] | None:
    """A student and a section between whom just these obstacles stand."""
    state = desk.state
    pairs = [
        (student, section)
        for student in state.students
        for section in state.sections
        if state.obstacles(student, section).keys() == obstacles
    ]
    return words.rng.choice(pairs) if pairs else None


def _enrolled(desk: CourseRegistration, words: Words, late: bool) -> tuple[str, str] | None:
    """A student and a section to drop, before or after its deadline."""
    state = desk.state
    pairs = [
        (key, section)
        for key, student in state.students.items()
        for section in student.enrolled
        if (state.sections[section].drop_by < state.today) == late
    ]
    return words.rng.choice(pairs) if pairs else None


def _spoken(value: str) -> str:
    return value.replace("_", " ")


@SCENARIO.pattern("call")
def enroll_by_id(desk: CourseRegistration, words: Words) -> Goal | None:
    if (pair := _pair(desk, words, set())) is None:
        return None
    student, section = pair
    course = desk.state.courses[desk.state.sections[section].course]
    values = {"student": student, "section": section, "fee": course.fee}
    return Goal(values, [[call("enroll", student_id=student, section_id=section)]])


@SCENARIO.pattern("call")
def pay_part(desk: CourseRegistration, words: Words) -> Goal | None:
    amount, method = words.number(20, 115), words.rng.choice(METHODS)
    owing = [key for key, student in desk.state.students.items() if student.balance > amount]
    if not owing:
        return None
    student = words.rng.choice(owing)
    left = desk.state.students[student].balance - amount
    values = {"student": student, "amount": amount, "method": _spoken(method), "left": left}
    return Goal(values, [[call("pay_fees", student_id=student, payment={"amount": amount, "method": method})]])


@SCENARIO.pattern("call")
def move_deadline(desk: CourseRegistration, words: Words) -> Goal | None:
    section, date = words.rng.choice(list(desk.state.sections)), words.dates(1, first=desk.state.today, days=90)[0]
    if desk.state.sections[section].drop_by == date:
        return None
    values = {"section": section, "date": words.say_date(date)}
    return Goal(values, [[call("set_drop_deadline", section_id=section, date=date)]])


@SCENARIO.pattern("call")
def show_record(desk: CourseRegistration, words: Words) -> Goal | None:
    key, student = words.rng.choice(list(desk.state.students.items()))
    holds = listing(student.holds) if student.holds else "none"
    titles = desk.state.titles(desk.state.sections[section].course for section in student.enrolled)
    enrolled = f"{len(titles)} ({listing(titles)})" if titles else "none"
    values = {"student": key, "balance": student.balance, "holds": holds, "enrolled": enrolled}
    return Goal(values, [[call("get_student", student_id=key)]], shown=set(student.enrolled))


@SCENARIO.pattern("parallel")
def clear_two_holds(desk: CourseRegistration, words: Words) -> Goal | None:
    held = [
        (key, hold)
        for key, student in desk.state.students.items()
        for hold in student.holds
        if hold != "financial" or student.balance <= 0
    ]
    if len(held) < 2:
        return None
    (first, one), (second, other) = words.choose(held, 2)
    values = {"first": first, "one": one, "second": second, "other": other}
    return Goal(
        values, [[call("clear_hold", student_id=key, hold=hold) for key, hold in ((first, one), (second, other))]]
    )


@SCENARIO.pattern("parallel")
def compare_courses(desk: CourseRegistration, words: Words) -> Goal | None:
    first, second = words.choose(list(desk.state.courses.values()), 2)
    values = {
        "first": first.title, "first_fee": first.fee, "first_credits": first.credits,
        "second": second.title, "second_fee": second.fee, "second_credits": second.credits,
    }  # fmt: skip
    step = [call("find_course", title=first.title), call("find_course", title=second.title)]
    return Goal(values, [step], shown=set(desk.state.titles(first.prerequisites + second.prerequisites)))


@SCENARIO.pattern("chained")
def sections_of(desk: CourseRegistration, words: Words) -> Goal | None:
    key, course = words.rng.choice(list(desk.state.courses.items()))
    offered = {name: section for name, section in desk.state.sections.items() if section.course == key}
    vacant = sum(section.seats > 0 for section in offered.values())
    days = [day for day in DAYS if day in {section.day for section in offered.values()}]
    values = {
        "title": course.title,
        "count": len(offered),
        "vacant": vacant,
        "days": listing([day.title() for day in days]),
    }
    steps = [[call("find_course", title=course.title)], [call("list_sections", course_id=key)]]
    return Goal(values, steps, shown={key, *offered, *desk.state.titles(course.prerequisites)})


@SCENARIO.pattern("chained")
def enroll_on_day(desk: CourseRegistration, words: Words) -> Goal | None:
    if (pair := _pair(desk, words, set())) is None:
        return None
    student, section = pair
    chosen, name = desk.state.sections[section], desk.state.students[student].name
    course = desk.state.courses[chosen.course]
    values = {
        "name": name,
        "title": course.title,
        "day": chosen.day.title(),
        "time": words.say_time(chosen.start),
        "fee": course.fee,
    }
    steps = [
        [call("find_student", name=name), call("find_course", title=course.title)],
        [call("list_sections", course_id=chosen.course)],
        [call("enroll", student_id=student, section_id=section)],
    ]
    return Goal(values, steps, shown={student, chosen.course, section, *desk.state.titles(course.prerequisites)})


@SCENARIO.pattern("precondition")
def settle_then_enroll(desk: CourseRegistration, words: Words) -> Goal | None:
    pair, method = _pair(desk, words, {"hold"}), words.rng.choice(METHODS)
    if pair is None:
        return None
    student, section = pair
    record = desk.state.students[student]
    if record.holds != ["financial"] or record.balance < 1:
        return None
    values = {"student": student, "section": section, "method": _spoken(method), "balance": record.balance}
    steps = [
        [call("get_student", student_id=student)],
        [call("pay_fees", student_id=student, payment={"amount": record.balance, "method": method})],
        [call("clear_hold", student_id=student, hold="financial")],
        [call("enroll", student_id=student, section_id=section)],
    ]
    return Goal(values, steps)


@SCENARIO.pattern("precondition")
def clear_then_enroll(desk: CourseRegistration, words: Words) -> Goal | None:
    if (pair := _pair(desk, words, {"hold"})) is None:
        return None
    student, section = pair
    holds = desk.state.students[student].holds
    if "financial" in holds:
        return None
    steps = [
        [call("get_student", student_id=student)],
        [call("clear_hold", student_id=student, hold=hold) for hold in holds],
        [call("enroll", student_id=student, section_id=section)],
    ]
    return Goal({"student": student, "section": section, "holds": listing(holds)}, steps)


@SCENARIO.pattern("precondition")
def permission_told(desk: CourseRegistration, words: Words) -> Goal | None:
    pair, grading = _pair(desk, words, {"permission"}), words.rng.choice(["pass_fail", "audit"])
    if pair is None:
        return None
    student, section = pair
    advisor = desk.state.students[student].advisor
    values = {"student": student, "section": section, "advisor": advisor, "grading": _spoken(grading)}
    steps = [
        [call("grant_permission", student_id=student, section_id=section, approved_by=advisor)],
        [call("enroll", student_id=student, section_id=section, grading=grading)],
    ]
    return Goal(values, steps)


@SCENARIO.pattern("call", after="enroll_by_id")
def pay_that_fee(desk: CourseRegistration, words: Words, past: Goal) -> Goal | None:
    student, fee, method = past.values["student"], past.values["fee"], words.rng.choice(METHODS)
    if desk.state.students[student].balance < fee:
        return None
    values = {"student": student, "fee": fee, "method": _spoken(method)}
    return Goal(values, [[call("pay_fees", student_id=student, payment={"amount": fee, "method": method})]])


@SCENARIO.pattern("call", after="pay_part")
def same_payment(desk: CourseRegistration, words: Words, past: Goal) -> Goal | None:
    payment, payer = past.steps[0][0].arguments["payment"], past.values["student"]
    owing = [
        key for key, student in desk.state.students.items() if key != payer and student.balance >= payment["amount"]
    ]
    if not owing:
        return None
    student = words.rng.choice(owing)
    values = {"student": student, "left": desk.state.students[student].balance - payment["amount"]}
    return Goal(values, [[call("pay_fees", student_id=student, payment=payment)]])


@SCENARIO.pattern("call", test_only=True)
def queue_up(desk: CourseRegistration, words: Words) -> Goal | None:
    pair, channel = _pair(desk, words, {"full"}), words.rng.choice(["phone", "text"])
    if pair is None or pair[0] in desk.state.sections[pair[1]].waitlist:
        return None
    student, section = pair
    position = len(desk.state.sections[section].waitlist) + 1
    values = {"student": student, "section": section, "channel": channel, "position": position}
    return Goal(values, [[call("join_waitlist", student_id=student, section_id=section, notify_by=channel)]])


@SCENARIO.pattern("parallel", test_only=True)
def credit_and_queue(desk: CourseRegistration, words: Words) -> Goal | None:
    state, pair, institution = desk.state, _pair(desk, words, {"full"}), words.pick("institutions")
    if pair is None or pair[0] in state.sections[pair[1]].waitlist:
        return None
    waiting, section = pair
    student = words.rng.choice([key for key in state.students if key != waiting])
    courses = words.choose([key for key in state.courses if key not in state.students[student].passed], 2)
    if len(courses) < 2:
        return None
    values = {
        "student": student,
        "courses": listing(courses),
        "institution": institution,
        "waiting": waiting,
        "section": section,
    }
    step = [
        call("transfer_credits", student_id=student, course_ids=courses, institution=institution),
        call("join_waitlist", student_id=waiting, section_id=section),
    ]
    return Goal(values, [step], shown=set(courses))


@SCENARIO.pattern("chained", test_only=True)
def drop_by_title(desk: CourseRegistration, words: Words) -> Goal | None:
    if (pair := _enrolled(desk, words, late=False)) is None:
        return None
    student, section = pair
    record, course = desk.state.students[student], desk.state.courses[desk.state.sections[section].course]
    values = {"name": record.name, "title": course.title, "balance": record.balance - course.fee}
    steps = [
        [call("find_student", name=record.name)],
        [call("get_student", student_id=student)],
        [call("drop_section", student_id=student, section_id=section)],
    ]
    return Goal(values, steps, shown={student, *record.enrolled})


@SCENARIO.pattern("precondition", test_only=True)
def late_drop(desk: CourseRegistration, words: Words) -> Goal | None:
    if (pair := _enrolled(desk, words, late=True)) is None:
        return None
    student, section = pair
    date = words.dates(1, first=desk.state.today, days=90)[0]
    values = {"student": student, "section": section, "date": words.say_date(date)}
    steps = [
        [call("set_drop_deadline", section_id=section, date=date)],
        [call("drop_section", student_id=student, section_id=section)],
    ]
    return Goal(values, steps)


@SCENARIO.pattern("precondition", test_only=True)
def credit_prerequisite(desk: CourseRegistration, words: Words) -> Goal | None:
    pair, institution = _pair(desk, words, {"prerequisite"}), words.pick("institutions")
    if pair is None:
        return None
    student, section = pair
    course = desk.state.courses[desk.state.sections[section].course]
    needed = course.prerequisites[0]
    before = desk.state.courses[needed].title
    values = {
        "student": student,
        "section": section,
        "title": course.title,
        "institution": institution,
        "before": before,
    }
    steps = [
        [call("find_course", title=course.title)],
        [call("find_course", title=before)],
        [call("transfer_credits", student_id=student, course_ids=[needed], institution=institution)],
        [call("enroll", student_id=student, section_id=section)],
    ]
    return Goal(values, steps, shown={desk.state.sections[section].course, needed})


@SCENARIO.pattern("call", test_only=True, after="drop_by_title")
def take_instead(desk: CourseRegistration, words: Words, past: Goal) -> Goal | None:
    left = past.steps[-1][0].arguments
    student = left["student_id"]
    open_to = [
        key for key in desk.state.sections if key != left["section_id"] and not desk.state.obstacles(student, key)
    ]
    if not open_to:
        return None
    section = words.rng.choice(open_to)
    values = {"name": past.values["name"], "section": section}
    return Goal(values, [[call("enroll", student_id=student, section_id=section)]])
