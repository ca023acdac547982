"""Batches without padding: conversations lie end to end in one line, and attention keeps them apart.

Every matrix product of the model then works on real tokens alone. Transformers hands its attention
to a function by name; the one here lays the conversations side by side, lets each token look back
at its own, and lays them end to end again. It knows what the architectures ask of it: shared key
and value heads, a sliding window, capped scores (Gemma 2) and sinks (gpt-oss). A line may also be a
prefix tree, in which what several texts begin with stands once.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

from workbench.local.models.model import TokenRow, logits

NAME = "workbench-packed"
IGNORED = -100  # the label that cross-entropy passes over
LONG = 512  # tokens; longer conversations would store more scores than activations


@dataclass(frozen=True)
class PackedLayout:
    """Where each conversation of a line begins and ends; lengths in tokens, in the order of the line."""

    lengths: tuple[int, ...]
    device: torch.device

    @cached_property
    def places(self) -> Tensor:
        """For each place of the block (conversations x longest), the token of the line that stands there.

        Behind a conversation's end it is the first token of the line, which nobody looks at.
        """
        places = self._begins[:, None] + torch.arange(max(self.lengths))
        return torch.where(self._inside, places, 0).flatten().to(self.device)

    @cached_property
    def line(self) -> Tensor:
        """For each token of the line, its place in the block."""
        return self._inside.flatten().nonzero()[:, 0].to(self.device)

    @cached_property
    def causal(self) -> Tensor:
        """(longest, longest): minus infinity where a token would look ahead."""
        longest = max(self.lengths)
        return torch.full((longest, longest), -math.inf, device=self.device).triu(1)

    @property
    def positions(self) -> Tensor:
        """(1, tokens): the place of each token in its own conversation."""
        return torch.cat([torch.arange(length) for length in self.lengths])[None].to(self.device)

    @property
    def owners(self) -> Tensor:
        """(tokens,): the conversation that each token belongs to, from 0."""
        return torch.arange(len(self.lengths)).repeat_interleave(torch.tensor(self.lengths)).to(self.device)

    @property
    def _begins(self) -> Tensor:
        lengths = torch.tensor(self.lengths)
        return lengths.cumsum(0) - lengths

    @property
    def _inside(self) -> Tensor:
        return torch.arange(max(self.lengths)) < torch.tensor(self.lengths)[:, None]


@dataclass(frozen=True)
class Packed:
    """Conversations in one line: ``ids`` (1, tokens), and what each token should be followed by.

    ``targets`` (tokens,) are ``IGNORED`` where the next token is not learnt or there is none.
    """

    ids: Tensor
    targets: Tensor
    layout: PackedLayout


# Texts with common starts in one line: a prefix tree, depth first, so that each start is computed once.
#
# In reinforcement all answers to a prompt follow the same tokens, and prompts the same instructions. A token
# looks back at its own way from the root only. The line is cut into parts, for each of which attention is
# one product: a part is a stretch without branches or a small subtree, with all that stands above it.

LARGE = 256  # tokens of a subtree from which on it is cut further: what it must not see costs products too


@dataclass(frozen=True)
class TreePart:
    """A stretch of the line that attends to ``above``, its way from the root, and to itself by ``mask``."""

    above: tuple[slice, ...]
    own: slice
    mask: Tensor
    """(own, above and own): 0 where a token may look, else minus infinity."""


@dataclass(frozen=True)
class TreeLayout:
    """A line that is a prefix tree: ``parents`` are the places of the token before each; -1 at a root."""

    parents: tuple[int, ...]
    device: torch.device

    @cached_property
    def positions(self) -> Tensor:
        """(1, tokens): how far each token is from its root."""
        return torch.tensor([self._depths], device=self.device)

    @cached_property
    def parts(self) -> tuple[TreePart, ...]:
        """The line, cut; in its order."""
        return tuple(self._cut(0, len(self.parents), ()))

    @cached_property
    def _depths(self) -> list[int]:
        depths: list[int] = []
        for parent in self.parents:
            depths.append(depths[parent] + 1 if parent >= 0 else 0)
        return depths

    @cached_property
    def _ends(self) -> list[int]:
        """Where the subtree of each token ends."""
        ends = [place + 1 for place in range(len(self.parents))]
        for place in range(len(ends) - 1, -1, -1):
            if (parent := self.parents[place]) >= 0:
                ends[parent] = max(ends[parent], ends[place])
        return ends

    def _cut(self, begin: int, end: int, above: tuple[slice, ...]) -> Iterator[TreePart]:
        """Parts of the subtrees from ``begin`` to ``end``, which have the same way from the root."""
        if end - begin <= LARGE:
            yield self._part(slice(begin, end), above)
            return
        waiting = begin  # small subtrees from here on go together
        root = begin
        while root < end:
            after = self._ends[root]
            if after - waiting > LARGE:
                if root > waiting:
                    yield self._part(slice(waiting, root), above)
                waiting = root
                if after - root > LARGE:
                    yield from self._of_large(root, after, above)
                    waiting = after
            root = after
        if end > waiting:
            yield self._part(slice(waiting, end), above)

    def _of_large(self, root: int, end: int, above: tuple[slice, ...]) -> Iterator[TreePart]:
        fork = root + 1
        while fork < end and self.parents[fork] == fork - 1 and self._ends[fork] == end:
            fork += 1
        yield self._part(slice(root, fork), above)
        if fork < end:
            yield from self._cut(fork, end, (*above, slice(root, fork)))

    def _part(self, own: slice, above: tuple[slice, ...]) -> TreePart:
        before = sum(each.stop - each.start for each in above)
        sees = np.zeros((own.stop - own.start, before + own.stop - own.start), dtype=bool)
        sees[:, :before] = True
        for row, place in enumerate(range(own.start, own.stop)):
            if (parent := self.parents[place]) >= own.start:
                sees[row] = sees[parent - own.start]
            sees[row, before + row] = True
        mask = torch.from_numpy(np.where(sees, 0.0, -np.inf).astype(np.float32))
        return TreePart(above, own, mask.to(self.device))


@dataclass(frozen=True)
class PackedTree:
    """Texts in one line without their common starts: ``ids`` (1, tokens)."""

    ids: Tensor
    layout: TreeLayout
    places: tuple[tuple[int, ...], ...]
    """Of each text, where its tokens stand in the line."""


def pack_tree(texts: Sequence[Sequence[int]], device: torch.device) -> PackedTree:
    """Lay ``texts`` out as a prefix tree; what several begin with stands there once."""
    line, parents = list[int](), list[int]()
    places: list[tuple[int, ...]] = [()] * len(texts)
    before: Sequence[int] = ()
    way: tuple[int, ...] = ()  # of the text before: in sorted order it shares the most
    for number in sorted(range(len(texts)), key=lambda number: tuple(texts[number])):
        text = texts[number]
        common = next(
            (at for at, pair in enumerate(zip(before, text, strict=False)) if pair[0] != pair[1]), -1
        )
        common = min(len(before), len(text)) if common < 0 else common
        fresh = range(len(line), len(line) + len(text) - common)
        way = (*way[:common], *fresh)
        parents += [way[at - 1] if at else -1 for at in range(common, len(text))]
        line += text[common:]
        places[number], before = way, text
    return PackedTree(torch.tensor([line], device=device), TreeLayout(tuple(parents), device), tuple(places))


def log_probabilities(model: PreTrainedModel, rows: Sequence[TokenRow]) -> tuple[Tensor, Tensor]:
    """Of each learnt token of ``rows`` its log-probability in nats, and its row from 0.

    What rows begin with alike is computed once, and the output head runs where a learnt token follows only.
    """
    ends = [max((at for at, learnt in enumerate(row.learnt) if learnt), default=0) for row in rows]
    packed = pack_tree([row.tokens[:end] for row, end in zip(rows, ends, strict=True)], model.device)
    learnt = [
        (packed.places[number][at - 1], row.tokens[at], number)
        for number, row in enumerate(rows)
        for at in range(1, ends[number] + 1)
        if row.learnt[at]
    ]
    places, tokens, owners = torch.tensor(learnt, device=model.device).view(-1, 3).unbind(1)
    used, which = places.unique(return_inverse=True)
    scores = logits(model, hidden_states(model, packed)[used])
    return scores[which, tokens] - scores.logsumexp(-1)[which], owners


def pack(rows: Sequence[TokenRow], device: torch.device) -> Packed:
    """Lay ``rows`` end to end."""
    tokens = [token for row in rows for token in row.tokens]
    targets = [
        token if learnt else IGNORED
        for row in rows
        for token, learnt in zip((*row.tokens[1:], IGNORED), (*row.learnt[1:], False), strict=True)
    ]
    lengths = tuple(len(row.tokens) for row in rows)
    ids, wanted = (torch.tensor(numbers, device=device) for numbers in ([tokens], targets))
    return Packed(ids, wanted, PackedLayout(lengths, device))


def hidden_states(model: PreTrainedModel, packed: Packed | PackedTree) -> Tensor:
    """The decoder's last layer for every token of the line: (tokens, hidden)."""
    with _attention_of_lines(model):
        output: Tensor = model.get_decoder()(
            input_ids=packed.ids, position_ids=packed.layout.positions, use_cache=False, layout=packed.layout
        ).last_hidden_state
    return output[0]


@torch.no_grad()
def keeps_apart(model: PreTrainedModel) -> bool:
    """Whether ``model`` scores conversations in one line as it scores each alone; asked of the model itself.

    Layers that carry a state from token to token instead of attending would not.
    """
    rows = [TokenRow(tuple(range(first, first + 6)), (True,) * 6) for first in (1, 3)]
    together = logits(model, hidden_states(model, pack(rows, model.device)))[6:]
    alone = model(torch.tensor([rows[1].tokens], device=model.device), use_cache=False).logits[0].float()
    return bool((together - alone).norm() < 0.1 * alone.norm())  # bfloat16 rounds to 0.01


@contextmanager
def _attention_of_lines(model: PreTrainedModel) -> Iterator[None]:
    usual = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: PackedLayout | TreeLayout,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attention within each conversation; (1, heads, tokens, width) to (1, tokens, heads, width)."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if isinstance(layout, TreeLayout):
        return _of_tree(query, key, value, layout, scale, sliding_window, softcap, s_aux), None
    longest = max(layout.lengths)
    mask = layout.causal
    if sliding_window is not None and sliding_window < longest:
        mask = mask + torch.full_like(mask, -math.inf).tril(-sliding_window)
    if longest > LONG and softcap is None and s_aux is None:
        return _one_by_one(query, key, value, mask.to(query.dtype), layout, scale), None
    sides = key.shape[1]  # query heads share a key head in groups
    q, k, v = (_block(states, layout, sides) for states in (query, key, value))
    scores = (q @ k.transpose(1, 2)).unflatten(1, (-1, longest)) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores + mask.to(scores.dtype)
    if s_aux is None:
        shares = scores.softmax(-1)
    else:  # a sink takes a share of the attention and gives nothing
        sinks = s_aux.to(scores).view(sides, -1, 1, 1).repeat(len(layout.lengths), 1, longest, 1)
        shares = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
    return _unblock(shares.flatten(1, 2) @ v, layout, sides), None


def _block(states: Tensor, layout: PackedLayout, sides: int) -> Tensor:
    """(1, heads, tokens, width) to (conversations * sides, heads / sides * longest, width)."""
    tokens = states[0].transpose(0, 1).flatten(1).index_select(0, layout.places)
    block = tokens.view(len(layout.lengths), -1, sides, states.shape[1] // sides, states.shape[3])
    return block.permute(0, 2, 3, 1, 4).flatten(2, 3).flatten(0, 1)


def _unblock(block: Tensor, layout: PackedLayout, sides: int) -> Tensor:
    """What ``_block`` did, back: to (1, tokens, heads, width)."""
    rows, longest = len(layout.lengths), max(layout.lengths)
    tokens = block.view(rows, sides, -1, longest, block.shape[-1]).permute(0, 3, 1, 2, 4)
    return tokens.flatten(0, 1).flatten(1, 2).index_select(0, layout.line)[None]


def _one_by_one(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, layout: PackedLayout, scale: float
) -> Tensor:
    """The same for long conversations, with the kernel that stores no scores."""
    parts = zip(*(states.split(layout.lengths, 2) for states in (query, key, value)), strict=True)
    seen = [
        functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask[: q.shape[2], : q.shape[2]], scale=scale, enable_gqa=True
        )
        for q, k, v in parts
    ]
    return torch.cat(seen, 2).transpose(1, 2)


def _of_tree(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: TreeLayout,
    scale: float,
    sliding_window: int | None,
    softcap: float | None,
    s_aux: Tensor | None,
) -> Tensor:
    """Attention along each way from a root; (1, heads, tokens, width) to (1, tokens, heads, width)."""
    seen = []
    for part in layout.parts:
        q = query[:, :, part.own]
        k, v = (
            torch.cat([states[:, :, each] for each in (*part.above, part.own)], 2) for states in (key, value)
        )
        mask = part.mask
        if sliding_window is not None:
            of_keys = torch.cat([layout.positions[0, each] for each in (*part.above, part.own)])
            far = layout.positions[0, part.own, None] - of_keys >= sliding_window
            mask = mask.masked_fill(far, -math.inf)
        if softcap is None and s_aux is None:
            seen.append(
                functional.scaled_dot_product_attention(
                    q, k, v, attn_mask=mask.to(q.dtype), scale=scale, enable_gqa=True
                )
            )
            continue
        shared = q.shape[1] // k.shape[1]
        scores = q @ k.repeat_interleave(shared, 1).transpose(2, 3) * scale
        scores = (scores if softcap is None else torch.tanh(scores / softcap) * softcap) + mask.to(q.dtype)
        if s_aux is None:
            shares = scores.softmax(-1)
        else:
            sinks = s_aux.to(scores).view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
            shares = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
        seen.append(shares @ v.repeat_interleave(shared, 1))
    return torch.cat(seen, 2).transpose(1, 2)


AttentionInterface.register(NAME, _attention)
