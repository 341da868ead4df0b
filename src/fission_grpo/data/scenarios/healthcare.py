"""Goal patterns of the clinic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fission_grpo.chat import ToolCall
from fission_grpo.data.scenarios.goals import Goal, Scenario, call, listing
from fission_grpo.data.scenarios.words import Words
from fission_grpo.domains.healthcare import REASONS, SPECIALISTS, Healthcare, Patient, Slot

POOLS = {
    "drugs": [
        "ibuprofen", "metformin", "amoxicillin", "loratadine", "lisinopril", "naproxen", "codeine", "doxycycline",
        "aspirin", "atorvastatin", "cetirizine", "ramipril", "tramadol", "omeprazole", "warfarin", "sertraline",
        "paracetamol", "diclofenac", "bisoprolol", "azithromycin", "simvastatin", "prednisone", "salbutamol",
        "clarithromycin", "furosemide", "gabapentin", "losartan", "penicillin", "pantoprazole", "levothyroxine",
        "citalopram", "fluoxetine", "amlodipine", "morphine", "cefuroxime", "montelukast", "propranolol", "insulin",
        "nitrofurantoin", "erythromycin", "tamsulosin", "hydrocortisone", "ciprofloxacin", "valsartan", "digoxin",
        "mirtazapine", "rivaroxaban", "famotidine",
    ],
    "cities": [
        "Bergen", "Porto", "Leeds", "Ghent", "Lyon", "Turin", "Malmo", "Graz", "Cork", "Basel", "Aarhus", "Zadar",
        "Tampere", "Utrecht", "Brno", "Girona", "Dresden", "Varna", "Gdansk", "Patras", "Nantes", "Cardiff", "Parma",
        "Linz",
    ],
}  # fmt: skip


def build(words: Words) -> Healthcare:
    """A random clinic of the split's people; a large one has a long day."""
    names = dict.fromkeys(words.people(6)) if not words.large else dict.fromkeys(words.people(12) + words.people(12))
    return Healthcare.populate(
        words.rng,
        names=list(names),
        drugs=words.sample("drugs", 11),
        cities=words.pools["cities"],
        dates=words.dates(3),
        times=words.times(20, "08:00", "18:00", 5),
        ids=words.ids,
        counters=[words.counter(), words.counter()],
        busy=words.large,
    )


SCENARIO = Scenario(Healthcare, build, POOLS, language=Path(__file__).with_suffix(".toml"))


def _patients(clinic: Healthcare, words: Words, count: int) -> list[tuple[str, Patient]]:
    """Some patients with their ids."""
    return words.choose(list(clinic.state.patients.items()), count)


def _allowed(clinic: Healthcare, patient: str, slot: Slot) -> bool:
    """Whether the patient could book the slot, as far as referrals and other appointments go."""
    referred = clinic.state.doctors[slot.doctor_id] in ("general", *clinic.state.patients[patient].referrals)
    return referred and _unclashing(clinic, patient, slot)


def _unclashing(clinic: Healthcare, patient: str | None, slot: Slot) -> bool:
    return all((other.patient_id, other.date) != (patient, slot.date) for other in clinic.state.slots)


def _free(clinic: Healthcare) -> list[Slot]:
    return [slot for slot in clinic.state.slots if slot.appointment is None]


def _booked(clinic: Healthcare) -> list[Slot]:
    return [slot for slot in clinic.state.slots if slot.appointment is not None]


def _open_at(clinic: Healthcare, specialty: str, date: str) -> list[Slot]:
    """The free slots that `list_slots` would show."""
    return [slot for slot in _free(clinic) if slot.date == date and clinic.state.doctors[slot.doctor_id] == specialty]


def _earliest(clinic: Healthcare, words: Words, specialties: list[str]) -> Slot | None:
    """The one earliest of two or more free slots of some specialty and day, that nothing but listing them reveals."""
    date, specialty = words.rng.choice(clinic.state.slots).date, words.rng.choice(specialties)
    offered = _open_at(clinic, specialty, date)
    if len(offered) < 2 or offered[0].time == offered[1].time:
        return None
    first = offered[0]
    alike = [slot for slot in clinic.state.slots if slot.time == first.time and slot is not first]
    told = any(first.date == slot.date or first.doctor_id == slot.doctor_id for slot in alike)
    return None if told else first


def _when(slot: Slot, words: Words) -> dict[str, Any]:
    """Date and time as the user says them; `day` and `clock` as tools write them."""
    said = {"date": words.say_date(slot.date), "time": words.say_time(slot.time)}
    return said | {"day": slot.date, "clock": slot.time}


def _unreferred(clinic: Healthcare, words: Words, seen: bool) -> tuple[str, Slot] | None:
    """A patient, and a specialist's free slot for which only a referral is missing, and a visit if not `seen`."""
    slot = words.rng.choice(_free(clinic))
    specialty = clinic.state.doctors[slot.doctor_id]
    lacking = [
        key
        for key, patient in clinic.state.patients.items()
        if bool(patient.visits) == seen
        and specialty not in ("general", *patient.referrals)
        and _unclashing(clinic, key, slot)
    ]
    return (words.rng.choice(lacking), slot) if lacking else None


def _shown(rows: list[Slot]) -> set[str]:
    """Ids that `list_appointments` reveals."""
    return {text for slot in rows for text in (slot.patient_id, slot.appointment) if text}


def _booking(patient: str, slot: Slot) -> ToolCall:
    return call("book_appointment", patient_id=patient, doctor_id=slot.doctor_id, date=slot.date, time=slot.time)


def _move(clinic: Healthcare, words: Words, booked: Slot) -> tuple[Slot, ToolCall] | None:
    """Another day of the same doctor, on which the patient has nothing else."""
    offered = [
        slot
        for slot in _free(clinic)
        if slot.doctor_id == booked.doctor_id and _unclashing(clinic, booked.patient_id, slot)
    ]
    if not offered:
        return None
    slot = words.rng.choice(offered)
    return slot, call("move_appointment", appointment_id=booked.appointment, date=slot.date, time=slot.time)


def _drugs(patient: Patient) -> set[str]:
    """What the patient's record names."""
    return {*patient.allergies, *patient.prescriptions}


def _prescribable(clinic: Healthcare, words: Words, patient: Patient) -> str:
    """A drug that is new to the patient and tolerated."""
    return words.rng.choice([drug for drug in clinic.state.drugs if drug not in _drugs(patient)])


@SCENARIO.pattern("call")
def show_record(clinic: Healthcare, words: Words) -> Goal | None:
    [(key, patient)] = _patients(clinic, words, 1)
    if not patient.allergies or not patient.prescriptions:
        return None
    values = {
        "patient": key,
        "allergies": listing(patient.allergies),
        "drugs": listing(list(patient.prescriptions)),
        "visits": listing(patient.visits or ["none"]),
        "referrals": listing(list(patient.referrals) or ["none"]),
    }
    return Goal(values, [[call("get_record", patient_id=key)]], shown={*patient.allergies, *patient.prescriptions})


@SCENARIO.pattern("call")
def log_visit(clinic: Healthcare, words: Words) -> Goal | None:
    [(key, _)], reason = _patients(clinic, words, 1), words.rng.choice(REASONS)
    values = {"patient": key, "reason": reason}
    return Goal(values, [[call("record_visit", patient_id=key, reason=reason)]])


@SCENARIO.pattern("call")
def free_slots(clinic: Healthcare, words: Words) -> Goal | None:
    slot = words.rng.choice(_free(clinic))
    specialty = clinic.state.doctors[slot.doctor_id]
    times = listing([f"{other.time} ({other.doctor_id})" for other in _open_at(clinic, specialty, slot.date)])
    values = {"specialty": specialty, "date": words.say_date(slot.date), "times": times}
    step = [call("list_slots", specialty=specialty, date=slot.date)]
    return Goal(values, [step], shown={slot.date})


@SCENARIO.pattern("call")
def register_new(clinic: Healthcare, words: Words) -> Goal | None:
    [name], [phone], city = words.people(1), words.ids("555-", 1), words.pick("cities")
    allergies = words.choose(clinic.state.drugs, words.rng.choice([1, 2]))
    if name in (patient.name for patient in clinic.state.patients.values()):
        return None
    values = {"name": name, "phone": phone, "city": city, "allergies": listing(allergies)}
    contact = {"phone": phone, "city": city}
    step = [call("register_patient", name=name, contact=contact, allergies=allergies)]
    return Goal(values | {"patient": f"P{clinic.state.next_patient}"}, [step])


@SCENARIO.pattern("call")
def reschedule(clinic: Healthcare, words: Words) -> Goal | None:
    booked = words.rng.choice(_booked(clinic))
    moved = _move(clinic, words, booked)
    if moved is None:
        return None
    values = {"appointment": booked.appointment, "doctor": booked.doctor_id} | _when(moved[0], words)
    return Goal(values, [[moved[1]]])


@SCENARIO.pattern("parallel")
def two_prescriptions(clinic: Healthcare, words: Words) -> Goal | None:
    (first, one), (second, other) = _patients(clinic, words, 2)
    drug, second_drug = _prescribable(clinic, words, one), _prescribable(clinic, words, other)
    if drug == second_drug:
        return None
    days, second_days = words.numbers(2, 5, 90)
    step = [
        call("prescribe", patient_id=first, drug=drug, days=days),
        call("prescribe", patient_id=second, drug=second_drug, days=second_days),
    ]
    values = {"first": first, "drug": drug, "days": days}
    return Goal(values | {"second": second, "second_drug": second_drug, "second_days": second_days}, [step])


@SCENARIO.pattern("parallel")
def cancel_and_refer(clinic: Healthcare, words: Words) -> Goal | None:
    booked, specialty = words.rng.choice(_booked(clinic)), words.rng.choice(SPECIALISTS)
    [(key, patient)] = _patients(clinic, words, 1)
    if key == booked.patient_id or not patient.visits or specialty in patient.referrals:
        return None
    priority = words.rng.choice(["routine", "urgent"])
    asked = {"priority": priority} if priority == "urgent" else {}
    step = [
        call("cancel_appointment", appointment_id=booked.appointment),
        call("refer_patient", patient_id=key, specialty=specialty, **asked),
    ]
    values = {"appointment": booked.appointment, "patient": key, "specialty": specialty, "priority": priority}
    return Goal(values, [step])


@SCENARIO.pattern("chained")
def visit_by_name(clinic: Healthcare, words: Words) -> Goal | None:
    [(key, patient)], reason = _patients(clinic, words, 1), words.rng.choice(REASONS)
    steps = [[call("find_patient", name=patient.name)], [call("record_visit", patient_id=key, reason=reason)]]
    return Goal({"name": patient.name, "reason": reason}, steps, shown={key})


@SCENARIO.pattern("chained")
def book_first(clinic: Healthcare, words: Words) -> Goal | None:
    [(key, patient)] = _patients(clinic, words, 1)
    slot = _earliest(clinic, words, ["general", *patient.referrals])
    if slot is None or not _allowed(clinic, key, slot):
        return None
    specialty = clinic.state.doctors[slot.doctor_id]
    steps = [[call("list_slots", specialty=specialty, date=slot.date)], [_booking(key, slot)]]
    values = {"patient": key, "specialty": specialty, "doctor": slot.doctor_id} | _when(slot, words)
    return Goal(values | {"appointment": f"A{clinic.state.next_appointment}"}, steps)


@SCENARIO.pattern("chained")
def cancel_that_day(clinic: Healthcare, words: Words) -> Goal | None:
    booked = words.rng.choice(_booked(clinic))
    rows = [slot for slot in _booked(clinic) if slot.date == booked.date]
    if len(rows) < 2 or [slot.patient_id for slot in rows].count(booked.patient_id) > 1:
        return None
    steps = [
        [call("list_appointments", date=booked.date)],
        [call("cancel_appointment", appointment_id=booked.appointment)],
    ]
    values = {"patient": booked.patient_id, "appointment": booked.appointment, "doctor": booked.doctor_id}
    return Goal(values | _when(booked, words), steps, shown=_shown(rows))


@SCENARIO.pattern("precondition")
def refill_unseen(clinic: Healthcare, words: Words) -> Goal | None:
    refillable = [
        (key, patient, drug)
        for key, patient in clinic.state.patients.items()
        for drug, given in patient.prescriptions.items()
        if given.refills and not patient.visits
    ]
    if not refillable:
        return None
    (key, patient, drug), reason = words.rng.choice(refillable), words.rng.choice(REASONS)
    steps = [
        [call("find_patient", name=patient.name)],
        [call("record_visit", patient_id=key, reason=reason)],
        [call("refill", patient_id=key, drug=drug)],
    ]
    left = patient.prescriptions[drug].refills - 1
    return Goal({"name": patient.name, "drug": drug, "reason": reason, "left": left}, steps, shown={key})


@SCENARIO.pattern("precondition")
def book_unreferred(clinic: Healthcare, words: Words) -> Goal | None:
    drawn = _unreferred(clinic, words, seen=True)
    if drawn is None:
        return None
    key, slot = drawn
    specialty = clinic.state.doctors[slot.doctor_id]
    steps = [[call("refer_patient", patient_id=key, specialty=specialty)], [_booking(key, slot)]]
    values = {"patient": key, "specialty": specialty, "doctor": slot.doctor_id} | _when(slot, words)
    return Goal(values | {"appointment": f"A{clinic.state.next_appointment}"}, steps)


@SCENARIO.pattern("call", after="log_visit")
def refill_too(clinic: Healthcare, words: Words, past: Goal) -> Goal | None:
    key = past.values["patient"]
    refillable = [drug for drug, given in clinic.state.patients[key].prescriptions.items() if given.refills]
    if not refillable:
        return None
    drug = words.rng.choice(refillable)
    values = {"drug": drug, "left": clinic.state.patients[key].prescriptions[drug].refills - 1}
    return Goal(values, [[call("refill", patient_id=key, drug=drug)]])


@SCENARIO.pattern("call", after="book_first")
def move_booking(clinic: Healthcare, words: Words, past: Goal) -> Goal | None:
    booked = next(slot for slot in clinic.state.slots if slot.appointment == past.values["appointment"])
    moved = _move(clinic, words, booked)
    return moved and Goal({"doctor": booked.doctor_id} | _when(moved[0], words), [[moved[1]]])


@SCENARIO.pattern("call", test_only=True)
def book_known(clinic: Healthcare, words: Words) -> Goal | None:
    [(key, _)], slot = _patients(clinic, words, 1), words.rng.choice(_free(clinic))
    if not _allowed(clinic, key, slot):
        return None
    values = {"patient": key, "doctor": slot.doctor_id, "appointment": f"A{clinic.state.next_appointment}"}
    return Goal(values | _when(slot, words), [[_booking(key, slot)]])


@SCENARIO.pattern("parallel", test_only=True)
def log_and_move(clinic: Healthcare, words: Words) -> Goal | None:
    [(key, _)], booked = _patients(clinic, words, 1), words.rng.choice(_booked(clinic))
    moved, reason = _move(clinic, words, booked), words.rng.choice(REASONS)
    if moved is None or key == booked.patient_id:
        return None
    values = {"patient": key, "reason": reason, "appointment": booked.appointment} | _when(moved[0], words)
    return Goal(values, [[call("record_visit", patient_id=key, reason=reason), moved[1]]])


@SCENARIO.pattern("chained", test_only=True)
def register_and_book(clinic: Healthcare, words: Words) -> Goal | None:
    registered, slot = register_new(clinic, words), _earliest(clinic, words, ["general"])
    if registered is None or slot is None:
        return None
    lookup = call("list_slots", specialty="general", date=slot.date)
    steps = [[*registered.steps[0], lookup], [_booking(registered.values["patient"], slot)]]
    return Goal(registered.values | _when(slot, words) | {"doctor": slot.doctor_id}, steps)


@SCENARIO.pattern("chained", test_only=True)
def clear_doctor(clinic: Healthcare, words: Words) -> Goal | None:
    pairs = [(slot.doctor_id, slot.date) for slot in _booked(clinic)]
    several = [slot for slot in _booked(clinic) if pairs.count((slot.doctor_id, slot.date)) > 1]
    booked = words.rng.choice(several or _booked(clinic))
    day = [slot for slot in _booked(clinic) if slot.date == booked.date]
    rows = [slot for slot in day if slot.doctor_id == booked.doctor_id]
    if len(rows) == len(day) or len(rows) > 4:
        return None
    steps = [
        [call("list_appointments", date=booked.date)],
        [call("cancel_appointment", appointment_id=slot.appointment) for slot in rows],
    ]
    cancelled = [slot.appointment for slot in rows if slot.appointment]
    values = {"doctor": booked.doctor_id, "date": words.say_date(booked.date), "cancelled": listing(cancelled)}
    return Goal(values, steps, shown={booked.date, *_shown(day)})


@SCENARIO.pattern("precondition", test_only=True)
def renew_all(clinic: Healthcare, words: Words) -> Goal | None:
    [(key, patient)], days = _patients(clinic, words, 1), words.number(5, 90)
    spent = [drug for drug, given in patient.prescriptions.items() if not given.refills]
    others = [other for other in clinic.state.patients.values() if other is not patient]
    if not patient.visits or not spent or any(patient.prescriptions.keys() <= _drugs(other) for other in others):
        return None
    step = [
        call("prescribe", patient_id=key, drug=drug, days=days)
        if drug in spent
        else call("refill", patient_id=key, drug=drug)
        for drug in patient.prescriptions
    ]
    drugs = listing(list(patient.prescriptions))
    values = {"patient": key, "days": days, "drugs": drugs, "spent": listing(spent)}
    return Goal(values, [[call("get_record", patient_id=key)], step])


@SCENARIO.pattern("precondition", test_only=True)
def first_referral(clinic: Healthcare, words: Words) -> Goal | None:
    drawn = _unreferred(clinic, words, seen=False)
    if drawn is None:
        return None
    key, slot = drawn
    name, reason = clinic.state.patients[key].name, words.rng.choice(REASONS)
    specialty = clinic.state.doctors[slot.doctor_id]
    steps = [
        [call("find_patient", name=name)],
        [call("record_visit", patient_id=key, reason=reason)],
        [call("refer_patient", patient_id=key, specialty=specialty)],
        [_booking(key, slot)],
    ]
    values = {"name": name, "reason": reason, "specialty": specialty, "doctor": slot.doctor_id}
    return Goal(values | _when(slot, words), steps, shown={key})


@SCENARIO.pattern("call", test_only=True, after="book_known")
def book_companion(clinic: Healthcare, words: Words, past: Goal) -> Goal | None:
    offered = [
        (key, slot)
        for slot in _free(clinic)
        for key in clinic.state.patients
        if (slot.doctor_id, slot.date) == (past.values["doctor"], past.values["day"]) and _allowed(clinic, key, slot)
    ]
    if not offered:
        return None
    key, slot = words.rng.choice(offered)
    values = {"patient": key, "time": words.say_time(slot.time), "doctor": slot.doctor_id, "date": past.values["date"]}
    return Goal(values | {"appointment": f"A{clinic.state.next_appointment}"}, [[_booking(key, slot)]])
