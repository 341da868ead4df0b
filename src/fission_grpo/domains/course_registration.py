"""A registrar's desk: students and their holds and fees, courses, sections, waitlists and deadlines."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import alike, each_once, filled, iso_date, known, named
from fission_grpo.domains.base import Argument, Domain, ToolError

Hold = Literal["advising", "financial", "health", "library"]
HOLDS: tuple[Hold, ...] = get_args(Hold)
Method = Literal["card", "cash", "bank_transfer"]
METHODS: tuple[Method, ...] = get_args(Method)
Grading = Literal["letter", "pass_fail", "audit"]
Channel = Literal["email", "phone", "text"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
WAITING = 5
"""Longest waitlist."""


class Payment(Argument):
    """One payment."""

    amount: Annotated[int, Field(ge=1, le=20000)]
    method: Method


class Student(BaseModel):
    """A student's record."""

    name: str
    advisor: str
    limit: int
    """Most credits in the term."""
    balance: int
    """Fees due."""
    holds: list[Hold]
    passed: dict[str, str]
    """Course to the institution where it was passed."""
    enrolled: dict[str, Grading] = {}
    """Section to grading."""
    permissions: list[str] = []
    """Sections the advisor has approved."""
    payments: list[Payment] = []


class Course(BaseModel):
    """A course of the catalogue."""

    title: str
    credits: int
    fee: int
    prerequisites: list[str]


class Section(BaseModel):
    """A weekly meeting of a course."""

    course: str
    day: str
    start: str
    end: str
    seats: int
    """Seats left."""
    permission: bool
    """Whether the advisor must approve."""
    drop_by: str
    waitlist: dict[str, Channel] = {}
    """Waiting students and how to notify them."""


class RegistrarState(BaseModel):
    """The whole desk."""

    today: str
    students: dict[str, Student]
    courses: dict[str, Course]
    sections: dict[str, Section]
    next_receipt: int

    def credits(self, student: Student) -> int:
        """Credits a student is enrolled for."""
        return sum(self.courses[self.sections[key].course].credits for key in student.enrolled)

    def titles(self, course_ids: Iterable[str]) -> list[str]:
        """Titles of courses."""
        return [self.courses[key].title for key in course_ids]

    def obstacles(self, student_id: str, section_id: str) -> dict[str, str]:
        """What keeps a student out of a section, by kind."""
        student, section = self.students[student_id], self.sections[section_id]
        course, found = self.courses[section.course], {}
        taken = {key: self.sections[key] for key in student.enrolled}
        same = [key for key, other in taken.items() if other.course == section.course]
        day = [key for key, other in taken.items() if other.day == section.day]
        clash = [key for key in day if taken[key].start < section.end and section.start < taken[key].end]
        missing = self.titles(key for key in course.prerequisites if key not in student.passed)
        credits = self.credits(student) + course.credits
        if same:
            found["enrolled"] = f"{student_id} is already enrolled in {course.title}, section {same[0]}"
        if section.course in student.passed:
            found["passed"] = f"{student_id} has already passed {course.title}"
        if missing:
            found["prerequisite"] = f"{student_id} has not passed prerequisite {', '.join(missing)}"
        if clash:
            found["clash"] = f"{section_id} overlaps with {clash[0]} on {section.day}"
        if credits > student.limit:
            found["limit"] = f"{credits} credits would exceed the limit of {student.limit} of {student_id}"
        if section.permission and section_id not in student.permissions:
            found["permission"] = f"{section_id} needs the permission of {student_id}'s advisor"
        if student.holds:
            found["hold"] = f"{student_id} has holds: {', '.join(student.holds)}"
        if section.seats == 0:
            found["full"] = f"{section_id} is full, {len(section.waitlist)} waiting"
        return found


class CourseRegistration(Domain):
    """The desk."""

    name = "course_registration"
    State = RegistrarState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random desk with everyday names."""
        rng = random.Random(seed)  # noqa: S311
        return cls.populate(
            rng,
            names=["Anna Weber", "Omar Haddad", "Lucy Chen", "Paul Novak", "Sara Klein"],
            advisors=["Ruth Keller", "Igor Marino"],
            titles=["Linear Algebra", "World History", "Genetics", "Microeconomics"],
            ids=[str(number) for number in rng.sample(range(1000, 10000), 17)],
            dates=["2026-01-12", "2026-02-02", "2026-02-16", "2026-03-09", "2026-04-01"],
            times=["08:00", "09:30", "11:00", "13:15", "15:45"],
            amounts=rng.sample(range(100, 900), 9),
            counters=[41250],
            per_course=2,
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        names: Sequence[str],
        advisors: Sequence[str],
        titles: Sequence[str],
        ids: Sequence[str],
        dates: Sequence[str],
        times: Sequence[str],
        amounts: Sequence[int],
        counters: Sequence[int],
        per_course: int,
    ) -> Self:
        """A random desk; today is the second of `dates`, `ids` number everything, `amounts` are fees and balances."""
        numbers, sums = iter(ids), iter(amounts)
        courses: dict[str, Course] = {}
        for place, title in enumerate(titles):
            before = rng.sample(sorted(courses), 1) if place % 2 else []
            course = Course(title=title, credits=rng.randint(2, 4), fee=next(sums), prerequisites=before)
            courses[f"C{next(numbers)}"] = course
        slots = [(day, time) for day in DAYS for time in times]
        sections = {
            f"SEC{next(numbers)}": Section(
                course=key,
                day=day,
                start=time,
                end=f"{datetime.fromisoformat(f'2026-01-01T{time}') + timedelta(minutes=90):%H:%M}",
                seats=rng.choice([0, 1, 3, 8, 15]),
                permission=rng.random() < 0.25,
                drop_by=rng.choice([dates[0], *dates[2:]]),
            )
            for key in courses
            for day, time in rng.sample(slots, per_course)
        }
        students = {}
        for place, name in enumerate(names):
            owes, held = place % 3 == 1, place % 3 == 2
            first = f"ST{next(numbers)}"
            students[first] = Student(
                name=name,
                advisor=rng.choice(advisors),
                limit=rng.choice([9, 12, 15]),
                balance=next(sums) if owes else 0,
                holds=["financial"] if owes else rng.sample(["advising", "health", "library"], 1) if held else [],
                passed={key: "here" for key in courses if rng.random() < 0.3},
            )
        state = RegistrarState(
            today=dates[1], students=students, courses=courses, sections=sections, next_receipt=counters[0]
        )
        for key, student in students.items():
            for section_id in rng.sample(sorted(sections), 4)[: rng.randint(1, 4)]:
                if not state.obstacles(key, section_id).keys() - {"hold", "full"}:
                    student.enrolled[section_id] = "letter"
        return cls(state)

    def find_student(self, name: str) -> dict[str, Any]:
        """Look up a student's id.

        Args:
            name: Full name.
        """
        key, _ = named("find_student", "student", self.state.students, name)
        return {"student_id": key}

    def get_student(self, student_id: str) -> dict[str, Any]:
        """Show advisor, balance, holds, credits, enrollments.

        Args:
            student_id: Such as ST1234.
        """
        student = self._student("get_student", student_id)
        sections, courses = self.state.sections, self.state.courses
        enrolled = [{"section_id": key, "course": courses[sections[key].course].title} for key in student.enrolled]
        return {
            "advisor": student.advisor,
            "credits": self.state.credits(student),
            "credit_limit": student.limit,
            "balance": student.balance,
            "holds": list(student.holds),
            "enrolled": enrolled,
        }

    def find_course(self, title: str) -> dict[str, Any]:
        """Look up a course's id, credits, fee, prerequisites.

        Args:
            title: Course title.
        """
        key, course = named("find_course", "course", self.state.courses, title, by=attrgetter("title"))
        before = self.state.titles(course.prerequisites)
        return {"course_id": key, "credits": course.credits, "fee": course.fee, "prerequisites": before}

    def list_sections(self, course_id: str) -> list[dict[str, Any]]:
        """List sections with times, seats, deadlines.

        Args:
            course_id: Such as C1234.
        """
        self._course("list_sections", course_id)
        return [
            {
                "section_id": key,
                "day": section.day,
                "time": f"{section.start}-{section.end}",
                "seats": section.seats,
                "waiting": len(section.waitlist),
                "permission": section.permission,
                "drop_by": section.drop_by,
            }
            for key, section in self.state.sections.items()
            if section.course == course_id
        ]

    def enroll(self, student_id: str, section_id: str, grading: Grading = "letter") -> dict[str, Any]:
        """Enroll; the fee is added to the balance.

        Args:
            student_id: Who.
            section_id: Such as SEC1234.
            grading: How it is graded.
        """
        student, section = self._both("enroll", student_id, section_id)
        for obstacle in self.state.obstacles(student_id, section_id).values():
            raise ToolError(f"enroll: {obstacle}")
        fee = self.state.courses[section.course].fee
        student.enrolled[section_id] = grading
        student.balance += fee
        section.seats -= 1
        section.waitlist.pop(student_id, None)
        return {"enrolled": section_id, "fee": fee, "balance": student.balance}

    def drop_section(self, student_id: str, section_id: str) -> dict[str, Any]:
        """Drop a section; the fee is refunded.

        Args:
            student_id: Who.
            section_id: What to drop.
        """
        student, section = self._both("drop_section", student_id, section_id)
        if section_id not in student.enrolled:
            enrolled = ", ".join(student.enrolled) or "none"
            raise ToolError(f"drop_section: {student_id} is not enrolled in {section_id}; enrolled: {enrolled}")
        if section.drop_by < self.state.today:
            raise ToolError(f"drop_section: deadline {section.drop_by} has passed, today is {self.state.today}")
        del student.enrolled[section_id]
        student.balance -= self.state.courses[section.course].fee
        section.seats += 1
        return {"dropped": section_id, "balance": student.balance}

    def join_waitlist(self, student_id: str, section_id: str, notify_by: Channel = "email") -> dict[str, Any]:
        """Queue a student for a full section.

        Args:
            student_id: Who.
            section_id: Full section.
            notify_by: How to tell them.
        """
        student, section = self._both("join_waitlist", student_id, section_id)
        if section_id in student.enrolled:
            raise ToolError(f"join_waitlist: {student_id} is already enrolled in {section_id}")
        if section.seats:
            raise ToolError(f"join_waitlist: {section_id} is not full, seats left: {section.seats}")
        if student_id in section.waitlist:
            raise ToolError(f"join_waitlist: {student_id} is already waiting for {section_id}")
        if len(section.waitlist) == WAITING:
            raise ToolError(f"join_waitlist: waitlist of {section_id} is closed with {WAITING} students")
        section.waitlist[student_id] = notify_by
        return {"waiting_for": section_id, "position": len(section.waitlist)}

    def grant_permission(self, student_id: str, section_id: str, approved_by: str) -> dict[str, Any]:
        """Record the advisor's permission.

        Args:
            student_id: Who.
            section_id: Restricted section.
            approved_by: Advisor's full name.
        """
        student, section = self._both("grant_permission", student_id, section_id)
        if not section.permission:
            raise ToolError(f"grant_permission: {section_id} needs no permission")
        if section_id in student.permissions:
            raise ToolError(f"grant_permission: {student_id} already has permission for {section_id}")
        if not alike(approved_by, student.advisor):
            raise ToolError(f"grant_permission: '{approved_by}' is not {student_id}'s advisor")
        student.permissions.append(section_id)
        return {"permissions": list(student.permissions)}

    def clear_hold(self, student_id: str, hold: Hold) -> dict[str, Any]:
        """Clear a hold; financial ones need a zero balance.

        Args:
            student_id: Who.
            hold: Kind of hold.
        """
        student = self._student("clear_hold", student_id)
        if hold not in student.holds:
            holds = ", ".join(student.holds) or "none"
            raise ToolError(f"clear_hold: {student_id} has no {hold} hold; holds: {holds}")
        if hold == "financial" and student.balance > 0:
            raise ToolError(f"clear_hold: {student_id} still owes {student.balance}")
        student.holds.remove(hold)
        return {"holds": list(student.holds)}

    def pay_fees(self, student_id: str, payment: Payment) -> dict[str, Any]:
        """Record a payment towards the balance.

        Args:
            student_id: Who.
            payment: What is paid.
        """
        student = self._student("pay_fees", student_id)
        if payment.amount > student.balance:
            raise ToolError(f"pay_fees: amount {payment.amount} is above the balance {student.balance} of {student_id}")
        student.balance -= payment.amount
        student.payments.append(payment)
        return {"receipt": self._new_id("R", "next_receipt", ()), "balance": student.balance}

    def transfer_credits(self, student_id: str, course_ids: list[str], institution: str) -> dict[str, Any]:
        """Credit courses passed elsewhere.

        Args:
            student_id: Who.
            course_ids: Our equivalent courses.
            institution: Where they were passed.
        """
        student = self._student("transfer_credits", student_id)
        filled("transfer_credits", "institution", institution)
        each_once("transfer_credits", "course_ids", course_ids)
        for course_id in course_ids:
            self._course("transfer_credits", course_id)
        if passed := self.state.titles(key for key in course_ids if key in student.passed):
            raise ToolError(f"transfer_credits: {student_id} has already passed {', '.join(passed)}")
        student.passed |= dict.fromkeys(course_ids, institution)
        return {"passed": self.state.titles(student.passed)}

    def set_drop_deadline(self, section_id: str, date: str) -> dict[str, Any]:
        """Move a section's drop deadline.

        Args:
            section_id: Which.
            date: YYYY-MM-DD.
        """
        section = self._section("set_drop_deadline", section_id)
        if iso_date("set_drop_deadline", "date", date) < self.state.today:
            raise ToolError(f"set_drop_deadline: {date} has passed, today is {self.state.today}")
        section.drop_by = date
        return {"section_id": section_id, "drop_by": date}

    def _student(self, tool: str, key: str) -> Student:
        return known(tool, "student", self.state.students, key, "find_student gives ids such as ST1234")

    def _section(self, tool: str, key: str) -> Section:
        return known(tool, "section", self.state.sections, key, "list_sections gives ids such as SEC1234")

    def _both(self, tool: str, student_id: str, section_id: str) -> tuple[Student, Section]:
        return self._student(tool, student_id), self._section(tool, section_id)

    def _course(self, tool: str, key: str) -> Course:
        return known(tool, "course", self.state.courses, key, "find_course gives ids such as C1234")
