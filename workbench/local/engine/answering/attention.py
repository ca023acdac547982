"""Attention of one new token a row to all that came before, where the CPU's fused kernel is slow.

The query heads that share keys are multiplied with them together, as matrix products. At 32 rows
this takes less than half the time of the fused kernel; one row alone, and whole prompts, are left to that.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

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
