"""The config tree: what it refuses and in which words, and that what is shipped loads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fission_grpo.config import Config, ConfigError, SftConfig, dump_config, load_config
from fission_grpo.settings import Settings

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


def kind_of(path: Path) -> type[Config] | type[SftConfig]:
    return SftConfig if path.name == "warm-start.yaml" else Config


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(Config, path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_values_come_from_the_file_and_defaults_fill_in(tmp_path: Path) -> None:
    path = written(tmp_path, "name: mine\noptimizer: {lr: 1e-6, betas: [0.8, 0.9]}\nmodel: {lora: null}\n")
    config = load_config(Config, path)
    assert (config.name, config.optimizer.lr, config.optimizer.betas) == ("mine", 1e-6, (0.8, 0.9))
    assert config.model.lora is None
    assert config.training == Config().training
    assert load_config(Config, None) == load_config(Config, written(tmp_path, "")) == Config()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("trianing", "unknown key 'trianing'; did you mean 'training'?"),
        ("training.update", "unknown key 'training.update'; did you mean 'updates'?"),
        ("model.lora.alhpa", "unknown key 'model.lora.alhpa'; did you mean 'alpha'?"),
        ("fission.zzz", "unknown key 'fission.zzz'; known keys: enabled, delta, group_size, batch_size, interval, "),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion(tmp_path: Path, key: str, message: str) -> None:
    assert message in refusal(None, f"{key}=1")
    *parents, leaf = key.split(".")
    text = "".join("  " * i + f"{part}:\n" for i, part in enumerate(parents)) + "  " * len(parents) + f"{leaf}: 1\n"
    path = written(tmp_path, text)
    assert refusal(path).startswith(f"{path}: {message}")


def test_dotted_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "name: a\ntraining: {updates: 5, batch_size: 3}\nfission: {max_age: 4}\nreward:\n")
    overrides = [
        "training.updates=7",
        "fission.max_age=null",
        "reward.format_weight=[1, 2.5]",
        "model.lora.r=4",
        "model.template_options={enable_thinking: false}",
        "data.path=a=b.jsonl",
        "fission.enabled=false",
        "fission.enabled=true",  # the last one counts
    ]
    config = load_config(Config, path, overrides)
    assert (config.name, config.training.updates, config.training.batch_size) == ("a", 7, 3)
    assert (config.fission.max_age, config.reward.format_weight) == (None, (1.0, 2.5))
    assert config.model.lora is not None
    assert (config.model.lora.r, config.model.lora.alpha) == (4, 32)
    assert config.model.template_options == {"enable_thinking": False}
    assert (config.data.path, config.fission.enabled) == ("a=b.jsonl", True)


@pytest.mark.parametrize("override", ["training.updates", "=3", "", "name=[1", "name={", "name=2024-99-99"])
def test_an_override_that_cannot_be_read_is_named(override: str) -> None:
    assert refusal(None, override).startswith(f"--set {override}: ")


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.updates=many", "training.updates", "'many'"),
        ("training.updates=0", "training.updates", "0"),
        ("training.updates=", "training.updates", "None"),
        ("training=5", "training", "5"),
        ("objective.name=gpro", "objective.name", "'gpro'"),
        ("feedback.sources=[format, oracle]", "feedback.sources.1", "'oracle'"),
        ("reward.format_weight=[1]", "reward.format_weight.1", ""),
        ("optimizer.warmup=1.0", "optimizer.warmup", "1.0"),
        ("model.dtype=fp16", "model.dtype", "'fp16'"),
        ("model.lora.r=0.5", "model.lora.r", "0.5"),
        ("fission.enabled=perhaps", "fission.enabled", "'perhaps'"),
    ],
)
def test_a_wrong_value_names_its_key(override: str, key: str, value: str) -> None:
    message = refusal(None, override)
    assert message.startswith(f"config: {key}: ")
    assert f"got {value}" in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"training: [1, 2", "not valid YAML: "),
        (b"a: b: c", "not valid YAML: "),
        (b"\xff\xfe\xfa", "not valid YAML: "),
        (b"name: 2024-99-99", "not valid YAML: "),
        (b"- 1\n- 2", "expected keys and values at the top"),
        (b"words", "expected keys and values at the top"),
        (b"1: 2", "1: "),
    ],
)
def test_a_file_that_is_no_config(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: {expected}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.yaml") == f"cannot read config {tmp_path / 'no.yaml'}: No such file or directory"
    assert refusal(tmp_path) == f"cannot read config {tmp_path}: Is a directory"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().training.updates = 3


def test_dumped_configs_load_as_the_same(tmp_path: Path) -> None:
    overrides = [
        "name=012",
        "model.lora=null",
        "fission.max_age=3",
        "reward.target_length=9",
        "optimizer.lr=1e-7",
        "feedback.sources=[]",
        "model.template_options={deep: {er: [1, null, ja]}}",
    ]
    with pytest.raises(ConfigError, match="name: "):
        load_config(Config, None, ["name=012"])  # YAML reads a number; a name is quoted
    overrides[0] = "name='012'"
    for config in (Config(), load_config(Config, None, overrides)):
        assert load_config(Config, written(tmp_path, dump_config(config))) == config
    sft = load_config(SftConfig, None, ["sft.epochs=0.5", "seed=3"])
    assert load_config(SftConfig, written(tmp_path, dump_config(sft))) == sft != SftConfig()


def test_a_dump_holds_every_key() -> None:
    tree = dump_config(Config()).splitlines()
    assert [line.split(":")[0] for line in tree if line[0] not in " -"] == list(Config.model_fields)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configs_load(path: Path, tmp_path: Path) -> None:
    config = load_config(kind_of(path), path)
    assert load_config(kind_of(path), written(tmp_path, dump_config(config))) == config != kind_of(path)()


def test_shipped_configs_are_found() -> None:
    assert {"quickstart.yaml", "warm-start.yaml"} <= {path.name for path in CONFIGS}


def settings_classes(base: type[Settings] = Settings) -> Iterator[type[Settings]]:
    for kind in base.__subclasses__():
        yield from (kind, *settings_classes(kind))


@pytest.mark.parametrize("kind", list(settings_classes()), ids=lambda kind: kind.__name__)
def test_every_setting_is_documented(kind: type[Settings]) -> None:
    assert kind.__doc__
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            continue  # a section says what it is in its class
        assert field.description, f"{kind.__name__}.{name}"
        assert field.description.strip().endswith("."), f"{kind.__name__}.{name}"
