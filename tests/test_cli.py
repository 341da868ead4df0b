"""The commands from end to end on a tiny model saved to disk, and the one line that bad input gets."""

import json

import pytest
import yaml
from helpers import refused, run, small_tasks

from fission_grpo.data import decisions, write_decisions, write_tasks

TASKS = small_tasks(3)


@pytest.fixture
def config(model_folder, tmp_path):
    """A config of a whole run that takes seconds."""
    write_decisions(tmp_path / "decisions.jsonl", [d for task in TASKS for d in decisions(task)])
    write_tasks(tmp_path / "tasks.jsonl", TASKS[:2])
    tree = {
        "name": "tiny",
        "runs": str(tmp_path / "runs"),
        "model": {"name": str(model_folder), "dtype": "fp32", "lora": {"r": 2, "alpha": 4}},
        "data": {"path": str(tmp_path / "decisions.jsonl")},
        "tasks": {"path": str(tmp_path / "tasks.jsonl"), "tasks": 2},
        "training": {"updates": 3, "batch_size": 1, "group_size": 2, "save_every": 1},
        "sampling": {"max_new_tokens": 6, "max_context_tokens": 8192},
        "fission": {"batch_size": 1, "group_size": 2},
        "evaluation": {"max_new_tokens": 4, "max_steps": 2},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_train_writes_the_run_and_reruns_only_report(config, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "train", config) == 0
    folder = tmp_path / "runs" / "tiny"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["updates_standard"] + summary["updates_fission"] == 3
    assert summary["updates_fission"] == 1
    assert set(summary["before"]) == set(summary["after"]) == {"success", "one_shot", "recovery", "tasks"}
    assert summary["wall_seconds"] > 0
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [m["update"] for m in metrics] == [1, 2, 3]
    assert [m["stage"] for m in metrics] == ["standard", "fission", "standard"]
    groups = [json.loads(line) for line in (folder / "rollouts" / "update-000002.jsonl").read_text().splitlines()]
    assert groups[0]["trail"][0]["feedback"].startswith("ERROR: ")
    first = [json.loads(line) for line in (folder / "rollouts" / "update-000001.jsonl").read_text().splitlines()]
    keys = {rollout["corrective_sample"] for group in first for rollout in group["rollouts"]}
    assert groups[0]["corrective_sample"] in keys
    assert {file.name for file in (folder / "eval").iterdir()} == {"before", "after"}
    assert (folder / "model" / "adapter_model.safetensors").exists()
    assert len(list((folder / "checkpoints").glob("step-*"))) == 2
    assert not [file for file in folder.rglob("*") if file.suffix in (".bin", ".pt", ".pkl", ".pth")]

    capsys.readouterr()
    assert run(monkeypatch, "train", config) == 0
    assert "is finished" in capsys.readouterr().out
    assert run(monkeypatch, "inspect", folder, "--limit", "2") == 0
    out = capsys.readouterr().out
    assert "failed turn, reward" in out
    assert "feedback from" in out
    again = tmp_path / "again"
    assert run(monkeypatch, "eval", "domains", "--model", folder, "--config", config, "--out", again) == 0
    assert (again / "summary.json").read_text() == (folder / "eval" / "after" / "summary.json").read_text()
    asked = json.loads((again / "eval.json").read_text())
    assert (asked["checkpoint"], asked["model"]["lora"]["r"]) == ("step-000003", 2)
    assert run(monkeypatch, "eval", "compare", folder / "eval" / "before", again, "--figure", tmp_path / "f.png") == 0
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_eval_without_a_model_and_its_refusals(tmp_path, monkeypatch, capsys):
    replayed = ("--set", "tasks.tasks=3", "--out", tmp_path / "replay")
    assert run(monkeypatch, "eval", "domains", "--model", "replay", *replayed) == 0
    out = capsys.readouterr().out
    assert "100.0% 3/3" in out
    assert str(tmp_path / "replay") in out.replace("\n", "")
    assert run(monkeypatch, "eval", "domains", "--model", "stuck", *replayed) == 2
    assert "holds another evaluation (agent differ)" in capsys.readouterr().err
    assert run(monkeypatch, "eval", "domains", "--model", "replay-with-errors:typo", *replayed) == 2
    assert "kinds: unknown_tool, unknown_argument, missing_argument, wrong_value" in capsys.readouterr().err
    assert run(monkeypatch, "eval", "bfcl", "--model", "replay", "--categories", "simple") == 2
    assert "no category 'multi_turn_simple'" in capsys.readouterr().err
    assert run(monkeypatch, "eval", "domains", "--model", "http://127.0.0.1:1/v1") == 2
    assert "http://127.0.0.1:1/v1 cannot be used" in capsys.readouterr().err
    assert run(monkeypatch, "eval", "tau", "--domain", "retail", "--model", "replay") == 2
    assert "pip install git+https://github.com/sierra-research/tau-bench" in capsys.readouterr().err
    assert run(monkeypatch, "eval", "compare", tmp_path / "nothing") == 2
    assert "holds no results" in capsys.readouterr().err


def test_a_killed_run_resumes_and_repeats_nothing(config, tmp_path, monkeypatch, capsys):
    from fission_grpo.run import RunFolder

    log = RunFolder.log

    def dying(self, metrics, groups):
        if metrics["update"] == 3:
            raise KeyboardInterrupt
        log(self, metrics, groups)

    monkeypatch.setattr(RunFolder, "log", dying)
    run(monkeypatch, "train", config)
    monkeypatch.setattr(RunFolder, "log", log)
    metrics = tmp_path / "runs" / "tiny" / "metrics.jsonl"
    with metrics.open("a") as file:
        file.write('{"update": 3, "stage": "standard", "torn')
    assert run(monkeypatch, "train", config) == 0
    assert "resuming from" in capsys.readouterr().out
    assert [json.loads(line)["update"] for line in metrics.read_text().splitlines()] == [1, 2, 3]


def test_a_run_folder_of_another_config_is_left_alone(config, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: tiny\nseed: 3\n")
    assert "another config" in refused(monkeypatch, capsys, "train", config)
    assert (folder / "config.yaml").read_text() == "name: tiny\nseed: 3\n"


def test_bad_configs(config, tmp_path, monkeypatch, capsys):
    said = refused(monkeypatch, capsys, "train", config, "--set", "training.group_sise=4")
    assert "unknown key 'training.group_sise'; did you mean 'group_size'?" in said
    assert "no-such.yaml" in refused(monkeypatch, capsys, "train", tmp_path / "no-such.yaml")
    assert "training.updates" in refused(monkeypatch, capsys, "train", config, "--set", "training.updates=many")


def test_bad_data(config, tmp_path, monkeypatch, capsys):
    path = tmp_path / "decisions.jsonl"
    good = path.read_text().splitlines()
    path.write_text(good[0] + "\n" + good[1][:40] + "\n")
    assert f"{path}:2: invalid JSON" in refused(monkeypatch, capsys, "train", config)
    record = json.loads(next(line for line in good if json.loads(line)["target"] != "[]"))
    target = json.loads(record["target"])
    target[0]["function"]["name"] = "no_such_tool"
    path.write_text(json.dumps({**record, "target": json.dumps(target)}) + "\n")
    assert f"{path}:1: target: unknown function 'no_such_tool'" in refused(monkeypatch, capsys, "train", config)
    missing = tmp_path / "missing.jsonl"
    assert str(missing) in refused(monkeypatch, capsys, "train", config, "--set", f"data.path={missing}")


def test_contexts_that_are_too_long(config, monkeypatch, capsys):
    said = refused(monkeypatch, capsys, "train", config, "--set", "sampling.max_context_tokens=10")
    assert "no decision fits sampling.max_context_tokens = 10" in said


def test_bad_models(config, model_folder, tmp_path, monkeypatch, capsys):
    nowhere = tmp_path / "nowhere"
    said = refused(monkeypatch, capsys, "train", config, "--set", f"model.name={nowhere}")
    assert f"cannot load model '{nowhere}'" in said
    said = refused(monkeypatch, capsys, "train", config, "--set", f"model.adapters=[{nowhere}]")
    assert f"cannot load adapter '{nowhere}'" in said
    template = tmp_path / "deaf.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    said = refused(monkeypatch, capsys, "train", config, "--set", f"model.chat_template={template}")
    assert "ignores tools" in said
    (tmp_path / "bare").mkdir()
    for file in model_folder.iterdir():
        if "chat_template" not in file.name:
            (tmp_path / "bare" / file.name).write_bytes(file.read_bytes())
    said = refused(monkeypatch, capsys, "train", config, "--set", f"model.name={tmp_path / 'bare'}")
    assert "no chat template" in said


def test_inspect_says_what_is_missing(tmp_path, monkeypatch, capsys):
    assert "no run folder" in refused(monkeypatch, capsys, "inspect", tmp_path / "nothing")
    (tmp_path / "empty" / "rollouts").mkdir(parents=True)
    assert "no fission group" in refused(monkeypatch, capsys, "inspect", tmp_path / "empty")


def test_sft_writes_an_adapter_with_its_record(model_folder, tmp_path, monkeypatch):
    write_decisions(tmp_path / "decisions.jsonl", [d for task in TASKS[:2] for d in decisions(task)])
    tree = {
        "model": {"name": str(model_folder), "dtype": "fp32", "lora": {"r": 2}},
        "data": {"path": str(tmp_path / "decisions.jsonl")},
    }
    path = tmp_path / "sft.yaml"
    path.write_text(yaml.safe_dump({**tree, "sft": {"batch_size": 2, "lr": 1e-3}}))
    out = tmp_path / "adapter"
    assert run(monkeypatch, "sft", path, "--out", out) == 0
    record = json.loads((out / "sft.json").read_text())
    assert record["examples"] == 2
    assert len(record["data_sha256"]) == 64
    assert (out / "adapter_model.safetensors").exists()
    assert str(model_folder.parent) not in (out / "adapter_config.json").read_text().replace(str(model_folder), "")
    assert run(monkeypatch, "sft", path, "--out", out, "--set", "model.lora=null") == 2
