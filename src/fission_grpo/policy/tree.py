"""Token sequences that begin alike, packed into one row in which each common beginning stands once. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from fission_grpo.policy.template import Ids

MIN_SHARED = 64
"""Contexts share a beginning of at least this many tokens: each one shared is a call of the kernel more. Ours."""


@dataclass(frozen=True)
class Node:
    """Tokens `start:stop`. Each sees those before it here; the descendants `first:last` see the whole of it."""

    start: int
    stop: int
    first: int
    last: int


@dataclass
class Row:
    """A forest of contexts with their responses, as one row of tokens.

    Indices count first the `past` tokens whose keys and values are there already, then the row's own. `contexts[c]`:
    the indices of context c's tokens. `predictors[c][g][j]`: the index of the token from which token j of its
    response g is predicted, for j = 0 the context's last. A response's last token predicts nothing and is left out.
    """

    past: int = 0
    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    contexts: list[list[int]] = field(default_factory=list)
    predictors: list[list[list[int]]] = field(default_factory=list)

    @property
    def stop(self) -> int:
        """The index after the last token."""
        return self.past + len(self.ids)

    def append(self, tokens: Ids, position: int) -> list[int]:
        """Adds tokens at successive positions from `position`; returns their indices."""
        start = self.stop
        self.ids += tokens
        self.positions += range(position, position + len(tokens))
        return list(range(start, self.stop))


def pack(
    contexts: Sequence[Ids], responses: Sequence[Sequence[Ids]] | None = None, known: Sequence[int] | None = None
) -> Row:
    """Contexts and, for each, its responses; all have at least one token.

    Only contexts are shared, never what responses begin with. Of context c the first `known[c]` tokens (fewer than
    it has) are computed already: they are the row's `past`, context after context.
    """
    responses = responses or [()] * len(contexts)
    known = known or [0] * len(contexts)
    row = Row(past=sum(known), contexts=[[] for _ in contexts], predictors=[[] for _ in contexts])
    start = 0
    for c, length in enumerate(known):
        if length:
            first, past = row.stop, list(range(start, start + length))
            _grow(row, contexts, responses, [c], length, past)
            row.nodes.append(Node(start, start + length, first, row.stop))
            start += length
    new = [c for c, length in enumerate(known) if not length]
    _grow(row, contexts, responses, sorted(new, key=lambda c: contexts[c]), 0, [])
    return row


def _grow(
    row: Row,
    contexts: Sequence[Ids],
    responses: Sequence[Sequence[Ids]],
    members: list[int],
    depth: int,
    path: list[int],
) -> None:
    """Adds what the members (sorted contexts) have after `depth` tokens, which stand at the indices `path`."""
    for run, stop in _runs(contexts, members, depth):
        tokens = row.append(contexts[run[0]][depth:stop], depth)
        first, there = row.stop, path + tokens
        ended = [c for c in run if len(contexts[c]) == stop]
        for c in ended:
            row.contexts[c] = there
            row.predictors[c] = [_leaf(row, response, stop, there[-1]) for response in responses[c]]
        _grow(row, contexts, responses, run[len(ended) :], stop, there)
        row.nodes.append(Node(tokens[0], first, first, row.stop))


def _runs(contexts: Sequence[Ids], members: list[int], depth: int) -> list[tuple[list[int], int]]:
    """Neighbours that go on alike after `depth` tokens, each with where their common beginning stops."""
    runs: list[tuple[list[int], int]] = []
    for c in members:
        if runs:
            run, stop = runs[-1]
            common = _common(contexts[run[0]], contexts[c], stop)
            if common - depth >= MIN_SHARED or common == len(contexts[c]) == len(contexts[run[0]]):
                runs[-1] = ([*run, c], common)
                continue
        runs.append(([c], len(contexts[c])))
    return runs


def _common(a: Ids, b: Ids, limit: int) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a[:limit], b, strict=False)))


def _leaf(row: Row, response: Ids, position: int, before: int) -> list[int]:
    """Adds a response's tokens but the last; returns the indices that predict its tokens."""
    tokens = row.append(response[:-1], position)
    if tokens:
        row.nodes.append(Node(tokens[0], row.stop, row.stop, row.stop))
    return [before, *tokens]
