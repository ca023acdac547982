"""The KV cache of a running batch: keys and values of every row, one row an answer being written.

All rows end at the same slot, so one mask made by transformers fits every architecture. Slots are
allocated in advance: a step writes one slot instead of copying everything, and rows come and go.
"""

from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor
from transformers import PretrainedConfig
from transformers.cache_utils import Cache, CacheLayerMixin

from workbench.errors import SetupError

States: TypeAlias = tuple[tuple[Tensor, Tensor], ...]  # a layer: keys, values (rows, heads, tokens, width)
SPARE = 32  # slots allocated beyond those in use, at least
WASTE = 4  # times the rows, or the slots, in use: more is not held for answers that have ended
KNOWN_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


class KVCache(Cache):
    """Keys and values of rows that all end at slot ``end``; row r begins at ``starts[r]``."""

    def __init__(self, config: PretrainedConfig) -> None:
        """Allocate nothing yet; ``SetupError`` if the model remembers otherwise than by keys and values."""
        kinds = set(getattr(config.get_text_config(), "layer_types", None) or ())
        if kinds - KNOWN_LAYERS:
            found = ", ".join(sorted(kinds - KNOWN_LAYERS))
            raise SetupError(f"This service answers with attention models only; this one has {found} layers.")
        super().__init__(layers=[])
        self._held: list[_Layer] = []
        self.starts: list[int] = []
        self.end = 0
        self.capacity = 0  # slots of each row

    @property
    def rows(self) -> int:
        """How many answers are remembered."""
        return len(self.starts)

    @property
    def allocated(self) -> int:
        """For how many slots of all rows memory is allocated."""
        return len(self._held[0].keys) * self.capacity if self._held else 0

    def visible(self, device: torch.device) -> Tensor:
        """Which slots each row may look at in the next step (rows, capacity), the one being written too."""
        slots = torch.arange(self.capacity, device=device)
        starts = torch.tensor(self.starts, device=device)[:, None]
        return (slots >= starts) & (slots <= self.end)

    def join(self, states: States, rows: Sequence[tuple[int, int]]) -> None:
        """Add (row, length) of ``states`` for each of ``rows``: the first ``length`` tokens of that row."""
        longest = max(length for _, length in rows)
        if not self._held:
            self._held = [_Layer(self, keys, values) for keys, values in states]
            self.layers = [*self._held]
        shift, total = max(0, longest - self.end), self.rows + len(rows)
        if shift or total > len(self._held[0].keys) or self.end + 1 >= self.capacity:
            self._move(shift, total, longest)
        for row, length in rows:
            for layer, (keys, values) in zip(self._held, states, strict=True):
                layer.put(self.rows, self.end - length, keys[row, :, :length], values[row, :, :length])
            self.starts.append(self.end - length)

    def leave(self, row: int) -> None:
        """Forget ``row``; the last row takes its number."""
        last = self.rows - 1
        if row != last:
            for layer in self._held:
                layer.keys[row].copy_(layer.keys[last])
                layer.values[row].copy_(layer.values[last])
            self.starts[row] = self.starts[last]
        self.starts.pop()
        if not self.starts:
            self.layers, self._held = [], []  # the memory goes back
            self.end = self.capacity = 0
            return
        used = self.end - min(self.starts) + 2 * SPARE
        if len(self._held[0].keys) >= WASTE * self.rows or self.capacity >= WASTE * used:
            self._move(0, self.rows)

    def written(self) -> None:
        """A step has written slot ``end`` of every row."""
        self.end += 1
        if self.end + 1 >= self.capacity:
            self._move(0, self.rows)

    def _move(self, shift: int, rows: int, least: int = 0) -> None:
        """Allocate for ``rows`` rows, all moved to the right by ``shift``, or left where no row begins.

        Rows moved left still end at slot ``least`` or behind it, so that one of so many tokens can join.
        """
        first = min(self.starts, default=self.end)
        if not shift and first > self.capacity // 4:
            shift = -min(first, self.end - least)
        end = self.end + shift
        # One slot more than is ever visible: with nothing to hide, transformers would make no mask.
        self.capacity = -(-(end + 2 + max(SPARE, end // 8)) // SPARE) * SPARE
        for layer in self._held:
            layer.move(rows, self.capacity, self.rows, slice(first, self.end), shift)
        self.starts = [start + shift for start in self.starts]
        self.end = end


class _Layer(CacheLayerMixin):
    """One layer's keys and values (rows, heads, capacity, width); what is not written yet is zero."""

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, slots: KVCache, keys: Tensor, values: Tensor) -> None:
        CacheLayerMixin.__init__(self)
        self._slots = slots
        self.keys, self.values = keys[:0], values[:0]
        self.is_initialized = True

    def put(self, row: int, slot: int, keys: Tensor, values: Tensor) -> None:
        length = keys.shape[1]
        self.keys[row, :, slot : slot + length] = keys
        self.values[row, :, slot : slot + length] = values

    def move(self, rows: int, capacity: int, used: int, slots: slice, shift: int) -> None:
        self.keys = _moved(self.keys, rows, capacity, used, slots, shift)
        self.values = _moved(self.values, rows, capacity, used, slots, shift)

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        rows, end = self._slots.rows, self._slots.end
        keys, values = self.keys[:rows], self.values[:rows]
        keys[:, :, end : end + 1] = key_states
        values[:, :, end : end + 1] = value_states
        return keys, values

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        raise NotImplementedError  # always made from what was read before

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._slots.capacity, 0

    def get_seq_length(self) -> int:
        return self._slots.end

    def get_max_length(self) -> int:
        return self._slots.capacity


def states_of(cache: Cache) -> States:
    """The keys and values that ``cache``, which has read something, holds."""
    layers = cast("list[_Layer]", cache.layers)
    return tuple((layer.keys, layer.values) for layer in layers)


def first_tokens(states: States, length: int) -> States:
    """The first ``length`` tokens of ``states``, not copied."""
    return tuple((keys[:, :, :length], values[:, :, :length]) for keys, values in states)


def copied(states: States, row: int, length: int) -> States:
    """The first ``length`` tokens of one row, on their own."""
    one = ((keys[row : row + 1], values[row : row + 1]) for keys, values in first_tokens(states, length))
    return tuple((keys.clone(), values.clone()) for keys, values in one)


def bytes_per_token(config: PretrainedConfig, dtype: torch.dtype) -> int:
    """What one token of one row takes, as far as the configuration tells."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * width * dtype.itemsize)


def _moved(held: Tensor, rows: int, capacity: int, used: int, slots: slice, shift: int) -> Tensor:
    _, heads, _, width = held.shape
    fresh = held.new_zeros(rows, heads, capacity, width)
    fresh[:used, :, slots.start + shift : slots.stop + shift] = held[:used, :, slots]
    return fresh
