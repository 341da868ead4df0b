"""A fitness club: members and their levels, classes, workout plans, inductions, goals, sessions, trainers' hours."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import each_once, iso_date, known, named
from fission_grpo.domains.base import Argument, Domain, ToolError

Level = Literal["basic", "plus", "premium"]
Focus = Literal["strength", "endurance", "mobility", "fat_loss"]
Specialty = Literal["boxing", "pilates", "swimming"]
Equipment = Literal["rower", "treadmill", "cable_machine", "squat_rack"]
Activity = Literal["running", "rowing", "cycling", "swimming", "lifting"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From least to most."""
FOCUSES: tuple[Focus, ...] = get_args(Focus)
SPECIALTIES: tuple[Specialty, ...] = get_args(Specialty)
EQUIPMENT: tuple[Equipment, ...] = get_args(Equipment)
ACTIVITIES: tuple[Activity, ...] = get_args(Activity)
CLASSES: dict[Level, int] = {"basic": 1, "plus": 3, "premium": 6}
"""Classes that a member may be booked into at a time."""


class Target(Argument):
    """What a member wants to reach."""

    metric: Literal["weekly_km", "weekly_minutes", "body_weight"]
    value: int
    by: str = Field(description="YYYY-MM-DD.")


class Session(BaseModel):
    """One workout."""

    activity: Activity
    minutes: int
    km: int


class Hour(BaseModel):
    """An hour with a trainer."""

    date: str
    time: str


class Member(BaseModel):
    """A member of the club."""

    name: str
    level: Level
    plan_id: str | None = None
    inductions: list[Equipment]
    goal: Target | None = None
    sessions: list[Session]
    trainings: list[Hour] = []


class Course(BaseModel):
    """One class; `members` are the booked ones known here, `spots` what is left."""

    title: str
    date: str
    time: str
    level: Level
    spots: int
    members: list[str] = []


class Plan(BaseModel):
    """A workout plan, and what it demands of members."""

    name: str
    focus: Focus
    weeks: int
    level: Level
    equipment: list[Equipment]


class Trainer(BaseModel):
    """A trainer and the free hours by id."""

    name: str
    specialty: Specialty
    free: dict[str, Hour]


class ClubState(BaseModel):
    """The whole club."""

    today: str
    members: dict[str, Member]
    classes: dict[str, Course]
    plans: dict[str, Plan]
    trainers: dict[str, Trainer]


class Fitness(Domain):
    """The club."""

    name = "fitness"
    State = ClubState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random club with everyday names."""
        rng = random.Random(seed)  # noqa: S311
        return cls.populate(
            rng,
            names=["Anna Weber", "Omar Haddad", "Lucy Chen", "Paul Novak", "Ella Reed", "Hugo Sato", "Nina Rossi"],
            titles=["Spin", "Aqua Fit", "Power Yoga", "Core Blast", "Step", "Zumba", "Barre", "Bootcamp", "Stretch"],
            plans=["Iron Start", "Long Run", "Loose Hips", "Lean Eight", "Heavy Duty", "Row On", "Flow", "Burner"],
            keys=rng.sample(range(1000, 10000), 42),
            dates=["2026-02-02", "2026-03-09", "2026-03-11", "2026-04-01"],
            times=["07:30", "08:15", "09:00", "10:30", "12:15", "14:00", "16:45", "18:00", "19:15", "11:00", "13:30",
                   "15:15", "17:30", "20:00"],
        )  # fmt: skip

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        *,
        names: Sequence[str],
        titles: Sequence[str],
        plans: Sequence[str],
        keys: Sequence[int],
        dates: Sequence[str],
        times: Sequence[str],
    ) -> Self:
        """A random club: the last three of `names` are trainers, each `titles` a class, all but six on one day.

        The first of four dates is today. `keys`: numbers of ids, one for each name, title and plan, and 18 for hours.
        `times`: one for each title, then five that trainers may have free.
        """
        key, (today, *days) = map(str, keys), dates
        levels = rng.sample([*LEVELS, "basic", *rng.choices(LEVELS, k=len(names))][: len(names) - 3], len(names) - 3)
        members = {
            f"M{next(key)}": Member(
                name=name,
                level=level,
                inductions=rng.sample(EQUIPMENT, rng.choice([0, 2, 4])),
                sessions=[
                    Session(activity=activity, minutes=rng.randrange(15, 120), km=0)
                    for activity in rng.choices(ACTIVITIES, k=rng.randrange(1, 3))
                ],
            )
            for name, level in zip(names[:-3], levels, strict=True)
        }
        on = [days[0]] * (len(titles) - 6) + [days[1]] * 3 + [days[2]] * 3
        classes = {
            f"C{next(key)}": Course(
                title=title, date=date, time=time, level=rng.choice(LEVELS[:2]), spots=rng.randrange(1, 20)
            )
            for title, date, time in zip(titles, on, times, strict=False)
        }
        offered = {
            f"W{next(key)}": Plan(
                name=name,
                focus=FOCUSES[i % len(FOCUSES)],
                weeks=weeks,
                level=rng.choice(["basic", "basic", "plus"]),
                equipment=rng.sample(EQUIPMENT, rng.choice([0, 0, 1, 2])),
            )
            for i, (name, weeks) in enumerate(zip(plans, rng.sample(range(4, 30), len(plans)), strict=True))
        }
        trainers = {
            f"T{next(key)}": Trainer(
                name=name,
                specialty=specialty,
                free={
                    f"H{next(key)}": Hour(date=day, time=time)
                    for day in days[:2]
                    for time in sorted(rng.sample(times[len(titles) :], 3))
                },
            )
            for name, specialty in zip(names[-3:], SPECIALTIES, strict=True)
        }
        club = cls(ClubState(today=today, members=members, classes=classes, plans=offered, trainers=trainers))
        for member_id, member in members.items():
            for class_id in rng.sample(list(classes), rng.choice([0, 1, 2])):
                if not club._obstacle(class_id, member_id):
                    classes[class_id].members.append(member_id)
            fitting = [plan_id for plan_id in offered if not club._lacks(plan_id, member)]
            member.plan_id = rng.choice([None, *fitting])
        return club

    def find_member(self, name: str) -> dict[str, Any]:
        """Look up a member's id.

        Args:
            name: Full name.
        """
        key, _ = named("find_member", "member", self.state.members, name)
        return {"member_id": key}

    def get_member(self, member_id: str) -> dict[str, Any]:
        """Show a member.

        Args:
            member_id: M1234.
        """
        member = self._member("get_member", member_id)
        shown = member.model_dump(include={"level", "plan_id", "inductions", "goal", "trainings"})
        minutes = sum(session.minutes for session in member.sessions)
        return shown | {"sessions": len(member.sessions), "minutes": minutes, "classes": self._booked(member_id)}

    def set_level(self, member_id: str, level: Level) -> dict[str, Any]:
        """Change the level. Allows 1, 3 or 6 classes.

        Args:
            member_id: M1234.
            level: New level.
        """
        member, booked = self._member("set_level", member_id), self._booked(member_id)
        if member.level == level:
            raise ToolError(f"set_level: {member_id} is already {level}")
        if len(booked) > CLASSES[level]:
            raise ToolError(f"set_level: {member_id} has {len(booked)} classes, {level} allows {CLASSES[level]}")
        member.level = level
        return {"member_id": member_id, "level": level}

    def list_classes(self, date: str) -> list[dict[str, Any]]:
        """List a day's classes.

        Args:
            date: YYYY-MM-DD.
        """
        day = iso_date("list_classes", "date", date)
        return [
            {"class_id": key} | course.model_dump(exclude={"date", "members"})
            for key, course in self.state.classes.items()
            if course.date == day
        ]

    def book_class(self, class_id: str, member_id: str) -> dict[str, Any]:
        """Book a class.

        Args:
            class_id: C1234.
            member_id: M1234.
        """
        self._member("book_class", member_id)
        course = self._course("book_class", class_id)
        if obstacle := self._obstacle(class_id, member_id):
            raise ToolError(f"book_class: {obstacle}")
        course.members = [*course.members, member_id]
        course.spots -= 1
        return {"title": course.title, "date": course.date, "time": course.time}

    def leave_class(self, class_id: str, member_id: str) -> dict[str, Any]:
        """Leave a class.

        Args:
            class_id: C1234.
            member_id: M1234.
        """
        self._member("leave_class", member_id)
        course = self._course("leave_class", class_id)
        if member_id not in course.members:
            booked = ", ".join(self._booked(member_id)) or "none"
            raise ToolError(f"leave_class: {member_id} is not in {class_id}; booked: {booked}")
        course.members = [key for key in course.members if key != member_id]
        course.spots += 1
        return {"left": course.title}

    def find_plans(self, focus: Focus) -> list[dict[str, Any]]:
        """List workout plans.

        Args:
            focus: Focus.
        """
        return [
            {"plan_id": key} | plan.model_dump(exclude={"focus"})
            for key, plan in self.state.plans.items()
            if plan.focus == focus
        ]

    def assign_plan(self, member_id: str, plan_id: str) -> dict[str, Any]:
        """Assign a plan. Requires its level and inductions.

        Args:
            member_id: M1234.
            plan_id: W1234.
        """
        member = self._member("assign_plan", member_id)
        plan: Plan = known("assign_plan", "plan", self.state.plans, plan_id, "find_plans gives ids such as W1234")
        if member.plan_id == plan_id:
            raise ToolError(f"assign_plan: {member_id} already follows {plan_id}")
        if lack := self._lacks(plan_id, member):
            raise ToolError(f"assign_plan: {member_id} lacks {lack} for {plan.name}")
        member.plan_id = plan_id
        return {"plan": plan.name, "weeks": plan.weeks}

    def record_induction(self, member_id: str, equipment: list[Equipment]) -> dict[str, Any]:
        """Record an induction.

        Args:
            member_id: M1234.
            equipment: Equipment.
        """
        member = self._member("record_induction", member_id)
        each_once("record_induction", "equipment", equipment)
        if again := [item for item in equipment if item in member.inductions]:
            raise ToolError(f"record_induction: {member_id} already has {', '.join(again)}")
        member.inductions = sorted([*member.inductions, *equipment])
        return {"inductions": member.inductions}

    def set_goal(self, member_id: str, goal: Target) -> dict[str, Any]:
        """Set a member's goal.

        Args:
            member_id: M1234.
            goal: Goal.
        """
        member = self._member("set_goal", member_id)
        if not 1 <= goal.value <= 2000:
            raise ToolError(f"set_goal: value must be between 1 and 2000, got {goal.value}")
        if iso_date("set_goal", "by", goal.by) <= self.state.today:
            raise ToolError(f"set_goal: {goal.by} is not after today, {self.state.today}")
        member.goal = goal
        return {"member_id": member_id, "goal": goal.metric}

    def log_session(
        self,
        member_id: str,
        activity: Activity,
        minutes: Annotated[int, Field(ge=5, le=300)],
        km: Annotated[int, Field(ge=0, le=300)] = 0,
    ) -> dict[str, Any]:
        """Log a workout.

        Args:
            member_id: M1234.
            activity: Activity.
            minutes: Duration.
            km: Distance.
        """
        member = self._member("log_session", member_id)
        if km and activity == "lifting":
            raise ToolError("log_session: lifting has no distance")
        member.sessions = [*member.sessions, Session(activity=activity, minutes=minutes, km=km)]
        return {"sessions": len(member.sessions), "minutes": sum(session.minutes for session in member.sessions)}

    def trainer_hours(self, specialty: Specialty, date: str) -> list[dict[str, Any]]:
        """List free hours.

        Args:
            specialty: Specialty.
            date: YYYY-MM-DD.
        """
        day = iso_date("trainer_hours", "date", date)
        return [
            {"hour_id": hour_id, "time": hour.time, "trainer": trainer.name}
            for trainer in self.state.trainers.values()
            if trainer.specialty == specialty
            for hour_id, hour in trainer.free.items()
            if hour.date == day
        ]

    def book_training(self, member_id: str, hour_id: str) -> dict[str, Any]:
        """Book a trainer's hour. Premium only.

        Args:
            member_id: M1234.
            hour_id: H1234.
        """
        member = self._member("book_training", member_id)
        trainer = next((trainer for trainer in self.state.trainers.values() if hour_id in trainer.free), None)
        if trainer is None:
            raise ToolError(f"book_training: no free hour '{hour_id}'; trainer_hours gives ids such as H1234")
        if member.level != "premium":
            raise ToolError(f"book_training: {member_id} is {member.level}, training requires premium")
        hour = trainer.free[hour_id]
        if self._busy(member_id, hour.date, hour.time):
            raise ToolError(f"book_training: {member_id} is booked on {hour.date} at {hour.time} already")
        del trainer.free[hour_id]
        member.trainings = [*member.trainings, hour]
        return {"trainer": trainer.name, "date": hour.date, "time": hour.time}

    def _member(self, tool: str, key: str) -> Member:
        return known(tool, "member", self.state.members, key, "find_member gives ids such as M1234")

    def _course(self, tool: str, key: str) -> Course:
        return known(tool, "class", self.state.classes, key, "list_classes gives ids such as C1234")

    def _booked(self, member_id: str) -> list[str]:
        return [key for key, course in self.state.classes.items() if member_id in course.members]

    def _busy(self, member_id: str, date: str, time: str) -> bool:
        taken = [*map(self.state.classes.get, self._booked(member_id)), *self.state.members[member_id].trainings]
        return any((entry.date, entry.time) == (date, time) for entry in taken)

    def _obstacle(self, class_id: str, member_id: str) -> str | None:
        """Why the member cannot be booked into the class."""
        course, member, booked = self.state.classes[class_id], self.state.members[member_id], self._booked(member_id)
        if class_id in booked:
            return f"{member_id} is already in {class_id}"
        if LEVELS.index(member.level) < LEVELS.index(course.level):
            return f"{class_id} requires {course.level}, {member_id} is {member.level}"
        if not course.spots:
            return f"{class_id} is full"
        if len(booked) >= CLASSES[member.level]:
            return f"{member.level} allows {CLASSES[member.level]} classes, {member_id} has {', '.join(booked)}"
        if self._busy(member_id, course.date, course.time):
            return f"{member_id} is booked on {course.date} at {course.time} already"
        return None

    def _lacks(self, plan_id: str, member: Member) -> str | None:
        """What the member lacks for the plan."""
        plan = self.state.plans[plan_id]
        if LEVELS.index(member.level) < LEVELS.index(plan.level):
            return f"level {plan.level}"
        missing = [item for item in plan.equipment if item not in member.inductions]
        return f"an induction on {', '.join(missing)}" if missing else None
