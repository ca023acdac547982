"""CPU kernels for decoding: grouped attention of one new token a row, linear layers packed for few rows."""

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
