"""The update: one optimiser step over groups of rollouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import get_scheduler

from fission_grpo.chat import Rollout
from fission_grpo.objective import ObjectiveSettings, TokenBatch, policy_loss, rollout_weights
from fission_grpo.policy.sample import SamplingSettings
from fission_grpo.policy.template import Ids
from fission_grpo.settings import Settings


class OptimizerSettings(Settings):
    """One optimiser step: what it takes, how fast, and in how much memory."""

    name: Literal["adamw", "adafactor"] = "adamw"
    """adafactor keeps next to no state, for all parameters of a large model; its steps scale with a weight's size."""
    lr: float = Field(1e-6, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's moment decays."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the updates during which the learning rate rises from 0."""
    decay: Literal["cosine", "constant"] = "cosine"
    """What the learning rate does after warmup; cosine falls to 0 at the last update."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this global norm."""
    max_tokens: int = Field(8192, ge=1)
    """Tokens computed together in an update, whole groups at a time; lower it where memory is short."""
    gradient_checkpointing: bool = False
    """Recomputes each layer in the backward pass instead of keeping its activations: less memory, a third more work."""


Reference = Callable[[], AbstractContextManager[Any]]
Logprobs = Callable[[Any, Sequence[Ids], Sequence[Sequence[Ids]], SamplingSettings], Tensor]


@dataclass(frozen=True)
class Group:
    """The rollouts of one context with their advantages; the unit of an update."""

    context: Ids
    rollouts: Sequence[Rollout]
    advantages: Sequence[float]


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters that are trained, by name, in the order in which the optimiser holds them."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def optimizer(model: Any, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimiser over the trainable parameters."""
    parameters = trainable(model).values()
    if settings.name == "adafactor":
        return torch.optim.Adafactor(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(parameters, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)


def schedule(stepper: torch.optim.Optimizer, settings: OptimizerSettings, updates: int) -> Any:
    """The learning rate over a budget of `updates` optimiser steps."""
    name = "cosine" if settings.decay == "cosine" else "constant_with_warmup"
    warmup = round(settings.warmup * updates)
    return get_scheduler(name, stepper, num_warmup_steps=warmup, num_training_steps=updates)


def backward(
    model: Any,
    groups: Sequence[Group],
    objective: ObjectiveSettings,
    sampling: SamplingSettings,
    accelerator: Any,
    *,
    reference: Reference,
    logprobs: Logprobs,
    max_tokens: int,
) -> dict[str, float]:
    """Accumulates the gradients of one optimiser step and returns its mean metrics.

    `reference()` is a context that gives the reference policy's network; used where β > 0. `logprobs` is
    `response_logprobs`, or its unshared form. The denominator is one for the whole step, fixed before the first
    backward: all rollouts of all groups on all processes. Groups are computed together up to `max_tokens`.
    """
    local = sum(len(group.rollouts) for group in groups)
    counted = accelerator.reduce(torch.tensor([float(local)], device=model.device), reduction="sum")
    sums: dict[str, float] = {"tokens": 0.0, "kl": 0.0, "clipped": 0.0, "sampler_gap": 0.0, "loss": 0.0}
    max_ratio = 1.0
    # without spread and without KL there is no gradient
    learning = [group for group in groups if objective.beta > 0 or any(group.advantages)]
    for chunk in _chunks(learning, max_tokens):
        loss, metrics = _loss(model, chunk, objective, sampling, reference, logprobs, rollouts=int(counted.item()))
        accelerator.backward(loss)
        max_ratio = max(max_ratio, float(metrics.pop("max_ratio")))
        for name, value in metrics.items():
            sums[name] += float(value)
        sums["loss"] += float(loss.detach())
    tokens = max(sums["tokens"], 1.0)
    means = {name: sums[name] / tokens for name in ("kl", "clipped", "sampler_gap")}
    return {"loss": sums["loss"], **means, "max_ratio": max_ratio, "update_tokens": sums["tokens"]}


def _chunks(groups: Sequence[Group], max_tokens: int) -> list[list[Group]]:
    """The groups, neighbours in the order of their contexts (so that beginnings meet), by `max_tokens` of each chunk.

    Tokens are counted as if nothing were shared between groups; a group is never split.
    """
    chunks: list[list[Group]] = []
    tokens = 0
    for group in sorted(groups, key=lambda group: group.context):
        own = len(group.context) + sum(len(rollout.ids) for rollout in group.rollouts)
        if chunks and tokens + own <= max_tokens:
            chunks[-1].append(group)
            tokens += own
        else:
            chunks.append([group])
            tokens = own
    return chunks


def _loss(
    model: Any,
    groups: Sequence[Group],
    objective: ObjectiveSettings,
    sampling: SamplingSettings,
    reference: Reference,
    logprobs: Logprobs,
    rollouts: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    device = model.device
    contexts = [group.context for group in groups]
    responses = [[rollout.ids for rollout in group.rollouts] for group in groups]
    old = [torch.tensor(rollout.logprobs, device=device) for group in groups for rollout in group.rollouts]
    lengths = torch.tensor([len(ids) for of in responses for ids in of], device=device)
    ref = None
    if objective.beta > 0:
        with torch.no_grad(), reference() as frozen:
            ref = logprobs(frozen, contexts, responses, sampling)
    batch = TokenBatch(
        logp=logprobs(model, contexts, responses, sampling),
        old_logp=pad_sequence(old, batch_first=True),
        mask=torch.arange(int(lengths.max()), device=device) < lengths[:, None],
        advantages=torch.tensor([value for group in groups for value in group.advantages], device=device),
        ref_logp=ref,
    )
    weights = rollout_weights(lengths, objective, rollouts=rollouts, max_length=sampling.max_new_tokens)
    return policy_loss(batch, weights, objective)
