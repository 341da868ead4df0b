"""Tasks, decisions and their files."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from datasets import load_dataset

from fission_grpo.chat import Decision, Task, ToolCall
from fission_grpo.data import (
    DataError,
    decisions,
    generate_tasks,
    read_decisions,
    read_tasks,
    replay,
    replay_calls,
    write_decisions,
    write_tasks,
)
from fission_grpo.data.scenarios import SCENARIOS, Scenario
from fission_grpo.data.scenarios.goals import Pool, Words
from fission_grpo.data.tasks import SHOWN
from fission_grpo.domains import DOMAINS
from fission_grpo.toolcall import Toolbox

KINDS = {"call", "parallel", "chained", "precondition", "missing_parameter", "missing_function"}


@pytest.fixture(scope="module")
def train() -> list[Task]:
    return generate_tasks("train", 240, seed=0)


@pytest.fixture(scope="module")
def held_out() -> dict[str, list[Task]]:
    return {"validation": generate_tasks("validation", 60, seed=0), "test": generate_tasks("test", 120, seed=0)}


def user_texts(tasks: list[Task]) -> set[str]:
    return {turn.user for task in tasks for turn in task.turns}


def dialogues(tasks: list[Task]) -> list[tuple[str, ...]]:
    return [tuple(turn.user for turn in task.turns) for task in tasks]


def test_counts_and_balance(train: list[Task], held_out: dict[str, list[Task]]) -> None:
    assert len([decision for task in train for decision in decisions(task)]) >= 600
    assert [len(tasks) for tasks in held_out.values()] == [60, 120]
    for tasks in (train, *held_out.values()):
        kinds = Counter(turn.kind for task in tasks for turn in task.turns)
        assert set(kinds) == KINDS
        missing = kinds["missing_parameter"] + kinds["missing_function"]
        assert 0.10 <= missing / kinds.total() <= 0.20
        assert set(Counter(task.domain for task in tasks).values()) == {len(tasks) // 3}
        assert {len(task.turns) for task in tasks} == {1, 2, 3, 4}
        assert len(set(dialogues(tasks))) == len({task.id for task in tasks}) == len(tasks)


def test_generation_is_deterministic() -> None:
    assert (
        generate_tasks("test", 12, seed=5) == generate_tasks("test", 12, seed=5) != generate_tasks("test", 12, seed=6)
    )
    assert {task.domain for task in generate_tasks("train", 4, seed=1, domains=["healthcare"])} == {"healthcare"}


def test_held_out_shares_no_text_with_train(train: list[Task], held_out: dict[str, list[Task]]) -> None:
    assert not user_texts(train) & user_texts(held_out["validation"] + held_out["test"])
    assert not set(dialogues(held_out["validation"])) & set(dialogues(held_out["test"]))


def phrasings() -> list[tuple[str, Pool]]:
    patterns = [pattern for scenario in SCENARIOS.values() for pattern in scenario.patterns]
    vague = [(pattern.name, pattern.vague.phrases) for pattern in patterns if pattern.vague]
    return [(pattern.name, pattern.phrases) for pattern in patterns] + vague


def test_train_and_held_out_pools_are_disjoint() -> None:
    entities = [(name, pool) for scenario in SCENARIOS.values() for name, pool in scenario.pools.items()]
    for name, pool in entities + phrasings():
        assert len(set(pool.train)) == len(pool.train), name
        assert not set(pool.train) & set(pool.held_out), name


def test_every_pattern_is_said_in_many_ways() -> None:
    assert all(len(scenario.patterns) >= 10 for scenario in SCENARIOS.values())
    assert all(len(pool.train) >= 6 and len(pool.held_out) >= 3 for _, pool in phrasings())


def test_references_execute_and_validate(train: list[Task], held_out: dict[str, list[Task]]) -> None:
    for task in [*train, *held_out["validation"], *held_out["test"]]:
        messages = replay(task)
        assert messages[-1] == {"role": "assistant", "content": task.turns[-1].reply}
        toolbox = Toolbox(DOMAINS[task.domain].specs(task.tools))
        assert not any(toolbox.check(call) for turn in task.turns for step in turn.calls for call in step)


def test_missing_turns_make_no_call(train: list[Task]) -> None:
    for task in train:
        for turn in task.turns:
            assert bool(turn.steps) != turn.kind.startswith("missing")


def test_tasks_show_the_tools_they_need_and_as_many_distractors_as_fit(train: list[Task]) -> None:
    for task in train:
        needed = {call.name for turn in task.turns for step in turn.calls for call in step}
        assert needed <= set(task.tools)
        assert len(task.tools) == max(SHOWN, len(needed))
        everything = [spec["function"]["name"] for spec in DOMAINS[task.domain].specs()]
        assert task.tools == [name for name in everything if name in task.tools]


def ways(scenario: Scenario, text: str) -> list[set[str]]:
    """The tools that would do what a user's words ask: of every pattern they fit, in worlds drawn anew."""
    found: list[set[str]] = []
    for pattern in scenario.patterns:
        said = [*pattern.phrases.train, *pattern.phrases.held_out]
        if any(re.search(re.sub(r"\\{\w+\\}", ".+", re.escape(phrase)), text) for phrase in said):
            for seed in range(20):
                words = Words("train", random.Random(seed), scenario.pools)  # noqa: S311
                goal = pattern.compose(scenario.build(words), words)
                found += [goal.tools] if goal else []
    return found


def test_no_shown_tool_can_stand_in_for_a_missing_function(train: list[Task], held_out: dict[str, list[Task]]) -> None:
    """No two tools of a domain do the same job, so a job is out of reach where one of its tools is not shown."""
    missing = 0
    for task in [*train, *held_out["validation"], *held_out["test"]]:
        turn, shown = task.turns[0], set(task.tools)
        if turn.kind not in ("missing_function", "call"):
            continue
        possible = ways(SCENARIOS[task.domain], turn.user)
        assert possible, turn.user
        assert any(way <= shown for way in possible) == (turn.kind == "call"), turn.user
        missing += turn.kind == "missing_function"
    assert missing >= 40
    later = [turn.kind for task in train for turn in task.turns[1:]]
    assert not any(kind.startswith("missing") for kind in later)


def test_decisions_are_the_assistant_turns(train: list[Task]) -> None:
    for task in train[:60]:
        made, dialogue = decisions(task), replay(task)
        assert len(made) == sum(len(turn.steps) + 1 for turn in task.turns)
        assert all(decision.messages[-1]["role"] in ("user", "tool") for decision in made)
        assert all(bool(decision.target) != bool(decision.reference) for decision in made)
        assert all((decision.kind == "report") <= (not decision.target) for decision in made)
        assert made[-1].messages == dialogue[:-1]
        assert made[0].id == f"{task.id}/0.0"


def test_replay_calls_reaches_the_state_and_forgives_refusals(train: list[Task]) -> None:
    task = next(task for task in train if task.domain == "smart_home" and task.turns[0].kind == "precondition")
    messages = [dict(message) for message in replay(task)]
    bad = {"role": "assistant", "content": "", "tool_calls": [ToolCall("set_light", {"room": "moon"}).to_openai()]}
    reached = replay_calls(task.domain, task.initial_state, messages).snapshot()
    assert reached == replay_calls(task.domain, task.initial_state, [bad, *messages]).snapshot() != task.initial_state


def test_files_round_trip(tmp_path: Path, train: list[Task]) -> None:
    made = [decision for task in train[:30] for decision in decisions(task)]
    write_decisions(tmp_path / "new" / "decisions.jsonl", made)
    write_tasks(tmp_path / "tasks.jsonl", train)
    assert read_decisions(tmp_path / "new" / "decisions.jsonl") == made
    assert read_tasks(tmp_path / "tasks.jsonl") == train


def test_decisions_load_as_a_dataset(tmp_path: Path, train: list[Task]) -> None:
    made = [decision for task in train for decision in decisions(task)]
    path = tmp_path / "decisions.jsonl"
    write_decisions(path, made)
    rows = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == len(made)
    assert all(Decision.model_validate(row).calls == decision.calls for row, decision in zip(rows, made, strict=True))


def broken(decision: Decision, **changes: object) -> str:
    return json.dumps(json.loads(decision.to_line()) | changes)


def test_file_errors_name_the_line(tmp_path: Path, train: list[Task]) -> None:
    made = decisions(train[0])
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
