"""Attention that computes a shared beginning once, exactly as if every sequence had its own copy of it.

Registered with transformers as the implementation `shared_prefix`, so that Llama, Qwen3, Gemma… keep their own
modelling code. Three ways through one function: a packed row of sequences (`tree`), one token for each of many rows
(`decoding`), and neither: PyTorch's scaled-dot-product attention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from fission_grpo.policy.tree import Node, Row

NAME = "shared_prefix"

NO_MASK = torch.ones(1, 1, 1, 1, dtype=torch.bool)
"""Keeps transformers from building a mask that a tree or a decoding step does not use."""

CAPACITY = 64
"""Steps of decoding for which room is made at a time."""


def shared_prefix_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree: Sequence[Node] | None = None,
    decoding: Decoding | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """`query` [R, heads, n, d], `key` and `value` [R, kv heads, m, d]; returns [R, n, heads, d].

    With `tree`, R = 1 and the row's tokens see what its nodes say. With `decoding`, n = m = 1.
    """
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key = query.to(value.dtype), key.to(value.dtype)  # norms with fp32 weights raise them under autocast
    if tree is not None:
        out = _TreeAttention.apply(query, key, value, tree, scaling)
        return out.transpose(1, 2), None
    if decoding is not None:
        return decoding.attend(int(module.layer_idx), query, key, value, scaling).transpose(1, 2), None  # type: ignore[arg-type]
    return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs)


def tree_inputs(row: Row, device: torch.device) -> dict[str, Any]:
    """What a model is called with to compute a packed row."""
    return {
        "input_ids": torch.tensor([row.ids], device=device),
        "position_ids": torch.tensor([row.positions], device=device),
        "attention_mask": NO_MASK.to(device),
        "tree": row.nodes,
    }


class _TreeAttention(torch.autograd.Function):
    """Attention over the blocks of a tree, merged by log-sum-exp.

    Each node's tokens attend causally to themselves, and the tokens below a node to all of it: blocks without padding
    or mask, each one call of PyTorch's fused kernel. With the merged output and log-sum-exp, the kernels' backward
    gives each block's share of the gradients (as in ring attention, arXiv 2310.01889).
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, tree: Sequence[Node], scale: float) -> Tensor:
        out = torch.empty_like(query, dtype=torch.float32)
        lse = torch.empty(query.shape[:-1], dtype=torch.float32, device=query.device)
        for rows, columns, causal in _blocks(tree, key.shape[2] - query.shape[2]):
            block, own = _attend(query[:, :, rows], key[:, :, columns], value[:, :, columns], causal, scale)
            if causal:  # the first block of these rows
                out[:, :, rows], lse[:, :, rows] = block, own
                continue
            merged = torch.logaddexp(lse[:, :, rows], own)
            out[:, :, rows] *= (lse[:, :, rows] - merged).exp()[..., None]
            out[:, :, rows] += block * (own - merged).exp()[..., None]
            lse[:, :, rows] = merged
        out = out.to(query.dtype)
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.tree, ctx.scale = tree, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, lse = ctx.saved_tensors
        d_query, d_key, d_value = (torch.zeros_like(x, dtype=torch.float32) for x in (query, key, value))
        for rows, columns, causal in _blocks(ctx.tree, key.shape[2] - query.shape[2]):
            shares = _attend_backward(
                gradient[:, :, rows],
                query[:, :, rows],
                key[:, :, columns],
                value[:, :, columns],
                out[:, :, rows],
                lse[:, :, rows],
                causal,
                ctx.scale,
            )
            d_query[:, :, rows] += shares[0]
            d_key[:, :, columns] += shares[1]
            d_value[:, :, columns] += shares[2]
        return d_query.to(query.dtype), d_key.to(key.dtype), d_value.to(value.dtype), None, None


def _blocks(tree: Sequence[Node], past: int) -> Iterator[tuple[slice, slice, bool]]:
    """Queries, keys and causality of each block; every query's causal block comes before its others."""
    for node in tree:
        if node.start >= past:
            yield slice(node.start - past, node.stop - past), slice(node.start, node.stop), True
    for node in tree:
        if node.first < node.last:
            yield slice(node.first - past, node.last - past), slice(node.start, node.stop), False


def _attend(query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Output [1, heads, n, d] and log-sum-exp [1, heads, n] of PyTorch's fused kernel; grouped heads as they are."""
    if query.device.type == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, causal, scale=scale)
    out, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, causal, scale=scale)
    return out, lse


def _attend_backward(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, lse: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for query, key and value of one block, given the output and log-sum-exp of all blocks."""
    if query.device.type == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            gradient, query, key, value, out, lse, 0.0, causal, scale=scale
        )
    n, m = query.shape[2], key.shape[2]
    unused = torch.empty(2, dtype=torch.uint64, device=query.device)  # the random state of a dropout that is 0
    return torch.ops.aten._scaled_dot_product_flash_attention_backward(
        gradient, query, key, value, out, lse.contiguous(), None, None, n, m, 0.0, causal, unused, unused, scale=scale
    )


@dataclass(frozen=True)
class Prefix:
    """Keys and values of C contexts, each stored once, whatever number of rows attends to it.

    `keys`, `values`: per layer, [C, key/value heads, P, head dim], positions applied. `mask` [C, P] is True where a
    context has a token (padding lies on the left); None where all C are P long.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor | None = None

    @property
    def contexts(self) -> int:
        """Number of contexts C."""
        return self.keys[0].shape[0]

    @property
    def length(self) -> int:
        """Padded length P in tokens."""
        return self.keys[0].shape[2]

    def row(self, context: int, length: int) -> Prefix:
        """The prefix of one context, `length` tokens long and without padding; a view."""
        keys, values = ([x[context : context + 1, :, -length:] for x in of] for of in (self.keys, self.values))
        return Prefix(tuple(keys), tuple(values))

    def select(self, contexts: Tensor) -> Prefix:
        """The prefix of the contexts at these indices [C']."""
        mask = None if self.mask is None else self.mask[contexts]
        return Prefix(tuple(k[contexts] for k in self.keys), tuple(v[contexts] for v in self.values), mask)


class Decoding:
    """Rows that decode together, a token each per step: the prefix they share by context, and what they said since.

    At first there are `group` rows for each context, adjacent; `keep` lets rows go. One instance serves one forward
    per step, with `step` counting those before it.
    """

    def __init__(self, prefix: Prefix, group: int) -> None:
        self.prefix, self.step = prefix, 0
        self._width = group
        self._slots = torch.arange(prefix.contexts * group, device=prefix.keys[0].device)  # [R] in [C · width]
        self._keys: list[Tensor] = []  # per layer [R, kv heads, capacity, d]
        self._values: list[Tensor] = []

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Attention of the rows' new tokens: `query` [R, heads, 1, d], `key` and `value` [R, kv heads, 1, d]."""
        rows, heads, _, d = query.shape
        kv_heads = key.shape[1]
        keys, values = self._own(layer, key, value)
        query = query.reshape(rows, kv_heads, heads // kv_heads, d)
        scores = self._spread(query) @ self.prefix.keys[layer].transpose(-1, -2)
        if self.prefix.mask is not None:
            scores = scores.masked_fill(~self.prefix.mask[:, None, None], float("-inf"))
        scores = torch.cat([self._gather(scores), query @ keys.transpose(-1, -2)], dim=-1)
        weights = torch.softmax(scores.float() * scale, dim=-1).to(query.dtype)
        to_prefix, to_own = weights.split([self.prefix.length, keys.shape[2]], dim=-1)
        out = self._gather(self._spread(to_prefix) @ self.prefix.values[layer]) + to_own @ values
        return out.reshape(rows, heads, 1, d)

    def keep(self, rows: Tensor) -> None:
        """Goes on with the rows at these ascending indices only."""
        contexts, per_context = torch.unique_consecutive(self._slots[rows] // self._width, return_counts=True)
        if len(contexts) < self.prefix.contexts:
            self.prefix = self.prefix.select(contexts)
        self._width = int(per_context.max())
        rank = torch.arange(len(rows), device=rows.device) - torch.repeat_interleave(
            per_context.cumsum(0) - per_context, per_context
        )
        place = torch.arange(len(contexts), device=rows.device).repeat_interleave(per_context)
        self._slots = place * self._width + rank
        self._keys, self._values = [k[rows] for k in self._keys], [v[rows] for v in self._values]

    def _own(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Adds this step's keys and values; returns all of the rows' own, [R, kv heads, step + 1, d]."""
        if self.step % CAPACITY == 0:
            room = [x.new_empty(*x.shape[:2], CAPACITY, x.shape[3]) for x in (key, value)]
            if self.step == 0:
                self._keys.append(room[0])
                self._values.append(room[1])
            else:
                self._keys[layer] = torch.cat([self._keys[layer], room[0]], dim=2)
                self._values[layer] = torch.cat([self._values[layer], room[1]], dim=2)
        self._keys[layer][:, :, self.step] = key[:, :, 0]
        self._values[layer][:, :, self.step] = value[:, :, 0]
        return self._keys[layer][:, :, : self.step + 1], self._values[layer][:, :, : self.step + 1]

    def _spread(self, x: Tensor) -> Tensor:
        """[R, kv heads, heads per kv, ·] by row to [C, kv heads, width · heads per kv, ·] by context; 0 for no row."""
        contexts, width = self.prefix.contexts, self._width
        if len(x) < contexts * width:
            x = x.new_zeros(contexts * width, *x.shape[1:]).index_copy_(0, self._slots, x)
        x = x.reshape(contexts, width, *x.shape[1:]).transpose(1, 2)
        return x.reshape(contexts, x.shape[1], -1, x.shape[-1])

    def _gather(self, x: Tensor) -> Tensor:
        """The inverse of `_spread`."""
        contexts, kv_heads, _, last = x.shape
        x = x.reshape(contexts, kv_heads, self._width, -1, last).transpose(1, 2)
        x = x.reshape(contexts * self._width, kv_heads, -1, last)
        return x if len(x) == len(self._slots) else x[self._slots]


AttentionInterface.register(NAME, shared_prefix_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
