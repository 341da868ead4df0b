"""Sampling: each context is computed once, whatever the number of rollouts, and all rows decode together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache

from fission_grpo.policy.attention import Prefix
from fission_grpo.policy.template import Ids
from fission_grpo.settings import Settings

MIN_SHARED = 64
"""Contexts that begin with this many equal tokens, and at least half of the beginning found so far, share it."""


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

    def find(self, ids: Ids) -> Prefix | None:
        """The longest held prefix of `ids` that leaves at least one token to compute."""
        found = [key for key in self._held if len(key) < len(ids) and ids[: len(key)] == key]
        return self._held[max(found, key=len)] if found else None

    def keep(self, ids: Ids, prefix: Prefix) -> None:
        """Remembers a context for the next call."""
        self._next[ids] = prefix

    def turn(self) -> None:
        """Ends a call: what it did not keep is forgotten."""
        self._held, self._next = self._next, {}


def prefill(model: Any, contexts: Sequence[Ids], held: HeldPrefixes | None = None) -> tuple[Prefix, Tensor]:
    """Keys and values of the contexts, padded on the left to one length, and the logits [C, V] after each.

    Contexts that begin alike (one domain's tool specs, say) compute that beginning once; one that continues a held
    prefix computes its new tokens only.
    """
    computed: dict[int, tuple[Prefix, Tensor]] = {}
    for i, ids in enumerate(contexts):
        if held and (past := held.find(ids)):
            computed[i] = _prefill_one(model, ids, past)
    order = sorted((i for i in range(len(contexts)) if i not in computed), key=lambda i: contexts[i])
    for members, shared in _families([contexts[i] for i in order]):
        family = [order[m] for m in members]
        computed |= dict(zip(family, _prefill_family(model, [contexts[i] for i in family], shared), strict=True))
    prefixes, logits = zip(*(computed[i] for i in range(len(contexts))), strict=True)
    if held:
        for ids, prefix in zip(contexts, prefixes, strict=True):
            held.keep(ids, prefix)
    return _stack(prefixes), torch.cat(logits)


def _families(contexts: Sequence[Ids]) -> list[tuple[list[int], int]]:
    """Neighbours (of sorted contexts) with a common beginning: their indices, and how many tokens they share.

    A context's last token is never shared: its logits are wanted.
    """
    families: list[tuple[list[int], int]] = []
    for i, ids in enumerate(contexts):
        if families:
            members, shared = families[-1]
            common = min(shared, _common(contexts[members[0]], ids), len(ids) - 1)
            if common >= max(MIN_SHARED, shared // 2):
                members.append(i)
                families[-1] = (members, common)
                continue
        families.append(([i], len(ids) - 1))
    return families


def _common(a: Ids, b: Ids) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _prefill_family(model: Any, contexts: Sequence[Ids], shared: int) -> list[tuple[Prefix, Tensor]]:
    """Each context's own unpadded prefix and last logits [1, V]."""
    device = model.device
    if len(contexts) == 1:
        return [_prefill_one(model, contexts[0])]
    head, _ = _prefill_one(model, contexts[0][:shared])
    tails = [ids[shared:] for ids in contexts]
    longest = max(map(len, tails))
    padding = torch.tensor([longest - len(tail) for tail in tails], device=device)
    ids = torch.tensor([[0] * (longest - len(tail)) + list(tail) for tail in tails], device=device)
    index = torch.arange(longest, device=device)
    real = index >= padding[:, None]
    visible = (index[None, :] <= index[:, None]) & real[:, None, :]
    cache = DynamicCache()
    out = model(
        input_ids=ids,
        position_ids=(shared + index - padding[:, None]).clamp(min=0),
        attention_mask=visible[:, None],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        prefix=head,
    )
    own = Prefix.of(cache)
    return [(_joined(head, own, row, int(padding[row])), out.logits[row : row + 1, -1]) for row in range(len(tails))]


def _prefill_one(model: Any, ids: Ids, past: Prefix | None = None) -> tuple[Prefix, Tensor]:
    """A context's prefix, computed after `past`, and its last logits [1, V]."""
    cache = DynamicCache()
    if past:
        for layer, (keys, values) in enumerate(zip(past.keys, past.values, strict=True)):
            cache.update(keys, values, layer)
    new = torch.tensor([ids[past.length if past else 0 :]], device=model.device)
    out = model(input_ids=new, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return Prefix.of(cache), out.logits[:, -1]


def _joined(head: Prefix, own: Prefix, row: int, skip: int) -> Prefix:
    """One row's keys and values: the shared head, then its own tokens without padding."""
    keys = (torch.cat([h, o[row : row + 1, :, skip:]], dim=2) for h, o in zip(head.keys, own.keys, strict=True))
    values = (torch.cat([h, o[row : row + 1, :, skip:]], dim=2) for h, o in zip(head.values, own.values, strict=True))
    return Prefix(tuple(keys), tuple(values))


def _stack(prefixes: Sequence[Prefix]) -> Prefix:
    """Prefixes of one context each as one, padded on the left."""
    longest = max(prefix.length for prefix in prefixes)
    padding = [longest - prefix.length for prefix in prefixes]

    def stacked(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([pad(t, (0, 0, skip, 0)) for t, skip in zip(tensors, padding, strict=True)])

    layers = range(len(prefixes[0].keys))
    keys = tuple(stacked([prefix.keys[layer] for prefix in prefixes]) for layer in layers)
    values = tuple(stacked([prefix.values[layer] for prefix in prefixes]) for layer in layers)
    if not any(padding):
        return Prefix(keys, values)
    starts = torch.tensor(padding, device=keys[0].device)
    return Prefix(keys, values, torch.arange(longest, device=keys[0].device) >= starts[:, None])


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
    """Decodes all rows in step; a context leaves the batch when its last rollout has ended."""
    contexts = len(lengths)
    results: list[list[Sampled]] = [[([], [], False) for _ in range(group)] for _ in range(contexts)]
    alive = list(range(contexts))
    done = [[False] * group for _ in range(contexts)]
    logits = logits.repeat_interleave(group, dim=0)
    cache = DynamicCache()
    for step in range(settings.max_new_tokens):
        tokens, logprobs = _draw(logits, settings, generator)
        for row, (token, logprob) in enumerate(zip(tokens.tolist(), logprobs.tolist(), strict=True)):
            context, member = alive[row // group], row % group
            if not done[context][member]:
                ids, values, _ = results[context][member]
                ids.append(token)
                values.append(logprob)
                if token in eos:
                    done[context][member] = True
                    results[context][member] = (ids, values, True)
        kept = [slot for slot, context in enumerate(alive) if not all(done[context])]
        if not kept or step + 1 == settings.max_new_tokens:
            break
        if len(kept) < len(alive):
            slots = torch.tensor(kept, device=logits.device)
            rows = (slots[:, None] * group + torch.arange(group, device=logits.device)).flatten()
            prefix, lengths, tokens = prefix.select(slots), lengths[slots], tokens[rows]
            if step:
                cache.batch_select_indices(rows)
            alive = [alive[slot] for slot in kept]
        positions = (lengths + step).repeat_interleave(group)[:, None]
        out = model(
            input_ids=tokens[:, None],
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            attention_mask=torch.ones(1, 1, 1, step + 1, dtype=torch.bool, device=logits.device),
            prefix=prefix,
        )
        logits = out.logits[:, -1]
    return results


def _draw(logits: Tensor, settings: SamplingSettings, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One token per row [R] and its log-probability [R]."""
    logprobs = warped(logits, settings.temperature, settings.top_k)
    if settings.temperature == 0:
        tokens = logprobs.argmax(dim=-1)
    else:
        tokens = torch.multinomial(logprobs.exp(), 1, generator=generator)[:, 0]
    return tokens, logprobs.gather(-1, tokens[:, None])[:, 0]
