"""The chat template of a model on this machine: the text of a conversation, and what of it is learnt.

Training, counting and looking all ask here, so there is one truth: only what an assistant says is
learnt, up to and with the token that ends its turn; a turn of ``weight`` 0 is read but not learnt.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from workbench import catalog
from workbench.catalog.models import base_name
from workbench.dataset.examples import Message
from workbench.errors import DataError, SetupError
from workbench.settings import home, models_in

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Conversation(NamedTuple):
    """A conversation as the template writes it."""

    text: str
    learnt: tuple[tuple[int, int], ...]
    """The stretches to learn: first character, and the one behind the last."""

    def learns(self, offsets: Iterable[tuple[int, int]]) -> tuple[bool, ...]:
        """For each token, given as its stretch of the text, whether it is learnt."""
        return tuple(
            any(start <= begin and end <= stop for start, stop in self.learnt) for begin, end in offsets
        )


def written(tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message]) -> Conversation:
    """The conversation as the model reads it in training; ``DataError`` if its template cannot write it."""
    from jinja2 import TemplateError

    learnt = []
    try:
        text = as_text(tokenizer, messages, answer_next=False)
        text.encode()  # half a surrogate pair has no tokens
        for index, message in enumerate(messages):
            if message.get("role") == "assistant" and message.get("weight", 1):
                prompt = as_text(tokenizer, messages[:index], answer_next=True)
                turn = as_text(tokenizer, messages[: index + 1], answer_next=False)
                begin = _alike(prompt, text)
                said = message.get("content")
                told = isinstance(said, str) and text[begin:].lstrip().startswith(said.strip())
                if begin < len(prompt) and not told:
                    raise DataError(
                        f"this model's chat template writes messages[{index}] otherwise than it asks for it, "
                        "so what to learn cannot be told; let the conversation end there."
                    )
                end = _end_of_turn(tokenizer, text, begin, turn, message)
                learnt.append((begin, end))
    except (TemplateError, TypeError, UnicodeEncodeError) as error:  # templates add whatever they are given
        raise DataError(
            f"this model's chat template cannot write the conversation ({error}); "
            "use a role and a text in every message."
        ) from None
    return Conversation(text, tuple(learnt))


def opening(tokenizer: "PreTrainedTokenizerFast") -> str:
    """What the template puts before an assistant's words that the model would otherwise have to say.

    A channel (gpt-oss) or an empty thought (Qwen 3): an answer that begins behind it comes at once.
    Nothing with most templates.
    """
    return _opening(tokenizer, str(tokenizer.chat_template))


@lru_cache(maxsize=16)
def _opening(tokenizer: "PreTrainedTokenizerFast", template: str) -> str:
    asked: Message = {"role": "user", "content": "?"}
    said = "Forty-two."
    text = as_text(tokenizer, (asked, {"role": "assistant", "content": said}), answer_next=False)
    prompt = as_text(tokenizer, (asked,), answer_next=True)
    before = text[len(prompt) : text.find(said)] if text.startswith(prompt) else ""
    return before if before.strip() else ""


def _end_of_turn(
    tokenizer: "PreTrainedTokenizerFast", text: str, begin: int, turn: str, message: Message
) -> int:
    """Where the assistant's turn that begins at ``begin`` ends: behind the token that ends it.

    ``turn`` is the text up to and with that turn as if it were the last; templates may write more behind a
    last turn (Phi-3), or other tokens (gpt-oss).
    """
    said = message.get("content")
    if isinstance(said, str) and said.strip() and not message.get("tool_calls"):
        before = opening(tokenizer)
        found = text.find(said.strip(), begin + len(before) * text.startswith(before, begin))
        if found >= 0:
            end = found + len(said.strip())
            closed = _added_token(tokenizer, len(tokenizer)).match(text, end)
            return closed.end() if closed else end
    # Line breaks after the end-of-turn token belong to the template, not to the answer.
    return len(text[: _alike(turn, text)].rstrip())


def _alike(one: str, other: str) -> int:
    """How many characters both texts begin with."""
    if other.startswith(one):
        return len(one)
    return next(n for n, (a, b) in enumerate(zip(f"{one}\0", f"{other}\1", strict=False)) if a != b)


@lru_cache(maxsize=16)
def _added_token(tokenizer: "PreTrainedTokenizerFast", size: int) -> re.Pattern[str]:
    """Matches one token that is no piece of ordinary text, and the blanks before it."""
    tokens = sorted((str(token) for token in tokenizer.added_tokens_decoder.values()), key=len, reverse=True)
    return re.compile(rf"\s*(?:{'|'.join(map(re.escape, tokens))})" if tokens else r"(?!)")


def as_text(tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message], *, answer_next: bool) -> str:
    """The messages in one text; with ``answer_next`` it ends where the assistant begins to speak."""
    wire: list[dict[str, Any]] = [
        {key: value for key, value in message.items() if key != "weight"} for message in messages
    ]
    return str(tokenizer.apply_chat_template(wire, tokenize=False, add_generation_prompt=answer_next))


def folder_of(model: str) -> Path:
    """Where the tokenizer of a model on this machine lies, or would lie."""
    return models_in(home()) / base_name(model)


def is_here(model: str) -> bool:
    """Whether this machine has the model's own tokenizer."""
    return (folder_of(model) / "tokenizer.json").is_file()


def tokenizer_of(model: str) -> "PreTrainedTokenizerFast":
    """The model's own tokenizer; ``SetupError`` says how to get one that is not on this machine."""
    if is_here(model):
        return _load(folder_of(model))
    if catalog.model(model).service == "local":
        way = "the local service makes it when it first trains or asks this model"
    else:
        way = "put its tokenizer.json, tokenizer_config.json and config.json there"
    raise SetupError(f"The tokenizer of {model} is not on this machine ({folder_of(model)}): {way}.")


def context_of(model: str) -> int | None:
    """How many tokens the model reads at most; ``None`` where its folder does not say."""
    config = folder_of(model) / "config.json"
    if not config.is_file():
        return None
    tokens = json.loads(config.read_text(encoding="utf-8")).get("max_position_embeddings")
    return tokens if isinstance(tokens, int) else None


@cache
def _load(folder: Path) -> "PreTrainedTokenizerFast":
    from transformers import AutoTokenizer

    return cast("PreTrainedTokenizerFast", AutoTokenizer.from_pretrained(folder, local_files_only=True))
