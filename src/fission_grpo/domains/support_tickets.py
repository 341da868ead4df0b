"""A support desk: customers and their plans, tickets on their way to closed, agents with skills and capacity."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel

from fission_grpo.domains.arguments import clock_time, each_once, filled, known, named, phone_number
from fission_grpo.domains.base import Argument, Domain, ToolError

Team = Literal["billing", "technical", "shipping", "accounts"]
Status = Literal["open", "pending", "resolved", "closed"]
Priority = Literal["low", "normal", "high", "urgent"]
Level = Literal["team_lead", "manager", "director"]
Plan = Literal["basic", "business", "premium"]
TEAMS: tuple[Team, ...] = get_args(Team)
LEVELS: tuple[Level, ...] = get_args(Level)
PLAN_TICKETS: dict[Plan, int] = {"basic": 2, "business": 4, "premium": 16}
"""Unclosed tickets that a plan allows."""
HOURS: dict[Priority, int] = {"low": 96, "normal": 48, "high": 24, "urgent": 8}
"""Service level: hours in which a ticket is to be answered."""
BEFORE: dict[Status, tuple[Status, ...]] = {
    "open": ("pending", "resolved", "closed"),
    "pending": ("open",),
    "resolved": ("open", "pending"),
    "closed": ("resolved",),
}
"""The statuses that a ticket may leave for each of these."""
MAX_TAGS = 4


class Callback(Argument):
    """When and where the customer is called back."""

    phone: str
    time: str


class Customer(BaseModel):
    """A customer."""

    name: str
    plan: Plan


class Agent(BaseModel):
    """A support agent; `capacity` is how many open and pending tickets they may hold."""

    name: str
    skills: list[Team]
    capacity: int


class Ticket(BaseModel):
    """A ticket."""

    customer_id: str
    subject: str
    team: Team
    status: Status = "open"
    priority: Priority = "normal"
    waiting_hours: int = 0
    agent_id: str | None = None
    tags: list[str] = []
    """Sorted."""
    notes: list[str] = []
    replies: list[str] = []
    level: Level | None = None
    """How far it is escalated."""
    callback: Callback | None = None
    merged_into: str | None = None


class DeskState(BaseModel):
    """The whole support desk."""

    customers: dict[str, Customer]
    agents: dict[str, Agent]
    tickets: dict[str, Ticket]
    next_ticket: int


class SupportDesk(Domain):
    """The support desk."""

    name = "support_tickets"
    State = DeskState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random desk with everyday subjects."""
        rng = random.Random(seed)  # noqa: S311
        subjects = ["router reboots", "wrong invoice", "parcel lost", "login loop", "slow sync", "double charge",
                    "broken screen", "missing refund", "late delivery", "locked account"]  # fmt: skip
        return cls.populate(
            rng,
            customers={"C1204": "Anna Weber", "C3377": "Omar Haddad", "C4810": "Lucy Chen", "C5092": "Paul Novak"},
            agents=dict(zip(("A21", "A34", "A47", "A58", "A63"), ("Mia", "Tom", "Ines", "Raj", "Eve"), strict=True)),
            subjects={f"T{1003 + 37 * i}": subject for i, subject in enumerate(subjects)},
            tags=["vip", "refund", "outage", "legal", "beta"],
            notes=["called twice", "sent logs", "asked for a manager"],
            hours=rng.sample(range(1, 90), len(subjects)),
            first=rng.randrange(10000, 12000),
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        customers: Mapping[str, str],
        agents: Mapping[str, str],
        subjects: Mapping[str, str],
        tags: Sequence[str],
        notes: Sequence[str],
        hours: Sequence[int],
        first: int,
    ) -> Self:
        """A random desk: names and subjects by id, `hours` waited per ticket; all beyond the ninth wait in one team."""
        staff = {
            key: Agent(
                name=name,
                skills=sorted({TEAMS[i % 4], rng.choice(TEAMS) if rng.random() < 0.4 else TEAMS[i % 4]}),
                capacity=0,
            )
            for i, (key, name) in enumerate(agents.items())
        }
        order, load = rng.sample(list(subjects), len(subjects)), Counter[str]()
        mix: list[Status] = ["open", "open", "open", "pending", "resolved", "resolved", "resolved", "closed", "open"]
        tickets, owners, busy = {}, list(customers), rng.choice(TEAMS)
        for i, key in enumerate(order):
            status = mix[i] if i < len(mix) else "open"
            waits = not 1 <= i < len(mix) - 1
            team = busy if waits else rng.choice(TEAMS)
            held = None if waits else rng.choice([agent for agent, one in staff.items() if team in one.skills])
            load[held or ""] += status in ("open", "pending")
            tickets[key] = Ticket(
                customer_id=owners[i % len(owners)],
                subject=subjects[key],
                team=team,
                status=status,
                priority=rng.choice(("low", "normal", "normal", "high")),
                waiting_hours=hours[i],
                agent_id=held,
                tags=sorted(rng.sample(tags, rng.choice((1, 2, 2, 3)))) if i < len(mix) else [],
                notes=rng.sample(notes, 1) if i % 3 == 0 and i < len(mix) else [],
            )
        for key, person in staff.items():
            person.capacity = load[key] + rng.choice((0, 1, 2)) or 1
        unclosed = Counter(ticket.customer_id for ticket in tickets.values() if ticket.status != "closed")
        people = {
            key: Customer(name=name, plan=next(plan for plan, most in PLAN_TICKETS.items() if unclosed[key] <= most))
            for key, name in customers.items()
        }
        return cls(DeskState(customers=people, agents=staff, tickets=dict(sorted(tickets.items())), next_ticket=first))

    def find_customer(self, name: str) -> dict[str, Any]:
        """Look up a customer and their tickets.

        Args:
            name: Full name.
        """
        key, person = named("find_customer", "customer", self.state.customers, name)
        tickets = [
            {"ticket_id": number, "subject": ticket.subject, "status": ticket.status}
            for number, ticket in self.state.tickets.items()
            if ticket.customer_id == key
        ]
        limit = PLAN_TICKETS[person.plan]
        return {"customer_id": key, "plan": person.plan, "unclosed_limit": limit, "tickets": tickets}

    def show_team(self, team: Team) -> dict[str, Any]:
        """Show a team's agents, and its open tickets without one.

        Args:
            team: Team.
        """
        load = self._load()
        agents = [
            {"agent_id": key, "name": agent.name, "load": load[key], "capacity": agent.capacity}
            for key, agent in self.state.agents.items()
            if team in agent.skills
        ]
        waiting = [
            {"ticket_id": key, "subject": one.subject, "priority": one.priority, "waiting_hours": one.waiting_hours}
            for key, one in self.state.tickets.items()
            if (one.team, one.status, one.agent_id) == (team, "open", None)
        ]
        return {"agents": agents, "waiting": waiting}

    def show_ticket(self, ticket_id: str) -> dict[str, Any]:
        """Show a ticket's details.

        Args:
            ticket_id: Id such as T1234.
        """
        ticket = self._ticket("show_ticket", ticket_id)
        shown: dict[str, Any] = ticket.model_dump(exclude={"waiting_hours", "callback"})
        return shown | {"hours_left": HOURS[ticket.priority] - ticket.waiting_hours}

    def open_ticket(self, customer_id: str, subject: str, team: Team) -> dict[str, Any]:
        """Open a ticket within the plan's limit.

        Args:
            customer_id: Customer.
            subject: Subject line.
            team: Team in charge.
        """
        self._room("open_ticket", customer_id)
        ticket = Ticket(customer_id=customer_id, subject=filled("open_ticket", "subject", subject, 80), team=team)
        key = self._new_id("T", "next_ticket", self.state.tickets)
        self.state.tickets[key] = ticket
        return {"ticket_id": key, "answer_within_hours": HOURS[ticket.priority]}

    def assign_ticket(self, ticket_id: str, agent_id: str) -> dict[str, Any]:
        """Assign to a skilled agent with capacity left.

        Args:
            ticket_id: Open or pending ticket.
            agent_id: Id from show_team.
        """
        ticket, agent = self._active("assign_ticket", ticket_id), self._agent("assign_ticket", agent_id)
        if ticket.agent_id == agent_id:
            raise ToolError(f"assign_ticket: {ticket_id} is already with {agent_id}")
        if ticket.team not in agent.skills:
            raise ToolError(
                f"assign_ticket: {ticket_id} needs {ticket.team}, {agent_id} has {' and '.join(agent.skills)}"
            )
        load = self._load()[agent_id]
        if load >= agent.capacity:
            raise ToolError(f"assign_ticket: {agent_id} has {load} tickets, capacity is {agent.capacity}")
        ticket.agent_id = agent_id
        return {"ticket_id": ticket_id, "agent": agent.name, "load": load + 1}

    def set_priority(self, ticket_id: str, priority: Priority) -> dict[str, Any]:
        """Set priority; urgent needs an assigned agent.

        Args:
            ticket_id: Open or pending ticket.
            priority: Priority.
        """
        ticket = self._active("set_priority", ticket_id)
        if ticket.priority == priority:
            raise ToolError(f"set_priority: {ticket_id} already has priority {priority}")
        if priority == "urgent" and ticket.agent_id is None:
            raise ToolError(f"set_priority: {ticket_id} has no agent, urgent tickets need one")
        ticket.priority = priority
        return {"ticket_id": ticket_id, "priority": priority, "answer_within_hours": HOURS[ticket.priority]}

    def set_status(self, ticket_id: str, status: Status) -> dict[str, Any]:
        """Pending needs a reply, resolved an agent, closed resolved.

        Args:
            ticket_id: Ticket.
            status: New status.
        """
        ticket = self._ticket("set_status", ticket_id)
        if ticket.merged_into:
            raise ToolError(f"set_status: {ticket_id} was merged into {ticket.merged_into}")
        if ticket.status == status:
            raise ToolError(f"set_status: {ticket_id} is already {status}")
        if ticket.status not in BEFORE[status]:
            needed = " or ".join(BEFORE[status])
            raise ToolError(f"set_status: {ticket_id} is {ticket.status}, must be {needed} before it is {status}")
        if status == "pending" and not ticket.replies:
            raise ToolError(f"set_status: {ticket_id} has no reply to the customer that it could be pending on")
        if status == "resolved" and ticket.agent_id is None:
            raise ToolError(f"set_status: {ticket_id} has no agent, assign it before it is resolved")
        if ticket.status == "closed":
            self._room("set_status", ticket.customer_id)
        ticket.status = status
        return {"ticket_id": ticket_id, "status": status}

    def edit_tags(self, ticket_id: str, tags: list[str], action: Literal["add", "remove"] = "add") -> dict[str, Any]:
        """Add or remove tags, four at most.

        Args:
            ticket_id: Ticket.
            tags: Tags.
            action: What to do.
        """
        ticket, wanted = self._ticket("edit_tags", ticket_id), [tag.strip().lower() for tag in tags]
        each_once("edit_tags", "tags", wanted)
        for tag in wanted:
            filled("edit_tags", "a tag", tag)
        if ticket.status == "closed":
            raise ToolError(f"edit_tags: {ticket_id} is closed")
        if wrong := sorted(tag for tag in wanted if (tag in ticket.tags) == (action == "add")):
            has = ", ".join(ticket.tags) or "none"
            raise ToolError(f"edit_tags: {ticket_id} has tags {has}; cannot {action} {', '.join(wrong)}")
        changed = sorted({*wanted} ^ {*ticket.tags})
        if len(changed) > MAX_TAGS:
            raise ToolError(f"edit_tags: {len(changed)} tags are too many, {ticket_id} may have {MAX_TAGS}")
        ticket.tags = changed
        return {"ticket_id": ticket_id, "tags": changed}

    def add_note(self, ticket_id: str, text: str, internal: bool = True) -> dict[str, Any]:
        """Write an internal note or a reply to the customer.

        Args:
            ticket_id: Ticket that is not closed.
            text: The words.
            internal: False to reply.
        """
        ticket = self._ticket("add_note", ticket_id)
        if ticket.status == "closed":
            raise ToolError(f"add_note: {ticket_id} is closed, reopen it first")
        kept = ticket.notes if internal else ticket.replies
        kept.append(filled("add_note", "text", text, 300))
        return {"ticket_id": ticket_id, "notes": len(ticket.notes), "replies": len(ticket.replies)}

    def escalate_ticket(self, ticket_id: str, level: Level, callback: Callback) -> dict[str, Any]:
        """Escalate a high or urgent ticket.

        Args:
            ticket_id: Open or pending ticket.
            level: Who takes over.
            callback: Phone such as 555-1234, time HH:MM.
        """
        ticket = self._active("escalate_ticket", ticket_id)
        phone_number("escalate_ticket", "phone", callback.phone)
        clock_time("escalate_ticket", "time", callback.time)
        if ticket.priority not in ("high", "urgent"):
            raise ToolError(f"escalate_ticket: {ticket_id} has priority {ticket.priority}, high or urgent is required")
        if ticket.level and LEVELS.index(level) <= LEVELS.index(ticket.level):
            raise ToolError(f"escalate_ticket: {ticket_id} is already with the {ticket.level}")
        ticket.level, ticket.callback = level, callback
        return {"ticket_id": ticket_id, "level": level, "callback": callback.model_dump()}

    def merge_tickets(self, source_ids: list[str], target_id: str) -> dict[str, Any]:
        """Close duplicates in favour of the customer's other ticket.

        Args:
            source_ids: Duplicates, not escalated.
            target_id: Ticket that stays.
        """
        target = self._active("merge_tickets", target_id)
        each_once("merge_tickets", "source_ids", source_ids)
        if target_id in source_ids:
            raise ToolError(f"merge_tickets: {target_id} is the target, not a duplicate of itself")
        sources = {key: self._active("merge_tickets", key) for key in source_ids}
        for key, source in sources.items():
            if source.customer_id != target.customer_id:
                raise ToolError(f"merge_tickets: {key} and {target_id} belong to different customers")
            if source.level:
                raise ToolError(f"merge_tickets: {key} is escalated to the {source.level}")
        for source in sources.values():
            source.status, source.merged_into = "closed", target_id
        return {"target_id": target_id, "merged": sorted(sources)}

    def _ticket(self, tool: str, ticket_id: str) -> Ticket:
        return known(
            tool, "ticket", self.state.tickets, ticket_id, "find_customer and show_team give ids such as T1234"
        )

    def _active(self, tool: str, ticket_id: str) -> Ticket:
        ticket = self._ticket(tool, ticket_id)
        if ticket.status not in ("open", "pending"):
            raise ToolError(f"{tool}: {ticket_id} is {ticket.status}, it must be open or pending")
        return ticket

    def _agent(self, tool: str, agent_id: str) -> Agent:
        return known(tool, "agent", self.state.agents, agent_id, "show_team gives ids")

    def _room(self, tool: str, customer_id: str) -> None:
        """Refuses where the customer's plan allows no further unclosed ticket."""
        customer: Customer = known(tool, "customer", self.state.customers, customer_id, "find_customer gives ids")
        plan = customer.plan
        unclosed = sum(one.customer_id == customer_id and one.status != "closed" for one in self.state.tickets.values())
        if unclosed >= PLAN_TICKETS[plan]:
            raise ToolError(f"{tool}: {customer_id} has {unclosed} unclosed tickets, plan {plan} allows no more")

    def _load(self) -> Counter[str]:
        """Open and pending tickets by agent."""
        return Counter(one.agent_id for one in self.state.tickets.values() if one.status in ("open", "pending"))
