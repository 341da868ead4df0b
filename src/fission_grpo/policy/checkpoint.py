"""Checkpoints: safetensors and JSON only, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fission_grpo.errors import UserError
from fission_grpo.policy.update import trainable

_READING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)


class CheckpointError(UserError, RuntimeError):
    """A checkpoint could not be written or read; earlier ones are intact."""


def save(folder: Path, model: Any, stepper: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Writes weights, optimiser and `state` (JSON) beside `folder`, then moves them there in one step.

    Raises CheckpointError where the disk refuses; no half-written checkpoint stays behind.
    """
    scratch = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
        save_model(scratch, model)
        save_file(_optimizer_tensors(model, stepper), scratch / "optimizer.safetensors")
        (scratch / "state.json").write_text(json.dumps(state), encoding="utf-8")
        for file in scratch.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        scratch.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise CheckpointError(
            f"could not write checkpoint {folder}: {error}; earlier checkpoints are intact"
        ) from error


def save_model(folder: Path, model: Any, base: str | None = None) -> None:
    """The trained weights: a PEFT adapter, or the whole model as `from_pretrained` reads it.

    `base`: what an adapter's own file is to name as its model, rather than where that lies on this machine.
    """
    if isinstance(model, PeftModel):
        if base:
            model.peft_config["default"].base_model_name_or_path = base
        model.save_pretrained(str(folder), save_embedding_layers=False)  # else PEFT asks a hub about the base
    else:
        model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # an empty model card


def restore(folder: Path, model: Any, stepper: torch.optim.Optimizer) -> dict[str, Any]:
    """Loads weights and optimiser in place and returns the saved state. Raises CheckpointError."""
    with _reading(folder):
        state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        _restore_model(folder, model)
        _restore_optimizer(load_file(folder / "optimizer.safetensors"), model, stepper)
    return state


def latest(folder: Path) -> Path | None:
    """The newest whole checkpoint in a run's `checkpoints/`."""
    found = sorted(path for path in folder.glob("step-*") if (path / "state.json").is_file())
    return found[-1] if found else None


def checksum(model: Any) -> float:
    """A cheap fingerprint of the trainable weights, to compare before a save with after a restore."""
    return float(sum(p.detach().double().abs().sum() for p in trainable(model).values()))


def load_weights(folder: Path, model: Any) -> None:
    """Loads only the weights of a checkpoint, in place. Raises CheckpointError."""
    with _reading(folder):
        _restore_model(folder, model)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except _READING_ERRORS as error:
        raise CheckpointError(f"could not read checkpoint {folder}: {error}") from error


def _restore_model(folder: Path, model: Any) -> None:
    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
        return
    saved: dict[str, Tensor] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        saved |= load_file(file)
    missing, unexpected = model.load_state_dict(saved, strict=False)
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    if unexpected or set(missing) - tied:
        raise ValueError(f"weights do not fit: missing {missing[:3]}, unexpected {unexpected[:3]}")


def _optimizer_tensors(model: Any, stepper: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments and step counts as flat tensors, `<parameter>/<moment>`."""
    state = stepper.state_dict()["state"]
    return {
        f"{name}/{key}": value.detach().contiguous().cpu()
        for index, name in enumerate(trainable(model))
        for key, value in state.get(index, {}).items()
    }


def _restore_optimizer(tensors: dict[str, Tensor], model: Any, stepper: torch.optim.Optimizer) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    index = {name: i for i, name in enumerate(trainable(model))}
    for key, value in tensors.items():
        name, moment = key.rsplit("/", 1)
        state.setdefault(index[name], {})[moment] = value
    stepper.load_state_dict({**stepper.state_dict(), "state": state})
