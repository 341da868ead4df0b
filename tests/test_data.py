"""The package's own data, the tasks they are made of, and their files."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from datasets import load_dataset

from fission_grpo.chat import Decision, Task, ToolCall
from fission_grpo.data import (
    DataError,
    decisions,
    read_decisions,
    read_tasks,
    replay,
    replay_calls,
    write_decisions,
    write_tasks,
)
from fission_grpo.data.card import card, language
from fission_grpo.data.funnel import COMPACT, KEPT, judge, reason_kind, select
from fission_grpo.data.scenarios import SCENARIOS
from fission_grpo.data.scenarios.goals import Goal, Pattern
from fission_grpo.data.sources import DataSettings, TaskSettings, evaluation_tasks, training_decisions
from fission_grpo.data.tasks import candidates
from fission_grpo.data.verify.visible import Visible, leaves, strings
from fission_grpo.domains import DOMAINS

SEEN = {name for name, scenario in SCENARIOS.items() if not scenario.unseen}
KINDS = {"call", "parallel", "chained", "precondition", "missing_parameter", "missing_function"}


@cache
def compact() -> list[Decision]:
    return training_decisions(DataSettings())


@cache
def tasks(split: str) -> list[Task]:
    """All tasks of a split; the training ones by way of their decisions' file."""
    if split != "train":
        return evaluation_tasks(TaskSettings(split=split, tasks=10_000))  # type: ignore[arg-type]
    packed = files("fission_grpo") / "assets" / "data" / "train.jsonl.gz"
    return read_tasks(str(packed))


SPLITS = ("train", "validation", "test")
each_split = pytest.mark.parametrize("split", SPLITS)


def test_the_compact_set_is_balanced_over_domains_and_kinds() -> None:
    assert len(compact()) == COMPACT == len({decision.id for decision in compact()})
    domains = Counter(decision.domain for decision in compact())
    assert domains.keys() == SEEN
    assert max(domains.values()) - min(domains.values()) <= 6
    kinds = Counter(decision.kind for decision in compact())
    assert kinds.keys() == KINDS | {"report"}
    assert sum(not decision.target for decision in compact()) < 0.3 * len(compact())


def test_counts_of_tasks() -> None:
    by_domain = {split: Counter(task.domain for task in tasks(split)) for split in SPLITS}
    assert by_domain["train"].keys() == by_domain["validation"].keys() == SEEN
    assert by_domain["test"].keys() == DOMAINS.keys()
    assert min(by_domain["test"].values()) >= 40
    assert set(by_domain["validation"].values()) == {KEPT["validation"]}
    novelty = {name: Counter(task.novelty for task in tasks("test") if task.domain == name) for name in DOMAINS}
    assert all(min(novelty[name]["none"], novelty[name]["pattern"]) >= 15 for name in SEEN)
    assert all(novelty[name].keys() == {"domain"} for name in DOMAINS.keys() - SEEN)
    assert {task.novelty for split in ("train", "validation") for task in tasks(split)} == {"none"}


@each_split
def test_tasks_are_dialogues_of_two_to_five_turns_of_every_kind(split: str) -> None:
    turns = Counter(len(task.turns) for task in tasks(split))
    assert turns.keys() == {2, 3, 4, 5}
    kinds = Counter(turn.kind for task in tasks(split) for turn in task.turns)
    assert kinds.keys() == KINDS
    assert min(kinds.values()) >= 0.04 * kinds.total()
    for task in tasks(split):
        needed = {call.name for turn in task.turns for step in turn.calls for call in step}
        assert needed <= set(task.tools)
        assert min(8, len(DOMAINS[task.domain].specs()) - 3) <= len(task.tools) <= 20
        assert all(bool(turn.steps) != turn.kind.startswith("missing") for turn in task.turns)


def test_any_beginning_of_the_data_is_balanced() -> None:
    for split in ("validation", "test"):
        assert len({task.domain for task in tasks(split)[: len(SEEN)]}) == len(SEEN)
    assert len({decision.domain for decision in compact()[: len(SEEN)]}) == len(SEEN)


def test_only_test_has_the_patterns_kept_for_it() -> None:
    kept = {(name, p.name) for name, scenario in SCENARIOS.items() for p in scenario.patterns.values() if p.test_only}
    told = {split: {(task.domain, turn.pattern) for task in tasks(split) for turn in task.turns} for split in SPLITS}
    assert not kept & (told["train"] | told["validation"])
    assert len(kept & told["test"]) >= 0.97 * len(kept)
    assert all(
        (task.novelty == "none") == (not {(task.domain, turn.pattern) for turn in task.turns} & kept)
        for task in tasks("test")
    )


def test_no_two_splits_share_a_sentence_or_a_dialogue() -> None:
    said = {split: {turn.user for task in tasks(split) for turn in task.turns} for split in SPLITS}
    assert not said["train"] & said["validation"]
    assert not said["train"] & said["test"]
    assert not said["validation"] & said["test"]
    for split in SPLITS:
        dialogues = [tuple(turn.user for turn in task.turns) for task in tasks(split)]
        assert len(set(dialogues)) == len(dialogues)


def enumerated(schema: Any) -> set[str]:
    """Every value that some schema enumerates, or that stands in it as a default."""
    if isinstance(schema, list):
        return {value for part in schema for value in enumerated(part)}
    if not isinstance(schema, dict):
        return set()
    own = {str(value) for value in [*schema.get("enum", ()), schema.get("default")]}
    return own.union(*(enumerated(part) for part in schema.values()))


@cache
def entities(split: str, domain: str) -> frozenset[str]:
    """Values that users name and calls use, and what is written with a capital in the worlds: names and ids."""
    schemas = enumerated(list(DOMAINS[domain].specs()))
    found: set[str] = set()
    for task in (task for task in tasks(split) if task.domain == domain):
        said = Visible(turn.user for turn in task.turns)
        for call in (call for turn in task.turns for step in turn.calls for call in step):
            for name, value in call.arguments.items():
                found |= {leaf for leaf in leaves(value) if isinstance(leaf, str)}
                numbers = [leaf for leaf in leaves(value) if isinstance(leaf, int | float) and said.knows(leaf)]
                found |= {f"{name}={leaf:g}" for leaf in numbers if not isinstance(leaf, bool)}
        found |= {text for text in strings(task.initial_state) if re.search(r"[A-Z]", text)}
    return frozenset(found - schemas)


@pytest.mark.parametrize("domain", sorted(DOMAINS))
def test_no_two_splits_share_an_entity(domain: str) -> None:
    """Names, ids, dates, times and, by argument, numbers that users name; and every name and id of any world."""
    train, validation, test = (entities(split, domain) for split in SPLITS)
    assert test
    assert sorted(train & validation) == []
    assert sorted(train & test) == []
    assert sorted(validation & test) == []


@each_split
def test_no_template_sentence_makes_up_more_than_one_percent(split: str) -> None:
    found = language(tasks(split))
    assert found["its share"] <= 0.01, found["most frequent template"]


@each_split
def test_every_shipped_trajectory_is_proven(split: str) -> None:
    """A sample is judged anew; the whole is by `data build`."""
    for task in Random(0).sample(tasks(split), 40):  # noqa: S311
        assert judge(task).sound, task.id


def test_the_compact_decisions_are_proven() -> None:
    train = {task.id: task for task in tasks("train")}
    whole = [decision for decision in compact() if decision.id.rpartition("/")[0] in train]
    assert len(whole) >= 0.97 * COMPACT  # of an ambiguous trajectory the other turns may still serve
    for decision in compact():
        if decision in whole:
            assert decision in decisions(train[decision.id.rpartition("/")[0]])
        assert decision.initial_state is not None
        world = replay_calls(decision.domain, decision.initial_state, decision.messages)
        for call in decision.calls:
            world.call(call)


@pytest.mark.parametrize("domain", ["banking", "calendar_scheduling"])
def test_the_shipped_tasks_can_be_made_again(domain: str) -> None:
    made = (one.task for one in candidates(SCENARIOS[domain], "test", 0) if judge(*one).sound)
    assert list(islice(made, 6)) == [task for task in tasks("test") if task.domain == domain][:6]


def test_the_shipped_files_are_small_and_have_their_funnel() -> None:
    folder = Path(str(files("fission_grpo") / "assets" / "data"))
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 8 * 2**20
    funnel = json.loads((folder / "funnel.json").read_text())
    assert funnel["train"]["trajectories executed"] >= 2000
    assert funnel["train"]["compact decisions"] == COMPACT
    for split in SPLITS:
        counts = funnel[split]
        assert counts["trajectories kept"] == len(tasks(split))
        assert counts["decisions confirmed by all"] <= counts["decisions"]


def fits(pattern: Pattern, text: str) -> bool:
    """Whether a user's words may be this pattern's."""
    said = [re.escape(sentence.removesuffix(".")) for sentence in pattern.language.say]
    return any(re.search(re.sub(r"\\{\w+\\}", ".+", sentence), text, re.IGNORECASE) for sentence in said)


@cache
def toolsets(domain: str, pattern: str) -> frozenset[frozenset[str]]:
    """The sets of tools that a pattern's goals take, in worlds drawn anew."""
    scenario, found = SCENARIOS[domain], set()
    for seed in range(40):
        words = scenario.words("train" if not scenario.unseen else "test", Random(seed))  # noqa: S311
        world = scenario.build(words)
        if scenario.patterns[pattern].after is None:
            goal: Goal | None = scenario.patterns[pattern].compose(world, words)
            found |= {frozenset(goal.tools)} if goal else set()
    return frozenset(found)


@each_split
def test_no_shown_tool_can_stand_in_for_a_missing_function(split: str) -> None:
    """No pattern that the user's words fit can be carried out with the tools shown."""
    missing = 0
    for task in tasks(split):
        for turn in (turn for turn in task.turns if turn.kind == "missing_function"):
            meant = [p for p in SCENARIOS[task.domain].patterns.values() if fits(p, turn.user.rstrip("."))]
            assert turn.pattern in {pattern.name for pattern in meant}, turn.user
            ways = {way for pattern in meant for way in toolsets(task.domain, pattern.name)}
            assert ways, turn.pattern
            assert not any(way <= set(task.tools) for way in ways), turn.user
            missing += 1
    assert missing >= 20


def test_candidates_are_deterministic_and_spread_over_patterns() -> None:
    scenario = SCENARIOS["banking"]
    first, again, other = (list(islice(candidates(scenario, "train", seed), 40)) for seed in (5, 5, 6))
    assert first == again != other
    told = Counter(turn.pattern for one in first for turn in one.task.turns)
    assert len(told) >= 0.8 * sum(not pattern.test_only for pattern in scenario.patterns.values())


def test_selection_keeps_balance_where_a_kind_is_scarce() -> None:
    every = [decision for decision in compact() if decision.kind != "parallel" or decision.domain == "banking"]
    chosen = select(every, 330, Random(0))  # noqa: S311
    assert len({decision.id for decision in chosen}) == 330
    counts = Counter(decision.domain for decision in chosen)
    assert max(counts.values()) - min(counts.values()) <= 12
    assert len(select(every[:5], 30, Random(0))) == 5  # noqa: S311


def test_reasons_are_counted_without_their_values() -> None:
    assert reason_kind("turn 3: add: nobody said the value of 'id', 'K(1)'") == "nobody said the value of …, …"
    assert reason_kind('find(product="a (b)") does as well as find(product="c")') == "a call does as well as a call"


def test_settings_choose_domains_and_counts() -> None:
    some = training_decisions(DataSettings(domains=["banking", "fitness"], limit=20))
    assert len(some) == 20
    assert {decision.domain for decision in some} == {"banking", "fitness"}
    trajectories = training_decisions(DataSettings(part="trajectories", limit=11))
    assert len({decision.id.partition("/")[0] for decision in trajectories}) == 11
    assert len({decision.domain for decision in trajectories}) == 11
    with pytest.raises(DataError, match="no domain 'bank'; they have: banking"):
        training_decisions(DataSettings(domains=["bank"]))
    with pytest.raises(DataError, match="no domain 'ecommerce_orders'"):
        evaluation_tasks(TaskSettings(split="validation", domains=["ecommerce_orders"]))


def test_the_card_counts_what_there_is() -> None:
    numbers = card(None, count_tokens=lambda decision: len(decision.messages))
    assert numbers["tasks"]["test"]["count"] == len(tasks("test"))
    assert sum(numbers["decisions"]["compact"]["by kind"].values()) == COMPACT
    assert numbers["decisions"]["compact"]["tokens"]["max"] == max(len(d.messages) for d in compact())
    assert json.loads(json.dumps(numbers)) == numbers


def test_decisions_are_the_assistant_turns() -> None:
    for task in tasks("validation")[:60]:
        made, dialogue = decisions(task), replay(task)
        assert len(made) == sum(len(turn.steps) + 1 for turn in task.turns)
        assert all(decision.messages[-1]["role"] in ("user", "tool") for decision in made)
        assert all(bool(decision.target) != bool(decision.reference) for decision in made)
        assert all((decision.kind == "report") <= (not decision.target) for decision in made)
        assert made[-1].messages == dialogue[:-1]
        assert made[0].id == f"{task.id}/0.0"


def test_replay_calls_reaches_the_state_and_forgives_refusals() -> None:
    [task] = [task for task in tasks("validation") if task.domain == "smart_home" and len(task.turns) == 3][:1]
    messages = [dict(message) for message in replay(task)]
    bad = {"role": "assistant", "content": "", "tool_calls": [ToolCall("set_light", {"room": "moon"}).to_openai()]}
    reached = replay_calls(task.domain, task.initial_state, messages).snapshot()
    assert reached == replay_calls(task.domain, task.initial_state, [bad, *messages]).snapshot()


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_files_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"decisions.{suffix}"
    write_decisions(path, compact()[:50])
    write_tasks(tmp_path / f"tasks.{suffix}", tasks("validation")[:30])
    assert read_decisions(path) == compact()[:50]
    assert read_tasks(tmp_path / f"tasks.{suffix}") == tasks("validation")[:30]
    assert training_decisions(DataSettings(path=str(path))) == compact()[:50]


def test_decisions_load_as_a_dataset(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    write_decisions(path, compact())
    rows = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == len(compact())
    assert all(
        Decision.model_validate(row).calls == decision.calls for row, decision in zip(rows, compact(), strict=True)
    )


def broken(decision: Decision, **changes: object) -> str:
    return json.dumps(json.loads(decision.to_line()) | changes)


def test_file_errors_name_the_line(tmp_path: Path) -> None:
    made = decisions(tasks("validation")[0])
    good = made[0].to_line()
    shown = made[1].tools[0]["function"]["name"]
    wrong = json.dumps([ToolCall(shown, {"no such argument": 3}).to_openai()])
    path = tmp_path / "decisions.jsonl"
    for line, expected in {
        '{"id": ': r":2: invalid JSON at column \d+",
        good: r":2: duplicate id",
        broken(made[1], kind=3): r":2: kind: Input should be a valid string",
        broken(made[1], surplus=1): r":2: surplus: Extra inputs",
        broken(made[1], target=wrong): rf":2: target: {shown}: ",
        broken(made[1], target='[{"type": "function"}]'): r":2: tools or target not in OpenAI form",
        broken(made[1], tools="[{"): r":2: tools: ",
        broken(made[1], messages=[]): r":2: messages: must end in",
        "[]": r":2: record: ",
    }.items():
        path.write_text(f"{good}\n{line}\n", encoding="utf-8")
        with pytest.raises(DataError, match=expected) as caught:
            read_decisions(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"absent.jsonl: no such file"):
        read_tasks(tmp_path / "absent.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes((tmp_path / "decisions.jsonl").read_bytes())
    with pytest.raises(DataError, match=r"cut.jsonl.gz: not a whole gzip file"):
        read_tasks(tmp_path / "cut.jsonl.gz")


def test_the_page_says_what_the_data_are() -> None:
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    for name, scenario in SCENARIOS.items():
        kept = "all" if scenario.unseen else sum(pattern.test_only for pattern in scenario.patterns.values())
        assert f"| {name} | {len(DOMAINS[name].specs())} | {len(scenario.patterns)} | {kept} |" in page
    funnel = json.loads((files("fission_grpo") / "assets" / "data" / "funnel.json").read_text())
    for stage, said in {
        "trajectories executed": "trajectories composed and executed",
        "trajectories coherent": "coherent",
        "decisions": "decisions they factorise into",
        "decisions confirmed by replay": "confirmed by replay",
        "decisions confirmed by uniqueness": "confirmed by uniqueness",
        "trajectories sound": "sound trajectories",
        "trajectories kept": "kept",
    }.items():
        assert f"| {said} | " + " | ".join(f"{funnel[split][stage]:,}" for split in SPLITS) + " |" in page
    patterns = {
        (name, pattern.name): pattern for name, scenario in SCENARIOS.items() for pattern in scenario.patterns.values()
    }
    said_by_users = sum(len(p.language.say) + len(p.language.vague) + len(p.language.supply) for p in patterns.values())
    assert f"is {said_by_users:,} user sentences" in page
    untested = set(patterns) - {(task.domain, turn.pattern) for task in tasks("test") for turn in task.turns}
    assert (len(untested), f"nine of the {len(patterns)} occur in no test task" in page) == (9, True)
    shown = sorted(len(task.tools) for split in SPLITS for task in tasks(split))
    assert f"shows {shown[0]}–{shown[-1]} tools of its domain (median {shown[len(shown) // 2]})" in page
    turns = {split: Counter(turn.kind for task in tasks(split) for turn in task.turns) for split in SPLITS}
    chosen = Counter(decision.kind for decision in compact())
    for kind in KINDS:
        assert f"| {turns['train'][kind]:,} | {chosen[kind]} | {turns['test'][kind]} |" in page
