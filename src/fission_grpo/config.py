"""One typed config tree: YAML in, dotted overrides, unknown keys refused with a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from fission_grpo.data.sources import DataSettings, TaskSettings
from fission_grpo.errors import UserError
from fission_grpo.evaluation.agent import EvaluationSettings
from fission_grpo.evaluation.endpoint import EndpointSettings
from fission_grpo.fission import FissionSettings
from fission_grpo.objective import ObjectiveSettings
from fission_grpo.policy.load import ModelSettings
from fission_grpo.policy.sample import SamplingSettings
from fission_grpo.policy.sft import SftSettings
from fission_grpo.policy.update import OptimizerSettings
from fission_grpo.reward import RewardSettings
from fission_grpo.settings import Settings
from fission_grpo.trainer import TrainingSettings


class ConfigError(UserError, ValueError):
    """A config cannot be used; one line says which key, what is wrong and, where it can, what was meant."""


class FeedbackSettings(Settings):
    """Where an error's words come from."""

    sources: tuple[Literal["format", "execution", "rules"], ...] = ("format", "execution", "rules")
    """Asked in this order; `format` speaks on format errors, the others on wrong calls. Empty: Fission-Static."""


class Config(Settings):
    """A training run: `fission-grpo train CONFIG`."""

    name: str = "run"
    """The run's folder under `runs`."""
    runs: str = "runs"
    """Where run folders are made."""
    seed: int = 0
    """Of the data order and of sampling."""
    modules: tuple[str, ...] = ()
    """Python files, each with a domain of your own (docs/own-domain.md); they are executed."""
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    tasks: TaskSettings = TaskSettings()
    training: TrainingSettings = TrainingSettings()
    sampling: SamplingSettings = SamplingSettings()
    reward: RewardSettings = RewardSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    fission: FissionSettings = FissionSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    endpoint: EndpointSettings = EndpointSettings()


class SftConfig(Settings):
    """A warm start: `fission-grpo sft CONFIG`."""

    seed: int = 0
    """Of the data order and of the adapter's initial weights."""
    modules: tuple[str, ...] = ()
    """Python files, each with a domain of your own (docs/own-domain.md); they are executed."""
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    sft: SftSettings = SftSettings()


Tree = TypeVar("Tree", bound=Settings)


def load_config(kind: type[Tree], path: Path | None, overrides: Sequence[str] = ()) -> Tree:
    """The config in a YAML file with `a.b=value` overrides (values are YAML). Raises ConfigError."""
    tree = _read_yaml(path) if path else {}
    for override in overrides:
        _override(tree, override)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path or 'config'}: {_explain(kind, error)}") from None


def dump_config(config: Settings) -> str:
    """The fully resolved config as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read config {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that does not exist
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values at the top")
    return tree


def _override(tree: dict[str, Any], override: str) -> None:
    """Sets one dotted key of a YAML tree."""
    dotted, equals, value = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"--set {override}: expected key=value, for example training.updates=20")
    *parents, leaf = dotted.split(".")
    for parent in parents:
        if not isinstance(tree.get(parent), dict):
            tree[parent] = {}
        tree = tree[parent]
    try:
        tree[leaf] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"--set {override}: the value is not valid YAML") from None


def _explain(kind: type[BaseModel], error: ValidationError) -> str:
    """The first problem in one line."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg']}, got {first['input']!r}"
    known = _keys_beside(kind, [str(part) for part in first["loc"][:-1]])
    close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
    return f"unknown key '{where}'; {hint}"


def _keys_beside(kind: type[BaseModel], parents: Sequence[str]) -> list[str]:
    for parent in parents:
        annotation = kind.model_fields[parent].annotation
        kinds = [annotation, *getattr(annotation, "__args__", ())]
        kind = next(k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel))
    return list(kind.model_fields)
