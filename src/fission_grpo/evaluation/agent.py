"""A policy as an agent of the harness: contexts grow by appending token ids, and keep their keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from fission_grpo.chat import Rollout
from fission_grpo.evaluation.episode import Conversation, Halt
from fission_grpo.settings import Settings

if TYPE_CHECKING:
    from fission_grpo.policy import Policy


class EvaluationSettings(Settings):
    """How a policy is evaluated."""

    temperature: float = Field(0.0, ge=0)
    """0 is greedy."""
    max_new_tokens: int = Field(512, ge=1)
    """Longest assistant turn in tokens, thinking included."""
    max_steps: int = Field(10, ge=1)
    """Assistant turns within one user turn before the episode is lost; BFCL and TAU2 have their own limits."""
    batch_size: int = Field(32, ge=1)
    """Episodes played at once."""


class PolicyAgent:
    """Acts with a policy; halts where a context no longer fits `sampling.max_context_tokens`."""

    def __init__(self, policy: Policy, settings: EvaluationSettings) -> None:
        from fission_grpo.policy import HeldPrefixes  # torch loads only where a policy acts

        self.policy, self.held = policy, HeldPrefixes()
        changes = {"temperature": settings.temperature, "max_new_tokens": settings.max_new_tokens, "top_k": 0}
        self.sampling = policy.sampling.model_copy(update=changes)
        self.acts = 0

    def act(self, conversations: Sequence[Conversation]) -> list[Rollout | Halt]:
        """One assistant turn for each conversation, or a halt."""
        for conversation in conversations:
            conversation.context = self._grown(conversation)
        limit = self.sampling.max_context_tokens
        fitting = [c for c in conversations if len(c.context) <= limit]
        self.acts += 1
        drawn = self.policy.sample([c.context for c in fitting], 1, self.acts, self.sampling, self.held)
        rollouts = {id(c): rows[0] for c, rows in zip(fitting, drawn, strict=True)}
        return [rollouts.get(id(c)) or _too_long(c, limit) for c in conversations]

    def _grown(self, conversation: Conversation) -> tuple[int, ...]:
        if conversation.context is None:
            return self.policy.encode(conversation.messages, conversation.tools)
        return self.policy.extend(conversation.context, conversation.rollouts[-1], conversation.pending)


def _too_long(conversation: Conversation, limit: int) -> Halt:
    return Halt("context_full", f"{len(conversation.context)} tokens, where sampling.max_context_tokens is {limit}")
