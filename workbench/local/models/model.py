"""A base model in memory: weights in the type this machine multiplies fastest, tokenizer, limits."""

import inspect
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, Cache, PreTrainedModel, PreTrainedTokenizerFast

from workbench.dataset.dataset import Message
from workbench.errors import DataError, SetupError
from workbench.local.training import lora
from workbench.local.training.encoding import encode


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

    def decode(self, ids: Tensor, positions: Tensor, cache: Cache, visible: Tensor | None = None) -> Tensor:
        """The decoder's last layer (rows, length, hidden) for ``ids`` (rows, length), added to ``cache``.

        ``visible`` (rows, slots) says which slots of ``cache`` each row may look at; without it, all before.
        """
        hidden: Tensor = self.model.get_decoder()(
            input_ids=ids,
            attention_mask=visible,
            position_ids=positions,
            use_cache=True,
            **{self._cache_argument: cache},
        ).last_hidden_state
        return hidden

    @cached_property
    def _cache_argument(self) -> str:
        """What the decoder calls its cache; ``past_key_values`` before transformers 5.24."""
        parameters = inspect.signature(self.model.get_decoder().forward).parameters
        return "past_key_values" if "past_key_values" in parameters else "cache"


def load_base(name: str, folder: Path, *, dtype: torch.dtype | None = None) -> Base:
    """Load the Hugging Face folder of base model ``name``, in ``best_type`` unless ``dtype`` says otherwise.

    0.7 s for SmolLM2, whose weights are mapped into memory, once torch is there. Raises ``SetupError``
    for what is no causal language model with a chat template and linear layers.
    """
    try:
        tokenizer = cast(
            PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(folder, local_files_only=True)
        )
        model = _model_in(folder, dtype or best_type())
        if getattr(model.config.get_text_config(), "attn_logit_softcapping", None):
            model.set_attn_implementation("eager")  # transformers 5.20's fused kernel leaves the caps out
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise SetupError(
            f"The base model {name} in {folder} cannot be loaded ({str(error)[:300]}); it has to be a whole "
            "Hugging Face folder of a causal language model that transformers knows by itself."
        ) from error
    lora.wrap(model)
    if next(lora.layers(model), None) is None:
        raise SetupError(f"{name} has no linear layers to put LoRA beside; take a model that has.")
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", tokenizer.model_max_length)
    return Base(name, model, tokenizer, _stop_tokens(name, model, tokenizer), limit)


def _model_in(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The weights on one device; spread over several GPUs by accelerate where it is installed.

    Several GPUs were not at hand to test this with.
    """
    if torch.cuda.device_count() > 1 and find_spec("accelerate"):
        spread: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, device_map="auto"
        )
        spread.eval()
        return spread
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    nn.Module.to(model, best_device())
    model.eval()
    return model


def _stop_tokens(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """What ends an answer: the tokens that the model's files name, and the one its chat template writes."""
    if not tokenizer.chat_template:
        raise SetupError(
            f"{name} has no chat template, so it was not made to chat; take its instruct sibling, or put a "
            "chat_template.jinja into its folder."
        )
    ends = model.generation_config.eos_token_id if model.generation_config else None
    known = {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id} - {None}
    exchange: list[Message] = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Yes."}]
    try:
        row = encode(tokenizer, exchange)
    except DataError as error:
        raise SetupError(f"{name} cannot chat: {error}") from error
    last = [token for token, learnt in zip(row.tokens, row.learnt, strict=True) if learnt][-1]
    return frozenset(known | ({last} & set(tokenizer.added_tokens_decoder)))


def best_device() -> torch.device:
    """The first GPU if torch sees one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def best_type() -> torch.dtype:
    """bfloat16 where the hardware multiplies it, else float32.

    With AVX512-BF16 it trains 1.9 times as fast as float32; without, it is emulated and slower.
    """
    if best_device().type == "cuda":
        return torch.bfloat16
    fast = torch.cpu.get_capabilities()
    return torch.bfloat16 if fast.get("avx512_bf16") or fast.get("amx_bf16") else torch.float32


def logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The output head in float32: (…, hidden) to (…, vocabulary).

    Some architectures scale or cap its scores: Cohere, Granite and Gemma 2, by these names.
    """
    scores: Tensor = model.get_output_embeddings()(hidden).float()
    config = model.config.get_text_config()
    factor = (getattr(config, "logit_scale", None) or 1) / (getattr(config, "logits_scaling", None) or 1)
    cap = getattr(config, "final_logit_softcapping", None)
    if factor != 1:
        scores = scores * factor
    return scores if cap is None else torch.tanh(scores / cap) * cap


def use_threads() -> None:
    """Use the machine's cores, at most eight: models this small gain nothing from more."""
    torch.set_num_threads(min(torch.get_num_threads(), 8))
