"""The plain way: every row has its own copy of its context.

The reference that the shared way must equal, and the way of models that cannot share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from fission_grpo.errors import first_line
from fission_grpo.policy.logprobs import picked, response_logprobs
from fission_grpo.policy.sample import Sampled, SamplingSettings, draw, sample
from fission_grpo.policy.template import Ids
from fission_grpo.policy.tree import MIN_SHARED

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.5, torch.float16: 0.5}
"""Mean difference of random tokens' log-probabilities up to which two ways are one: above what the precision rounds
away, below what a model is off by that takes no notice of the tree. Ours."""


def unshareable(model: Any) -> str | None:
    """Why the model cannot share contexts, or None: both ways are tried on a few random tokens."""
    if not _attends_to_everything(model.config):
        return "its attention has a sliding window or layers of other kinds"
    tokens = torch.randint(model.config.get_text_config().vocab_size, (MIN_SHARED + 16,), generator=torch.Generator())
    head, a, b, c = (tuple(part.tolist()) for part in tokens.split([MIN_SHARED, 4, 6, 6]))
    probe = ([head + a, head], [[b, c], [c]], SamplingSettings(temperature=1.0, top_k=0))
    try:
        with torch.no_grad():
            gap = (response_logprobs(model, *probe) - response_logprobs_unshared(model, *probe)).abs().mean()
        greedy = SamplingSettings(temperature=0, max_new_tokens=3)
        sample(model, probe[0], 2, greedy, eos=frozenset(), generator=torch.Generator(model.device))
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, AttributeError, RuntimeError, NotImplementedError) as error:
        return first_line(error)
    device = model.device.type
    if gap > TOLERANCE[torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype]:
        return f"shared and unshared log-probabilities differ by {gap:.2g} in the mean"
    return None


def _attends_to_everything(config: Any) -> bool:
    """Whether every layer sees the whole context: what sharing rests on."""
    config = config.get_text_config()
    windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    kinds = getattr(config, "layer_types", None)
    return set(kinds) == {"full_attention"} if kinds else not windowed


def response_logprobs_unshared(
    model: Any, contexts: Sequence[Ids], responses: Sequence[Sequence[Ids]], sampling: SamplingSettings
) -> Tensor:
    """As `response_logprobs`; each group is one batch."""
    scored = []
    for context, of in zip(contexts, responses, strict=True):
        tokens = pad_sequence([torch.tensor(response, device=model.device) for response in of], batch_first=True)
        rows = torch.cat([torch.tensor([context], device=model.device).expand(len(of), -1), tokens], dim=1)
        logits = model(input_ids=rows, use_cache=False, logits_to_keep=tokens.shape[1] + 1).logits[:, :-1]
        logprobs = picked(logits, tokens, sampling)
        scored += [logprobs[i, : len(response)] for i, response in enumerate(of)]
    return pad_sequence(scored, batch_first=True)


@torch.no_grad()
def sample_unshared(
    model: Any,
    contexts: Sequence[Ids],
    group: int,
    settings: SamplingSettings,
    *,
    eos: frozenset[int],
    generator: torch.Generator,
) -> list[list[Sampled]]:
    """As `sample`; the rows of one context decode together, to the end of the longest."""
    return [_sample_one(model, ids, group, settings, eos, generator) for ids in contexts]


def _sample_one(
    model: Any, ids: Ids, group: int, settings: SamplingSettings, eos: frozenset[int], generator: torch.Generator
) -> list[Sampled]:
    cache = DynamicCache(config=model.config)
    new = torch.tensor([ids], device=model.device).expand(group, -1)
    tokens: list[Tensor] = []
    logprobs: list[Tensor] = []
    ended = torch.zeros(group, dtype=torch.bool, device=model.device)
    while len(tokens) < settings.max_new_tokens and not bool(ended.all()):
        logits = model(input_ids=new, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        token, logprob = draw(logits, settings, generator)
        tokens.append(token)
        logprobs.append(logprob)
        ended |= torch.isin(token, torch.tensor(sorted(eos), device=token.device))
        new = token[:, None]
    rows = zip(torch.stack(tokens, 1).tolist(), torch.stack(logprobs, 1).tolist(), strict=True)
    return [_until_end(row, values, eos) for row, values in rows]


def _until_end(ids: list[int], logprobs: list[float], eos: frozenset[int]) -> Sampled:
    stop = next((i + 1 for i, token in enumerate(ids) if token in eos), None)
    return ids[:stop], logprobs[:stop], stop is not None
