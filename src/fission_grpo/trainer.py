"""Algorithm 1: explore → update → identify → feedback → push; where triggered, pop → resample → update.

One process per device. A corrective sample is a context with a target, so stage 3 explores and updates through the
same lines as stage 1, and one pass of the loop is one update.
"""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from accelerate.utils import gather_object
from pydantic import Field

from fission_grpo.chat import Decision, Rollout, fingerprint, tool_message
from fission_grpo.errors import UserError
from fission_grpo.feedback import Failure, Feedback
from fission_grpo.fission import Attempt, Context, Explored, FissionSettings, LifoBuffer, Trigger, corrective, is_error
from fission_grpo.metrics import Clock, describe
from fission_grpo.policy import Group, Policy
from fission_grpo.reward import RewardSettings, score
from fission_grpo.settings import Settings
from fission_grpo.toolcall import Toolbox

Diagnose = Callable[[Failure], Feedback]


class TrainerError(UserError, ValueError):
    """There is nothing to train on."""


class TrainingSettings(Settings):
    """The budget and the shape of a step."""

    updates: int = Field(234, ge=1)
    """Optimiser steps in all, standard and fission together."""
    batch_size: int = Field(8, ge=1)
    """B: contexts of a standard update."""
    group_size: int = Field(8, ge=2)
    """G: rollouts for each context."""
    save_every: int = Field(20, ge=1)
    """Updates between checkpoints."""
    keep_checkpoints: int = Field(2, ge=1)
    """Newest checkpoints kept."""


class Trainer:
    """Algorithm 1 over a policy, its data and a source of feedback.

    `on_update(metrics, groups)` is called after every update, `save()` whenever a checkpoint is due. The state that
    a checkpoint needs beyond the policy's is `state()`; `load_state` puts it back.
    """

    def __init__(
        self,
        policy: Policy,
        decisions: Sequence[Decision],
        diagnose: Diagnose,
        *,
        training: TrainingSettings,
        fission: FissionSettings,
        reward: RewardSettings,
        seed: int,
        on_update: Callable[[dict[str, Any], list[Explored]], None],
        save: Callable[[], None],
    ) -> None:
        self.policy, self.diagnose = policy, diagnose
        self.training, self.fission, self.reward, self.seed = training, fission, reward, seed
        self.on_update, self.save = on_update, save
        self.decisions, self.fingerprint = {decision.id: decision for decision in decisions}, fingerprint(decisions)
        self.contexts, self.skipped = self._encode(decisions)
        self.buffer = LifoBuffer(fission.capacity, fission.max_age)
        self.trigger = Trigger(fission.batch_size, fission.interval)
        self.updates: Counter[str] = Counter()
        self.stopping = False
        self._clock = Clock()

    def run(self) -> None:
        """Trains until the budget of updates is spent, or until SIGINT: then the update in hand is finished first."""
        with self._interruptible():
            while self.updates.total() < self.training.updates and not self.stopping:
                if self.fission.enabled and self.trigger.fires(len(self.buffer), self.updates["standard"]):
                    stage = "fission"  # stage 3: the newest failures become groups of their own
                    groups = self.explore(self.buffer.pop(self.fission.batch_size), self.fission.group_size)
                else:
                    stage = "standard"  # stage 1
                    groups = self.explore(self.next_contexts(), self.training.group_size)
                metrics = self.update(groups)
                self.updates[stage] += 1
                if self.fission.enabled:
                    pushed = self.buffer.push(self.corrective_samples(groups))  # stage 2
                    expired = self.buffer.expire(self.updates["standard"])
                    metrics |= {"pushed": pushed, "expired": expired}
                held = {"buffer/size": len(self.buffer), "buffer/age": self.buffer.mean_age(self.updates["standard"])}
                count = {"update": self.updates.total(), "stage": stage}
                self.on_update({**count, **describe(groups), **held, **metrics, **self._clock.read()}, groups)
                if self.updates.total() % self.training.save_every == 0:
                    self.save()
            if self.updates.total() % self.training.save_every:
                self.save()

    def next_contexts(self) -> list[Context]:
        """The next B contexts of a pass over the data that is shuffled anew each time; a function of the counters."""
        size, start = len(self.contexts), self.updates["standard"] * self.training.batch_size
        picked = []
        for index in range(start, start + self.training.batch_size):
            order = random.Random(f"{self.seed}/{index // size}").sample(range(size), size)  # noqa: S311
            picked.append(self.contexts[order[index % size]])
        return picked

    def explore(self, contexts: Sequence[Context], group_size: int) -> list[Explored]:
        """Samples a group of rollouts from the current policy for each context of this process, and scores them."""
        rank, world = self.policy.accelerator.process_index, self.policy.accelerator.num_processes
        mine = contexts[rank::world]
        with self._clock("sample"):
            rollouts = self.policy.sample([c.ids for c in mine], group_size, counter=self.updates.total())
        with self._clock("score"):
            return [self._scored(context, group) for context, group in zip(mine, rollouts, strict=True)]

    def update(self, groups: Sequence[Explored]) -> dict[str, Any]:
        """One optimiser step on the groups (Eq. 1; over corrective contexts it is Eq. 6)."""
        with self._clock("update"):
            batch = [Group(g.context.ids, [one.rollout for one in g.scored], g.advantages) for g in groups]
            return self.policy.update(batch)

    def corrective_samples(self, groups: Sequence[Explored]) -> list[Context]:
        """Stage 2: a corrective sample for every error (Eq. 4) that is not too deep; the same on every process."""
        with self._clock("feedback"):
            for group in groups:
                if group.context.depth < self.fission.max_depth:
                    self._fission(group)
            return gather_object([sample for group in groups for sample in group.samples.values()])

    def state(self) -> dict[str, Any]:
        """Counters and buffer; the data cursor and all randomness are functions of them and of the seed."""
        return {
            "data": self.fingerprint,
            "updates": dict(self.updates),
            "last_fission": self.trigger.last,
            "buffer": self.buffer.to_state(),
            "seconds": self._clock.elapsed(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Puts back what `state` returned. Raises TrainerError where the data is no longer the same."""
        if state["data"] != self.fingerprint:
            raise TrainerError("the decisions are not those that the run was started with: restore them, or start anew")
        self.updates = Counter(state["updates"])
        self.trigger.last = state["last_fission"]
        self.buffer.load_state(state["buffer"], self.decisions)
        self._clock = Clock(state["seconds"])

    def _encode(self, decisions: Sequence[Decision]) -> tuple[list[Context], list[str]]:
        """Contexts that fit, and the ids of the decisions that do not."""
        limit = self.policy.sampling.max_context_tokens
        encoded = [Context(d, self.policy.encode(d.messages, d.tools)) for d in decisions]
        fitting = [context for context in encoded if len(context.ids) <= limit]
        skipped = [context.decision.id for context in encoded if len(context.ids) > limit]
        if not fitting:
            raise TrainerError(f"no decision fits sampling.max_context_tokens = {limit}")
        return fitting, skipped

    def _scored(self, context: Context, rollouts: Sequence[Rollout]) -> Explored:
        decision = context.decision
        toolbox, length = Toolbox(decision.tools), self.policy.reference_length(decision)
        progress = self.updates.total() / self.training.updates
        scored = [
            score(r, decision, toolbox, reference_length=length, progress=progress, settings=self.reward)
            for r in rollouts
        ]
        advantages = self.policy.advantages([one.reward.total for one in scored])
        return Explored(context, scored, advantages, [is_error(one.reward, self.fission.delta) for one in scored])

    def _fission(self, group: Explored) -> None:
        """Feedback and corrective sample for each distinct error of a group."""
        limit = self.policy.sampling.max_context_tokens
        for index, (one, error) in enumerate(zip(group.scored, group.errors, strict=True)):
            if not error or one.rollout.ids in {group.scored[i].rollout.ids for i in group.feedback}:
                continue
            failure = Failure(group.context.decision, one.rollout.text, one.turn, one.reward.format_errors)
            feedback = group.feedback[index] = self.diagnose(failure)
            ids = self.policy.extend(group.context.ids, one.rollout, [tool_message(feedback.text)])
            attempt = Attempt(one.rollout.text, feedback.text, feedback.source, one.reward.total)
            if len(ids) <= limit:
                group.samples[index] = corrective(
                    group.context, ids, one.rollout.ids, attempt, self.updates["standard"]
                )

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """SIGINT asks the loop to stop after the update in hand; a second one interrupts at once."""

        def stop(*_: Any) -> None:
            self.stopping = True
            signal.signal(signal.SIGINT, signal.default_int_handler)

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
