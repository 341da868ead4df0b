"""The update: one optimiser step over groups of rollouts, each context forwarded once per group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, get_scheduler

from fission_grpo.chat import Rollout
from fission_grpo.objective import ObjectiveSettings, TokenBatch, policy_loss, rollout_weights
from fission_grpo.policy.attention import Prefix
from fission_grpo.policy.sample import SamplingSettings, warped
from fission_grpo.policy.template import Ids
from fission_grpo.settings import Settings


class OptimizerSettings(Settings):
    """AdamW with a warmup and a cosine."""

    lr: float = Field(1e-6, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's moment decays."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the updates during which the learning rate rises from 0."""
    decay: Literal["cosine", "constant"] = "cosine"
    """What the learning rate does after warmup; cosine falls to 0 at the last update."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this global norm."""


Reference = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Group:
    """The rollouts of one context with their advantages; the unit of an update."""

    context: Ids
    rollouts: Sequence[Rollout]
    advantages: Sequence[float]


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters that are trained, by name, in the order in which the optimiser holds them."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def optimizer(model: Any, settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW over the trainable parameters."""
    parameters = trainable(model).values()
    return torch.optim.AdamW(parameters, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)


def schedule(adamw: torch.optim.Optimizer, settings: OptimizerSettings, updates: int) -> Any:
    """The learning rate over a budget of `updates` optimiser steps."""
    name = "cosine" if settings.decay == "cosine" else "constant_with_warmup"
    warmup = round(settings.warmup * updates)
    return get_scheduler(name, adamw, num_warmup_steps=warmup, num_training_steps=updates)


def group_logprobs(model: Any, context: Ids, responses: Sequence[Ids], sampling: SamplingSettings) -> Tensor:
    """Log-probabilities [G, N] of the response tokens, padded with 0; the context is forwarded once.

    The first token of a response is predicted from the context's last position, every later one from the context
    (shared keys and values, gradients flow into them) and the response's own earlier tokens, never another's.
    """
    device = model.device
    cache = DynamicCache()
    ids = torch.tensor([context], device=device)
    first = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    tokens = pad_sequence([torch.tensor(response, device=device) for response in responses], batch_first=True)
    logits = first.expand(len(responses), -1, -1)
    longest = tokens.shape[1]
    if longest > 1:
        own = longest - 1
        rest = model(
            input_ids=tokens[:, :-1],
            position_ids=len(context) + torch.arange(own, device=device)[None],
            attention_mask=torch.ones(own, own, dtype=torch.bool, device=device).tril()[None, None],
            use_cache=False,
            prefix=Prefix.of(cache),
        ).logits
        logits = torch.cat([logits, rest], dim=1)
    return _token_logprobs(logits, tokens, responses, sampling)


def group_logprobs_unshared(model: Any, context: Ids, responses: Sequence[Ids], sampling: SamplingSettings) -> Tensor:
    """The plain reference of `group_logprobs`: every row forwards its own copy of the context."""
    device = model.device
    tokens = pad_sequence([torch.tensor(response, device=device) for response in responses], batch_first=True)
    rows = torch.tensor([context], device=device).expand(len(responses), -1)
    logits = model(input_ids=torch.cat([rows, tokens], dim=1), use_cache=False).logits
    return _token_logprobs(logits[:, len(context) - 1 : -1], tokens, responses, sampling)


def _token_logprobs(logits: Tensor, tokens: Tensor, responses: Sequence[Ids], sampling: SamplingSettings) -> Tensor:
    picked = tokens[..., None]
    logprobs = warped(logits, sampling.temperature, sampling.top_k, keep=picked).gather(-1, picked)[..., 0]
    return logprobs.masked_fill(~_mask(responses, tokens.device), 0.0)


def _mask(responses: Sequence[Ids], device: torch.device) -> Tensor:
    lengths = torch.tensor([len(response) for response in responses], device=device)
    return torch.arange(int(lengths.max()), device=device) < lengths[:, None]


def backward(
    model: Any,
    groups: Sequence[Group],
    objective: ObjectiveSettings,
    sampling: SamplingSettings,
    accelerator: Any,
    reference: Reference,
) -> dict[str, float]:
    """Accumulates the gradients of one optimiser step and returns its mean metrics.

    `reference()` is a context that gives the reference policy's network; used where β > 0. The denominator is one
    for the whole step, fixed before the first backward: all rollouts of all groups on all processes.
    """
    local = sum(len(group.rollouts) for group in groups)
    counted = accelerator.reduce(torch.tensor([float(local)], device=model.device), reduction="sum")
    sums: dict[str, float] = {"tokens": 0.0, "kl": 0.0, "clipped": 0.0, "sampler_gap": 0.0, "loss": 0.0}
    max_ratio = 1.0
    for group in groups:
        if objective.beta == 0 and not any(group.advantages):
            continue  # without spread and without KL there is no gradient
        loss, metrics = _group_loss(model, group, objective, sampling, reference, rollouts=int(counted.item()))
        accelerator.backward(loss)
        max_ratio = max(max_ratio, float(metrics.pop("max_ratio")))
        for name, value in metrics.items():
            sums[name] += float(value)
        sums["loss"] += float(loss.detach())
    tokens = max(sums["tokens"], 1.0)
    means = {name: sums[name] / tokens for name in ("kl", "clipped", "sampler_gap")}
    return {"loss": sums["loss"], **means, "max_ratio": max_ratio, "update_tokens": sums["tokens"]}


def _group_loss(
    model: Any,
    group: Group,
    objective: ObjectiveSettings,
    sampling: SamplingSettings,
    reference: Reference,
    rollouts: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    device = model.device
    responses = [rollout.ids for rollout in group.rollouts]
    old = pad_sequence([torch.tensor(rollout.logprobs, device=device) for rollout in group.rollouts], batch_first=True)
    ref = None
    if objective.beta > 0:
        with torch.no_grad(), reference() as frozen:
            ref = group_logprobs(frozen, group.context, responses, sampling)
    batch = TokenBatch(
        logp=group_logprobs(model, group.context, responses, sampling),
        old_logp=old,
        mask=_mask(responses, device),
        advantages=torch.tensor(group.advantages, device=device),
        ref_logp=ref,
    )
    lengths = batch.mask.sum(dim=1)
    weights = rollout_weights(lengths, objective, rollouts=rollouts, max_length=sampling.max_new_tokens)
    return policy_loss(batch, weights, objective)
