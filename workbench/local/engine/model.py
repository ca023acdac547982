"""A base model in memory: weights in the type this machine multiplies fastest, tokenizer, limits."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from workbench.local.engine import lora


@dataclass(frozen=True)
class Base:
    """One loaded base model, frozen, with room for adapters."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    stop_tokens: frozenset[int]
    context: int  # tokens, prompt and answer together

    def text(self, tokens: list[int]) -> str:
        """What ``tokens`` say, without the special ones."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))


def load_base(name: str, folder: Path, *, dtype: torch.dtype | None = None) -> Base:
    """Load the Hugging Face folder of base model ``name``, in ``best_type`` unless ``dtype`` says otherwise.

    0.7 s for SmolLM2, whose weights are mapped into memory, once torch is there.
    """
    tokenizer = cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(folder, local_files_only=True))
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype or best_type(), local_files_only=True
    )
    nn.Module.to(model, best_device()).eval()
    lora.wrap(model)
    ends = model.generation_config.eos_token_id if model.generation_config else None
    ends = ends if isinstance(ends, list) else [ends]
    stop_tokens = frozenset(token for token in (*ends, tokenizer.eos_token_id) if token is not None)
    return Base(name, model, tokenizer, stop_tokens, model.config.max_position_embeddings)


def best_device() -> torch.device:
    """The one GPU if torch sees one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def best_type() -> torch.dtype:
    """bfloat16 where the hardware multiplies it, else float32.

    With AVX512-BF16 it trains 1.9 times as fast as float32; without, it is emulated and slower.
    """
    if best_device().type == "cuda":
        return torch.bfloat16
    fast = torch.cpu.get_capabilities()
    return torch.bfloat16 if fast.get("avx512_bf16") or fast.get("amx_bf16") else torch.float32


def hidden_states(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """The decoder's last layer for right-padded ``ids`` (rows, length): (rows, length, hidden).

    Padding on the right needs no mask: a causal model never looks ahead.
    """
    decoder = model.get_decoder()
    output: Tensor = decoder(input_ids=ids, use_cache=False).last_hidden_state
    return output


def logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The output head in float32: (…, hidden) to (…, vocabulary)."""
    scores: Tensor = model.get_output_embeddings()(hidden)
    return scores.float()


def use_threads() -> None:
    """Use the machine's cores, at most eight: models this small gain nothing from more."""
    torch.set_num_threads(min(torch.get_num_threads(), 8))
