"""The leak guard (ours; the property is the paper's: §3.3.2, §4.5): feedback never says what only y* knew.

A secret is a function name, a value or a key of the true calls. It is visible where the dialogue, a tool spec or the
failed turn has it as a whole; a message leaks where it says a secret that is not visible, in whatever form: other
case, separators, number words, date and time formats, word order, or one telling word of several.
"""

from __future__ import annotations

import json
import re
from calendar import month_name
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fission_grpo.chat import Decision
from fission_grpo.feedback.base import Failure
from fission_grpo.feedback.reading import Date, Reading, Time, number, read

_STOP_TEXT = """
a an and are as at be by for from has have i in is it its me my no not of on or our that the their this to was we will
with you your
"""
_ORDINARY_TEXT = """
allowed argument arguments array boolean call called calls closed column constraint correct cut delimiter does enum
error expected expecting extra failed format function got integer invalid json least limit made match maximum minimum
missing more most must name needed needs null number object one operation optional order output parameter parameters
pattern perform please property quotes request requested required served string tags think tool truncated turn type
unbalanced unexpected unknown unterminated value values verify violates without wrong
"""
_STOP = frozenset(_STOP_TEXT.split())
"""Words that tell nothing alone."""
_ORDINARY = _STOP | frozenset(_ORDINARY_TEXT.split())
"""A diagnostic's own vocabulary: one such word within a longer secret tells nothing."""


@dataclass(frozen=True)
class _Secret:
    text: str
    reading: Reading
    is_name: bool


@dataclass(frozen=True)
class _Seen:
    """Everything visible before the feedback."""

    raw: str
    line: str
    words: frozenset[str]
    numbers: frozenset[Decimal]
    dates: frozenset[Date]
    times: frozenset[Time]


@dataclass(frozen=True)
class _Said:
    """What the message says beyond the visible."""

    raw: str
    line: str
    words: frozenset[str]
    fresh: tuple[str, ...]
    """Words neither visible nor ordinary."""
    numbers: frozenset[Decimal]
    """Magnitudes of numbers that are not visible."""
    dates: frozenset[Date]
    times: frozenset[Time]


def leaks(message: str, failure: Failure) -> str | None:
    """The first secret that `message` gives away, or None where it gives away none."""
    seen = _seen(failure)
    said = _said(_without_positions(message, failure), seen)
    return next((secret.text for secret in _secrets(failure.decision) if _leaks(secret, seen, said)), None)


def _leaks(secret: _Secret, seen: _Seen, said: _Said) -> bool:
    reading = secret.reading
    if not (reading.words or reading.dates or reading.times):
        return _is_telling_symbol(secret.text) and secret.text in said.raw and secret.text not in seen.raw
    return (
        any(_date_leaks(date, seen, said) for date in reading.dates)
        or any(_time_leaks(time, seen, said) for time in reading.times)
        or (
            _number_leaks(reading, seen, said)
            if _is_number(reading)
            else _words_leak(reading.words, secret.is_name, seen, said)
        )
    )


def _is_number(reading: Reading) -> bool:
    return len(reading.words) == len(reading.numbers) == 1


def _number_leaks(reading: Reading, seen: _Seen, said: _Said) -> bool:
    value = next(iter(reading.numbers))
    return value not in seen.numbers and (
        value in said.numbers or (_is_long(word := reading.words[0]) and _within(word, said))
    )


def _words_leak(words: tuple[str, ...], is_name: bool, seen: _Seen, said: _Said) -> bool:
    telling = [word for word in words if word not in _STOP]
    if not telling or _runs(words, seen.line):
        return False
    whole = "".join(words)
    if _runs(words, said.line) or (_is_long(whole) and any(whole in word for word in said.fresh)):
        return True
    if not is_name and any(_word_said(part, seen, said) for word in telling for part in _parts(word)):
        return True
    return (
        len(telling) > 1
        and any(word not in _ORDINARY for word in telling)
        and all(word in said.words or number(word) in said.numbers for word in telling)
    )


def _parts(word: str) -> list[str]:
    """The word, and the long numbers within it: of P1234 the number alone tells enough."""
    return [word, *(digits for digits in re.findall(r"\d{4,}", word) if digits != word)]


def _word_said(word: str, seen: _Seen, said: _Said) -> bool:
    """Whether the message says one invisible, telling word."""
    value = number(word)
    if value is not None:
        return value not in seen.numbers and (value in said.numbers or (_is_long(word) and _within(word, said)))
    if word in seen.words or word in _ORDINARY or (len(word) == 1 and word.isascii()):
        return False
    return word in said.words or (_is_long(word) and _within(word, said))


def _within(word: str, said: _Said) -> bool:
    return any(word in fresh for fresh in said.fresh)


def _date_leaks(date: Date, seen: _Seen, said: _Said) -> bool:
    if any(_same_date(date, other) for other in seen.dates):
        return False
    month = month_name[date[1]].lower()
    return any(_same_date(date, other) for other in said.dates) or (
        month != "may" and month in said.words and month not in seen.words
    )


def _same_date(left: Date, right: Date) -> bool:
    return left[1:] == right[1:] and (left[0] is None or right[0] is None or left[0] == right[0])


def _time_leaks(time: Time, seen: _Seen, said: _Said) -> bool:
    if any(time[:2] == other[:2] for other in seen.times):
        return False
    return any(time[:2] in _readings(other) for other in said.times)


def _readings(time: Time) -> list[tuple[int, int]]:
    """Hour and minute; in both halves of the day where the half is not certain."""
    hour, minute, certain = time
    return [(hour, minute)] if certain else [(hour, minute), ((hour + 12) % 24, minute)]


def _runs(words: tuple[str, ...], line: str) -> bool:
    """Whether consecutive whole words of `line` make up the same characters: `set_alarm`, `set alarm`, `setAlarm`."""
    whole = "".join(words)
    if whole.isdigit() and len(whole) < 5:  # 1 2 is not 12, but 555 1234 is 5551234
        return f" {' '.join(words)} " in line
    return re.search(f" {' ?'.join(map(re.escape, whole))} ", line) is not None


def _is_long(text: str) -> bool:
    """Long enough to be no accident inside a longer word; scripts without spaces need fewer characters."""
    return len(text) >= (4 if text.isascii() else 2)


def _is_telling_symbol(text: str) -> bool:
    return bool(text.strip()) and (len(text) > 1 or not text.isascii())


def _secrets(decision: Decision) -> Iterator[_Secret]:
    for call in decision.calls:
        yield _Secret(call.name, read(call.name), is_name=True)
        yield from _leaf_secrets(call.arguments)


def _leaf_secrets(value: Any) -> Iterator[_Secret]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield _Secret(key, read(key), is_name=True)
            yield from _leaf_secrets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaf_secrets(item)
    elif value is not None and not isinstance(value, bool):  # true and false are in every boolean's schema
        yield _Secret(str(value), read(str(value)), is_name=False)


def _seen(failure: Failure) -> _Seen:
    texts = list(dict.fromkeys(_visible(failure)))
    readings = [read(text) for text in texts]
    return _Seen(
        raw="\n".join(texts),
        line="|".join(reading.line for reading in readings),
        words=frozenset(word for reading in readings for word in reading.words),
        numbers=frozenset().union(*(reading.numbers for reading in readings)),
        dates=frozenset().union(*(reading.dates for reading in readings)),
        times=frozenset().union(*(reading.times for reading in readings)),
    )


def _visible(failure: Failure) -> Iterator[str]:
    yield failure.text
    yield from _texts([{call.name: call.arguments} for call in failure.turn.calls])
    yield from _texts(failure.decision.tools)
    for message in failure.decision.messages:
        yield from _texts(message.get("content"))
        yield from _texts([entry["function"] for entry in message.get("tool_calls") or []])


def _texts(value: Any) -> Iterator[str]:
    """Every key and scalar of JSON-like data, however deep; text that is itself JSON also as what it encodes."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            pending += item
        elif item is not None and not isinstance(item, bool):
            yield str(item)
            pending += _encoded(str(item))


def _encoded(text: str) -> list[Any]:
    if not text.lstrip().startswith(("{", "[")):
        return []
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        return []


def _said(message: str, seen: _Seen) -> _Said:
    reading = read(message)
    words = frozenset(reading.words)
    fresh = tuple(word for word in words if word not in seen.words and word not in _ORDINARY)
    numbers = set(reading.numbers)
    numbers.update(Decimal(digits) for word in fresh for digits in re.findall(r"\d+", word) if len(digits) < 99)
    numbers.update(Decimal(part) for date in reading.dates - seen.dates for part in date if part)
    numbers.update(
        Decimal(part) for time in reading.times - seen.times for part in (time[0], time[0] % 12, time[1]) if part
    )
    if _says_one(message):
        numbers.add(Decimal(1))
    unseen = numbers - seen.numbers
    return _Said(
        raw=message,
        line=reading.line,
        words=words,
        fresh=fresh,
        numbers=frozenset(unseen | {abs(value) for value in unseen} | {-value for value in unseen}),
        dates=reading.dates,
        times=reading.times,
    )


def _says_one(message: str) -> bool:
    """Whether the word `one` stands for the number: not in "one of", "one or more", "at least one", "this one"."""
    return _ONE.search(_PRONOUN_ONE.sub("", message)) is not None


_ONE = re.compile(r"\bone\b", re.IGNORECASE)
_PRONOUN_ONE = re.compile(
    r"\b(?:(?:at least|another|any|each|every|no|right|that|this|which|wrong) one"
    r"|one (?:of|or|more|at|call|function|argument))\b",
    re.IGNORECASE,
)


def _without_positions(message: str, failure: Failure) -> str:
    """The message without counts of calls and columns that the failed turn itself has: they say nothing of y*."""
    calls = max(failure.text.count("<tool_call>"), len(failure.turn.calls))
    columns = {error.column for error in failure.format_errors}

    def keep(match: re.Match[str]) -> str:
        call, column, count = match.groups()
        own = int(column) in columns if column else int(call or count) <= calls
        return " " if own else match.group()

    return re.sub(r"\bcall (\d{1,9})\b|\bcolumn (\d{1,9})\b|(?<![\w.,-])(\d{1,9}) calls?\b", keep, message)
