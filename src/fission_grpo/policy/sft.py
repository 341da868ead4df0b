"""The warm start: supervised fine-tuning of a LoRA on clean trajectories, by transformers' Trainer and PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import Trainer, TrainingArguments

from fission_grpo.chat import Decision, Rollout
from fission_grpo.policy.checkpoint import save_model
from fission_grpo.policy.load import DTYPES, ModelError, ModelSettings, load
from fission_grpo.policy.template import Template
from fission_grpo.settings import Settings


class SftSettings(Settings):
    """One pass or more over clean trajectories."""

    epochs: float = Field(1.0, gt=0)
    """Passes over the data."""
    batch_size: int = Field(8, ge=1)
    """Trajectories per optimiser step."""
    micro_batch_size: int = Field(1, ge=1)
    """Trajectories per forward pass."""
    lr: float = Field(5e-4, gt=0)
    """Peak learning rate."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps during which the learning rate rises."""


def trajectories(decisions: Sequence[Decision], template: Template) -> list[dict[str, list[int]]]:
    """Tokens and loss mask of every trajectory; decisions that continue the one before them share its tokens.

    The ids grow exactly as they do when the policy acts: by appending. Each entry has `input_ids` and
    `completion_mask` (1 on assistant tokens, end of turn included).
    """
    examples: list[dict[str, list[int]]] = []
    before: Decision | None = None
    context: tuple[int, ...] = ()
    said = Rollout("", (), ())
    for decision in decisions:
        if before is not None and _continues(before, decision):
            context = template.extend(context, said, decision.messages[len(before.messages) + 1 :])
        else:
            context = template.encode(decision.messages, decision.tools)
            examples.append({"input_ids": [], "completion_mask": []})
        said, before = _reference_rollout(decision, template), decision
        example = examples[-1]
        example["completion_mask"] += [0] * (len(context) - len(example["input_ids"])) + [1] * len(said.ids)
        example["input_ids"] = [*context, *said.ids]
    return examples


def _continues(before: Decision, decision: Decision) -> bool:
    known = len(before.messages)
    return (
        before.tools == decision.tools
        and len(decision.messages) > known
        and decision.messages[:known] == before.messages
    )


def _reference_rollout(decision: Decision, template: Template) -> Rollout:
    text = template.reference(decision)
    tokenizer = template.tokenizer
    ids = (*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)
    return Rollout(text, ids, (0.0,) * len(ids))


def train(
    model: ModelSettings, decisions: Sequence[Decision], settings: SftSettings, out: Path, seed: int
) -> dict[str, Any]:
    """Trains a fresh LoRA and writes the adapter to `out`; returns the Trainer's metrics.

    Raises ModelError without `lora`.
    """
    if model.lora is None or model.adapters:
        raise ModelError("sft trains one LoRA on the model itself: set model.lora, and no model.adapters")
    if settings.batch_size % settings.micro_batch_size:
        raise ModelError("sft.batch_size must be a multiple of sft.micro_batch_size")
    network, template = load(model, trainable=True, seed=seed)
    arguments = TrainingArguments(
        output_dir=str(out),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.micro_batch_size,
        gradient_accumulation_steps=settings.batch_size // settings.micro_batch_size,
        learning_rate=settings.lr,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup,
        bf16=model.dtype == "bf16",
        use_cpu=not torch.accelerator.is_available(),  # else bf16 is refused there
        remove_unused_columns=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        seed=seed,
    )
    examples = trajectories(decisions, template)
    trainer = Trainer(network, arguments, data_collator=collate, train_dataset=examples)
    with disable_input_dtype_casting(network):  # autocast casts the adapter; PEFT would cast every input to fp32 first
        result = trainer.train()
    network.to(DTYPES["bf16"])  # half the file; it is merged into bf16 weights anyway
    save_model(out, network, model.name)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {**result.metrics, "first_loss": losses[0], "last_loss": losses[-1], "examples": len(examples)}


def collate(examples: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
    """Right-padded rows; the LM head runs only where some row's next token is the assistant's.

    `input_ids` and `attention_mask` (rows, tokens); `logits_to_keep` (kept,), positions; `shift_labels`, `labels`
    (rows, kept), the token that follows each kept position, -100 where it is not the row's assistant's.
    """
    ids, mask = (_padded(examples, key) for key in ("input_ids", "completion_mask"))
    answered = mask.any(dim=0)[1:].nonzero()[:, 0]
    labels = ids.masked_fill(mask == 0, -100)[:, answered + 1]
    lengths = torch.tensor([len(example["input_ids"]) for example in examples])
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
        "logits_to_keep": answered,
        "labels": labels,
        "shift_labels": labels,
    }


def _padded(examples: Sequence[dict[str, list[int]]], key: str) -> Tensor:
    return pad_sequence([torch.tensor(example[key]) for example in examples], batch_first=True)
