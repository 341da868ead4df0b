"""Advantages and losses: against NumPy in float64, against numbers worked out by hand, and against TRL's own code."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from fission_grpo.objective import (
    ObjectiveSettings,
    TokenBatch,
    group_advantages,
    kl_estimate,
    policy_loss,
    rollout_weights,
)

GRPO, DR_GRPO = ObjectiveSettings(beta=0.0), ObjectiveSettings(name="dr_grpo", beta=0.0)
BOTH = pytest.mark.parametrize("name", ["grpo", "dr_grpo"])
LENGTHS = [5, 3, 1, 4]
MAX_LENGTH = 8


def float64(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random_batch(seed: int = 0, lengths: list[int] = LENGTHS) -> TokenBatch:
    """Log-probabilities of three policies that differ enough for both ends of the clip."""
    rng = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths))
    old = -rng.exponential(1.0, shape)
    return TokenBatch(
        logp=float64(old + rng.normal(0, 0.4, shape)),
        old_logp=float64(old),
        ref_logp=float64(old + rng.normal(0, 0.4, shape)),
        mask=torch.arange(shape[1]) < torch.tensor(lengths)[:, None],
        advantages=float64(rng.normal(0, 1.0, shape[0])),
    )


def weights_of(batch: TokenBatch, settings: ObjectiveSettings) -> torch.Tensor:
    lengths = batch.mask.sum(dim=1)
    return rollout_weights(lengths, settings, rollouts=len(lengths), max_length=MAX_LENGTH).double()


def in_numpy(batch: TokenBatch, name: str, epsilon: float, beta: float) -> float:
    """−J of Eq. 1, token by token as it is written."""
    rows = [t.numpy() for t in (batch.logp, batch.old_logp, batch.ref_logp, batch.mask)]
    total = 0.0
    for logp, old, ref, mask, advantage in zip(*rows, batch.advantages.numpy(), strict=True):
        terms = []
        for k in np.flatnonzero(mask):
            ratio = np.exp(logp[k] - old[k])
            surrogate = min(ratio * advantage, min(max(ratio, 1 - epsilon), 1 + epsilon) * advantage)
            d = ref[k] - logp[k]
            terms.append(surrogate - beta * (np.exp(d) - d - 1))
        total += sum(terms) / (len(terms) if name == "grpo" else MAX_LENGTH)
    return -total / len(batch.logp)


# --- advantages


def test_advantages_by_hand() -> None:
    # mean 1/4, sample standard deviation 1/2
    rewards = float64([1.0, 0.0, 0.0, 0.0])
    assert group_advantages(rewards, GRPO).tolist() == pytest.approx([0.75 / 0.5001] + [-0.25 / 0.5001] * 3)
    wide = ObjectiveSettings(epsilon_std=0.5)
    assert group_advantages(rewards, wide).tolist() == pytest.approx([0.75, -0.25, -0.25, -0.25])
    assert group_advantages(rewards, DR_GRPO).tolist() == pytest.approx([0.75, -0.25, -0.25, -0.25])


def test_advantages_against_numpy() -> None:
    rewards = np.random.default_rng(3).uniform(0, 2, 8)
    expected = (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-4)
    assert group_advantages(float64(rewards), GRPO).tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    single = group_advantages(torch.tensor(rewards, dtype=torch.float32), GRPO)
    assert single.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


@BOTH
@pytest.mark.parametrize("rewards", [[0.7] * 8, [0.1 + 0.2] * 3, [2.0], [0.0, 0.0]])
def test_a_group_without_spread_has_no_advantage(name: str, rewards: list[float]) -> None:
    for dtype in (torch.float32, torch.float64):
        advantages = group_advantages(torch.tensor(rewards, dtype=dtype), ObjectiveSettings(name=name))
        assert advantages.tolist() == [0.0] * len(rewards)


# --- weights, KL, loss


def test_weights_by_hand() -> None:
    lengths = torch.tensor([4, 1, 2])
    assert rollout_weights(lengths, GRPO, rollouts=6, max_length=8).tolist() == pytest.approx([1 / 24, 1 / 6, 1 / 12])
    assert rollout_weights(lengths, DR_GRPO, rollouts=6, max_length=8).tolist() == pytest.approx([1 / 48] * 3)


def test_kl_estimate_by_hand() -> None:
    logp, ref = float64([-1.0, -1.0, -1.0]), float64([-1.0, -1.0 + math.log(2), -1.0 - math.log(2)])
    # d = 0, ln 2, −ln 2: 2 − ln 2 − 1 and 1/2 + ln 2 − 1
    assert kl_estimate(logp, ref).tolist() == pytest.approx([0.0, 0.3068528194, 0.1931471806])


def by_hand() -> TokenBatch:
    """Two rollouts of 2 and 1 tokens, advantages 1 and −1, ratios 1.5, 0.5 and 0.5."""
    return TokenBatch(
        logp=float64([[math.log(1.5), math.log(0.5)], [math.log(0.5), 0.0]]),
        old_logp=torch.zeros(2, 2, dtype=torch.float64),
        ref_logp=float64([[math.log(3.0), math.log(0.5)], [math.log(0.5), 9.0]]),  # d = ln 2, 0, 0
        mask=torch.tensor([[True, True], [True, False]]),
        advantages=float64([1.0, -1.0]),
    )


def test_loss_by_hand() -> None:
    # surrogates: min(1.5, 1.2) = 1.2; min(0.5, 0.8) = 0.5; min(−0.5, −0.8) = −0.8
    batch = by_hand()
    assert float(policy_loss(replace(batch, ref_logp=None), weights_of(batch, GRPO), GRPO)[0]) == pytest.approx(
        -((1.2 + 0.5) / 2 - 0.8) / 2, rel=1e-6
    )
    assert float(policy_loss(replace(batch, ref_logp=None), weights_of(batch, DR_GRPO), DR_GRPO)[0]) == pytest.approx(
        -(1.2 + 0.5 - 0.8) / 16, rel=1e-6
    )
    with_kl = ObjectiveSettings(beta=0.1)
    loss, metrics = policy_loss(batch, weights_of(batch, with_kl), with_kl)
    assert float(loss) == pytest.approx(-((1.2 + 0.5) / 2 - 0.8) / 2 + 0.1 * 0.3068528194 / 4, rel=1e-6)
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(
        {
            "tokens": 3,
            "kl": 0.3068528194,
            "clipped": 2,
            "sampler_gap": math.log(1.5) + 2 * math.log(2),
            "max_ratio": 1.5,
        }
    )


@BOTH
@pytest.mark.parametrize(("epsilon", "beta"), [(0.2, 0.0), (0.2, 0.3), (0.05, 0.001)])
def test_loss_against_numpy(name: str, epsilon: float, beta: float) -> None:
    settings = ObjectiveSettings(name=name, epsilon=epsilon, beta=beta)
    for seed in range(5):
        batch = random_batch(seed)
        loss, _ = policy_loss(batch, weights_of(batch, settings), settings)
        assert float(loss) == pytest.approx(in_numpy(batch, name, epsilon, beta), rel=1e-6)


@pytest.mark.parametrize(
    ("ratio", "advantage", "flows"),
    [
        (1.0, 2.0, True),
        (1.0, -2.0, True),
        (1.19, 2.0, True),
        (1.21, 2.0, False),  # already far enough up
        (0.79, 2.0, True),
        (1.21, -2.0, True),
        (0.81, -2.0, True),
        (0.79, -2.0, False),  # already far enough down
    ],
)
def test_the_clip_stops_the_gradient_on_one_side_only(ratio: float, advantage: float, flows: bool) -> None:
    logp = float64([[math.log(ratio)]]).requires_grad_()
    batch = TokenBatch(logp, float64([[0.0]]), torch.tensor([[True]]), float64([advantage]))
    loss, metrics = policy_loss(batch, float64([0.5]), GRPO)
    loss.backward()
    assert float(logp.grad) == pytest.approx(-0.5 * ratio * advantage if flows else 0.0)
    assert int(metrics["clipped"]) == (not flows)


# --- the mask


@BOTH
@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e9, -1e9])
@pytest.mark.parametrize("where", ["logp", "old_logp", "ref_logp"])
def test_padding_never_matters(name: str, beta: float, garbage: float, where: str) -> None:
    settings = ObjectiveSettings(name=name, beta=beta)

    def outcome(batch: TokenBatch) -> tuple[list[float], list[float]]:
        logp = batch.logp.clone().requires_grad_()
        batch = replace(batch, logp=logp, ref_logp=batch.ref_logp if beta else None)
        loss, metrics = policy_loss(batch, weights_of(batch, settings), settings)
        loss.backward()
        assert logp.grad is not None
        return [float(loss.detach()), *map(float, metrics.values())], logp.grad.flatten().tolist()

    clean = random_batch()
    spoiled = replace(clean, **{where: getattr(clean, where).masked_fill(~clean.mask, garbage)})
    (numbers, gradients), (expected, expected_gradients) = outcome(spoiled), outcome(clean)
    assert numbers == pytest.approx(expected, rel=1e-12)
    assert gradients == pytest.approx(expected_gradients, rel=1e-12)
    padded = np.array(gradients)[(~clean.mask).flatten().numpy()]
    assert (padded == 0).all()
    assert not all(g == 0 for g in gradients)


@BOTH
def test_padding_further_changes_nothing(name: str) -> None:
    settings = ObjectiveSettings(name=name, beta=0.1)
    batch = random_batch()
    wider = {
        field: torch.nn.functional.pad(getattr(batch, field), (0, 3))
        for field in ("logp", "old_logp", "ref_logp", "mask")
    }
    wide = replace(batch, **wider)
    assert float(policy_loss(wide, weights_of(wide, settings), settings)[0]) == pytest.approx(
        float(policy_loss(batch, weights_of(batch, settings), settings)[0]), rel=1e-12
    )


# --- TRL


def in_trl(batch: TokenBatch, name: str, epsilon: float, beta: float) -> torch.Tensor:
    """The loss of TRL's GRPOTrainer: its own `_compute_loss`, run on our tensors in place of a model's."""
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (batch.logp, torch.zeros_like(batch.logp), None),
        accelerator=SimpleNamespace(reduce=lambda x, reduction: x, gather=lambda x: x, num_processes=1),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None),
        loss_type=name,
        beta=beta,
        epsilon_low=epsilon,
        epsilon_high=epsilon,
        importance_sampling_level="token",
        max_completion_length=MAX_LENGTH,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
    )
    prompt = torch.ones(len(batch.logp), 2, dtype=torch.long)
    inputs = {
        "prompt_ids": prompt,
        "prompt_mask": prompt,
        "completion_ids": torch.ones(batch.logp.shape, dtype=torch.long),
        "completion_mask": batch.mask.long(),
        "advantages": batch.advantages,
        "old_per_token_logps": batch.old_logp,
        "ref_per_token_logps": batch.ref_logp,
    }
    return GRPOTrainer._compute_loss(trainer, None, inputs)


@BOTH
@pytest.mark.parametrize("beta", [0.0, 0.05])
def test_loss_and_gradients_equal_trls(name: str, beta: float) -> None:
    settings = ObjectiveSettings(name=name, epsilon=0.2, beta=beta)
    for seed in range(3):
        ours, theirs = (
            replace(batch, logp=batch.logp.requires_grad_()) for batch in (random_batch(seed), random_batch(seed))
        )
        loss, _ = policy_loss(ours if beta else replace(ours, ref_logp=None), weights_of(ours, settings), settings)
        reference = in_trl(theirs, name, 0.2, beta)
        assert loss.item() == pytest.approx(reference.item(), rel=1e-6)
        loss.backward()
        reference.backward()
        torch.testing.assert_close(ours.logp.grad, theirs.logp.grad, rtol=1e-6, atol=1e-12)
