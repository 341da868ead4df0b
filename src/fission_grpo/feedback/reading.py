"""Text read by meaning (ours): words, numbers, dates and times, so that a value is known in whatever form it takes."""

from __future__ import annotations

import re
import unicodedata
from calendar import month_abbr
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from typing import TypeVar

T = TypeVar("T")
Date = tuple[int | None, int, int]
"""Year (None where unsaid), month, day."""
Time = tuple[int, int, bool]
"""Hour, minute, and whether the half of the day is certain."""


@dataclass(frozen=True)
class Reading:
    """What a text says. `line` holds its folded words, each between single spaces, dates and times taken out."""

    line: str
    numbers: frozenset[Decimal]
    """Numbers that stand as words, with a unit of at most three letters or without: 21, 1,000, 21°C, 15min."""
    dates: frozenset[Date]
    times: frozenset[Time]

    @property
    def words(self) -> tuple[str, ...]:
        """The folded words in order."""
        return tuple(self.line.split())


@lru_cache(maxsize=1 << 14)  # tool specs come back with every failure
def read(text: str) -> Reading:
    """Reads a text. Folds case, accents, width, separators and English number words; knows common dates and times."""
    folded = _NUMBER_WORDS.sub(lambda match: f" {_spelled(match.group())} ", fold(text))
    folded = re.sub(r"\bminus\s+(?=\d)", "-", folded)
    folded, dates = _take(folded, _DATE_READERS)
    folded, times = _take(folded, _TIME_READERS)
    tokens = list(_TOKEN.finditer(folded))
    words = [_plain(token["word"]) for token in tokens]
    numbers = (_signed(token["sign"], number(word)) for token, word in zip(tokens, words, strict=True))
    return Reading(
        f" {' '.join(words)} ",
        frozenset(value for value in numbers if value is not None),
        frozenset(dates),
        frozenset(times),
    )


def fold(text: str) -> str:
    """Compatibility forms, case, accents and invisible characters folded away."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in decomposed if unicodedata.category(c) not in ("Mn", "Cf"))


def number(word: str) -> Decimal | None:
    """The value of a folded word that is a number, alone or before a short unit."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e[+-]?\d{1,3})?)(?:[^\W\d_]{1,3})?", word)
    try:
        return Decimal(match[1]) if match else None
    except InvalidOperation:
        return None


_GROUPED = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?"
_TOKEN = re.compile(
    rf"(?P<sign>(?<![^\W_])[-\u2212](?=\d))?(?P<word>(?:{_GROUPED}|\d+(?:\.\d+)*)(?:e[+-]?\d{{1,3}})?(?![^\W_]|\.\d)"
    r"|\d+\.\d+[^\W_]+|[^\W_]+)"
)


def _plain(word: str) -> str:
    """A number without grouping and trailing zeros; any other word as it is."""
    word = word.replace(",", "")
    return re.sub(r"\.?0+$", "", word) if re.fullmatch(r"\d+\.\d+", word) else word


def _signed(sign: str | None, value: Decimal | None) -> Decimal | None:
    return -value if sign and value is not None else value


_UNITS_TEXT = "zero one two three four five six seven eight nine"
_TEENS_TEXT = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS_TEXT = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS = {word: value for value, word in enumerate(_UNITS_TEXT.split())}
_TEENS = {word: value for value, word in enumerate(_TEENS_TEXT.split(), start=10)}
_TENS = {word: 10 * value for value, word in enumerate(_TENS_TEXT.split(), start=2)}
_VALUES = _UNITS | _TEENS | _TENS
_GAP = r"[\s-]+"


def _any(words: dict[str, int]) -> str:
    return f"(?:{'|'.join(words)})"


_BELOW_100 = rf"(?:{_any(_TENS)}(?:{_GAP}{_any(_UNITS)})?|{_any(_TEENS)}|{_any(_UNITS)})"
_BELOW_1000 = rf"(?:(?:{_any(_UNITS)}{_GAP})?hundred(?:{_GAP}(?:and{_GAP})?{_BELOW_100})?|{_BELOW_100})"
_NUMBER_WORDS = re.compile(
    rf"\b(?!one\b(?!{_GAP}(?:hundred|thousand)))"  # "one" alone is most often no number: see leak.py
    rf"{_BELOW_1000}(?:{_GAP}thousand(?:{_GAP}(?:and{_GAP})?{_BELOW_1000})?)?\b"
)


def _spelled(words: str) -> int:
    """Value of an English numeral below a million."""
    total = part = 0
    for word in re.split(_GAP, words):
        if word == "thousand":
            total, part = total + max(part, 1) * 1000, 0
        elif word == "hundred":
            part = max(part, 1) * 100
        else:
            part += _VALUES.get(word, 0)
    return total + part


_MONTHS = {name.lower(): i for i, name in enumerate(month_abbr)}
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"


def _iso(match: re.Match[str]) -> Iterator[Date]:
    yield from _date(match[1], match[2], match[3])


def _numeric(match: re.Match[str]) -> Iterator[Date]:
    """Day first or month first: both readings."""
    year = match[3] if len(match[3]) == 4 else f"20{match[3]}"
    yield from _date(year, match[1], match[2])
    yield from _date(year, match[2], match[1])


def _named(match: re.Match[str]) -> Iterator[Date]:
    yield from _date(match["year"], str(_MONTHS[match["month"][:3]]), match["day"])


def _date(year: str | None, month: str, day: str) -> Iterator[Date]:
    try:
        date(int(year or 2024), int(month), int(day))  # a leap year where unsaid
    except ValueError:
        return
    yield (int(year) if year else None, int(month), int(day))


def _clock(match: re.Match[str]) -> Iterator[Time]:
    hour, minute, half = int(match[1]), int(match[2] or 0), match[3]
    if half:
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    if hour < 24 and minute < 60:
        yield (hour, minute, bool(half) or hour > 12 or match[1].startswith("0"))


def _past(match: re.Match[str]) -> Iterator[Time]:
    minute, hour = (30 if match[1] == "half" else 15), int(match[3])
    if hour < 24:
        yield (hour, minute, False) if match[2] == "past" else ((hour - 1) % 24, 60 - minute, False)


_DATE_READERS: dict[re.Pattern[str], Callable[[re.Match[str]], Iterator[Date]]] = {
    re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)"): _iso,
    re.compile(r"(?<!\d)((?:19|20)\d\d)([01]\d)([0-3]\d)(?!\d)"): _iso,
    re.compile(r"(?<![\d.])(\d{1,2})[-/.](\d{1,2})[-/.]((?:19|20)\d\d)(?!\d)"): _numeric,
    re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d\d)(?![\d/])"): _numeric,
    re.compile(rf"\b{_DAY}[\s-]+(?:of\s+)?{_MONTH}(?:[\s,-]+(?P<year>\d{{4}}))?(?![^\W_])"): _named,
    re.compile(rf"\b{_MONTH}[\s-]+(?:the\s+)?{_DAY}(?:[\s,-]+(?P<year>\d{{4}}))?(?![^\W_])"): _named,
}
_TIME_READERS: dict[re.Pattern[str], Callable[[re.Match[str]], Iterator[Time]]] = {
    re.compile(r"(?<![\d:.])(\d{1,2}):(\d\d)(?::\d\d(?:\.\d+)?)?(?!\d)(?:\s*([ap])\.?\s?m\b\.?)?"): _clock,
    re.compile(r"(?<![\d:.])(\d{1,2})()\s*([ap])\.?\s?m\b\.?"): _clock,
    re.compile(r"(?<![\d:.])(\d{1,2})\s*()()o['’]?\s?clock\b"): _clock,
    re.compile(r"\b(half|quarter)\s+(past|to)\s+(\d{1,2})\b"): _past,
    re.compile(r"\bnoon\b"): lambda _: iter([(12, 0, True)]),
    re.compile(r"\bmidnight\b"): lambda _: iter([(0, 0, True)]),
}


def _take(text: str, readers: dict[re.Pattern[str], Callable[[re.Match[str]], Iterator[T]]]) -> tuple[str, list[T]]:
    """The text without what the readers read, and what they read; a match without a reading stays."""
    found: list[T] = []

    def take(reader: Callable[[re.Match[str]], Iterator[T]], match: re.Match[str]) -> str:
        read_here = list(reader(match))
        found.extend(read_here)
        return " " if read_here else match.group()

    for pattern, reader in readers.items():
        text = pattern.sub(partial(take, reader), text)
    return text, found
