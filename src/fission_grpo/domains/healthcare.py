"""A clinic's desk: patients and their records, slots and appointments, prescriptions."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import date as Date
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field

from fission_grpo.domains.base import Domain, ToolError

Specialty = Literal["cardiology", "dermatology", "neurology", "pediatrics"]
SPECIALTIES: tuple[Specialty, ...] = get_args(Specialty)


class Patient(BaseModel):
    """A patient's record."""

    name: str
    allergies: list[str]
    visits: list[str]
    refills: dict[str, int]
    """Drug to refills left."""


class Slot(BaseModel):
    """A doctor's half hour; `appointment` is the id of what is booked, None when free."""

    doctor_id: str
    specialty: Specialty
    date: str
    time: str
    patient_id: str | None = None
    appointment: str | None = None


class ClinicState(BaseModel):
    """The whole clinic."""

    patients: dict[str, Patient]
    slots: list[Slot]
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
            names=["Anna Weber", "Omar Haddad", "Lucy Chen", "Paul Novak"],
            drugs=["ibuprofen", "metformin", "amoxicillin", "loratadine"],
            dates=["2026-03-02", "2026-03-09", "2026-04-01"],
            times=["08:30", "09:00", "10:30", "14:00", "15:30"],
            numbers=range(1000, 10000),
        )

    @classmethod
    def populate(
        cls,
        rng: random.Random,
        names: Sequence[str],
        drugs: Sequence[str],
        dates: Sequence[str],
        times: Sequence[str],
        numbers: Sequence[int],
    ) -> Self:
        """A random clinic of the given names: a doctor per specialty, three slots each a date; ids from `numbers`."""
        ids = [f"P{number}" for number in rng.sample(numbers, len(names))]
        doctors = dict(
            zip(
                SPECIALTIES,
                (f"D{number}" for number in rng.sample(sorted({number // 100 for number in numbers}), 4)),
                strict=True,
            )
        )
        slots = [
            Slot(doctor_id=doctor, specialty=specialty, date=date, time=time)
            for specialty, doctor in doctors.items()
            for date in dates
            for time in sorted(rng.sample(times, 3))
        ]
        first = rng.choice(numbers) // 10
        booked = rng.sample(slots, len(ids))
        for number, (slot, patient) in enumerate(zip(booked, ids, strict=True), start=first):
            slot.patient_id, slot.appointment = patient, f"A{number}"
        patients = {key: _random_patient(rng, name, drugs) for key, name in zip(ids, names, strict=True)}
        return cls(ClinicState(patients=patients, slots=slots, next_appointment=first + len(ids)))

    def find_patient(self, name: str) -> dict[str, Any]:
        """Look up a patient's id.

        Args:
            name: Full name.
        """
        wanted = name.strip().lower()
        for key, patient in self.state.patients.items():
            if patient.name.lower() == wanted:
                return {"patient_id": key, "name": patient.name}
        raise ToolError(f"find_patient: no patient named '{name}'")

    def get_record(self, patient_id: str) -> dict[str, Any]:
        """Show allergies, visits, refills and appointments.

        Args:
            patient_id: Id from find_patient.
        """
        patient = self._patient("get_record", patient_id)
        booked = [slot.appointment for slot in self.state.slots if slot.patient_id == patient_id]
        return patient.model_dump(exclude={"name"}) | {"appointments": booked}

    def list_slots(self, specialty: Specialty, date: str) -> list[dict[str, Any]]:
        """List free slots.

        Args:
            specialty: Medical specialty.
            date: YYYY-MM-DD.
        """
        _check_date("list_slots", date)
        return [
            {"doctor_id": slot.doctor_id, "time": slot.time}
            for slot in self.state.slots
            if (slot.specialty, slot.date, slot.appointment) == (specialty, date, None)
        ]

    def book_appointment(self, patient_id: str, doctor_id: str, date: str, time: str) -> dict[str, Any]:
        """Book a free slot.

        Args:
            patient_id: Id from find_patient.
            doctor_id: Id from list_slots.
            date: YYYY-MM-DD.
            time: HH:MM.
        """
        self._patient("book_appointment", patient_id)
        _check_date("book_appointment", date)
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", time):
            raise ToolError(f"book_appointment: time must be HH:MM (24 hours), got '{time}'")
        offered = [slot for slot in self.state.slots if slot.doctor_id == doctor_id]
        if not offered:
            raise ToolError(f"book_appointment: unknown doctor_id '{doctor_id}'; ids look like D12")
        free = [slot for slot in offered if slot.date == date and slot.appointment is None]
        slot = next((slot for slot in free if slot.time == time), None)
        if slot is None:
            times = ", ".join(slot.time for slot in free) or "none"
            raise ToolError(f"book_appointment: {doctor_id} is not free on {date} at {time}; free: {times}")
        slot.patient_id, slot.appointment = patient_id, f"A{self.state.next_appointment}"
        self.state.next_appointment += 1
        return {"appointment_id": slot.appointment}

    def cancel_appointment(self, appointment_id: str) -> dict[str, Any]:
        """Cancel an appointment.

        Args:
            appointment_id: Id such as A123.
        """
        slot = next((slot for slot in self.state.slots if slot.appointment == appointment_id), None)
        if slot is None or slot.appointment is None:
            raise ToolError(f"cancel_appointment: no appointment '{appointment_id}'; ids look like A123")
        slot.patient_id = slot.appointment = None
        return {"cancelled": appointment_id}

    def record_visit(
        self, patient_id: str, reason: Literal["checkup", "follow-up", "injury", "vaccination"]
    ) -> dict[str, Any]:
        """Record today's visit.

        Args:
            patient_id: Id from find_patient.
            reason: Reason of the visit.
        """
        patient = self._patient("record_visit", patient_id)
        patient.visits.append(reason)
        return {"visits": len(patient.visits)}

    def prescribe(self, patient_id: str, drug: str, days: Annotated[int, Field(ge=1, le=90)]) -> dict[str, Any]:
        """Prescribe a drug. Refused when allergic.

        Args:
            patient_id: Id from find_patient.
            drug: Drug name.
            days: Length of treatment.
        """
        patient = self._patient("prescribe", patient_id)
        if not drug.strip():
            raise ToolError("prescribe: drug must not be empty")
        if drug.lower() in patient.allergies:
            raise ToolError(f"prescribe: {patient_id} has a recorded allergy to {drug}")
        patient.refills[drug.lower()] = 2
        return {"drug": drug.lower(), "days": days, "refills": 2}

    def refill(self, patient_id: str, drug: str) -> dict[str, Any]:
        """Refill a drug. Requires a recorded visit.

        Args:
            patient_id: Id from find_patient.
            drug: Drug name.
        """
        patient = self._patient("refill", patient_id)
        left = patient.refills.get(drug.lower())
        if left is None:
            known = ", ".join(patient.refills) or "none"
            raise ToolError(f"refill: {patient_id} has no prescription for '{drug}'; prescriptions: {known}")
        if left == 0:
            raise ToolError(f"refill: no refills left for {drug}; a new prescription is needed")
        if not patient.visits:
            raise ToolError(f"refill: no visit on record for {patient_id}")
        patient.refills[drug.lower()] = left - 1
        return {"drug": drug.lower(), "refills_left": left - 1}

    def _patient(self, tool: str, patient_id: str) -> Patient:
        if not re.fullmatch(r"P\d{4}", patient_id):
            raise ToolError(f"{tool}: patient_id must look like P1234, got '{patient_id}'")
        if patient_id not in self.state.patients:
            raise ToolError(f"{tool}: no patient with id '{patient_id}'")
        found: Patient = self.state.patients[patient_id]
        return found


def _random_patient(rng: random.Random, name: str, drugs: Sequence[str]) -> Patient:
    """Allergic to one drug, on two others; half of all patients have never been seen."""
    allergy, *taken = rng.sample(drugs, 3)
    return Patient(
        name=name,
        allergies=[allergy],
        visits=["checkup"] if rng.random() < 0.5 else [],
        refills={drug: rng.choice([0, 1, 2]) for drug in taken},
    )


def _check_date(tool: str, date: str) -> None:
    try:
        valid = Date.fromisoformat(date).isoformat() == date
    except ValueError:
        valid = False
    if not valid:
        raise ToolError(f"{tool}: date must be YYYY-MM-DD, got '{date}'")
