"""The error corpus, collected from a tiny random policy: every turn of it is wrong."""

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers import refused, run, small_tasks

from fission_grpo.chat import Decision, Rollout
from fission_grpo.config import Config
from fission_grpo.data import decisions, write_decisions
from fission_grpo.data.scenarios import SCENARIOS
from fission_grpo.data.sources import builtin_lines
from fission_grpo.error_corpus import CorpusError, collect
from fission_grpo.feedback import Failure, leaks
from fission_grpo.fission import is_error
from fission_grpo.reward import RewardSettings, score
from fission_grpo.toolcall import Toolbox

TASKS = small_tasks(6)


@pytest.fixture
def settings(model_folder, tmp_path):
    made = [decision for task in TASKS for decision in decisions(task)[:3]]
    write_decisions(tmp_path / "decisions.jsonl", made)
    return Config.model_validate(
        {
            "model": {"name": str(model_folder), "dtype": "fp32", "lora": None},
            "data": {"path": str(tmp_path / "decisions.jsonl")},
            "training": {"batch_size": 2, "group_size": 2},
            "sampling": {"max_new_tokens": 6, "max_context_tokens": 20_000},
        }
    )


def test_errors_are_distinct_and_complete(settings, tmp_path):
    said = []
    counts = collect(settings, tmp_path / "errors", 9, said.append)
    assert counts["errors"] == sum(counts["by_domain"].values()) >= 9
    assert said[-1].endswith(f"{counts['errors']} of 9 errors")
    lines = {
        file.stem: [json.loads(line) for line in file.read_text().splitlines()]
        for file in (tmp_path / "errors").glob("*.jsonl")
    }
    assert {name: len(records) for name, records in lines.items()} == counts["by_domain"]
    records = [record for of in lines.values() for record in of]
    assert len({record["id"] for record in records}) == len(records)
    assert len({(record["id"].partition("#")[0], record["failed"]) for record in records}) == len(records)
    for record in records:
        assert record["feedback"].startswith("ERROR: ")
        assert record["feedback_source"] == "format"
        assert record["format_errors"]
        assert record["messages"][-1]["role"] in ("user", "tool")


def test_a_killed_collection_goes_on_where_it_was(settings, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    collect(settings, whole, 100, lambda _: None)
    collect(settings, cut, 3, lambda _: None)
    with next(cut.glob("*.jsonl")).open("a") as file:
        file.write('{"half a li')  # what a killed run may leave
    never_ended = next(task.domain for task in TASKS if not (cut / f"{task.domain}.jsonl").exists())
    (cut / f"{never_ended}.jsonl").write_text('{"of a batch that never ended": 1}\n')
    collect(settings, cut, 100, lambda _: None)
    assert {f.name: f.read_text() for f in whole.iterdir()} == {f.name: f.read_text() for f in cut.iterdir()}


def test_a_corpus_over_other_decisions_is_not_continued(settings, tmp_path):
    collect(settings, tmp_path / "errors", 1, lambda _: None)
    write_decisions(tmp_path / "decisions.jsonl", decisions(TASKS[0]))
    with pytest.raises(CorpusError, match="holds errors over other decisions or settings"):
        collect(settings, tmp_path / "errors", 1, lambda _: None)


def test_a_corpus_of_other_settings_or_a_damaged_one_is_refused(settings, tmp_path):
    collect(settings, tmp_path / "errors", 1, lambda _: None)
    hotter = settings.model_copy(update={"sampling": settings.sampling.model_copy(update={"temperature": 1.5})})
    with pytest.raises(CorpusError, match="or settings"):
        collect(hotter, tmp_path / "errors", 1, lambda _: None)
    (tmp_path / "errors" / "progress.json").write_text('{"seen": 3')
    with pytest.raises(CorpusError, match=r"progress.json: damaged"):
        collect(settings, tmp_path / "errors", 1, lambda _: None)


def test_a_domain_never_leads_out_of_the_folder(settings, tmp_path):
    made = [decision.model_copy(update={"domain": "../escaped"}) for decision in decisions(TASKS[0])]
    write_decisions(tmp_path / "decisions.jsonl", made)
    with pytest.raises(CorpusError, match="cannot name a file"):
        collect(settings, tmp_path / "errors", 1, lambda _: None)
    assert not (tmp_path / "escaped.jsonl").exists()


def test_the_command_prints_counts(settings, tmp_path, monkeypatch, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(settings.model_dump_json())  # JSON is YAML
    assert run(monkeypatch, "data", "errors", path, "--out", tmp_path / "errors", "--count", 2) == 0
    assert '"errors": ' in capsys.readouterr().out
    assert "absent.yaml" in refused(monkeypatch, capsys, "data", "errors", tmp_path / "absent.yaml", "--out", tmp_path)


@cache
def shipped() -> list[dict[str, Any]]:
    return [json.loads(line) for line in builtin_lines("errors")]


def test_the_shipped_corpus_is_of_distinct_real_errors_whose_feedback_gives_nothing_away():
    records = shipped()
    assert len(records) >= 2000
    assert len({(record["id"].partition("#")[0], record["failed"]) for record in records}) == len(records)
    for record in records:
        decision = Decision.model_validate({name: record[name] for name in Decision.model_fields})
        finished = "truncated" not in record["format_errors"]
        rollout = Rollout(record["failed"], (1,), (0.0,), finished)
        one = score(
            rollout, decision, Toolbox(decision.tools), reference_length=None, progress=0.0, settings=RewardSettings()
        )
        assert is_error(one.reward, delta=1.0), record["id"]
        assert [error.kind for error in one.reward.format_errors] == record["format_errors"]
        assert leaks(record["feedback"], Failure(decision, rollout.text, one.turn, one.reward.format_errors)) is None


def test_the_shipped_corpus_comes_from_the_training_domains_only_and_the_page_counts_it():
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    domains = Counter(record["domain"] for record in shipped())
    assert set(domains) == {name for name, scenario in SCENARIOS.items() if not scenario.unseen}
    assert f"{len(shipped()):,} errors" in page
    assert f"{min(domains.values())} to {max(domains.values())} from each domain" in page
    for source, count in Counter(record["feedback_source"] for record in shipped()).items():
        assert f"| {source} | {count:,} |" in page
