"""The layers of a model as decoding needs them: grouped attention, packed linear layers, many adapters.

Attention is that of one new token a row, linear layers are packed for few rows, and each row of a batch
goes through the LoRA adapter that it asks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workbench.local.models import lora

# Attention of one new token a row to all that came before, where the CPU's fused kernel is slow.
#
# The query heads that share keys are multiplied with them together, as matrix products. At 32 rows
# this takes less than half the time of the fused kernel; one row alone, and whole prompts, are left to that.

NAME = "grouped"


def use_grouped(model: PreTrainedModel) -> None:
    """Let ``model`` attend this way if it would use the fused kernel on a CPU."""
    if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """``query`` (rows, heads, length, width) attends to ``key``, ``value`` (rows, groups, slots, width)."""
    rows, heads, length, width = query.shape
    alone = rows == 1 or length > 1
    if alone or attention_mask is None or attention_mask.shape[1] > 1 or others.get("softcap") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    query = query.view(rows, key.shape[1], heads // key.shape[1], width)
    scores = torch.matmul(query * (width**-0.5 if scaling is None else scaling), key.transpose(2, 3))
    shares = scores.masked_fill(~attention_mask, -torch.inf).softmax(-1, dtype=torch.float32)
    answer = torch.matmul(shares.to(value.dtype), value)
    return answer.view(rows, 1, heads, value.shape[3]), None


AttentionInterface.register(NAME, grouped_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)

# Weights laid out anew for products with a few rows, as writing answers needs them.
#
# oneDNN reorders a plain weight at every product; done once and kept, products of 2 to 32 rows take
# half to three quarters of the time (measured: SmolLM2 in bfloat16 on AVX512). A single row is fastest
# with torch's own product and the plain weight.

MEMORY_SHARE = 0.25  # of what is free: more than that is not spent on second copies of weights


class PackedLinear(nn.Module):
    """A frozen linear layer on the CPU with its weight in both layouts."""

    def __init__(self, linear: nn.Linear) -> None:
        """Lay out the weight of ``linear`` anew; the plain one stays where it is."""
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), 32)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (…, in) to (…, out)."""
        if x.numel() == self.in_features:
            return _single(x, self.weight, self.bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return product


def can_pack() -> bool:
    """Whether oneDNN lays out bfloat16 weights on this processor; it needs AVX512 or newer."""
    has = torch.cpu.get_capabilities()
    return all(has.get(name, False) for name in ("avx512_f", "avx512_bw", "avx512_vl", "avx512_dq"))


def pack(model: PreTrainedModel) -> None:
    """Pack the linear layers of ``model`` and its head, where that helps and fits into memory."""
    if not can_pack():
        return
    head = model.get_output_embeddings()
    size = sum(layer.linear.weight.nbytes for _, layer in lora.layers(model)) + head.weight.nbytes
    fits = size < MEMORY_SHARE * psutil.virtual_memory().available
    if not fits or model.device.type != "cpu" or model.dtype != torch.bfloat16:
        return
    if isinstance(head, PackedLinear):
        return
    with torch.inference_mode():
        for _, layer in lora.layers(model):
            layer.linear = cast(nn.Linear, PackedLinear(layer.linear))
        model.set_output_embeddings(PackedLinear(head))


def _single(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """oneDNN takes twice as long for one row in bfloat16 as torch's own code."""
    before = bool(torch.backends.mkldnn.enabled)
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]  # a property
    try:
        return functional.linear(x, weight, bias)
    finally:
        torch.backends.mkldnn.enabled = before  # type: ignore[assignment]


# Many tuned models beside one base: all their LoRA branches in memory, each row of a batch using its own.
#
# The branches of all adapters lie in two tall matrices a layer. Two products with the stretch that a
# batch needs serve all its rows; a gate of zeros and ones keeps every row to its own adapter. The
# base's weights are never touched.

FEW = 64  # tokens at once up to which products this narrow are faster in float32, casts included


@dataclass
class _Stretch:
    """The part of the tall matrices that the next forward needs, and which rows use which part of that."""

    begin: int = 0
    end: int = 0
    gate: Tensor | None = None  # (rows, 1, end - begin); None: every row uses all of it


class _Stack:
    """The branches of all adapters at one layer: a (ranks, in) and b (ranks, out), scale included."""

    def __init__(self, layer: lora.LoraLinear, stretch: _Stretch) -> None:
        weight = layer.linear.weight
        self._stretch = stretch
        self._a, self._b = weight.new_empty(0, weight.shape[1]), weight.new_empty(0, weight.shape[0])

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """``y`` and what the branches add to it for the inputs ``x`` (rows, length, in)."""
        stretch = self._stretch
        if stretch.begin == stretch.end:
            return y
        a, b = self._a[stretch.begin : stretch.end], self._b[stretch.begin : stretch.end]
        kind = torch.float32 if x.numel() <= FEW * x.shape[-1] else x.dtype
        low = functional.linear(x.to(kind), a.to(kind))
        if stretch.gate is not None:
            low = low * stretch.gate
        return y + torch.matmul(low, b.to(kind)).to(y.dtype)

    def add(self, branch: lora.Branch | None, rank: int) -> None:
        """Put a branch of ``rank`` rows on top, zeros where it has none."""
        a, b = self._a.new_zeros(rank, self._a.shape[1]), self._b.new_zeros(rank, self._b.shape[1])
        if branch is not None:
            a[: len(branch.a)] = branch.a
            b[: len(branch.a)] = branch.b.T * branch.scale
        self._a, self._b = torch.cat([self._a, a]), torch.cat([self._b, b])

    def remove(self, place: slice) -> None:
        """Take the rows of ``place`` out."""
        self._a = torch.cat([self._a[: place.start], self._a[place.stop :]])
        self._b = torch.cat([self._b[: place.start], self._b[place.stop :]])


class Adapters:
    """The adapters in memory beside ``model``; ``choose`` says which rows of the next forward use which."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Begin with the bare base."""
        self._model = model
        self._places: dict[str, slice] = {}  # in the tall matrices; least lately asked for first
        self._chosen: tuple[str | None, ...] = ()
        self._stretch = _Stretch()
        self._stacks: dict[str, _Stack] = {}
        for name, layer in lora.layers(model):
            layer.beside = self._stacks[name] = _Stack(layer, self._stretch)

    @property
    def names(self) -> list[str]:
        """Those in memory, least lately asked for first."""
        return list(self._places)

    def load(self, name: str, folder: Path) -> None:
        """Read the adapter in ``folder`` (PEFT's format), unless ``name`` is here already."""
        if name in self._places:
            self._places[name] = self._places.pop(name)
            return
        lora.load_adapter(self._model, name, folder)
        layers = dict(lora.layers(self._model))
        branches = {at: layer.branches.pop(name) for at, layer in layers.items() if name in layer.branches}
        rank = max(len(branch.a) for branch in branches.values())
        begin = max((place.stop for place in self._places.values()), default=0)
        with torch.inference_mode():
            for at, stack in self._stacks.items():
                stack.add(branches.get(at), rank)
        self._places[name] = slice(begin, begin + rank)
        self._chosen = ()

    def drop(self, name: str) -> None:
        """Forget ``name`` and free its memory."""
        gone = self._places.pop(name)
        for stack in self._stacks.values():
            stack.remove(gone)
        rank = gone.stop - gone.start
        for other, place in self._places.items():
            if place.start > gone.start:
                self._places[other] = slice(place.start - rank, place.stop - rank)
        self._chosen = ()

    def choose(self, names: Sequence[str | None]) -> None:
        """Row r of the next forward uses adapter ``names[r]``, or the bare base."""
        if self._chosen == tuple(names):
            return
        self._chosen = tuple(names)
        places = [self._places[name] if name else slice(0, 0) for name in names]
        used = [place for place in places if place.stop]
        begin = min((place.start for place in used), default=0)
        end = max((place.stop for place in used), default=0)
        self._stretch.begin, self._stretch.end, self._stretch.gate = begin, end, None
        if len(set(names)) > 1:
            weight = self._model.get_output_embeddings().weight
            gate = weight.new_zeros(len(names), 1, end - begin)
            for row, place in enumerate(places):
                if place.stop:
                    gate[row, 0, place.start - begin : place.stop - begin] = 1
            self._stretch.gate = gate
