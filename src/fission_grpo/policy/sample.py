"""Sampling: each context is computed once, whatever the number of rollouts, and all rows decode together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from transformers import DynamicCache

from fission_grpo.policy.attention import NO_MASK, Decoding, Prefix, tree_inputs
from fission_grpo.policy.template import Ids
from fission_grpo.policy.tree import pack
from fission_grpo.settings import Settings


class SamplingSettings(Settings):
    """The sampled distribution and its limits."""

    temperature: float = Field(0.95, ge=0)
    """Divides the logits; 0 is greedy."""
    top_k: int = Field(50, ge=0)
    """Keeps the k most likely tokens; 0 keeps all."""
    max_new_tokens: int = Field(256, ge=1)
    """Longest assistant turn in tokens."""
    max_context_tokens: int = Field(4096, ge=1)
    """Longer contexts are skipped, counted and named."""
    max_rows: int = Field(64, ge=1)
    """Rollouts decoded together; lower it where memory is short. The rollouts of one context are never split."""


Sampled = tuple[list[int], list[float], bool]
"""Token ids, their log-probabilities, and whether the end-of-turn token was reached."""


def warped(logits: Tensor, temperature: float, top_k: int, keep: Tensor | None = None) -> Tensor:
    """Log-probabilities of the sampled distribution, [..., V] from logits [..., V], in fp32.

    `keep` [..., 1]: token ids that stay in the distribution even where rounding drops them out of the top k.
    At temperature 0 (greedy) they are those of temperature 1.
    """
    logits = logits.float() / (temperature or 1.0)
    if temperature and 0 < top_k < logits.shape[-1]:
        threshold = logits.topk(top_k, dim=-1).values[..., -1:]
        if keep is not None:
            threshold = torch.minimum(threshold, logits.gather(-1, keep))
        logits = logits.masked_fill(logits < threshold, float("-inf"))
    return torch.log_softmax(logits, dim=-1)


@torch.no_grad()
def sample(
    model: Any,
    contexts: Sequence[Ids],
    group: int,
    settings: SamplingSettings,
    *,
    eos: frozenset[int],
    generator: torch.Generator,
    held: HeldPrefixes | None = None,
) -> list[list[Sampled]]:
    """`group` continuations of each context. Every context must have at least one token.

    `held` keeps keys and values for the next call, whose contexts may continue these: only while weights stand still.
    """
    per_batch = max(1, settings.max_rows // group)
    results: list[list[Sampled]] = []
    for start in range(0, len(contexts), per_batch):
        batch = contexts[start : start + per_batch]
        prefix, logits = prefill(model, batch, held)
        lengths = torch.tensor([len(ids) for ids in batch], device=logits.device)
        results += _decode(model, prefix, lengths, logits, group, settings, eos, generator)
    if held:
        held.turn()
    return results


class HeldPrefixes:
    """Keys and values of the contexts of one call, for those of the next that continue them."""

    def __init__(self) -> None:
        self._held: dict[Ids, Prefix] = {}
        self._next: dict[Ids, Prefix] = {}

    def take(self, ids: Ids) -> Prefix | None:
        """The longest held prefix of `ids` that leaves at least one token to compute; it is held no longer."""
        found = [key for key in self._held if len(key) < len(ids) and ids[: len(key)] == key]
        return self._held.pop(max(found, key=len)) if found else None

    def keep(self, contexts: Sequence[Ids], prefix: Prefix) -> None:
        """Remembers the contexts of a batch for the next call."""
        for row, ids in enumerate(contexts):
            self._next[ids] = prefix.row(row, len(ids))

    def turn(self) -> None:
        """Ends a call: what it did not keep is forgotten."""
        self._held, self._next = self._next, {}


def prefill(model: Any, contexts: Sequence[Ids], held: HeldPrefixes | None = None) -> tuple[Prefix, Tensor]:
    """Keys and values of the contexts, padded on the left to one length, and the logits [C, V] after each.

    All in one row: contexts that begin alike (one domain's tool specs, say) compute that beginning once; one that
    continues a held prefix computes its new tokens only.
    """
    pasts = [held.take(ids) if held else None for ids in contexts]
    row = pack(contexts, known=[past.length if past else 0 for past in pasts])
    cache = _joined([past for past in pasts if past])
    del pasts
    last = torch.tensor([indices[-1] - row.past for indices in row.contexts], device=model.device)
    out = model(**tree_inputs(row, model.device), past_key_values=cache, use_cache=True, logits_to_keep=last)
    prefix = _stacked(cache, row.contexts)
    if held:
        held.keep(contexts, prefix)
    return prefix, out.logits[0]


def _joined(prefixes: Sequence[Prefix]) -> DynamicCache:
    """Prefixes of one context each, one after another."""
    cache = DynamicCache()
    for layer in range(len(prefixes[0].keys) if prefixes else 0):
        keys = torch.cat([prefix.keys[layer] for prefix in prefixes], dim=2)
        values = torch.cat([prefix.values[layer] for prefix in prefixes], dim=2)
        cache.update(keys, values, layer)
    return cache


def _stacked(cache: DynamicCache, contexts: Sequence[list[int]]) -> Prefix:
    """The contexts whose tokens stand at these indices of the cache, padded on the left; empties the cache."""
    device = cache.layers[0].keys.device
    longest = max(map(len, contexts))
    index = torch.tensor([[0] * (longest - len(indices)) + indices for indices in contexts], device=device)

    def stacked(packed: Tensor) -> Tensor:  # [1, kv heads, T, d] -> [C, kv heads, P, d]
        return packed[0][:, index].transpose(0, 1).contiguous()

    keys, values = [], []
    while cache.layers:  # layer by layer, so that memory holds one of them twice
        layer = cache.layers.pop(0)
        keys.append(stacked(layer.keys.to(layer.values.dtype)))
        values.append(stacked(layer.values))
    lengths = torch.tensor([len(indices) for indices in contexts], device=device)
    padded = bool((lengths < longest).any())
    mask = torch.arange(longest, device=device) >= longest - lengths[:, None] if padded else None
    return Prefix(tuple(keys), tuple(values), mask)


def _decode(
    model: Any,
    prefix: Prefix,
    lengths: Tensor,
    logits: Tensor,
    group: int,
    settings: SamplingSettings,
    eos: frozenset[int],
    generator: torch.Generator,
) -> list[list[Sampled]]:
    """Decodes all rows in step; a row leaves the batch when it has ended."""
    results: list[Sampled] = [([], [], False) for _ in range(len(lengths) * group)]
    alive = list(range(len(results)))
    logits, positions = logits.repeat_interleave(group, dim=0), lengths.repeat_interleave(group)
    decoding = Decoding(prefix, group)
    while True:
        tokens, logprobs = draw(logits, settings, generator)
        kept = []
        for slot, (row, token, logprob) in enumerate(zip(alive, tokens.tolist(), logprobs.tolist(), strict=True)):
            ids, values, _ = results[row]
            ids.append(token)
            values.append(logprob)
            if token in eos:
                results[row] = (ids, values, True)
            else:
                kept.append(slot)
        if not kept or decoding.step + 1 == settings.max_new_tokens:
            return [results[start : start + group] for start in range(0, len(results), group)]
        if len(kept) < len(alive):
            rows = torch.tensor(kept, device=logits.device)
            decoding.keep(rows)
            tokens, positions, alive = tokens[rows], positions[rows], [alive[slot] for slot in kept]
        logits = model(
            input_ids=tokens[:, None],
            position_ids=positions[:, None] + decoding.step,
            attention_mask=NO_MASK.to(logits.device),
            use_cache=False,
            decoding=decoding,
        ).logits[:, -1]
        decoding.step += 1


def draw(logits: Tensor, settings: SamplingSettings, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One token per row [R] and its log-probability [R]."""
    logprobs = warped(logits, settings.temperature, settings.top_k)
    if settings.temperature == 0:
        tokens = logprobs.argmax(dim=-1)
    else:
        # by the inverse of the cumulative distribution: multinomial draws a number for each token of the vocabulary
        up_to = logprobs.exp().cumsum(dim=-1, dtype=torch.float64)
        drawn = torch.rand(len(up_to), 1, dtype=torch.float64, device=up_to.device, generator=generator)
        tokens = torch.searchsorted(up_to, drawn * up_to[:, -1:], right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
    return tokens, logprobs.gather(-1, tokens[:, None])[:, 0]
