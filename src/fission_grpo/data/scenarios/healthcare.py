"""Goal patterns of the clinic."""

from __future__ import annotations

from datetime import date as Date
from typing import Any

from fission_grpo.data.scenarios.goals import Goal, Pattern, Pool, Scenario, Vague, Words, call
from fission_grpo.domains.healthcare import SPECIALTIES, Healthcare, Slot

POOLS = {
    "names": Pool(
        ["Anna Weber", "Omar Haddad", "Lucy Chen", "Paul Novak", "Maria Lopez", "James Reed", "Sara Klein"],
        ["Grace Okafor", "Tom Fischer", "Nina Rossi", "Kenji Sato", "Ella Brandt", "Hugo Martin"],
    ),
    "drugs": Pool(
        ["ibuprofen", "metformin", "amoxicillin", "loratadine", "lisinopril", "naproxen", "codeine"],
        ["aspirin", "doxycycline", "cetirizine", "ramipril", "tramadol"],
    ),
    "dates": Pool(
        ["2026-03-02", "2026-03-09", "2026-04-14", "2026-05-20", "2026-06-25", "2026-09-11"],
        ["2026-03-17", "2026-07-06", "2026-10-28", "2026-11-05"],
    ),
    "times": Pool(
        ["08:30", "09:00", "10:30", "13:00", "14:30", "16:00"], ["08:15", "09:45", "11:15", "13:45", "15:15"]
    ),
    "numbers": Pool(range(1000, 4900), range(5000, 10000)),
    "days": Pool([5, 7, 10, 14, 30], [6, 8, 12, 21]),
}  # fmt: skip
REASONS = ["checkup", "follow-up", "injury", "vaccination"]


def build(words: Words) -> Healthcare:
    """A random clinic of the split's names."""
    pools: dict[str, Any] = {name: words.pools[name].of(words.split) for name in ("drugs", "times", "numbers")}
    return Healthcare.populate(words.rng, names=words.sample("names", 4), dates=words.sample("dates", 3), **pools)


def _ids(clinic: Healthcare, words: Words, count: int) -> list[str]:
    return words.choose(list(clinic.state.patients), count)


def _spoken(date: str) -> str:
    """A date as people write it, so that the caller has to convert it."""
    day = Date.fromisoformat(date)
    return f"{day:%B} {day.day}, {day.year}"


def _free(clinic: Healthcare, words: Words) -> list[Slot]:
    """The free slots of some specialty on some day, earliest first."""
    specialty, date = words.rng.choice(SPECIALTIES), words.rng.choice([slot.date for slot in clinic.state.slots])
    return [
        slot for slot in clinic.state.slots if (slot.specialty, slot.date, slot.appointment) == (specialty, date, None)
    ]


def show_record(clinic: Healthcare, words: Words) -> Goal:
    [patient] = _ids(clinic, words, 1)
    allergies = ", ".join(clinic.state.patients[patient].allergies)
    return Goal(
        {"patient": patient}, [[call("get_record", patient_id=patient)]], f"{patient} is allergic to {allergies}."
    )


def log_visit(clinic: Healthcare, words: Words) -> Goal:
    [patient], reason = _ids(clinic, words, 1), words.rng.choice(REASONS)
    step = [call("record_visit", patient_id=patient, reason=reason)]
    return Goal({"patient": patient, "reason": reason}, [step], f"The {reason} visit of {patient} is recorded.")


def cancel(clinic: Healthcare, words: Words) -> Goal | None:
    booked = words.choose([slot.appointment for slot in clinic.state.slots if slot.appointment], 1)
    if not booked:
        return None
    step = [call("cancel_appointment", appointment_id=booked[0])]
    return Goal({"appointment": booked[0]}, [step], f"Appointment {booked[0]} is cancelled.")


def free_slots(clinic: Healthcare, words: Words) -> Goal | None:
    free = _free(clinic, words)
    if not free:
        return None
    step = [call("list_slots", specialty=free[0].specialty, date=free[0].date)]
    values = {"specialty": free[0].specialty, "date": _spoken(free[0].date)}
    return Goal(values, [step], f"Free: {', '.join(slot.time for slot in free)}.")


def book_known(clinic: Healthcare, words: Words) -> Goal | None:
    free, [patient] = _free(clinic, words), _ids(clinic, words, 1)
    if not free:
        return None
    slot = words.rng.choice(free)
    values = {"patient": patient, "doctor": slot.doctor_id, "date": _spoken(slot.date), "time": slot.time}
    booking = call("book_appointment", patient_id=patient, doctor_id=slot.doctor_id, date=slot.date, time=slot.time)
    return Goal(values, [[booking]], f"{patient} is booked with {slot.doctor_id} at {slot.time}.")


def two_records(clinic: Healthcare, words: Words) -> Goal:
    first, second = _ids(clinic, words, 2)
    step = [call("get_record", patient_id=first), call("get_record", patient_id=second)]
    known = [f"{key}: {', '.join(clinic.state.patients[key].allergies)}" for key in (first, second)]
    return Goal({"first": first, "second": second}, [step], f"Allergies are {'; '.join(known)}.")


def two_visits(clinic: Healthcare, words: Words) -> Goal:
    (first, second), (one, other) = _ids(clinic, words, 2), words.choose(REASONS, 2)
    step = [
        call("record_visit", patient_id=first, reason=one),
        call("record_visit", patient_id=second, reason=other),
    ]
    return Goal({"first": first, "second": second, "one": one, "other": other}, [step], "Both visits are recorded.")


def cancel_and_log(clinic: Healthcare, words: Words) -> Goal | None:
    cancelled, logged = cancel(clinic, words), log_visit(clinic, words)
    if cancelled is None:
        return None
    values = cancelled.values | logged.values
    return Goal(values, [cancelled.steps[0] + logged.steps[0]], "It is cancelled and the visit is recorded.")


def record_by_name(clinic: Healthcare, words: Words) -> Goal:
    [patient] = _ids(clinic, words, 1)
    known = clinic.state.patients[patient]
    steps = [[call("find_patient", name=known.name)], [call("get_record", patient_id=patient)]]
    reply = f"{known.name} is allergic to {', '.join(known.allergies)}."
    return Goal({"name": known.name, "patient": patient}, steps, reply)


def visit_by_name(clinic: Healthcare, words: Words) -> Goal:
    logged = log_visit(clinic, words)
    name = clinic.state.patients[logged.values["patient"]].name
    steps = [[call("find_patient", name=name)], *logged.steps]
    return Goal(logged.values | {"name": name}, steps, f"The {logged.values['reason']} visit of {name} is recorded.")


def book_first(clinic: Healthcare, words: Words) -> Goal | None:
    free, [patient] = _free(clinic, words), _ids(clinic, words, 1)
    if not free:
        return None
    first = free[0]
    steps = [
        [call("list_slots", specialty=first.specialty, date=first.date)],
        [call("book_appointment", patient_id=patient, doctor_id=first.doctor_id, date=first.date, time=first.time)],
    ]
    values = {"patient": patient, "specialty": first.specialty, "date": _spoken(first.date)}
    return Goal(values, steps, f"{patient} is booked at {first.time}.")


def prescribe_safely(clinic: Healthcare, words: Words) -> Goal:
    [patient], days = _ids(clinic, words, 1), words.pick("days")
    known = clinic.state.patients[patient]
    drug, other = words.sample("drugs", 2)
    if words.rng.random() < 0.5:
        drug = known.allergies[0]
        other = words.rng.choice([name for name in words.pools["drugs"].of(words.split) if name != drug])
    given = other if drug in known.allergies else drug
    steps = [
        [call("get_record", patient_id=patient)],
        [call("prescribe", patient_id=patient, drug=given, days=days)],
    ]
    values = {"patient": patient, "drug": drug, "other": other, "days": days}
    return Goal(values, steps, f"{given} is prescribed for {days} days.")


def refill_today(clinic: Healthcare, words: Words) -> Goal | None:
    unseen = [key for key, patient in clinic.state.patients.items() if not patient.visits]
    chosen = words.choose(unseen, 1)
    refillable = [drug for key in chosen for drug, left in clinic.state.patients[key].refills.items() if left]
    if not refillable:
        return None
    [patient], drug, reason = chosen, words.rng.choice(refillable), words.rng.choice(REASONS)
    steps = [
        [call("record_visit", patient_id=patient, reason=reason)],
        [call("refill", patient_id=patient, drug=drug)],
    ]
    values = {"patient": patient, "drug": drug, "reason": reason}
    return Goal(values, steps, f"The visit is recorded and {drug} is refilled.")


def refill_unseen(clinic: Healthcare, words: Words) -> Goal | None:
    [patient], reason = _ids(clinic, words, 1), words.rng.choice(REASONS)
    known = clinic.state.patients[patient]
    refillable = [drug for drug, left in known.refills.items() if left]
    if not refillable:
        return None
    drug = words.rng.choice(refillable)
    visit = [] if known.visits else [[call("record_visit", patient_id=patient, reason=reason)]]
    steps = [[call("get_record", patient_id=patient)], *visit, [call("refill", patient_id=patient, drug=drug)]]
    return Goal({"patient": patient, "drug": drug, "reason": reason}, steps, f"{drug} is refilled for {patient}.")


def refill_or_renew(clinic: Healthcare, words: Words) -> Goal | None:
    [patient], days = _ids(clinic, words, 1), words.pick("days")
    known = clinic.state.patients[patient]
    drug = words.rng.choice(list(known.refills))
    if not known.visits or drug in known.allergies:
        return None
    left = known.refills[drug]
    act = call("refill", patient_id=patient, drug=drug)
    renew = call("prescribe", patient_id=patient, drug=drug, days=days)
    steps = [[call("get_record", patient_id=patient)], [act if left else renew]]
    done = "refilled" if left else f"prescribed for {days} days"
    return Goal({"patient": patient, "drug": drug, "days": days}, steps, f"{drug} is {done}.")


PATTERNS = [
    Pattern(
        "call",
        show_record,
        Pool(
            [
                "Show me the record of {patient}.",
                "Please open the record of patient {patient}.",
                "What is patient {patient} allergic to?",
                "Could you pull up {patient}'s record?",
                "I need the allergies of {patient}.",
                "Get the record for {patient}.",
            ],
            [
                "Which allergies does {patient} have?",
                "Bring up the file of {patient}.",
                "Does {patient} have an allergy on file?",
            ],
        ),
        Vague(
            Pool(
                [
                    "Show me the patient's record.",
                    "Please open a patient's record.",
                    "What is the patient allergic to?",
                    "Could you pull up a record?",
                    "I need a patient's allergies.",
                    "Get the record for my patient.",
                ],
                [
                    "Which allergies does this patient have?",
                    "Bring up the patient's file.",
                    "Is there an allergy on file?",
                ],
            ),
            "Which patient do you mean?",
            Pool(
                ["Patient {patient}.", "{patient}.", "I mean {patient}."],
                ["That would be {patient}.", "The id is {patient}."],
            ),
        ),
    ),
    Pattern(
        "call",
        log_visit,
        Pool(
            [
                "Record a {reason} visit for {patient}.",
                "Please log today's {reason} visit of {patient}.",
                "{patient} was here for a {reason}, record it.",
                "Could you record the visit of {patient}? Reason: {reason}.",
                "Add a visit for {patient}, reason {reason}.",
                "Today's visit of {patient} was a {reason}. Please record it.",
            ],
            [
                "Note down that {patient} came for a {reason}.",
                "Enter a {reason} visit: {patient}.",
                "Put a {reason} visit on the file of {patient}.",
            ],
        ),
        Vague(
            Pool(
                [
                    "Record a visit for {patient}.",
                    "Please log today's visit of {patient}.",
                    "{patient} was here, record it.",
                    "Could you record the visit of {patient}?",
                    "Add a visit for {patient}.",
                    "{patient} came today. Please record the visit.",
                ],
                [
                    "Note down that {patient} came.",
                    "Enter a visit: {patient}.",
                    "Put a visit on the file of {patient}.",
                ],
            ),
            "What was the reason of the visit?",
            Pool(
                ["A {reason}.", "Reason: {reason}.", "It was a {reason}."],
                ["They came for a {reason}.", "{reason}, I believe."],
            ),
        ),
    ),
    Pattern(
        "call",
        cancel,
        Pool(
            [
                "Cancel appointment {appointment}.",
                "Please cancel the appointment {appointment}.",
                "Could you cancel {appointment}?",
                "Appointment {appointment} is to be cancelled.",
                "I need {appointment} cancelled.",
                "The patient can't come, cancel {appointment}.",
            ],
            [
                "Drop appointment {appointment}.",
                "Remove {appointment} from the calendar.",
                "{appointment} won't happen, call it off.",
            ],
        ),
        Vague(
            Pool(
                [
                    "Cancel an appointment.",
                    "Please cancel the appointment.",
                    "Could you cancel one appointment?",
                    "An appointment is to be cancelled.",
                    "I need an appointment cancelled.",
                    "The patient can't come, cancel it.",
                ],
                ["Drop the appointment.", "Remove it from the calendar.", "The appointment won't happen, call it off."],
            ),
            "Which appointment should I cancel?",
            Pool(
                ["{appointment}.", "Number {appointment}.", "I mean {appointment}."],
                ["That's {appointment}.", "Its id is {appointment}."],
            ),
        ),
    ),
    Pattern(
        "call",
        free_slots,
        Pool(
            [
                "Which {specialty} slots are free on {date}?",
                "Please list the free {specialty} slots on {date}.",
                "What's free in {specialty} on {date}?",
                "Show free {specialty} times for {date}.",
                "Is anything free in {specialty} on {date}?",
                "I'm looking for a {specialty} slot on {date}, what is free?",
            ],
            [
                "On {date}, what does {specialty} have open?",
                "Tell me the open {specialty} times of {date}.",
                "Any room in {specialty} on {date}?",
            ],
        ),
    ),
    Pattern(
        "call",
        book_known,
        Pool(
            [
                "Book {patient} with doctor {doctor} on {date} at {time}.",
                "Please book doctor {doctor} at {time} on {date} for {patient}.",
                "An appointment for {patient}: doctor {doctor}, {date}, {time}.",
                "Could you book {patient} in with {doctor} on {date} at {time}?",
                "I want {patient} to see {doctor} on {date} at {time}, book it.",
                "Make an appointment with {doctor} for {patient} on {date} at {time}.",
            ],
            [
                "Reserve {time} on {date} at doctor {doctor} for {patient}.",
                "{patient} takes the {time} slot of {doctor} on {date}.",
                "Put {patient} down for {doctor}, {date}, {time}.",
            ],
        ),
    ),
    Pattern(
        "parallel",
        two_records,
        Pool(
            [
                "Show me the records of {first} and {second}.",
                "Please open the records of patients {first} and {second}.",
                "What are {first} and {second} allergic to?",
                "Could you pull up {first} and {second}?",
                "I need the allergies of both {first} and {second}.",
                "Get the record for {first} and the one for {second}.",
            ],
            [
                "Which allergies do {first} and {second} have?",
                "Bring up two files: {first}, {second}.",
                "Compare the allergies of {first} with those of {second}.",
            ],
        ),
    ),
    Pattern(
        "parallel",
        two_visits,
        Pool(
            [
                "Record a {one} visit for {first} and a {other} visit for {second}.",
                "Please log two visits: {first} for {one}, {second} for {other}.",
                "{first} was here for a {one} and {second} for a {other}; record both.",
                "Could you record the visits of {first} ({one}) and {second} ({other})?",
                "Add visits: {first}, {one}; {second}, {other}.",
                "Today {first} came for a {one} and {second} for a {other}. Please record.",
            ],
            [
                "Note down a {one} for {first}, a {other} for {second}.",
                "Enter today's visits: {one} of {first} and {other} of {second}.",
                "Two visits go on file, {first} with {one} and {second} with {other}.",
            ],
        ),
    ),
    Pattern(
        "parallel",
        cancel_and_log,
        Pool(
            [
                "Cancel appointment {appointment} and record a {reason} visit for {patient}.",
                "Please cancel {appointment}; also log a {reason} visit of {patient}.",
                "Could you cancel {appointment} and record that {patient} came for a {reason}?",
                "{appointment} is cancelled, and {patient} was here for a {reason}. Enter both.",
                "Two things: cancel {appointment}, record the {reason} visit of {patient}.",
                "I need {appointment} cancelled and a {reason} visit recorded for {patient}.",
            ],
            [
                "Drop {appointment} and note a {reason} visit of {patient}.",
                "Remove appointment {appointment}; put a {reason} visit on the file of {patient}.",
                "Call off {appointment}, and enter {patient} with a {reason}.",
            ],
        ),
    ),
    Pattern(
        "chained",
        record_by_name,
        Pool(
            [
                "Show me the record of {name}.",
                "Please open {name}'s record.",
                "What is {name} allergic to?",
                "Could you pull up the record of {name}?",
                "I need the allergies of {name}.",
                "Get {name}'s record.",
            ],
            [
                "Which allergies does {name} have?",
                "Bring up the file of {name}.",
                "Does {name} have an allergy on file?",
            ],
        ),
    ),
    Pattern(
        "chained",
        visit_by_name,
        Pool(
            [
                "Record a {reason} visit for {name}.",
                "Please log today's {reason} visit of {name}.",
                "{name} was here for a {reason}, record it.",
                "Could you record the visit of {name}? Reason: {reason}.",
                "Add a visit for {name}, reason {reason}.",
                "Today's visit of {name} was a {reason}. Please record it.",
            ],
            [
                "Note down that {name} came for a {reason}.",
                "Enter a {reason} visit: {name}.",
                "Put a {reason} visit on the file of {name}.",
            ],
        ),
    ),
    Pattern(
        "chained",
        book_first,
        Pool(
            [
                "Book {patient} the first free {specialty} slot on {date}.",
                "Please give {patient} the earliest {specialty} slot on {date}.",
                "{patient} needs {specialty} on {date}, first free time.",
                "Could you book {patient} into {specialty} on {date} as early as possible?",
                "Find the first free {specialty} slot on {date} and book it for {patient}.",
                "An appointment in {specialty} for {patient} on {date}, earliest time.",
            ],
            [
                "Reserve the earliest opening in {specialty} on {date} for {patient}.",
                "On {date}, put {patient} into {specialty} at the first chance.",
                "Whatever comes first in {specialty} on {date}, {patient} takes it.",
            ],
        ),
    ),
    Pattern(
        "precondition",
        prescribe_safely,
        Pool(
            [
                "Prescribe {drug} to {patient} for {days} days, or {other} if they are allergic to it.",
                "Check the record of {patient}, then prescribe {drug} for {days} days; with an allergy, {other}.",
                "{patient} should get {drug} for {days} days. If the record shows an allergy to it, use {other}.",
                "Please prescribe {days} days of {drug} for {patient}, {other} instead in case of allergy.",
                "If {patient} has no allergy to {drug}, prescribe it for {days} days, else {other}.",
                "Could you prescribe {drug}, or {other} when allergic, for {days} days to {patient}?",
            ],
            [
                "{days} days of {drug} go to {patient}; should the file forbid it, {other}.",
                "Give {patient} a {days} day course of {drug}, unless allergic, then of {other}.",
                "See whether {patient} tolerates {drug}; prescribe that or else {other}, {days} days.",
            ],
        ),
    ),
    Pattern(
        "precondition",
        refill_today,
        Pool(
            [
                "{patient} has no visit on record but is here for a {reason}. Refill {drug}.",
                "Refill {drug} for {patient}, who is here for a first {reason}, not yet recorded.",
                "Please refill {drug} for {patient}. Today's {reason} is their first visit and not recorded.",
                "First visit ever for {patient}, a {reason}, nothing recorded yet. They need {drug} refilled.",
                "Could you refill {drug} for {patient}? No visit is recorded, today is a {reason}.",
                "{patient} came for a {reason}, their unrecorded first visit, and wants a refill of {drug}.",
            ],
            [
                "New here, {patient} came for a {reason} (not on file) and asks for a {drug} refill.",
                "A {drug} refill for {patient}; the file lacks any visit, today's is a {reason}.",
                "Nothing on file for {patient} until today's {reason}; renew the supply by a refill of {drug}.",
            ],
        ),
    ),
    Pattern(
        "precondition",
        refill_unseen,
        Pool(
            [
                "Refill {drug} for {patient}. If the record shows no visit, record a {reason} first.",
                "Check the record of {patient} and refill {drug}; without a visit, record today's {reason}.",
                "Please refill {drug} for {patient}, here for a {reason} in case no visit is recorded.",
                "{patient} wants {drug} refilled. Look at the record; no visits means record a {reason}.",
                "See if {patient} has a visit on record, else record a {reason}, and refill {drug}.",
                "Could you refill {drug} for {patient}? Record a {reason} only if there is no visit yet.",
            ],
            [
                "A {drug} refill for {patient}; should the file lack visits, enter a {reason}.",
                "Look into the file of {patient}: no visit, then note a {reason}; in any case refill {drug}.",
                "{patient} is out of {drug}, refill it, entering a {reason} unless some visit is on file.",
            ],
        ),
    ),
    Pattern(
        "precondition",
        refill_or_renew,
        Pool(
            [
                "Refill {drug} for {patient}; if no refills are left, prescribe it for {days} days.",
                "Check how many refills of {drug} {patient} has; refill, or prescribe {days} days if none.",
                "{patient}, seen before, needs {drug}: refill it, or with none left prescribe {days} days.",
                "Please see if {patient} has {drug} refills left. Refill, else prescribe {days} days.",
                "Could you refill {drug} for {patient}, or prescribe {days} days when refills are used up?",
                "Look at the record of {patient} and refill {drug}. Zero left means prescribe {days} days.",
            ],
            [
                "{patient} wants more {drug}: a refill while any remain, otherwise {days} days on prescription.",
                "Depending on the refills that remain, refill {drug} for {patient} or prescribe {days} days.",
                "Another pack of {drug} to {patient} by refill; if exhausted, a {days} day prescription.",
            ],
        ),
    ),
]

SCENARIO = Scenario(build, POOLS, PATTERNS)
