"""Shared-prefix attention: many rows attend to one copy of their common context.

Registered with transformers as the attention implementation `shared_prefix`, so that Llama, Qwen3, Gemma… keep
their own modelling code. Without a prefix it is PyTorch's scaled-dot-product attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "shared_prefix"


@dataclass(frozen=True)
class Prefix:
    """Keys and values of C contexts, each stored once, whatever number of rows attends to it.

    `keys`, `values`: per layer, [C, key/value heads, P, head dim], positions applied. `mask` [C, P] is True where a
    context has a token (padding lies on the left); None where all C are P long. Gradients flow through it.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor | None = None

    @classmethod
    def of(cls, cache: DynamicCache, mask: Tensor | None = None) -> Prefix:
        """The keys and values that a forward pass left in `cache`."""
        return cls(tuple(layer.keys for layer in cache.layers), tuple(layer.values for layer in cache.layers), mask)

    @property
    def contexts(self) -> int:
        """Number of contexts C."""
        return self.keys[0].shape[0]

    @property
    def length(self) -> int:
        """Padded length P in tokens."""
        return self.keys[0].shape[2]

    def select(self, contexts: Tensor) -> Prefix:
        """The prefix of the contexts at these indices [C']."""
        mask = None if self.mask is None else self.mask[contexts]
        return Prefix(tuple(k[contexts] for k in self.keys), tuple(v[contexts] for v in self.values), mask)


def shared_prefix_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    prefix: Prefix | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of R rows to their own tokens and, where given, to the prefix of their context.

    `query` [R, heads, n, d], `key`/`value` [R, kv heads, m, d]: the rows' own tokens. R = C·G, rows of one context
    adjacent. `attention_mask` (own tokens only): bool, True where visible, broadcastable to [R, 1, n, m], or None
    for all visible. One softmax over prefix and own scores: exactly the attention of the unshared rows.
    Returns [R, n, heads, d].
    """
    if prefix is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    rows, heads, n, d = query.shape
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    contexts, kv_heads, length, _ = prefix.keys[layer].shape
    group, per_kv = rows // contexts, heads // kv_heads
    scaling = d**-0.5 if scaling is None else scaling

    def by_context(x: Tensor) -> Tensor:  # [R, heads, n, ·] -> [C, kv heads, G·heads per kv·n, ·]
        x = x.reshape(contexts, group, kv_heads, per_kv, n, x.shape[-1])
        return x.transpose(1, 2).reshape(contexts, kv_heads, group * per_kv * n, x.shape[-1])

    def by_row(x: Tensor) -> Tensor:  # the inverse, heads and tokens flat: [R, kv heads, heads per kv·n, ·]
        x = x.reshape(contexts, kv_heads, group, per_kv * n, x.shape[-1])
        return x.transpose(1, 2).reshape(rows, kv_heads, per_kv * n, x.shape[-1])

    to_prefix = by_context(query) @ prefix.keys[layer].transpose(-1, -2)
    if prefix.mask is not None:
        to_prefix = to_prefix.masked_fill(~prefix.mask[:, None, None, :], float("-inf"))
    own = query.reshape(rows, kv_heads, per_kv * n, d) @ key.transpose(-1, -2)
    if attention_mask is not None:
        shape, own = own.shape, own.view(rows, kv_heads, per_kv, n, -1)
        own = own.masked_fill(~attention_mask[:, :, None], float("-inf")).view(shape)
    scores = torch.cat([by_row(to_prefix), own], dim=-1).float() * scaling
    weights = torch.softmax(scores, dim=-1).to(query.dtype)
    weights = torch.nn.functional.dropout(weights, dropout, training=module.training)
    prefix_weights, own_weights = weights.split([length, key.shape[2]], dim=-1)
    prefix_weights = prefix_weights.reshape(rows, heads, n, length)
    out = by_row(by_context(prefix_weights) @ prefix.values[layer]) + own_weights @ value
    return out.reshape(rows, heads, n, d).transpose(1, 2), None


AttentionInterface.register(NAME, shared_prefix_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
