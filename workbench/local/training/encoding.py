"""Conversations as the model sees them: token ids, and which of them are learnt.

The text and its learnt stretches are the chat template's (``dataset.tokens.chat_template``); here they
become tokens, and the batches of a job.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from workbench.dataset.chat_template import prompt, tools_in, written
from workbench.dataset.dataset import JSON, Dataset, Message
from workbench.errors import DataError

PIECE = 16 * 1024  # characters of a long text that are tokenised at once, to see whether it is too long
IGNORED = -100  # the label that cross-entropy passes over


@dataclass(frozen=True)
class Row:
    """One conversation: ``tokens``, and ``learnt`` true where the token is trained on."""

    tokens: tuple[int, ...]
    learnt: tuple[bool, ...]


def encode_dataset(tokenizer: PreTrainedTokenizerFast, dataset: Dataset, context: int) -> list[Row]:
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
            raise DataError(
                f"{example.origin}: {len(row.tokens)} tokens, but the model reads at most {context}; "
                "shorten or split the conversation."
            )
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
        counted += len(
            backend.encode_batch_fast([piece.strip() if strips else piece], add_special_tokens=False)[0]
        )
        if counted > 2 * limit:
            return True
    return False


class TooLongError(DataError):
    """A conversation that has far more tokens than the model reads, so that nobody counted them."""


def encode(
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Message],
    tools: Sequence[JSON] = (),
    context: int | None = None,
) -> Row:
    """One conversation as the chat template writes it, with the assistant's turns marked.

    ``TooLongError`` if it has far more than ``context`` tokens, before all are made.
    """
    conversation = written(tokenizer, messages, tools)
    _check_length(tokenizer, conversation.text, context)
    encoded = tokenizer(conversation.text, add_special_tokens=False, return_offsets_mapping=True)
    return Row(tuple(encoded["input_ids"]), conversation.learns(encoded["offset_mapping"]))


def encode_prompt(
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Message],
    tools: Sequence[JSON] = (),
    context: int | None = None,
) -> list[int]:
    """The tokens of a conversation that waits for the assistant's answer, up to its first word or call.

    ``TooLongError`` if it has far more than ``context`` tokens, before all are made.
    """
    text = prompt(tokenizer, messages, tools)
    _check_length(tokenizer, text, context)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def batches(lengths: Sequence[int], *, batch_size: int, n_epochs: int, seed: int) -> list[list[int]]:
    """The whole schedule of a job: row numbers for each step, ``ceil(rows * n_epochs / batch_size)`` steps.

    Every epoch is a fresh shuffle of all rows; an epoch may end inside a batch. Within a window
    of eight batches rows of like length go together, so that attention meets little padding.
    """
    draw = random.Random(seed)
    order = [row for _ in range(n_epochs) for row in draw.sample(range(len(lengths)), len(lengths))]
    schedule = []
    for start in range(0, len(order), 8 * batch_size):
        window = sorted(order[start : start + 8 * batch_size], key=lambda row: lengths[row])
        chunks = [window[at : at + batch_size] for at in range(0, len(window), batch_size)]
        draw.shuffle(chunks)
        schedule += chunks
    return schedule


def _check_length(tokenizer: PreTrainedTokenizerFast, text: str, context: int | None) -> None:
    if context is not None and exceeds(tokenizer, text, context):
        raise TooLongError(f"more than {context} tokens, the most that the model reads; shorten or split it.")
