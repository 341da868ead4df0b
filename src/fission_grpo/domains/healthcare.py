"""A clinic's desk: patients and their records, referrals, slots and appointments, prescriptions."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.arguments import clock_time, each_once, filled, iso_date, known, named, phone_number, spelled
from fission_grpo.domains.base import Argument, Domain, ToolError

Specialist = Literal["cardiology", "dermatology", "neurology"]
SPECIALISTS: tuple[Specialist, ...] = get_args(Specialist)
Specialty = Literal["general", "cardiology", "dermatology", "neurology"]
Priority = Literal["routine", "urgent"]
Reason = Literal["checkup", "follow-up", "injury", "vaccination"]
REASONS: tuple[Reason, ...] = get_args(Reason)
REFILLS = 2
"""Refills that come with a prescription."""


class Contact(Argument):
    """How to reach a patient."""

    phone: str
    city: str


class Prescription(BaseModel):
    """What a patient takes, and how often it may be refilled."""

    days: int
    refills: int


class Patient(BaseModel):
    """A patient's record."""

    name: str
    contact: Contact
    allergies: list[str] = []
    visits: list[Reason] = []
    referrals: dict[Specialist, Priority] = {}
    prescriptions: dict[str, Prescription] = {}


class Slot(BaseModel):
    """A doctor's quarter of an hour; `appointment` is the id of what is booked, None when free."""

    doctor_id: str
    date: str
    time: str
    patient_id: str | None = None
    appointment: str | None = None


class ClinicState(BaseModel):
    """The whole clinic."""

    drugs: list[str]
    """All that may be prescribed."""
    doctors: dict[str, Specialty]
    patients: dict[str, Patient]
    slots: list[Slot]
    """In order of date and time."""
    next_patient: int
    next_appointment: int


class Healthcare(Domain):
    """The clinic."""

    name = "healthcare"
    State = ClinicState

    @classmethod
    def fresh(cls, seed: int) -> Self:
        """A random clinic with everyday names."""
        rng = random.Random(seed)  # noqa: S311
        return cls.populate(
            rng,
            names=["Anna Weber", "Omar Haddad", "Lucy Chen", "Paul Novak", "Grace Okafor"],
            drugs=["ibuprofen", "metformin", "amoxicillin", "loratadine", "lisinopril"],
            cities=["Bergen", "Porto", "Leeds"],
            dates=["2026-03-02", "2026-03-09", "2026-04-01"],
            times=["08:30", "09:00", "10:30", "14:00", "15:30"],
            ids=lambda prefix, count, digits: [
                f"{prefix}{number}" for number in rng.sample(range(10 ** (digits - 1), 10**digits), count)
            ],
            counters=[41250, 63170],
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        names: Sequence[str],
        drugs: Sequence[str],
        cities: Sequence[str],
        dates: Sequence[str],
        times: Sequence[str],
        ids: Callable[[str, int, int], list[str]],
        counters: Sequence[int],
        busy: bool = False,
    ) -> Self:
        """A random clinic: every patient has an appointment; `ids` draws by prefix, count and digits.

        A busy clinic has most of its slots, and all appointments, on the first date.
        """
        specialties: list[Specialty] = ["general", "general", *SPECIALISTS]
        doctors = dict(zip(ids("D", 5, 3), specialties, strict=True))
        slots = [
            Slot(doctor_id=doctor, date=date, time=time)
            for date in dates
            for doctor in doctors
            for time in rng.sample(times, 9 if busy and date == dates[0] else 2)
        ]
        slots.sort(key=lambda slot: (slot.date, slot.time))
        patients = {}
        booked = rng.sample([slot for slot in slots if slot.date == dates[0] or not busy], len(names))
        for name, slot, key, appointment in zip(
            names, booked, ids("P", len(names), 4), ids("A", len(names), 4), strict=True
        ):
            slot.patient_id, slot.appointment = key, appointment
            contact = Contact(phone=ids("555-", 1, 4)[0], city=rng.choice(cities))
            patients[key] = _random_patient(rng, name, contact, drugs, doctors[slot.doctor_id])
        return cls(
            ClinicState(
                drugs=list(drugs),
                doctors=doctors,
                patients=patients,
                slots=slots,
                next_patient=counters[0],
                next_appointment=counters[1],
            )
        )

    def find_patient(self, name: str) -> dict[str, Any]:
        """Find a patient's id.

        Args:
            name: Full name.
        """
        key, _ = named("find_patient", "patient", self.state.patients, name)
        return {"patient_id": key}

    def register_patient(self, name: str, contact: Contact, allergies: list[str]) -> dict[str, Any]:
        """Register a patient.

        Args:
            name: Full name.
            contact: Phone as 555-0123, city.
            allergies: Drugs, [] for none.
        """
        if len(name.split()) < 2:
            raise ToolError(f"register_patient: name must be first and last name, got '{name}'")
        ids = {patient.name: key for key, patient in self.state.patients.items()}
        if again := spelled(name, ids):
            raise ToolError(f"register_patient: '{name}' is already registered as {ids[again]}")
        phone_number("register_patient", "contact.phone", contact.phone)
        filled("register_patient", "contact.city", contact.city)
        drugs = sorted(self._drug("register_patient", drug) for drug in allergies)
        if drugs:
            each_once("register_patient", "allergies", drugs)
        key = self._new_id("P", "next_patient", self.state.patients)
        self.state.patients[key] = Patient(name=" ".join(name.split()), contact=contact, allergies=drugs)
        return {"patient_id": key}

    def get_record(self, patient_id: str) -> dict[str, Any]:
        """Show allergies, visits, referrals, prescriptions.

        Args:
            patient_id: Such as P1234.
        """
        patient = self._patient("get_record", patient_id)
        return patient.model_dump(include={"allergies", "visits", "referrals", "prescriptions"})

    def record_visit(self, patient_id: str, reason: Reason) -> dict[str, Any]:
        """Record a visit.

        Args:
            patient_id: Such as P1234.
            reason: Why.
        """
        patient = self._patient("record_visit", patient_id)
        patient.visits.append(reason)
        return {"visits": len(patient.visits)}

    def refer_patient(self, patient_id: str, specialty: Specialist, priority: Priority = "routine") -> dict[str, Any]:
        """Refer to a specialist. Requires a visit.

        Args:
            patient_id: Such as P1234.
            specialty: Specialty.
            priority: How soon.
        """
        patient = self._patient("refer_patient", patient_id)
        if specialty in patient.referrals:
            raise ToolError(f"refer_patient: {patient_id} already has a referral to {specialty}")
        if not patient.visits:
            raise ToolError(f"refer_patient: no visit on record for {patient_id}")
        patient.referrals[specialty] = priority
        return {"referrals": dict(patient.referrals)}

    def list_slots(self, specialty: Specialty, date: str) -> list[dict[str, Any]]:
        """List free slots.

        Args:
            specialty: Specialty.
            date: YYYY-MM-DD.
        """
        iso_date("list_slots", "date", date)
        return [
            {"doctor_id": slot.doctor_id, "time": slot.time}
            for slot in self.state.slots
            if (slot.date, slot.appointment, self.state.doctors[slot.doctor_id]) == (date, None, specialty)
        ]

    def list_appointments(self, date: str) -> list[dict[str, Any]]:
        """List appointments.

        Args:
            date: YYYY-MM-DD.
        """
        iso_date("list_appointments", "date", date)
        return [
            {"appointment_id": slot.appointment, **slot.model_dump(include={"patient_id", "doctor_id", "time"})}
            for slot in self.state.slots
            if slot.date == date and slot.appointment is not None
        ]

    def book_appointment(self, patient_id: str, doctor_id: str, date: str, time: str) -> dict[str, Any]:
        """Book a free slot. Specialists require referral.

        Args:
            patient_id: Such as P1234.
            doctor_id: Such as D123.
            date: YYYY-MM-DD.
            time: HH:MM.
        """
        patient = self._patient("book_appointment", patient_id)
        specialty = known(
            "book_appointment", "doctor", self.state.doctors, doctor_id, "list_slots gives ids such as D123"
        )
        slot = self._free("book_appointment", patient_id, doctor_id, date, time)
        if specialty not in ("general", *patient.referrals):
            raise ToolError(f"book_appointment: {patient_id} has no referral to {specialty}")
        booked = {slot.appointment for slot in self.state.slots}
        slot.patient_id, slot.appointment = patient_id, self._new_id("A", "next_appointment", booked)
        return {"appointment_id": slot.appointment}

    def move_appointment(self, appointment_id: str, date: str, time: str) -> dict[str, Any]:
        """Move within the doctor's slots.

        Args:
            appointment_id: Such as A1234.
            date: YYYY-MM-DD.
            time: HH:MM.
        """
        old = self._booked("move_appointment", appointment_id)
        new = self._free("move_appointment", old.patient_id, old.doctor_id, date, time, moved=appointment_id)
        new.patient_id, new.appointment = old.patient_id, appointment_id
        old.patient_id = old.appointment = None
        return {"appointment_id": appointment_id, "doctor_id": new.doctor_id, "date": date, "time": time}

    def cancel_appointment(self, appointment_id: str) -> dict[str, Any]:
        """Cancel an appointment.

        Args:
            appointment_id: Such as A1234.
        """
        slot = self._booked("cancel_appointment", appointment_id)
        slot.patient_id = slot.appointment = None
        return {"cancelled": appointment_id}

    def prescribe(self, patient_id: str, drug: str, days: Annotated[int, Field(ge=1, le=90)]) -> dict[str, Any]:
        """Prescribe a drug. Refused if allergic or refillable.

        Args:
            patient_id: Such as P1234.
            drug: Name.
            days: Duration.
        """
        patient, drug = self._patient("prescribe", patient_id), self._drug("prescribe", drug)
        if drug in patient.allergies:
            raise ToolError(f"prescribe: {patient_id} has a recorded allergy to {drug}")
        given = patient.prescriptions.get(drug)
        if given is not None and given.refills:
            raise ToolError(f"prescribe: {patient_id} still has {given.refills} refills of {drug}; use refill")
        patient.prescriptions[drug] = Prescription(days=days, refills=REFILLS)
        return {"drug": drug, "days": days, "refills": REFILLS}

    def refill(self, patient_id: str, drug: str) -> dict[str, Any]:
        """Refill a drug. Requires a visit.

        Args:
            patient_id: Such as P1234.
            drug: Name.
        """
        patient, drug = self._patient("refill", patient_id), self._drug("refill", drug)
        given = patient.prescriptions.get(drug)
        if given is None:
            drugs = ", ".join(patient.prescriptions) or "none"
            raise ToolError(f"refill: {patient_id} has no prescription for {drug}; prescriptions: {drugs}")
        if not given.refills:
            raise ToolError(f"refill: no refills of {drug} left for {patient_id}; a new prescription is needed")
        if not patient.visits:
            raise ToolError(f"refill: no visit on record for {patient_id}")
        given.refills -= 1
        return {"drug": drug, "refills_left": given.refills}

    def _patient(self, tool: str, patient_id: str) -> Patient:
        if not re.fullmatch(r"P[0-9]{4,5}", patient_id):
            raise ToolError(f"{tool}: patient_id must look like P1234, got '{patient_id}'")
        return known(tool, "patient", self.state.patients, patient_id, "find_patient gives ids")

    def _drug(self, tool: str, drug: str) -> str:
        """A drug as the clinic writes it."""
        written = spelled(drug, self.state.drugs)
        if written is None:
            raise ToolError(f"{tool}: unknown drug '{drug}'")
        return written

    def _booked(self, tool: str, appointment_id: str) -> Slot:
        for slot in self.state.slots:
            if slot.appointment == appointment_id:
                found: Slot = slot
                return found
        raise ToolError(f"{tool}: no appointment '{appointment_id}'; list_appointments gives ids such as A1234")

    def _free(
        self, tool: str, patient_id: str | None, doctor_id: str, date: str, time: str, moved: str | None = None
    ) -> Slot:
        """The doctor's free slot at which the patient has no other appointment than the one `moved`."""
        iso_date(tool, "date", date)
        clock_time(tool, "time", time)
        day = [slot for slot in self.state.slots if slot.date == date]
        free = [slot for slot in day if slot.doctor_id == doctor_id and slot.appointment is None]
        slot = next((slot for slot in free if slot.time == time), None)
        if slot is None:
            times = ", ".join(slot.time for slot in free) or "none"
            raise ToolError(f"{tool}: {doctor_id} is not free on {date} at {time}; free: {times}")
        for other in day:
            if (other.patient_id, other.time) == (patient_id, time) and other.appointment != moved:
                raise ToolError(f"{tool}: {patient_id} already has {other.appointment} on {date} at {time}")
        return slot


def _random_patient(
    rng: random.Random, name: str, contact: Contact, drugs: Sequence[str], booked: Specialty
) -> Patient:
    """Allergic to one drug, on two others; most who are booked with no specialist have never been seen."""
    allergy, *taken = rng.sample(drugs, 3)
    seen = booked != "general" or rng.random() < 0.4
    referred = {booked, rng.choice(SPECIALISTS)} if seen else set()
    return Patient(
        name=name,
        contact=contact,
        allergies=[allergy],
        visits=[rng.choice(REASONS)] if seen else [],
        referrals={specialty: "routine" for specialty in SPECIALISTS if specialty in referred},
        prescriptions={
            drug: Prescription(days=10 * rng.randrange(1, 7), refills=rng.choice([0, 1, 2])) for drug in taken
        },
    )
