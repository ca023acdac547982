"""A base model in memory, and conversations as it reads them: token ids, and which of them are learnt.

Weights have the type that this machine multiplies fastest. The text of a conversation and its learnt
stretches are the chat template's (``dataset.chat_template``); here they become tokens.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, Cache, PreTrainedModel, PreTrainedTokenizerFast

from workbench.dataset.chat_template import prompt, tools_in, written
from workbench.dataset.dataset import JSON, Dataset, Message
from workbench.errors import DataError, SetupError
from workbench.local.models import lora


@dataclass(frozen=True)
class Base:
    """One loaded base model, frozen, to which adapters can be added."""

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
        found = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        tokenizer = cast(PreTrainedTokenizerFast, found)
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


# Conversations as the model reads them.

PIECE = 16 * 1024  # characters of a long text that are tokenised at once, to see whether it is too long


@dataclass(frozen=True)
class TokenRow:
    """One conversation: ``tokens``, and ``learnt`` true where the token is trained on."""

    tokens: tuple[int, ...]
    learnt: tuple[bool, ...]
    reference: tuple[float, ...] = ()
    """What the model said of it before it was trained, where a method compares with that."""

    @property
    def size(self) -> int:
        """How many tokens are read of it."""
        return len(self.tokens)


def encode_dataset(tokenizer: PreTrainedTokenizerFast, dataset: Dataset, context: int) -> list[TokenRow]:
    """Every example of ``dataset`` as a row, with its tools.

    ``DataError`` names the line that is longer than ``context`` tokens, or that cannot be written.
    """
    rows = []
    for example in dataset:
        try:
            row = encode(tokenizer, example.messages, tools_in(example.more), context)
        except DataError as error:
            raise DataError(f"{example.origin}: {error}") from None
        if len(row.tokens) > context:
            found = f"{len(row.tokens)} tokens, but the model reads at most {context}"
            raise DataError(f"{example.origin}: {found}; shorten or split the conversation.")
        rows.append(row)
    return rows


def exceeds(tokenizer: PreTrainedTokenizerFast, text: str, limit: int) -> bool:
    """Whether a long ``text`` has far more than ``limit`` tokens, found without tokenising it whole.

    A token may lie across the border of two pieces, and then counts more than once; so only what
    counts twice the limit is called too long. ``False`` says nothing.
    """
    if len(text) <= 2 * PIECE:
        return False
    # Such a token takes all the blanks beside it, however many.
    strips = any(token.lstrip or token.rstrip for token in tokenizer.added_tokens_decoder.values())
    backend = tokenizer.backend_tokenizer
    counted = 0
    for begin in range(0, len(text), PIECE):
        piece = text[begin : begin + PIECE]
        piece = piece.strip() if strips else piece
        counted += len(backend.encode_batch_fast([piece], add_special_tokens=False)[0])
        if counted > 2 * limit:
            return True
    return False


class TooManyTokensError(DataError):
    """A conversation that has far more tokens than the model reads, so that nobody counted them."""


def encode(
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Message],
    tools: Sequence[JSON] = (),
    context: int | None = None,
) -> TokenRow:
    """One conversation as the chat template writes it, with the assistant's turns marked.

    ``TooManyTokensError`` if it has far more than ``context`` tokens, before all are made.
    """
    conversation = written(tokenizer, messages, tools)
    _check_length(tokenizer, conversation.text, context)
    encoded = tokenizer(conversation.text, add_special_tokens=False, return_offsets_mapping=True)
    return TokenRow(tuple(encoded["input_ids"]), conversation.learns(encoded["offset_mapping"]))


def encode_prompt(
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Message],
    tools: Sequence[JSON] = (),
    context: int | None = None,
) -> list[int]:
    """The tokens of a conversation that waits for the assistant's answer, up to its first word or call.

    ``TooManyTokensError`` if it has far more than ``context`` tokens, before all are made.
    """
    text = prompt(tokenizer, messages, tools)
    _check_length(tokenizer, text, context)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _check_length(tokenizer: PreTrainedTokenizerFast, text: str, context: int | None) -> None:
    if context is not None and exceeds(tokenizer, text, context):
        raise TooManyTokensError(
            f"more than {context} tokens, all that the model reads; shorten or split it."
        )
