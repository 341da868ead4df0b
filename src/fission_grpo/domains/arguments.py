"""Checks of arguments that all domains share: what is wrong becomes a ToolError that names tool and argument."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from operator import attrgetter
from typing import TypeVar

from fission_grpo.domains.base import ToolError

T = TypeVar("T")


def iso_date(tool: str, argument: str, text: str) -> str:
    """A date YYYY-MM-DD that exists."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ToolError(f"{tool}: {argument} must be YYYY-MM-DD, got '{text}'")
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ToolError(f"{tool}: {argument} '{text}' does not exist") from None
    return text


def clock_time(tool: str, argument: str, text: str) -> str:
    """A time HH:MM."""
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ToolError(f"{tool}: {argument} must be HH:MM (24 hours), got '{text}'")
    return text


def phone_number(tool: str, argument: str, text: str) -> str:
    """A number such as 555-0123."""
    if not re.fullmatch(r"[0-9]{3}-[0-9]{4}", text):
        raise ToolError(f"{tool}: {argument} must look like 555-0123, got '{text}'")
    return text


def filled(tool: str, argument: str, text: str, most: int | None = None) -> str:
    """Text that says something, in `most` characters."""
    if not text.strip():
        raise ToolError(f"{tool}: {argument} must not be blank")
    if most is not None and len(text) > most:
        raise ToolError(f"{tool}: {argument} must have at most {most} characters, got {len(text)}")
    return text


def each_once(tool: str, argument: str, values: Sequence[str]) -> None:
    """At least one value, and none twice."""
    if not values:
        raise ToolError(f"{tool}: {argument} must not be empty")
    value, count = Counter(values).most_common(1)[0]
    if count > 1:
        raise ToolError(f"{tool}: {argument} has '{value}' more than once")


def known(tool: str, what: str, table: Mapping[str, T], key: str, hint: str) -> T:
    """What has the id `key`; `hint`: where ids come from, or which there are."""
    if key not in table:
        raise ToolError(f"{tool}: no {what} '{key}'; {hint}")
    return table[key]


def named(
    tool: str, what: str, table: Mapping[str, T], name: str, by: Callable[[T], str] = attrgetter("name"), hint: str = ""
) -> tuple[str, T]:
    """Id and entry of that name, whatever its case and spaces; `by` tells an entry's name."""
    for key, entry in table.items():
        if alike(by(entry), name):
            return key, entry
    raise ToolError(f"{tool}: no {what} named '{name}'" + (f"; {hint}" if hint else ""))


def spelled(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that is meant, whatever its case and spaces."""
    return next((other for other in names if alike(other, name)), None)


def alike(one: str, other: str) -> bool:
    """Whether two names are the same but for case and spaces."""
    return one.casefold().split() == other.casefold().split()
