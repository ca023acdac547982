"""Batches without padding: conversations lie end to end in one line, and attention keeps them apart.

Every matrix product of the model then works on real tokens alone. Transformers hands its attention
to a function by name; the one here lays the conversations side by side, lets each token look back
at its own, and lays them end to end again. It knows what the architectures ask of it: shared key
and value heads, a sliding window, capped scores (Gemma 2) and sinks (gpt-oss).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

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


def hidden_states(model: PreTrainedModel, packed: Packed) -> Tensor:
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
    layout: PackedLayout,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attention within each conversation; (1, heads, tokens, width) to (1, tokens, heads, width)."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
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


AttentionInterface.register(NAME, _attention)
