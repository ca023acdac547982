"""An example as a model will see it, with what it learns marked.

For a model on this machine that is its own chat template, the very text that it is trained on. What
OpenAI's models see is not published; for them it is the layout that their early chat models had.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from workbench import catalog
from workbench.dataset import tokenizers
from workbench.dataset.chat_template import as_text, both_answers, is_here, tokenizer_of, tools_in, written
from workbench.dataset.dataset import Example, Message, items_of, mapping_of, text_of
from workbench.display import safe
from workbench.errors import DataError


class Stretch(NamedTuple):
    """A stretch of text, and whether the model is trained to say it."""

    text: str
    trained: bool


@dataclass(frozen=True, repr=False)
class Rendering:
    """One example as the model will see it."""

    origin: str
    model: str
    pieces: tuple[Stretch, ...]
    rejected: tuple[Stretch, ...] = ()
    """A preference's second text: the same prompt with the answer to avoid."""
    exact: bool = False
    """Whether this is the model's own template; else a layout that resembles what it sees."""

    def __str__(self) -> str:
        """Where it comes from and how it was made."""
        near = "about as it sees it: its real layout is not published"
        return f"{self.origin} for {self.model}, {'its own chat template' if self.exact else near}"

    def __repr__(self) -> str:
        """The text, with what is learnt between ⟦ and ⟧."""
        texts = [_plain(self.pieces), *([f"rejected:\n{_plain(self.rejected)}"] if self.rejected else [])]
        return "\n".join([str(self), *texts])

    def _repr_html_(self) -> str:
        legend = "<mark>marked and underlined</mark>: what the model learns to say"
        drawn = [f"<figcaption>{safe(str(self))}; {legend}</figcaption>", _drawn(self.pieces)]
        if self.rejected:
            drawn += [
                "<figcaption>The rejected answer to the same prompt</figcaption>",
                _drawn(self.rejected),
            ]
        return f"<figure>{''.join(drawn)}</figure>"


def rendered(example: Example, model: str) -> Rendering:
    """Show me what this model will see of the example, and what it learns from it."""
    is_exact = is_here(model)
    show = _by_template if is_exact else _resembling
    if not is_exact and catalog.model(model).encoding is None:
        tokenizer_of(model)  # says how to get it
    if example.method != "dpo":
        return Rendering(example.origin, model, show(example, example.messages, model), exact=is_exact)
    preferred, rejected = (show(example, messages, model) for messages in both_answers(example))
    return Rendering(example.origin, model, preferred, rejected, is_exact)


def _by_template(example: Example, messages: Sequence[Message], model: str) -> tuple[Stretch, ...]:
    tokenizer, tools = tokenizer_of(model), tools_in(example.more)
    try:
        if example.method == "rft":
            return (Stretch(as_text(tokenizer, messages, tools, answer_next=True), False),)
        text, learnt = written(tokenizer, messages, tools)
    except DataError as error:
        raise DataError(f"{example.origin}: {error}") from None
    pieces, at = [], 0
    for start, stop in learnt:
        pieces += [Stretch(text[at:start], False), Stretch(text[start:stop], True)]
        at = stop
    return tuple(piece for piece in (*pieces, Stretch(text[at:], False)) if piece.text)


def _resembling(example: Example, messages: Sequence[Message], model: str) -> tuple[Stretch, ...]:
    """The layout of ChatML, with tools as their JSON in front."""
    pieces = []
    tools = example.more.get("tools") or example.more.get("functions")
    if tools:
        pieces.append(Stretch(f"<|im_start|>tools\n{tokenizers.as_text(tools)}<|im_end|>\n", False))
    for message in messages:
        is_said = message.get("role") == "assistant" and bool(message.get("weight", 1))
        name = f" name={message['name']}" if message.get("name") else ""
        said = "\n".join(filter(None, _said(message)))
        pieces += [
            Stretch(f"<|im_start|>{message.get('role')}{name}\n", False),
            Stretch(f"{said}<|im_end|>", is_said and example.method != "rft"),
            Stretch("\n", False),
        ]
    if example.method == "rft":
        pieces.append(Stretch("<|im_start|>assistant\n", False))
    return tuple(_joined(pieces))


def _said(message: Message) -> Iterator[str]:
    yield text_of(message)
    for part in items_of(message.get("content")):
        if mapping_of(part).get("type") == "image_url":
            yield "[image]"
    for key in ("tool_calls", "function_call"):
        if message.get(key):
            yield tokenizers.as_text(message[key])


def _joined(pieces: Sequence[Stretch]) -> Iterator[Stretch]:
    """Neighbours of one kind as one piece."""
    for trained, alike in groupby(pieces, key=attrgetter("trained")):
        if text := "".join(piece.text for piece in alike):
            yield Stretch(text, trained)


def _plain(pieces: Sequence[Stretch]) -> str:
    return "".join(f"⟦{text}⟧" if trained else text for text, trained in pieces)


def _drawn(pieces: Sequence[Stretch]) -> str:
    # Underlined as well as coloured: colour alone says nothing.
    shown = "".join(
        f'<mark style="background:#fff3b0;color:#000;text-decoration:underline">{safe(text)}</mark>'
        if trained
        else safe(text)
        for text, trained in pieces
    )
    return f'<pre style="white-space:pre-wrap">{shown}</pre>'
