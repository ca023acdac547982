"""A tuned model as one set of weights: base and adapter added up, as a Hugging Face folder or a GGUF file.

Apart because nothing here is needed to train or to answer: who exports a model loads it for a minute.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, get_tensor_name_map
from gguf.constants import MODEL_ARCH
from gguf.quants import quantize
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from workbench.errors import SetupError
from workbench.local.models import lora
from workbench.local.models.model import load_base

Chat = list[dict[str, Any]]

_TORCH = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".index.json", ".pt", ".pth")


@contextmanager
def _no_bars() -> Iterator[None]:
    """transformers draws a bar for every file that it reads or writes; these take a moment."""
    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


@_no_bars()
def merged(name: str, base: Path, adapter: Path) -> PreTrainedModel:
    """The base model in folder ``base``, each W that the adapter changes as W + (alpha / r) B A, in float32.

    Raises ``SetupError`` for a base that cannot be loaded.
    """
    model = load_base(name, base, dtype=torch.float32).model
    lora.load_adapter(model, "merged", adapter)
    for module in list(model.modules()):
        for child_name, child in list(module.named_children()):
            if isinstance(child, lora.LoraLinear):
                branch = child.branches["merged"]
                with torch.no_grad():
                    child.linear.weight += branch.scale * (branch.b @ branch.a)
                setattr(module, child_name, child.linear)
    return model


@_no_bars()
def write_folder(model: PreTrainedModel, base: Path, folder: Path, type_: str) -> None:
    """Write ``model``, in the end of this type, to ``folder``, and what ``base`` holds beside its weights."""
    model.to(_TORCH[type_]).save_pretrained(folder)  # type: ignore[arg-type]
    for file in base.iterdir():
        if file.is_file() and not file.name.endswith(_WEIGHTS) and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)


# GGUF: the weights renamed, query and key rows in llama.cpp's order, the vocabulary beside them.


class _Kind(NamedTuple):
    """How an architecture is called in GGUF, and whether its query and key rows are interleaved there."""

    architecture: MODEL_ARCH
    interleaved: bool


# The architectures that are written; llama.cpp's own converter knows all of them.
KINDS: Mapping[str, _Kind] = {
    "llama": _Kind(MODEL_ARCH.LLAMA, interleaved=True),
    "mistral": _Kind(MODEL_ARCH.LLAMA, interleaved=True),
    "qwen2": _Kind(MODEL_ARCH.QWEN2, interleaved=False),
    "qwen3": _Kind(MODEL_ARCH.QWEN3, interleaved=False),
}
# How llama.cpp calls the way in which a byte-level vocabulary cuts text, by what tokenizer.json says of it.
# The patterns are those of the models' own tokenizer.json.
_GPT2 = ""
_CUTS: Mapping[tuple[bool, str], str] = {
    (False, _GPT2): "gpt-2",
    (True, _GPT2): "smollm",
    (
        False,
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+",
    ): "qwen2",
    (
        False,
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    ): "llama-bpe",
}
TYPES: Mapping[str, tuple[GGMLQuantizationType, LlamaFileType]] = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
"""Of a GGUF file's matrices; vectors stay float32."""


def why_not_gguf(base: Path) -> str | None:
    """What of the base model in folder ``base`` cannot be written as GGUF here; ``None`` if all can."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    kind = config.get("model_type")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if kind not in KINDS:
        return f"its architecture is {kind}, and only {', '.join(KINDS)} are written"
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        return "its positions are scaled (rope_scaling)"
    if kind == "mistral" and config.get("sliding_window"):
        return "its attention has a sliding window"
    if not (base / "tokenizer.json").is_file():
        return "it has no tokenizer.json"
    vocabulary = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    if vocabulary["model"].get("type") != "BPE" or _cut(vocabulary) is None:
        return "its tokenizer is no byte-level vocabulary that llama.cpp knows by name"
    return None


def write_gguf(model: PreTrainedModel, base: Path, file: Path, name: str, type_: str) -> None:
    """Write a merged ``model`` and the tokenizer of ``base`` to ``file``; ``type_`` is one of ``TYPES``.

    ``base`` must be one of which ``why_not_gguf`` says nothing.
    """
    config, (quantized, file_type) = model.config.get_text_config(), TYPES[type_]
    architecture, interleaved = KINDS[config.model_type]
    head = config.hidden_size // config.num_attention_heads
    head = getattr(config, "head_dim", None) or head
    writer = GGUFWriter(file, architecture.name.lower())
    writer.add_name(name)
    writer.add_file_type(file_type)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(_rope_base(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, base, config.vocab_size)
    rows = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads} if interleaved else {}
    names = get_tensor_name_map(architecture, config.num_hidden_layers)
    for key, tensor in _own_weights(model):
        known = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if known is None:
            raise SetupError(f"The weights {key} have no name in GGUF; export the model as a folder (hf).")
        values = tensor.detach().to(torch.float32).numpy()
        if heads := rows.get(key.split(".")[-2]):
            pairs = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
            values = np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)
        wanted = quantized if values.ndim > 1 and values.shape[-1] % 32 == 0 else GGMLQuantizationType.F32
        writer.add_tensor(known, quantize(values, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _own_weights(model: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    """Every weight once: a head that is the embedding itself is not written again."""
    tied = model.config.get_text_config().tie_word_embeddings
    for key, tensor in model.named_parameters(remove_duplicate=False):
        if not (tied and key == "lm_head.weight"):
            yield key, tensor


def _rope_base(config: Any) -> float:
    rope: Mapping[str, Any] = getattr(config, "rope_parameters", None) or {}
    base: Any = rope.get("rope_theta") or getattr(config, "rope_theta", 10_000.0)
    return float(base)


def _cut(vocabulary: Mapping[str, Any]) -> str | None:
    """llama.cpp's name for how text is cut before its bytes are paired, or ``None``."""
    found = vocabulary.get("pre_tokenizer") or {}
    parts = found.get("pretokenizers", [found])
    kinds = [part.get("type") for part in parts]
    if not kinds or kinds[-1] != "ByteLevel" or set(kinds) - {"ByteLevel", "Digits", "Split"}:
        return None
    patterns = [part["pattern"].get("Regex", "") for part in parts if part["type"] == "Split"]
    digits = any(part["type"] == "Digits" and part.get("individual_digits") for part in parts)
    return _CUTS.get((digits, "".join(patterns)))


def _add_tokenizer(writer: GGUFWriter, base: Path, size: int) -> None:
    vocabulary = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer = cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(base, local_files_only=True))
    added = tokenizer.added_tokens_decoder
    tokens, kinds = [], []
    by_id = {index: token for token, index in tokenizer.get_vocab().items()}
    for index in range(size):
        tokens.append(by_id.get(index, f"[PAD{index}]"))
        if index not in by_id:
            kinds.append(TokenType.UNUSED)
        elif index in added:
            kinds.append(TokenType.CONTROL if added[index].special else TokenType.USER_DEFINED)
        else:
            kinds.append(TokenType.NORMAL)
    merges = vocabulary["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(str(_cut(vocabulary)))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    if not merges:  # of single bytes, such as nano's; without either, transformers reads no vocabulary
        writer.add_token_scores([0.0] * size)
    for add, token in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if token is not None:
            add(token)
    writer.add_add_bos_token(False)
    if tokenizer.chat_template:
        writer.add_chat_template(str(tokenizer.chat_template))


# The chat template as Ollama writes it: what stands before and after the words of each role.


class Turns(NamedTuple):
    """What a chat template writes around the words of each role, and before what the model says."""

    before: Mapping[str, str]
    after: Mapping[str, str]
    first: str  # before the first message, whoever speaks
    unasked: str  # before the first message where nobody gave instructions: some templates add their own
    answer: str  # where the model begins to speak


def turns(base: Path) -> Turns | None:
    """The regular pieces of a chat template; ``None`` where it does more than put pieces around words."""
    tokenizer = cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(base, local_files_only=True))

    def text(*said: tuple[str, str], answer_next: bool = False) -> str:
        chat = [{"role": role, "content": words} for role, words in said]
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=answer_next))

    chat = (("system", "S0"), ("user", "U1"), ("assistant", "A2"), ("user", "U3"), ("assistant", "A4"))
    try:
        talk, alone, asked = text(*chat), text(chat[1]), text(chat[1], answer_next=True)
        # What stands between the words of one role and of the next belongs half to each: the longest end
        # that comes after the same role everywhere is its own.
        head, rest = talk.split("S0", 1)
        system_user, rest = rest.split("U1", 1)
        user_assistant, rest = rest.split("A2", 1)
        assistant_user, rest = rest.split("U3", 1)
        again, last = rest.split("A4", 1)
        before_user, after_user = alone.split("U1", 1)
    except (ValueError, TemplateError):  # a role that it does not know, or words that it changes
        return None
    if not asked.startswith(alone):
        return None
    opening = user_assistant[len(after_user) :] if user_assistant.startswith(after_user) else None
    if opening is None or again != user_assistant or not assistant_user.startswith(last):
        return None
    user = assistant_user[len(last) :]
    if not user or not system_user.endswith(user) or not before_user.endswith(user):
        return None
    after_system, unasked = system_user[: -len(user)], before_user[: -len(user)]
    # What every conversation begins with, such as a token for the beginning of a text.
    first = str(tokenizer.bos_token or "")
    first = first if first and head.startswith(first) and not user.startswith(first) else ""
    found = Turns(
        {"system": head.removeprefix(first), "user": user, "assistant": opening},
        {"system": after_system, "user": after_user, "assistant": last},
        first,
        unasked.removeprefix(first),
        asked[len(alone) :],
    )
    written = first + "".join(found.before[role] + words + found.after[role] for role, words in chat)
    return found if written == talk else None


def modelfile(pieces: Turns | None, weights: str) -> str:
    """What Ollama reads: the file of weights, the chat template in its own language, and where to stop."""
    lines = [f"FROM ./{weights}", "PARAMETER temperature 0"]
    if pieces is not None:
        begin, end = pieces.before, pieces.after
        said = "".join(
            f'{{{{ if eq .Role "{role}" }}}}{begin[role]}{{{{ .Content }}}}{end[role]}{{{{ end }}}}'
            for role in ("system", "user", "assistant")
        )
        unasked = f"{{{{ if not .System }}}}{pieces.unasked}{{{{ end }}}}" if pieces.unasked else ""
        text = f"{pieces.first}{unasked}{{{{ range .Messages }}}}{said}{{{{ end }}}}{pieces.answer}"
        lines.append(f'TEMPLATE """{text}"""')
        lines += [
            f'PARAMETER stop "{stop}"' for stop in dict.fromkeys([pieces.after["assistant"].strip()]) if stop
        ]
    return "\n".join(lines) + "\n"


@_no_bars()
def answers(
    folder: Path, chats: Sequence[Chat], *, gguf: str | None = None, longest: int = 256, at_once: int = 8
) -> list[str]:
    """What the exported model says to each chat, greedily, in transformers: none of our engine takes part.

    ``gguf`` names the file in ``folder`` whose weights and tokenizer are loaded; else it is a folder of
    Hugging Face's. ``longest`` counts tokens.
    """
    given = {"gguf_file": gguf} if gguf else {}
    tokenizer = cast(
        PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(folder, local_files_only=True, **given)
    )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True, **given)
    tokenizer.padding_side = "left"
    said: dict[int, str] = {}
    texts = [
        str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)) for chat in chats
    ]
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for start in range(0, len(order), at_once):
        places = order[start : start + at_once]
        batch = tokenizer(
            [texts[place] for place in places], return_tensors="pt", padding=True, add_special_tokens=False
        )
        with torch.inference_mode():
            made = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=longest,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
            )
        for place, row in zip(places, made, strict=True):
            said[place] = str(tokenizer.decode(row[batch["input_ids"].shape[1] :], skip_special_tokens=True))
    return [said[place] for place in range(len(chats))]
