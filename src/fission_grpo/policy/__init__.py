"""Everything with weights: load, sample, update, checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any
from warnings import warn

import torch
from accelerate import Accelerator
from peft import PeftModel
from peft.helpers import disable_input_dtype_casting

from fission_grpo.chat import Decision, Rollout
from fission_grpo.errors import first_line
from fission_grpo.objective import ObjectiveSettings, group_advantages
from fission_grpo.policy import checkpoint
from fission_grpo.policy.load import ModelError, ModelSettings, load
from fission_grpo.policy.logprobs import response_logprobs
from fission_grpo.policy.sample import HeldPrefixes, SamplingSettings, sample
from fission_grpo.policy.template import Ids, Template
from fission_grpo.policy.unshared import response_logprobs_unshared, sample_unshared, unshareable
from fission_grpo.policy.update import Group, OptimizerSettings, backward, optimizer, schedule, trainable

SAMPLING = "sampling.max_rows, training.group_size, sampling.max_context_tokens or evaluation.batch_size"
UPDATE = (
    "optimizer.max_tokens, then training.group_size or sampling.max_context_tokens; "
    "optimizer.gradient_checkpointing also saves memory"
)


class Policy:
    """π_θ: a language model that samples assistant turns and learns from their rewards.

    One per process; accelerate owns the device. Randomness derives from `seed` and a counter passed to each call,
    so a resumed run draws what the uninterrupted one would have drawn. `autocast` computes in bf16 on weights that are
    trained in fp32.
    """

    def __init__(
        self, model: Any, template: Template, sampling: SamplingSettings, seed: int = 0, autocast: bool = False
    ) -> None:
        self.accelerator = Accelerator()
        self._autocast = autocast
        self.model = model.to(self.accelerator.device)
        self.template, self.sampling, self.seed = template, sampling, seed
        ends = self.network.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self.eos = frozenset(int(end) for end in [*ends, template.tokenizer.eos_token_id] if end is not None)
        with self._precision():
            reason = unshareable(self.network)
        self._shares = reason is None
        if reason:
            warn(f"this model's contexts are computed once per rollout, which is slower: {reason}", stacklevel=3)

    @classmethod
    def load(cls, settings: ModelSettings, sampling: SamplingSettings, *, trainable: bool, seed: int = 0) -> Policy:
        """The policy as the settings describe it. Raises ModelError or TemplateError."""
        autocast = trainable and settings.dtype == "bf16"
        return cls(*load(settings, trainable=trainable, seed=seed), sampling, seed, autocast)

    @property
    def network(self) -> Any:
        """The transformers model itself, with any adapter inside its layers."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    def encode(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Ids:
        """Token ids of a context x."""
        return self.template.encode(messages, tools)

    def extend(self, ids: Ids, rollout: Rollout, messages: Sequence[Mapping[str, Any]]) -> Ids:
        """The context after `rollout` and the messages that answered it; ids are appended, never re-encoded."""
        return self.template.extend(ids, rollout, messages)

    def reference_length(self, decision: Decision) -> int | None:
        """Length of a decision's reference turn in tokens: L* of the efficiency term. None where it has none."""
        if not decision.target and not decision.reference:
            return None
        return self.template.length(self.template.reference(decision))

    def sample(
        self,
        contexts: Sequence[Ids],
        group: int,
        counter: int,
        sampling: SamplingSettings | None = None,
        held: HeldPrefixes | None = None,
    ) -> list[list[Rollout]]:
        """`group` rollouts for each context. `counter` makes the draw reproducible; `held` as `sample` says."""
        generator = torch.Generator(device=self.model.device)
        generator.manual_seed(hash((self.seed, counter, self.accelerator.process_index)) & 0x7FFF_FFFF_FFFF_FFFF)
        settings = sampling or self.sampling
        longest = max(map(len, contexts), default=0)
        with self._precision(), _memory(f"sampling {group} rollouts of contexts of up to {longest} tokens", SAMPLING):
            if self._shares:
                drawn = sample(self.network, contexts, group, settings, eos=self.eos, generator=generator, held=held)
            else:
                drawn = sample_unshared(self.network, contexts, group, settings, eos=self.eos, generator=generator)
        return [[self._rollout(*row) for row in rows] for rows in drawn]

    def learn(self, optimization: OptimizerSettings, objective: ObjectiveSettings, updates: int) -> None:
        """Prepares for training with a budget of `updates` optimiser steps."""
        self.objective, self.optimization = objective, optimization
        stepper = optimizer(self.model, optimization)
        self.optimizer = self.accelerator.prepare(stepper)
        self.schedule = schedule(stepper, optimization, updates)
        if optimization.gradient_checkpointing:
            self.network.gradient_checkpointing_enable()
        full = not isinstance(self.model, PeftModel)
        self._frozen = deepcopy(self.model).requires_grad_(False) if full and objective.beta > 0 else None
        if self._frozen is not None and self._autocast:
            self._frozen.to(torch.bfloat16)

    def advantages(self, rewards: Sequence[float]) -> list[float]:
        """Group-relative advantages of one group's rewards."""
        values: list[float] = group_advantages(torch.tensor(rewards, dtype=torch.float32), self.objective).tolist()
        return values

    def update(self, groups: Sequence[Group]) -> dict[str, float]:
        """One optimiser step on the groups; returns its metrics."""
        self.optimizer.zero_grad()
        with self._precision(), self._recomputing(), _memory("an update", UPDATE):
            metrics = backward(
                self.network,
                groups,
                self.objective,
                self.sampling,
                self.accelerator,
                reference=self._as_reference,
                logprobs=response_logprobs if self._shares else response_logprobs_unshared,
                max_tokens=self.optimization.max_tokens if self._shares else 1,
            )
        norm = self.accelerator.clip_grad_norm_(trainable(self.model).values(), self.optimization.max_grad_norm)
        metrics["lr"] = self._stepper.param_groups[0]["lr"]
        self.optimizer.step()
        self.schedule.step()
        return {**metrics, "grad_norm": 0.0 if norm is None else float(norm)}

    def save(self, folder: Path, state: dict[str, Any]) -> None:
        """Writes a checkpoint: weights, optimiser, schedule and `state`. Raises CheckpointError."""
        own = {"schedule": self.schedule.state_dict(), "checksum": checkpoint.checksum(self.model)}
        checkpoint.save(folder, self.model, self._stepper, {**state, "policy": own})

    def restore(self, folder: Path) -> dict[str, Any]:
        """Loads what `save` wrote and returns its state. Raises CheckpointError, also where the weights differ."""
        state = checkpoint.restore(folder, self.model, self._stepper)
        own = state.pop("policy")
        self.schedule.load_state_dict(own["schedule"])
        for group, lr in zip(self._stepper.param_groups, self.schedule.get_last_lr(), strict=True):
            group["lr"] = lr  # the schedule sets it only at its next step
        found = checkpoint.checksum(self.model)
        if abs(found - own["checksum"]) > 1e-6 * max(1.0, own["checksum"]):
            raise checkpoint.CheckpointError(f"{folder}: restored weights differ from the saved ones")
        return state

    @property
    def _stepper(self) -> torch.optim.Optimizer:
        inner: torch.optim.Optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        return inner

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """bf16 computation on the fp32 weights that are trained; autocast casts these, and PEFT no inputs to them."""
        with (
            torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=self._autocast),
            disable_input_dtype_casting(self.model, active=self._autocast),
        ):
            yield

    @contextmanager
    def _recomputing(self) -> Iterator[None]:
        """Training mode for the layers that recompute their activations, which they do in no other, and for nothing
        inside them: dropout stays off."""
        layers = [layer for layer in self.network.modules() if getattr(layer, "gradient_checkpointing", False)]
        for layer in layers:
            layer.training = True
        try:
            yield
        finally:
            self.model.eval()

    @contextmanager
    def _as_reference(self) -> Iterator[Any]:
        """π_ref: the adapter switched off, or the frozen copy of a fully trained model."""
        if self._frozen is not None:
            yield self._frozen
            return
        with self.model.disable_adapter():
            yield self.network

    def _rollout(self, ids: list[int], logprobs: list[float], finished: bool) -> Rollout:
        body = ids[:-1] if finished else ids
        text = self.template.tokenizer.decode(body, skip_special_tokens=False)
        return Rollout(text, tuple(ids), tuple(logprobs), finished)


@contextmanager
def _memory(work: str, lower: str) -> Iterator[None]:
    """Turns an accelerator's out-of-memory error into one that says what to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(f"out of memory in {work}: lower {lower} ({first_line(error)})") from error
