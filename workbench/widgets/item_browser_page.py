"""One item as the browser shows it: the question, both answers, the reference, and what was taught.

Words that an answer adds are underlined, those it lacks are struck through, so that
nothing is told by colour. All text is escaped: models and data contain HTML.
"""

import math
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from html import escape
from typing import NamedTuple

from workbench.dataset.examples import Dataset, Example
from workbench.evaluation.asking.retrieval import Documents, Passage, plain
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.tables import table

SIMILAR = 3  # training rows shown for a question
LONGEST = 20_000  # characters of a text; nobody reads more by eye
_COMPARED = 4_000_000  # words of one text times words of the other; more would keep the reader waiting
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")

_STYLE = """<style>
.wb-item { max-width: 74rem; line-height: 1.5; color: var(--jp-ui-font-color1, inherit); }
.wb-item h4 { margin: .7rem 0 .15rem; font-size: 12px; font-weight: 600; opacity: .75; }
.wb-item pre { margin: 0; padding: 0; background: none; color: inherit; white-space: pre-wrap;
  overflow-wrap: anywhere; font: inherit; font-size: 14px; }
.wb-item .wb-two { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .8rem; }
.wb-item section { min-width: 0; max-height: 28rem; overflow: auto; padding: .1rem .75rem .6rem;
  border: 1px solid rgba(128,128,128,.4); border-radius: 5px; }
.wb-item ins { text-decoration: underline 2px; text-underline-offset: 3px; background: rgba(0,114,178,.13); }
.wb-item del { opacity: .75; background: rgba(213,94,0,.13); }
.wb-item p { margin: .35rem 0 0; font-size: 13px; opacity: .85; }
.wb-item details, .wb-item > table { margin-top: .7rem; font-size: 13px; }
</style>"""


class Similar(NamedTuple):
    """A training row, and whether it asks the very same."""

    example: Example
    same: bool


class Training:
    """The rows a model was trained on, looked up by the words of a question (BM25)."""

    def __init__(self, dataset: Dataset) -> None:
        """Nothing is indexed before the first question."""
        self._rows = tuple(dataset)
        self._index = Documents(tuple(Passage(e.question, e.origin) for e in self._rows), SIMILAR)

    def similar(self, question: str) -> list[Similar]:
        """The rows most like it, the most alike first."""
        asked = plain(question)
        found = (self._rows[place] for place in self._index.places(question))
        return [Similar(example, plain(example.question) == asked) for example in found]


def page(
    kind: str,
    base: tuple[Evaluation, Item],
    tuned: tuple[Evaluation, Item],
    similar: Sequence[Similar] | None,
) -> str:
    """Write the item as HTML; ``similar`` is None where nobody gave the training rows."""
    item = base[1]
    against = item.reference if item.reference.strip() else base[1].answer
    reference = _block("Reference", _text(item.reference)) if item.reference.strip() else ""
    parts = [
        _STYLE,
        f"<p><b>{escape(kind)}</b> · {escape(item.origin)} · {escape(item.id)}</p>",
        _block("Question", _text(item.question)),
        reference,
        "<h4>Underlined: not in the reference. Struck through: missing from the answer.</h4>"
        if reference
        else "<h4>There is no reference; the tuned answer is shown against the base one.</h4>",
        '<div class="wb-two">',
        _side("base", *base, against),
        _side("tuned", *tuned, against),
        "</div>",
        *_prompts(base[0], tuned[0]),
        _taught(similar),
    ]
    return f'<div class="wb-item">{"".join(parts)}</div>'


def diffed(answer: str, reference: str) -> str:
    """The answer as HTML, word for word against the reference."""
    answer, reference = answer[:LONGEST], reference[:LONGEST]
    said, meant = _WORDS.findall(answer), _WORDS.findall(reference)
    if len(said) * len(meant) > _COMPARED:
        return _escaped(answer) + "<p>(too long to compare word for word)</p>"
    return "".join(_pieces(said, meant))


def _pieces(said: Sequence[str], meant: Sequence[str]) -> Iterator[str]:
    for what, from_meant, to_meant, from_said, to_said in SequenceMatcher(
        None, meant, said, autojunk=False
    ).get_opcodes():
        missing, added = "".join(meant[from_meant:to_meant]), "".join(said[from_said:to_said])
        if what == "equal":
            yield _escaped(added)
            continue
        if missing:
            yield f"<del>{_escaped(missing)}</del>"
        if added:
            yield f"<ins>{_escaped(added)}</ins>"


def _side(name: str, evaluation: Evaluation, item: Item, against: str) -> str:
    text = diffed(item.answer, against) if item.answer else "<i>(an empty answer)</i>"
    score = "no score" if math.isnan(item.score) else f"score {item.score:g}"
    facts = [f"<p><b>{score}</b>{_told(': ', item.reason)}{_told('. ', item.problem)}</p>"]
    seconds = "" if math.isnan(item.seconds) else f" · {item.seconds:.2f} s"
    cut = " · cut short" if item.finish_reason == "length" else ""
    facts.append(
        f"<p>{item.prompt_tokens:,} tokens asked · {item.completion_tokens:,} answered{seconds}{cut}</p>"
    )
    if len(item.samples) > 1:
        rows = [(f"{sample.score:g}", sample.answer, sample.reason) for sample in item.samples]
        samples = table(f"all {len(rows)} samples", ("score", "answer", "reason"), rows)
        facts.append(f"<details><summary>{len(rows)} samples</summary>{samples}</details>")
    return f"<section>{_block(f'{name}: {evaluation.model}', text)}{''.join(facts)}</section>"


def _prompts(base: Evaluation, tuned: Evaluation) -> Iterator[str]:
    asked = [("The base model's prompt", base.prompt), ("The tuned model's prompt", tuned.prompt)]
    if base.prompt == tuned.prompt:
        asked = [("The prompt of both", base.prompt)]
    for whose, prompt in asked:
        told = escape(f"{whose}: {prompt.name}")
        yield f"<details><summary>{told}</summary>{prompt._repr_html_()}</details>"


def _taught(similar: Sequence[Similar] | None) -> str:
    if similar is None:
        return ""
    if not similar:
        return "<p>No training row shares a word with this question.</p>"
    rows = [(e.origin, "the same question" if same else "", e.question, e.answer) for e, same in similar]
    return table("Training rows most like this question", ("origin", "", "question", "answer"), rows)


def _block(heading: str, html: str) -> str:
    return f"<h4>{escape(heading)}</h4><pre>{html}</pre>"


def _text(text: str) -> str:
    more = len(text) - LONGEST
    return _escaped(text[:LONGEST]) + (f" … {more:,} more characters" if more > 0 else "")


def _told(before: str, text: str) -> str:
    return f"{before}{_escaped(text[:LONGEST])}" if text else ""


def _escaped(text: str) -> str:
    return escape(text.encode("utf-8", "replace").decode())  # half a surrogate pair is no UTF-8
