"""LoRA: small trainable side branches beside the frozen linear layers of a base model.

    y = W x + (alpha / r) * B (A x)            Hu et al. 2021, arXiv 2106.09685

One base in memory carries many branches, one active at a time, and is never merged or
changed. Adapters are stored in PEFT's file format, so PEFT, vLLM and others load them.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers import PreTrainedModel

# The forward and backward pass of a linear layer with a LoRA branch, as one step.
#
# Written out by hand for speed and memory: only the layer's input and the r numbers a token that the
# branch makes of it are kept, the branch's two products are added where the layer's already stand,
# and nothing is worked out for the frozen weight. 1.05 times the speed of the same in plain
# operations, measured on SmolLM2 (``tests/benchmarks/training.py``).


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


def lora_linear(x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """W x + bias + scale B A x for inputs ``x`` (…, in); gradients go to x, A and B."""
    applied = _SideBranch.apply(x, weight, bias, a, b, scale)  # type: ignore[no-untyped-call]
    return cast(Tensor, applied)


RANK = 8
ALPHA = 16


@dataclass
class Branch:
    """The two factors of one side branch; shapes (r, in) and (out, r)."""

    a: Tensor
    b: Tensor
    scale: float


class LoraLinear(nn.Module):
    """A frozen linear layer with named side branches; ``active`` names the one in use."""

    def __init__(self, linear: nn.Linear) -> None:
        """Wrap ``linear``; without an active branch the output is exactly the base model's."""
        super().__init__()
        self.linear = linear
        self.branches: dict[str, Branch] = {}
        self.active: str | None = None
        self.beside: Callable[[Tensor, Tensor], Tensor] | None = None  # (x, y): many adapters at once

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (…, in) to (…, out); branches are kept in float32 and computed in the type of ``x``."""
        if self.active is not None:
            branch = self.branches[self.active]
            return lora_linear(x, self.linear.weight, self.linear.bias, branch.a, branch.b, branch.scale)
        y = cast(Tensor, self.linear(x))
        return y if self.beside is None else self.beside(x, y)


def wrap(model: PreTrainedModel) -> None:
    """Freeze ``model`` and let every linear layer but the output head have side branches."""
    model.requires_grad_(False)
    head = model.get_output_embeddings()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child is not head:
                setattr(module, name, LoraLinear(child))


def layers(model: PreTrainedModel) -> Iterator[tuple[str, LoraLinear]]:
    """Every wrapped layer with its name in the base model, e.g. ``model.layers.0.mlp.up_proj``."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield name, module


def use(model: PreTrainedModel, adapter: str | None) -> None:
    """Switch to ``adapter``, or to the bare base model with ``None``; costs microseconds."""
    for _, layer in layers(model):
        layer.active = adapter


def add_adapter(model: PreTrainedModel, adapter: str, *, seed: int) -> list[nn.Parameter]:
    """Give ``model`` a fresh trainable adapter and switch to it; returns its parameters.

    A starts as PEFT's does (Kaiming uniform, a = sqrt 5), B at zero: the first output is the
    base model's.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = []
    for _, layer in layers(model):
        weight = layer.linear.weight
        start = torch.empty(RANK, layer.linear.in_features)
        nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=generator)
        a = nn.Parameter(start.to(weight.device))
        b = nn.Parameter(torch.zeros(layer.linear.out_features, RANK, device=weight.device))
        layer.branches[adapter] = Branch(a, b, ALPHA / RANK)
        parameters += [a, b]
    use(model, adapter)
    return parameters


def save_adapter(model: PreTrainedModel, adapter: str, folder: Path, *, base_model: str) -> None:
    """Write ``adapter`` to ``folder`` as PEFT would: ``adapter_config.json`` and float32 safetensors."""
    tensors = {}
    for name, layer in layers(model):
        branch = layer.branches[adapter]
        tensors[f"base_model.model.{name}.lora_A.weight"] = branch.a.detach().cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = branch.b.detach().cpu().contiguous()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted({name.rpartition(".")[2] for name, _ in layers(model)}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def load_adapter(model: PreTrainedModel, adapter: str, folder: Path) -> None:
    """Add the adapter stored in ``folder`` under the name ``adapter``, for use without training."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "adapter_model.safetensors")
    for name, layer in layers(model):
        weight = layer.linear.weight
        a = tensors[f"base_model.model.{name}.lora_A.weight"].to(weight)
        b = tensors[f"base_model.model.{name}.lora_B.weight"].to(weight)
        layer.branches[adapter] = Branch(a, b, config["lora_alpha"] / config["r"])


def copy_adapter(model: PreTrainedModel, adapter: str, folder: Path) -> None:
    """Set the trainable ``adapter`` to the values stored in ``folder``, to go on training from them."""
    load_adapter(model, "stored", folder)
    with torch.no_grad():
        for _, layer in layers(model):
            stored = layer.branches.pop("stored")
            layer.branches[adapter].a.copy_(stored.a)
            layer.branches[adapter].b.copy_(stored.b)
