"""Weights laid out anew for products with a few rows, as writing answers needs them.

oneDNN reorders a plain weight at every product; done once and kept, products of 2 to 32 rows take
half to three quarters of the time (measured: SmolLM2 in bfloat16 on AVX512). A single row is fastest
with torch's own product and the plain weight.
"""

from typing import cast

import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from workbench.local.engine import lora

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


def pack(model: PreTrainedModel) -> None:
    """Pack the linear layers of ``model`` and its head, where that helps and fits into memory."""
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
