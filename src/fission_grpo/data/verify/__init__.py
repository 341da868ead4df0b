"""Proof of generated tasks: a coherence check of whole dialogues, and two verifiers that must agree on every decision.

Nothing here imports the generator: what it wrote is judged from the task alone.
"""

from fission_grpo.data.verify.coherence import incoherence
from fission_grpo.data.verify.replayed import replayed
from fission_grpo.data.verify.unique import unique

__all__ = ["incoherence", "replayed", "unique"]
