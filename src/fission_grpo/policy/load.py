"""Loads a causal language model and its tokenizer: any Hugging Face id or path, or the embedded one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import Field
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

from fission_grpo.errors import UserError, first_line
from fission_grpo.policy import attention, embedded
from fission_grpo.policy.template import Template, hermes_template
from fission_grpo.settings import Settings

logging.disable_progress_bar()  # a bar for reading one file, over and over

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


class LoraSettings(Settings):
    """A LoRA adapter on every linear layer (PEFT)."""

    r: int = Field(16, ge=1)
    """Rank."""
    alpha: int = Field(32, ge=1)
    """Scale numerator: updates are scaled by alpha / r."""


class ModelSettings(Settings):
    """Which model is trained or evaluated."""

    name: str = embedded.NAME
    """A Hugging Face id, a local folder, or `embedded` (SmolLM2-135M-Instruct)."""
    adapters: tuple[str, ...] = ()
    """PEFT adapters merged into the weights at load, in order: folders, or `warm-start` (shipped, for `embedded`)."""
    dtype: Literal["bf16", "fp32"] = "bf16"
    """Precision of the computation. Trained weights are always kept in fp32, frozen ones in this."""
    chat_template: str | None = None
    """Replaces the tokenizer's chat template: `hermes`, or a Jinja file."""
    template_options: dict[str, Any] = Field(default_factory=dict)
    """Passed to the chat template, for example `{enable_thinking: false}` for Qwen3."""
    lora: LoraSettings | None = LoraSettings()
    """The trained adapter; null trains all weights."""


_LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError)
"""What the libraries raise for missing, damaged or foreign files."""


class ModelError(UserError, ValueError):
    """A model, adapter or tokenizer could not be loaded; says which and why."""


def load(settings: ModelSettings, *, trainable: bool, seed: int = 0) -> tuple[Any, Template]:
    """The model (with a fresh LoRA, drawn from `seed`, where it is to be trained with one) and its template.

    Raises ModelError, or TemplateError where the chat template cannot serve tool calling.
    """
    folder = _resolve(settings.name)
    # bf16 would round away the small steps of a trained weight: those are fp32, under autocast.
    dtype = torch.float32 if trainable and settings.lora is None else DTYPES[settings.dtype]
    template = load_template(settings)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation=attention.NAME, use_safetensors=True
        )
    except _LOADING_ERRORS as error:
        raise ModelError(f"cannot load model '{settings.name}': {first_line(error)}") from error
    if not model._supports_sdpa:  # its attention does more than weigh values by a softmax of products
        model.set_attn_implementation("eager")
    for adapter in settings.adapters:
        model = merge_adapter(model, adapter)
    model.requires_grad_(False)
    if trainable:
        torch.manual_seed(seed)
        model = add_lora(model, settings.lora) if settings.lora else model.requires_grad_(True)
    return model.eval(), template


def load_template(settings: ModelSettings) -> Template:
    """The model's tokenizer with its chat template. Raises as `load`."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(_resolve(settings.name))
    except _LOADING_ERRORS as error:
        raise ModelError(f"cannot load model '{settings.name}': {first_line(error)}") from error
    if settings.chat_template:
        tokenizer.chat_template = _chat_template(settings.chat_template)
    return Template(tokenizer, settings.template_options)


def add_lora(model: Any, lora: LoraSettings) -> Any:
    """`model` with a fresh LoRA on every linear layer; only the adapter is trainable, in fp32."""
    config = LoraConfig(r=lora.r, lora_alpha=lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def merge_adapter(model: Any, adapter: str) -> Any:
    """`model` with a saved adapter merged into its weights. Raises ModelError where there is none."""
    folder = embedded.warm_start_dir() if adapter == embedded.WARM_START else Path(adapter)
    if not (folder / "adapter_config.json").is_file() or not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"cannot load adapter '{adapter}': no adapter_config.json and adapter_model.safetensors in {folder}"
        )
    try:
        return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except _LOADING_ERRORS as error:
        raise ModelError(f"adapter '{adapter}' does not fit the model: {first_line(error)}") from error


def adapter_base(folder: Path) -> str | None:
    """The model that a saved adapter belongs to; None where the folder holds no adapter. Raises ModelError."""
    file = folder / "adapter_config.json"
    if not file.is_file():
        return None
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file}: names no base model") from error


def _resolve(name: str) -> str:
    if name != embedded.NAME:
        return name
    if not (embedded.model_dir() / "model.safetensors").is_file():
        raise ModelError("the embedded model is not here yet: run `fission-grpo model fetch`")
    return str(embedded.model_dir())


def _chat_template(name: str) -> str:
    if name == "hermes":
        return hermes_template()
    if not Path(name).is_file():
        raise ModelError(f"model.chat_template: no file '{name}' (or use 'hermes')")
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"model.chat_template: cannot read '{name}': {error}") from error
