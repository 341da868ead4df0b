"""Goal patterns and their language: enough of each, dealt to the splits, nothing shared."""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from itertools import product

import pytest

from fission_grpo.data.scenarios import SCENARIOS, Scenario
from fission_grpo.data.scenarios.goals import KINDS, Pattern, ScenarioError
from fission_grpo.data.scenarios.words import DEAL, SPLITS, Split, Words, dealt, owner
from fission_grpo.domains import DOMAINS

UNSEEN = {"ecommerce_orders", "calendar_scheduling"}
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


def test_every_domain_has_its_scenario() -> None:
    assert len(DOMAINS) == 13
    assert SCENARIOS.keys() == DOMAINS.keys()
    assert {name for name, scenario in SCENARIOS.items() if scenario.unseen} == UNSEEN
    assert all(scenario.domain is DOMAINS[name] for name, scenario in SCENARIOS.items())


@each_scenario
def test_patterns_are_many_and_a_third_is_kept_for_testing(scenario: Scenario) -> None:
    patterns = list(scenario.patterns.values())
    assert len(patterns) >= 15
    if not scenario.unseen:
        kept = [pattern for pattern in patterns if pattern.test_only]
        assert len(patterns) - 2 <= 3 * len(kept) <= len(patterns) + 2
        assert {pattern.kind for pattern in patterns if not pattern.test_only} == set(KINDS)
    assert {pattern.kind for pattern in patterns} == set(KINDS)
    assert sum(pattern.after is not None for pattern in patterns) >= 3
    assert sum(bool(pattern.language.vague) for pattern in patterns) >= 4


@each_scenario
def test_sequels_continue_patterns_that_the_same_split_has(scenario: Scenario) -> None:
    for pattern in scenario.patterns.values():
        if pattern.after is not None:
            assert pattern.after in scenario.patterns
            assert pattern.test_only or not scenario.patterns[pattern.after].test_only


def splits_of(pattern: Pattern) -> tuple[Split, ...]:
    return ("test",) if pattern.test_only else SPLITS


@each_scenario
def test_every_intent_has_at_least_eight_phrasings_where_it_is_trained(scenario: Scenario) -> None:
    for pattern in scenario.patterns.values():
        split = "test" if pattern.test_only else "train"
        assert len(pattern.of("say", split)) >= 8, pattern.name
        if pattern.language.vague:
            assert len(pattern.of("vague", split)) >= 8, pattern.name
        for split in splits_of(pattern):
            assert len(pattern.of("say", split)) >= 4 - pattern.test_only, pattern.name
            assert pattern.of("reply", split), pattern.name
            assert bool(pattern.of("ask", split)) == bool(pattern.of("supply", split)) == bool(pattern.language.vague)


@each_scenario
def test_sentences_are_all_different(scenario: Scenario) -> None:
    said = [
        re.sub(r"[^\w{}]+", " ", sentence).strip().casefold()
        for pattern in scenario.patterns.values()
        for part in ("say", "vague")
        for sentence in getattr(pattern.language, part)
    ]
    assert [sentence for sentence, count in Counter(said).items() if count > 1] == []


@each_scenario
def test_sentences_name_the_same_values_however_they_are_put(scenario: Scenario) -> None:
    for pattern in scenario.patterns.values():
        named = [{name for _, name, _, _ in string.Formatter().parse(said) if name} for said in pattern.language.say]
        assert all(names == named[0] for names in named), pattern.name


@each_scenario
def test_pools_hold_no_entity_twice(scenario: Scenario) -> None:
    for name, pool in scenario.pools.items():
        assert len({str(entity).casefold() for entity in pool}) == len(pool), name


def test_lists_and_values_are_dealt_to_exactly_one_split() -> None:
    letters = list(string.ascii_letters)
    parts = [dealt(letters, split) for split in SPLITS]
    assert sorted(letter for part in parts for letter in part) == sorted(letters)
    counts = Counter(owner(number) for number in range(4000))
    assert all(abs(counts[split] - DEAL.count(split) * 1000) < 120 for split in SPLITS)


def test_words_belong_to_their_split() -> None:
    given: dict[str, list[set[object]]] = {}
    for split in SPLITS:
        words = Words(split, random.Random(0), {})  # noqa: S311
        for _ in range(60):
            for what, values in {
                "people": [part for name in words.people(3) for part in name.split()],
                "numbers": words.numbers(3, 1, 200),
                "ids": words.ids("P", 3),
                "dates": words.dates(3),
                "times": words.times(3),
                "declines": [words.decline()],
            }.items():
                given.setdefault(what, [set(), set(), set()])[SPLITS.index(split)].update(values)
    for what, (train, validation, test) in given.items():
        assert train, what
        assert len(train | validation | test) == len(train) + len(validation) + len(test), what


def test_a_split_that_is_short_of_values_says_so() -> None:
    words = Words("validation", random.Random(0), {"rooms": ["hall"]})  # noqa: S311
    with pytest.raises(ValueError, match="the validation split has 1 of the 2 values wanted"):
        words.sample("rooms", 2)


def test_spoken_forms_mean_the_same_date_and_time() -> None:
    words = Words("train", random.Random(1), {})  # noqa: S311
    assert {words.say_date("2026-03-02") for _ in range(50)} == {"March 2, 2026", "2 March 2026", "2026-03-02"}
    assert {words.say_time("15:05") for _ in range(50)} == {"15:05", "3:05 pm"}
    assert {words.say_time("00:30"), words.say_time("12:30")} <= {"00:30", "12:30 am", "12:30", "12:30 pm"}


def test_hasty_users_type_no_capital_and_no_full_stop() -> None:
    hasty = Words("train", random.Random(1), {}, typed=True)  # noqa: S311
    assert "show me P1." not in (said := {hasty.say(["Show me {id}."], {"id": "P1"}) for _ in range(40)})
    assert "show me P1" in said
    assert "P1, now" in {hasty.say(["{id}, now."], {"id": "P1"}) for _ in range(40)}


def test_language_and_patterns_must_fit() -> None:
    scenario = Scenario(DOMAINS["banking"], SCENARIOS["banking"].build, {}, {"known": {"say": ["a"], "tell": ["b"]}})
    with pytest.raises(ScenarioError, match="banking: pattern 'unknown' has no sentences"):

        @scenario.pattern("call")
        def unknown(bank, words):
            return None

    with pytest.raises(ScenarioError, match=r"sentences of 'known': .*tell"):

        @scenario.pattern("call")
        def known(bank, words):
            return None


def test_no_phrasing_belongs_to_two_splits() -> None:
    """Of all domains together, placeholders masked."""
    owners: dict[str, set[str]] = {}
    for scenario in SCENARIOS.values():
        for pattern in scenario.patterns.values():
            for part, split in product(("say", "vague", "supply"), splits_of(pattern)):
                for sentence in pattern.of(part, split):
                    masked = re.sub(r"[^\w{}]+", " ", re.sub(r"\{\w+\}", "{}", sentence)).strip().casefold()
                    owners.setdefault(masked, set()).add(split)
    assert [masked for masked, splits in owners.items() if len(splits) > 1] == []
