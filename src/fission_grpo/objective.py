"""Group-relative advantages and the clipped policy loss (Eq. 1). Torch only; knows nothing of text or models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fission_grpo.settings import Settings


class ObjectiveSettings(Settings):
    """What is maximised."""

    name: Literal["grpo", "dr_grpo"] = "grpo"
    """grpo: Eq. 1. dr_grpo: advantages without the division by std, token sums over a constant length."""
    epsilon: float = Field(0.2, gt=0)
    """Clip range ε of the probability ratio."""
    beta: float = Field(0.001, ge=0)
    """Weight β of the KL term; 0 skips the reference model."""
    epsilon_std: float = Field(1e-4, gt=0)
    """Added to the standard deviation of a group's rewards."""


@dataclass(frozen=True)
class TokenBatch:
    """The response tokens of one group: G rollouts, padded to N tokens.

    `logp`, `old_logp`, `ref_logp`: natural-log probabilities [G, N] under the current, the sampling and the reference
    policy; `mask` [G, N] is True on response tokens; `advantages` [G]. `ref_logp` is None where β = 0.
    """

    logp: Tensor
    old_logp: Tensor
    mask: Tensor
    advantages: Tensor
    ref_logp: Tensor | None = None


def group_advantages(rewards: Tensor, settings: ObjectiveSettings) -> Tensor:
    """Advantages [G] of one group's rewards [G].

    grpo: (R − mean) / (std + ε_std), with the sample standard deviation (paper §3.1); dr_grpo: R − mean
    (arXiv 2503.20783). A group of one, or without spread, has advantage 0.
    """
    if len(rewards) < 2 or bool((rewards == rewards[0]).all()):
        return torch.zeros_like(rewards)
    centred = rewards - rewards.mean()
    return centred if settings.name == "dr_grpo" else centred / (rewards.std() + settings.epsilon_std)


def rollout_weights(lengths: Tensor, settings: ObjectiveSettings, *, rollouts: int, max_length: int) -> Tensor:
    """Weight [G] of each token of a rollout in the loss of one optimiser step.

    grpo: 1 / (rollouts · |τ_i|); dr_grpo: 1 / (rollouts · max_length). `rollouts` counts the whole step, over all
    groups and processes, so that gradients accumulate to one global mean. `lengths` and `max_length` in tokens.
    """
    if settings.name == "dr_grpo":
        return torch.full_like(lengths, 1.0 / (rollouts * max_length), dtype=torch.float32)
    return 1.0 / (rollouts * lengths.float())


def policy_loss(batch: TokenBatch, weights: Tensor, settings: ObjectiveSettings) -> tuple[Tensor, dict[str, Tensor]]:
    """−J of Eq. 1 for one group, summed with `weights` [G] per token, and its metrics.

    Metrics are sums over tokens (divide by `tokens`), except `max_ratio`.
    """
    mask = batch.mask
    gap = (batch.logp - batch.old_logp).masked_fill(~mask, 0.0)
    ratio = torch.exp(gap)
    advantages = batch.advantages[:, None]
    clipped = ratio.clamp(1 - settings.epsilon, 1 + settings.epsilon)
    per_token = -torch.minimum(ratio * advantages, clipped * advantages)
    kl = torch.zeros_like(per_token)
    if batch.ref_logp is not None:
        # masked before the exp: 0 · inf of a padded token would be a NaN gradient
        kl = kl_estimate(batch.logp.masked_fill(~mask, 0.0), batch.ref_logp.masked_fill(~mask, 0.0))
        per_token = per_token + settings.beta * kl
    loss = (per_token * mask * weights[:, None]).sum()
    with torch.no_grad():
        metrics = {
            "tokens": mask.sum(),
            "kl": kl.sum(),
            "clipped": ((ratio * advantages > clipped * advantages) & mask).sum(),
            "sampler_gap": gap.abs().sum(),
            "max_ratio": ratio.max(),
        }
    return loss, metrics


def kl_estimate(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """Per-token KL(π_θ ‖ π_ref), the non-negative estimator exp(d) − d − 1 with d = log π_ref − log π_θ."""
    d = ref_logp - logp
    return torch.exp(d) - d - 1
