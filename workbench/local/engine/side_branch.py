"""The forward and backward pass of a linear layer with a LoRA branch, as one step.

Written out by hand for speed and memory: only the layer's input and the r numbers a token that the
branch makes of it are kept, the branch's two products are added where the layer's already stand,
and nothing is worked out for the frozen weight. 1.05 times the speed of the same in plain
operations, measured on SmolLM2 (``tests/benchmarks/training.py``).
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class _SideBranch(torch.autograd.Function):
    """y = W x + bias + scale B A x; W and bias are frozen, A (r, in) and B (out, r) learn in float32."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        flat = x.flatten(0, -2)
        a, b = a.to(x.dtype), (b * scale).to(x.dtype)
        low = flat @ a.T
        y = functional.linear(flat, weight, bias).addmm_(low, b.T)
        ctx.save_for_backward(flat, low, weight, a, b)
        ctx.scale = scale
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, low, weight, a, b = ctx.saved_tensors
        flat = gradient.flatten(0, -2)
        of_low = flat @ b
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (flat @ weight).addmm_(of_low, a).view(*gradient.shape[:-1], -1)
        of_a = (of_low.T @ x).float()
        of_b = (low.T @ flat).T.float() * ctx.scale
        return of_x, None, None, of_a, of_b, None


def with_branch(x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """W x + bias + scale B A x for inputs ``x`` (…, in); gradients go to x, A and B."""
    applied = _SideBranch.apply(x, weight, bias, a, b, scale)  # type: ignore[no-untyped-call]
    return cast(Tensor, applied)
