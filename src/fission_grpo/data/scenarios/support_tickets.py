"""Goal patterns of the support desk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fission_grpo.chat import ToolCall
from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.support_tickets import HOURS, LEVELS, MAX_TAGS, PLAN_TICKETS, TEAMS, SupportDesk, Ticket

POOLS: dict[str, list[Any]] = {
    "products": [
        "Orion router", "invoice portal", "garden sprinkler", "smart kettle", "tax planner", "delivery tracker",
        "fitness band", "Halo headset", "video doorbell", "recipe app", "label printer", "loyalty card",
        "Nimbus backup", "coffee grinder", "photo album", "standing desk", "mesh repeater", "mobile wallet",
        "travel charger", "robot mower", "gift voucher", "solar lamp", "language course", "bike rack",
        "Pico scanner", "mail archive", "baby monitor", "water filter", "office suite", "chess clock",
        "Vega tablet", "season pass",
    ],
    "problems": [
        "login loop", "wrong colour", "missing screws", "double charge", "frozen screen", "lost parcel",
        "expired code", "loud humming", "sync failure", "broken hinge", "wrong address", "refund delay",
        "weak signal", "dead battery", "missing manual", "blank page", "late delivery", "password reset",
        "cracked lid", "currency mix-up", "pairing failure", "leaking seal", "damaged box", "faded print",
        "upgrade error", "missing receipt", "stuck button", "slow startup", "customs hold", "billing cycle",
        "wrong size", "renewal notice",
    ],
    "tags": [
        "vip", "refund", "outage", "legal", "beta", "press", "warranty", "churn-risk", "hardware", "mobile",
        "duplicate", "regression", "partner", "invoice", "courier", "privacy", "firmware", "onboarding", "reseller",
        "discount", "safety", "translation", "export", "accessibility", "seasonal", "recall", "trial", "loyalty",
        "fraud", "spare-part", "training", "feedback",
    ],
    "notes": [
        "Customer rang twice this week.", "Logs are attached to the first mail.", "Ask finance before any refund.",
        "Speaks only Portuguese.", "Same fault as last spring.", "Serial number is unreadable.",
        "Prefers to be reached by mail.", "Unit was bought second hand.", "Warranty ran out in May.",
        "Neighbour signed for the box.", "Photos show water damage.", "Waits for the new firmware.",
        "Has a lawyer involved.", "Works fine on the old version.", "Is travelling until Friday.",
        "Account belongs to her employer.", "Replacement part is on back order.", "He already reset it once.",
        "Courier denies any damage.", "Wants a written apology.", "Paid by bank transfer.",
        "Happens only after midnight.", "Second line has seen this before.", "Do not offer another voucher.",
        "Device was never registered.", "Address has a typo in the flat number.", "Bug is fixed in the next release.",
        "Customer recorded the noise.", "Credit card was replaced recently.", "Contract ends this quarter.",
        "Tested with two different cables.", "Colleague promised a call back.",
    ],
    "replies": [
        "Could you send us a photo of the label?", "Which version do you have installed?",
        "Your replacement leaves our depot today.", "Has the light turned green since then?",
        "What is the number on your receipt?", "We have found the cause and are working on it.",
        "Would a voucher be acceptable instead?", "Is the device still under a year old?",
        "Please try it once more with the cable unplugged.", "Do you remember when it happened first?",
        "May we ring you tomorrow?", "Where exactly did the courier leave it?",
        "Your refund has been approved by our finance team.", "Can you tell us the last four digits of the card?",
        "We are sorry for the long silence.", "Which browser are you using?",
        "Did the new password arrive?", "A technician will look at it this week.",
        "Could you confirm your postal address?", "Does the noise stop when it is idle?",
        "We need your consent to open the account.", "Are other devices affected as well?",
        "The missing piece is on its way.", "What does the display show right now?",
        "Would you rather keep the old model?", "Has anyone else used your login?",
        "Your invoice has been corrected.", "Could you attach the error report?",
        "Who signed for the parcel?", "We can offer you an extension of the trial.",
        "Is the serial number on the back readable?", "Did the restart change anything?",
    ],
}  # fmt: skip


def build(words: Words) -> SupportDesk:
    """A random desk of the split's people, with a long queue when large."""
    count = words.rng.choice([30, 34, 38]) if words.large else words.rng.choice([10, 11, 12])
    people, ids = words.people(10), words.ids("T", count)
    return SupportDesk.populate(
        words.rng,
        customers=dict(zip(words.ids("C", 4), people[:4], strict=True)),
        agents=dict(zip(words.ids("A", 6, digits=3), people[4:], strict=True)),
        subjects=dict(zip(ids, words.choose(_subjects(words), count), strict=False)),
        tags=words.sample("tags", 6),
        notes=words.sample("notes", 4),
        hours=words.numbers(count, 1, 200),
        first=words.counter(),
    )


SCENARIO = Scenario(SupportDesk, build, POOLS, language=Path(__file__).with_suffix(".toml"))


def _subjects(words: Words) -> list[str]:
    return [f"{product} {problem}" for product in words.pools["products"] for problem in words.pools["problems"]]


def _ticket(desk: SupportDesk, words: Words, *states: str) -> str | None:
    """Id of some ticket in one of the states."""
    found = [key for key, ticket in desk.state.tickets.items() if ticket.status in states]
    return words.rng.choice(found) if found else None


def _owned(desk: SupportDesk, customer: str) -> dict[str, Ticket]:
    return {key: ticket for key, ticket in desk.state.tickets.items() if ticket.customer_id == customer}


def _customer(
    desk: SupportDesk, words: Words, suits: Callable[[str], object] = bool
) -> tuple[str, str, dict[str, Ticket], set[str]]:
    """Id and name of a customer, preferably one that suits, their tickets, and what looking them up shows."""
    every = list(desk.state.customers)
    key = words.rng.choice([key for key in every if suits(key)] or every)
    owned = _owned(desk, key)
    return key, desk.state.customers[key].name, owned, {key, *owned, *(one.subject for one in owned.values())}


def _unclosed(desk: SupportDesk, customer: str) -> int:
    return sum(one.status != "closed" for one in _owned(desk, customer).values())


def _limit(desk: SupportDesk, customer: str) -> int:
    return PLAN_TICKETS[desk.state.customers[customer].plan]


def _waiting(desk: SupportDesk, team: str) -> dict[str, Ticket]:
    return {
        key: one
        for key, one in desk.state.tickets.items()
        if (one.team, one.status, one.agent_id) == (team, "open", None)
    }


def _queue(desk: SupportDesk, words: Words) -> str | None:
    """A team with tickets waiting."""
    teams = [team for team in TEAMS if _waiting(desk, team)]
    return words.rng.choice(teams) if teams else None


def _loads(desk: SupportDesk, team: str) -> dict[str, int]:
    """Open and pending tickets by agent of a team."""
    held = [one.agent_id for one in desk.state.tickets.values() if one.status in ("open", "pending")]
    return {key: held.count(key) for key, agent in desk.state.agents.items() if team in agent.skills}


def _team_shown(desk: SupportDesk, team: str) -> set[str]:
    """What showing a team makes known."""
    waiting, agents = _waiting(desk, team), _loads(desk, team)
    names = {desk.state.agents[key].name for key in agents}
    return {*waiting, *(one.subject for one in waiting.values()), *agents, *names}


def _idlest(desk: SupportDesk, team: str) -> str | None:
    """The one agent of a team with the lowest load, if one alone has it, and room left."""
    loads = _loads(desk, team)
    least = [key for key, load in loads.items() if load == min(loads.values())]
    return None if len(least) != 1 or loads[least[0]] >= desk.state.agents[least[0]].capacity else least[0]


def _priority(desk: SupportDesk, words: Words, key: str) -> str:
    """A priority that the ticket may get."""
    ticket = desk.state.tickets[key]
    return words.rng.choice([one for one in HOURS if one != ticket.priority and (ticket.agent_id or one != "urgent")])


@SCENARIO.pattern("call")
def ticket_details(desk: SupportDesk, words: Words) -> Goal | None:
    key = _ticket(desk, words, "open", "pending", "resolved")
    if key is None:
        return None
    ticket = desk.state.tickets[key]
    values = {"ticket": key, "state": ticket.status, "team": ticket.team, "priority": ticket.priority}
    values |= {"hours": HOURS[ticket.priority] - ticket.waiting_hours, "subject": ticket.subject}
    values["record"] = "; ".join(
        [
            f"agent {ticket.agent_id}" if ticket.agent_id else "no agent",
            f"tags {listing(ticket.tags)}" if ticket.tags else "no tags",
            "notes " + " ".join(f'"{note}"' for note in ticket.notes) if ticket.notes else "no notes",
            f"escalated to the {ticket.level.replace('_', ' ')}" if ticket.level else "not escalated",
        ]
    )
    return Goal(values, [[call("show_ticket", ticket_id=key)]], {*ticket.tags, *ticket.notes})


@SCENARIO.pattern("call")
def change_priority(desk: SupportDesk, words: Words) -> Goal | None:
    key = _ticket(desk, words, "open", "pending")
    if key is None:
        return None
    priority = _priority(desk, words, key)
    values = {"ticket": key, "priority": priority, "hours": HOURS[priority]}  # type: ignore[index]
    return Goal(values, [[call("set_priority", ticket_id=key, priority=priority)]])


@SCENARIO.pattern("call", after="change_priority")
def answer_customer(desk: SupportDesk, words: Words, past: Goal) -> Goal:
    values = {"ticket": past.values["ticket"], "text": words.pick("replies")}
    return Goal(values, [[call("add_note", ticket_id=values["ticket"], text=values["text"], internal=False)]])


@SCENARIO.pattern("call")
def team_overview(desk: SupportDesk, words: Words) -> Goal | None:
    team = _queue(desk, words)
    if team is None:
        return None
    waiting, agents = _waiting(desk, team), _loads(desk, team)
    staff = [(desk.state.agents[key], load) for key, load in agents.items()]
    busy = listing([f"{agent.name} ({load} of {agent.capacity})" for agent, load in staff])
    oldest = max(waiting, key=lambda key: waiting[key].waiting_hours)
    values = {"team": team, "busy": busy, "count": len(waiting), "oldest": oldest}
    values["waited"] = waiting[oldest].waiting_hours
    return Goal(values, [[call("show_team", team=team)]], _team_shown(desk, team))


@SCENARIO.pattern("call")
def write_note(desk: SupportDesk, words: Words) -> Goal | None:
    key, text = _ticket(desk, words, "open", "pending", "resolved"), words.pick("notes")
    if key is None or text in desk.state.tickets[key].notes:
        return None
    return Goal({"ticket": key, "text": text}, [[call("add_note", ticket_id=key, text=text)]])


@SCENARIO.pattern("parallel")
def close_two(desk: SupportDesk, words: Words) -> Goal | None:
    resolved = [key for key, ticket in desk.state.tickets.items() if ticket.status == "resolved"]
    if len(resolved) < 2:
        return None
    first, second = words.choose(resolved, 2)
    step = [call("set_status", ticket_id=key, status="closed") for key in (first, second)]
    return Goal({"first": first, "second": second}, [step])


@SCENARIO.pattern("parallel")
def tag_and_rank(desk: SupportDesk, words: Words) -> Goal | None:
    first, second = _ticket(desk, words, "open", "pending", "resolved"), _ticket(desk, words, "open", "pending")
    if first is None or second is None or first == second:
        return None
    room = MAX_TAGS - len(desk.state.tickets[first].tags)
    tags = [tag for tag in words.sample("tags", 6) if tag not in desk.state.tickets[first].tags][: min(room, 2)]
    if not tags:
        return None
    priority = _priority(desk, words, second)
    step = [
        call("edit_tags", ticket_id=first, tags=tags),
        call("set_priority", ticket_id=second, priority=priority),
    ]
    return Goal({"first": first, "tags": listing(tags), "second": second, "priority": priority}, [step])


@SCENARIO.pattern("chained")
def assign_by_name(desk: SupportDesk, words: Words) -> Goal | None:
    agents = {key: one for key, one in desk.state.agents.items() if len(one.skills) == 1}
    offered = [
        (key, agent)
        for key, one in desk.state.tickets.items()
        if one.status in ("open", "pending") and one.agent_id
        for agent, load in _loads(desk, one.team).items()
        if agent in agents and agent != one.agent_id and load < agents[agent].capacity
    ]
    if not offered:
        return None
    key, agent = words.rng.choice(offered)
    ticket, team = desk.state.tickets[key], desk.state.tickets[key].team
    _, name, _, shown = _customer(desk, words, lambda one: one == ticket.customer_id)
    find = [call("find_customer", name=name), call("show_team", team=team)]
    values = {"name": name, "subject": ticket.subject, "team": team, "agent": desk.state.agents[agent].name}
    steps = [find, [call("assign_ticket", ticket_id=key, agent_id=agent)]]
    return Goal(values | {"ticket": key}, steps, shown | _team_shown(desk, team))


@SCENARIO.pattern("chained")
def longest_waiting(desk: SupportDesk, words: Words) -> Goal | None:
    team = _queue(desk, words)
    if team is None or len(_waiting(desk, team)) < 2:
        return None
    waiting = _waiting(desk, team)
    key = max(waiting, key=lambda key: waiting[key].waiting_hours)
    priority = words.rng.choice([one for one in ("low", "normal", "high") if one != waiting[key].priority])
    steps = [[call("show_team", team=team)], [call("set_priority", ticket_id=key, priority=priority)]]
    values = {"team": team, "priority": priority, "ticket": key, "waited": waiting[key].waiting_hours}
    return Goal(values, steps, _team_shown(desk, team))


@SCENARIO.pattern("call", after="longest_waiting")
def note_found(desk: SupportDesk, words: Words, past: Goal) -> Goal:
    values = {"ticket": past.values["ticket"], "text": words.pick("notes")}
    return Goal(values, [[call("add_note", ticket_id=values["ticket"], text=values["text"])]])


@SCENARIO.pattern("chained")
def merge_duplicates(desk: SupportDesk, words: Words) -> Goal | None:
    _, name, owned, shown = _customer(desk, words)
    able = [key for key, one in owned.items() if one.status in ("open", "pending") and one.level is None]
    if len(able) < 2:
        return None
    source, target = words.choose(able, 2)
    values = {"name": name, "source": owned[source].subject, "target": owned[target].subject, "kept": target}
    steps = [[call("find_customer", name=name)], [call("merge_tickets", source_ids=[source], target_id=target)]]
    return Goal(values, steps, shown)


@SCENARIO.pattern("precondition")
def escalate_raised(desk: SupportDesk, words: Words) -> Goal | None:
    key, level = _ticket(desk, words, "open", "pending"), words.rng.choice(LEVELS)
    if key is None or desk.state.tickets[key].priority in ("high", "urgent") or desk.state.tickets[key].level:
        return None
    phone, time = words.ids("555-", 1)[0], words.times(1)[0]
    values = {"ticket": key, "priority": desk.state.tickets[key].priority, "level": level.replace("_", " ")}
    values |= {"phone": phone, "time": words.say_time(time)}
    escalate = call("escalate_ticket", ticket_id=key, level=level, callback={"phone": phone, "time": time})
    return Goal(values, [[call("set_priority", ticket_id=key, priority="high")], [escalate]])


@SCENARIO.pattern("precondition")
def room_for_another(desk: SupportDesk, words: Words) -> Goal | None:
    team = _queue(desk, words)
    if team is None:
        return None
    waiting, loads = _waiting(desk, team), _loads(desk, team)
    full = [key for key, load in loads.items() if load == desk.state.agents[key].capacity]
    held = [
        key
        for key, one in desk.state.tickets.items()
        if one.agent_id in full and one.status in ("open", "pending") and not one.merged_into
    ]
    if not held:
        return None
    done = words.rng.choice(held)
    solved = desk.state.tickets[done]
    offered = [key for key, one in waiting.items() if one.customer_id != solved.customer_id]
    if not offered:
        return None
    key = words.rng.choice(offered)
    _, name, _, shown = _customer(desk, words, lambda one: one == solved.customer_id)
    values = {"team": team, "agent": desk.state.agents[solved.agent_id].name, "subject": waiting[key].subject}
    values |= {"name": name, "solved": solved.subject, "done": done, "ticket": key}
    steps = [
        [call("show_team", team=team), call("find_customer", name=name)],
        [call("set_status", ticket_id=done, status="resolved")],
        [call("assign_ticket", ticket_id=key, agent_id=solved.agent_id)],
    ]
    return Goal(values, steps, shown | _team_shown(desk, team))


@SCENARIO.pattern("precondition")
def open_at_limit(desk: SupportDesk, words: Words) -> Goal | None:
    customer, name, owned, shown = _customer(desk, words, lambda key: _unclosed(desk, key) == _limit(desk, key))
    resolved = [key for key, one in owned.items() if one.status == "resolved"]
    if len(resolved) != 1 or _unclosed(desk, customer) != _limit(desk, customer):
        return None
    team, (subject,) = words.rng.choice(TEAMS), words.choose(_subjects(words), 1)
    if any(one.subject == subject for one in desk.state.tickets.values()):
        return None
    values = {"name": name, "team": team, "subject": subject, "closed": resolved[0]}
    values["ticket"] = f"T{desk.state.next_ticket}"
    steps = [
        [call("find_customer", name=name)],
        [call("set_status", ticket_id=resolved[0], status="closed")],
        [call("open_ticket", customer_id=customer, subject=subject, team=team)],
    ]
    return Goal(values, steps, shown)


@SCENARIO.pattern("call", test_only=True)
def drop_tag(desk: SupportDesk, words: Words) -> Goal | None:
    key = _ticket(desk, words, "open", "pending", "resolved")
    if key is None or not desk.state.tickets[key].tags:
        return None
    tag = words.rng.choice(desk.state.tickets[key].tags)
    return Goal({"ticket": key, "tag": tag}, [[call("edit_tags", ticket_id=key, tags=[tag], action="remove")]])


@SCENARIO.pattern("call", test_only=True, after="drop_tag")
def drop_there_too(desk: SupportDesk, words: Words, past: Goal) -> Goal | None:
    tag = past.values["tag"]
    tagged = [key for key, one in desk.state.tickets.items() if tag in one.tags and one.status != "closed"]
    if not tagged:
        return None
    values = {"other": words.rng.choice(tagged), "tag": tag}
    return Goal(values, [[call("edit_tags", ticket_id=values["other"], tags=[tag], action="remove")]])


@SCENARIO.pattern("parallel", test_only=True)
def three_updates(desk: SupportDesk, words: Words) -> Goal | None:
    first, second = _ticket(desk, words, "resolved"), _ticket(desk, words, "open", "pending", "resolved")
    third, text = _ticket(desk, words, "open", "pending"), words.pick("notes")
    if first is None or second is None or third is None or len({first, second, third}) < 3:
        return None
    priority = _priority(desk, words, third)
    step: list[ToolCall] = [
        call("set_status", ticket_id=first, status="open"),
        call("add_note", ticket_id=second, text=text),
        call("set_priority", ticket_id=third, priority=priority),
    ]
    return Goal({"first": first, "second": second, "text": text, "third": third, "priority": priority}, [step])


@SCENARIO.pattern("chained", test_only=True)
def related_ticket(desk: SupportDesk, words: Words) -> Goal | None:
    (subject,) = words.choose(_subjects(words), 1)
    offered = [
        key
        for key, one in desk.state.tickets.items()
        if one.status in ("open", "pending")
        and one.agent_id
        and _unclosed(desk, one.customer_id) < _limit(desk, one.customer_id)
        and _loads(desk, one.team)[one.agent_id] < desk.state.agents[one.agent_id].capacity
    ]
    if not offered or any(one.subject == subject for one in desk.state.tickets.values()):
        return None
    key, new = words.rng.choice(offered), f"T{desk.state.next_ticket}"
    ticket = desk.state.tickets[key]
    agent = desk.state.agents[ticket.agent_id]
    steps = [
        [call("show_ticket", ticket_id=key)],
        [call("open_ticket", customer_id=ticket.customer_id, subject=subject, team=ticket.team)],
        [call("assign_ticket", ticket_id=new, agent_id=ticket.agent_id)],
    ]
    values = {"ticket": key, "subject": subject, "team": ticket.team, "new": new, "agent": agent.name}
    return Goal(values, steps, {ticket.subject, ticket.customer_id, *ticket.tags, *ticket.notes})


@SCENARIO.pattern("precondition", test_only=True)
def wait_for_customer(desk: SupportDesk, words: Words) -> Goal | None:
    key, text = _ticket(desk, words, "open"), words.pick("replies")
    if key is None or desk.state.tickets[key].replies:
        return None
    steps = [
        [call("add_note", ticket_id=key, text=text, internal=False)],
        [call("set_status", ticket_id=key, status="pending")],
    ]
    return Goal({"ticket": key, "text": text}, steps)


@SCENARIO.pattern("precondition", test_only=True)
def reopen_with_note(desk: SupportDesk, words: Words) -> Goal | None:
    customer, name, owned, shown = _customer(
        desk, words, lambda key: any(one.status == "closed" for one in _owned(desk, key).values())
    )
    closed = [key for key, one in owned.items() if one.status == "closed" and not one.merged_into]
    if not closed or _unclosed(desk, customer) >= _limit(desk, customer):
        return None
    key, text = words.rng.choice(closed), words.pick("notes")
    steps = [
        [call("find_customer", name=name)],
        [call("set_status", ticket_id=key, status="open")],
        [call("add_note", ticket_id=key, text=text)],
    ]
    return Goal({"name": name, "subject": owned[key].subject, "text": text, "ticket": key}, steps, shown)


@SCENARIO.pattern("precondition", test_only=True)
def resolve_unassigned(desk: SupportDesk, words: Words) -> Goal | None:
    team = _queue(desk, words)
    agent = team and _idlest(desk, team)
    if team is None or agent is None:
        return None
    waiting = _waiting(desk, team)
    key = words.rng.choice(list(waiting))
    values = {"team": team, "subject": waiting[key].subject, "agent": desk.state.agents[agent].name, "ticket": key}
    steps = [
        [call("show_team", team=team)],
        [call("assign_ticket", ticket_id=key, agent_id=agent)],
        [call("set_status", ticket_id=key, status="resolved")],
    ]
    return Goal(values, steps, _team_shown(desk, team))
