"""What a dialogue has made known so far: whether a value stands in it, and which values do."""

from __future__ import annotations

import json
import re
from calendar import month_name
from collections.abc import Iterable, Iterator
from typing import Any

MONTHS = [name.casefold() for name in month_name[1:]]
NUMBERS = {
    "zero": 0.0, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "six": 6.0, "seven": 7.0, "eight": 8.0,
    "nine": 9.0, "ten": 10.0,
}  # fmt: skip

_MONTH = "|".join(MONTHS)
_DATES = re.compile(rf"\b(?:({_MONTH}) (\d{{1,2}})|(\d{{1,2}}) ({_MONTH})),? (\d{{4}})\b")
_TIMES = re.compile(r"\b(\d{1,2}):(\d\d) (am|pm)\b")
_NUMBER = re.compile(r"(?<![\w.-])(?<!\d:)-?\d+(?:\.\d+)?(?!\w*\d|[a-z]{4}|_|-\d|:\d)")
"""Numbers, with or without a short unit, that are no part of an id, a date or a time."""


class Visible:
    """The text of a dialogue up to a point. Case does not count, and spoken dates and times are known as ISO too."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._text = ""
        self._numbers: set[float] = set()
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Makes one more message known."""
        said = text.casefold()
        said = "\n".join([said, *_iso_dates(said), *_iso_times(said)])
        self._text += "\n" + said
        self._numbers |= set(map(float, _NUMBER.findall(said)))
        self._numbers |= {NUMBERS[word] for word in re.findall(r"[a-z]+", said) if word in NUMBERS}

    def copy(self) -> Visible:
        """The same knowledge, to be extended apart."""
        twin = Visible()
        twin._text, twin._numbers = self._text, set(self._numbers)
        return twin

    def knows(self, value: Any) -> bool:
        """Whether a JSON value stands in the dialogue; of lists and objects, whether all their parts do."""
        if isinstance(value, bool) or value is None:
            return True
        if isinstance(value, int | float):
            return float(value) in self._numbers
        if isinstance(value, dict):
            return all(map(self.knows, value.values()))
        if isinstance(value, list):
            return all(map(self.knows, value))
        return self._stands(value.casefold()) or self._stands(value.casefold().replace("_", " "))

    def knows_stem(self, value: str, letters: int) -> bool:
        """Whether every word of `value` begins like some word of the dialogue, by so many letters or all it has."""
        return all(
            re.search(rf"(?<!\w){re.escape(word[:letters])}", self._text) is not None
            for word in re.findall(r"[^\W_]+", value.casefold())
        )

    def __len__(self) -> int:
        """Characters made known, spoken forms counted with their ISO ones."""
        return len(self._text)

    def moments(self) -> set[str]:
        """Every date and time in the dialogue, as ISO."""
        return set(re.findall(r"(?<![\w-])\d{4}-\d\d-\d\d(?![\w-])|(?<![\w:])\d\d:\d\d(?![\w:])", self._text))

    def numbers(self) -> set[float]:
        """Every number that stands in the dialogue."""
        return self._numbers

    def _stands(self, text: str) -> bool:
        """Whether `text` stands somewhere as whole words."""
        as_json = json.dumps(text, ensure_ascii=False)[1:-1]
        return any(
            form in self._text and re.search(rf"(?<!\w){re.escape(form)}(?!\w)", self._text) is not None
            for form in {text, as_json}
        )


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def leaves(value: Any) -> Iterator[Any]:
    """Every value in a JSON value that is no list and no object."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def _iso_dates(text: str) -> list[str]:
    return [
        f"{year}-{MONTHS.index(month or turned) + 1:02}-{int(day or turned_day):02}"
        for month, day, turned_day, turned, year in _DATES.findall(text)
    ]


def _iso_times(text: str) -> list[str]:
    return [
        f"{int(hour) % 12 + (12 if half == 'pm' else 0):02}:{minute}" for hour, minute, half in _TIMES.findall(text)
    ]
