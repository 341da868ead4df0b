"""Log-probabilities of responses, each context computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from fission_grpo.policy.attention import tree_inputs
from fission_grpo.policy.sample import SamplingSettings, warped
from fission_grpo.policy.template import Ids
from fission_grpo.policy.tree import pack

HEAD_TOKENS = 512
"""Positions that pass through the LM head together: logits of a whole update would outgrow all its activations."""


def response_logprobs(
    model: Any, contexts: Sequence[Ids], responses: Sequence[Sequence[Ids]], sampling: SamplingSettings
) -> Tensor:
    """Log-probabilities [R, N] of the tokens of each context's responses, R ≥ 1 in all, padded with 0.

    One forward over one row in which every common beginning of contexts stands once; gradients flow through it. The
    LM head sees only the positions that predict a response's token.
    """
    device = model.device
    row = pack(contexts, responses)
    hidden = model.get_decoder()(**tree_inputs(row, device), use_cache=False).last_hidden_state[0]
    predictors = torch.tensor([i for of in row.predictors for indices in of for i in indices], device=device)
    tokens = torch.tensor([token for of in responses for response in of for token in response], device=device)
    head = model.get_output_embeddings()
    scored = [
        checkpoint(_token_logprobs, head, chunk, targets, sampling, use_reentrant=False, preserve_rng_state=False)
        for chunk, targets in zip(hidden[predictors].split(HEAD_TOKENS), tokens.split(HEAD_TOKENS), strict=True)
    ]
    lengths = [len(response) for of in responses for response in of]
    return pad_sequence(torch.cat(scored).split(lengths), batch_first=True)


def _token_logprobs(head: torch.nn.Module, hidden: Tensor, tokens: Tensor, sampling: SamplingSettings) -> Tensor:
    return picked(head(hidden), tokens, sampling)


def picked(logits: Tensor, tokens: Tensor, sampling: SamplingSettings) -> Tensor:
    """Log-probabilities [...] of `tokens` [...] under the sampled distribution, from logits [..., V]."""
    index = tokens[..., None]
    return warped(logits, sampling.temperature, sampling.top_k, keep=index).gather(-1, index)[..., 0]
