"""An example as the model will see it, with what it learns marked.

For a model on this machine that is its own chat template, the very text that it is trained on. What
OpenAI's models see is not published; for them it is the layout that their early chat models had.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from workbench import catalog
from workbench.dataset.examples import Example, Message, text_of
from workbench.dataset.tokens import chat_template, layout
from workbench.errors import DataError


class Piece(NamedTuple):
    """A stretch of text, and whether the model is trained to say it."""

    text: str
    trained: bool


@dataclass(frozen=True, repr=False)
class Rendering:
    """One example as the model will see it."""

    origin: str
    model: str
    pieces: tuple[Piece, ...]
    rejected: tuple[Piece, ...] = ()
    """A preference's second text: the same prompt with the answer to avoid."""
    exact: bool = False
    """Whether this is the model's own template; else a layout that resembles what it sees."""

    def __str__(self) -> str:
        """Where it comes from and how it was made."""
        how = (
            "its own chat template" if self.exact else "about as it sees it: its real layout is not published"
        )
        return f"{self.origin} for {self.model}, {how}"

    def __repr__(self) -> str:
        """The text, with what is learnt between ⟦ and ⟧."""
        texts = [_plain(self.pieces), *([f"rejected:\n{_plain(self.rejected)}"] if self.rejected else [])]
        return "\n".join([str(self), *texts])

    def _repr_html_(self) -> str:
        legend = "<mark>marked and underlined</mark>: what the model learns to say"
        drawn = [f"<figcaption>{_safe(str(self))}; {legend}</figcaption>", _drawn(self.pieces)]
        if self.rejected:
            drawn += [
                "<figcaption>The rejected answer to the same prompt</figcaption>",
                _drawn(self.rejected),
            ]
        return f"<figure>{''.join(drawn)}</figure>"


def rendered(example: Example, model: str) -> Rendering:
    """Show me what this model will see of the example, and what it learns from it."""
    is_exact = chat_template.is_here(model)
    show = _by_template if is_exact else _resembling
    if not is_exact and catalog.model(model).encoding is None:
        chat_template.tokenizer_of(model)  # says how to get it
    if example.method != "dpo":
        return Rendering(example.origin, model, show(example, example.messages, model), exact=is_exact)
    preferred, rejected = (
        show(example, (*_unlearnt(example.messages), *_answer(example, key)), model)
        for key in ("preferred_output", "non_preferred_output")
    )
    return Rendering(example.origin, model, preferred, rejected, is_exact)


def _by_template(example: Example, messages: Sequence[Message], model: str) -> tuple[Piece, ...]:
    tokenizer, tools = chat_template.tokenizer_of(model), chat_template.tools_in(example.more)
    try:
        if example.method == "rft":
            return (Piece(chat_template.as_text(tokenizer, messages, tools, answer_next=True), False),)
        text, learnt = chat_template.written(tokenizer, messages, tools)
    except DataError as error:
        raise DataError(f"{example.origin}: {error}") from None
    pieces, at = [], 0
    for start, stop in learnt:
        pieces += [Piece(text[at:start], False), Piece(text[start:stop], True)]
        at = stop
    return tuple(piece for piece in (*pieces, Piece(text[at:], False)) if piece.text)


def _resembling(example: Example, messages: Sequence[Message], model: str) -> tuple[Piece, ...]:
    """The layout of ChatML, with tools as their JSON in front."""
    pieces = []
    tools = example.more.get("tools") or example.more.get("functions")
    if tools:
        pieces.append(Piece(f"<|im_start|>tools\n{layout.as_text(tools)}<|im_end|>\n", False))
    for message in messages:
        learnt = (
            example.method != "rft" and message.get("role") == "assistant" and bool(message.get("weight", 1))
        )
        name = f" name={message['name']}" if message.get("name") else ""
        said = "\n".join(filter(None, _said(message)))
        pieces += [
            Piece(f"<|im_start|>{message.get('role')}{name}\n", False),
            Piece(f"{said}<|im_end|>", learnt),
            Piece("\n", False),
        ]
    if example.method == "rft":
        pieces.append(Piece("<|im_start|>assistant\n", False))
    return tuple(_joined(pieces))


def _said(message: Message) -> Iterator[str]:
    yield text_of(message)
    content = message.get("content")
    for part in content if isinstance(content, list | tuple) else ():
        if isinstance(part, dict) and part.get("type") == "image_url":
            yield "[image]"
    for key in ("tool_calls", "function_call"):
        if message.get(key):
            yield layout.as_text(message[key])


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Neighbours of one kind as one piece."""
    text, trained = "", False
    for piece in pieces:
        if piece.trained != trained:
            if text:
                yield Piece(text, trained)
            text, trained = "", piece.trained
        text += piece.text
    if text:
        yield Piece(text, trained)


def _unlearnt(messages: Sequence[Message]) -> Iterator[Message]:
    """A preference's prompt, of which nothing is learnt."""
    for message in messages:
        yield {**message, "weight": 0} if message.get("role") == "assistant" else message


def _answer(example: Example, key: str) -> Iterator[Message]:
    answer = example.more.get(key)
    for message in answer if isinstance(answer, list | tuple) else ():
        if isinstance(message, dict):
            yield message


def _plain(pieces: Sequence[Piece]) -> str:
    return "".join(f"⟦{text}⟧" if trained else text for text, trained in pieces)


def _drawn(pieces: Sequence[Piece]) -> str:
    # Underlined as well as coloured: nothing is told by colour alone.
    shown = "".join(
        f'<mark style="background:#fff3b0;color:#000;text-decoration:underline">{_safe(text)}</mark>'
        if trained
        else _safe(text)
        for text, trained in pieces
    )
    return f'<pre style="white-space:pre-wrap">{shown}</pre>'


def _safe(text: str) -> str:
    return escape(text.encode("utf-8", "replace").decode())  # half a surrogate pair is no UTF-8
