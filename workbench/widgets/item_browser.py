"""Browse the answers of two models, what got worse first: both answers, the reference, and why."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from typing import NamedTuple, cast

from workbench.dataset.dataset import ROWS_SHOWN, Dataset, Example, Message, counted, text_of
from workbench.display import folded, safe, table
from workbench.errors import DataError
from workbench.evaluation.compare import Comparison
from workbench.evaluation.evaluate import questions
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.grading import passes
from workbench.evaluation.prompts import Documents, Passage, Prompt, plain
from workbench.evaluation.scores import Pairs
from workbench.widgets.card import Card

# One item as the browser shows it: the question, both answers, the reference, and what training taught.
#
# Words that an answer adds are underlined, those it lacks are struck through, so that nothing is shown
# by colour alone. All text is escaped: models and data contain HTML. Only the item in view is drawn, so
# a hundred thousand are as quick as ten. Beside each stand the training rows most like it, with file and
# line, because a wrong answer often was taught.

SIMILAR = 3  # training rows shown for a question
LONGEST = 20_000  # characters of a text; nobody reads more by eye
_COMPARED = 4_000_000  # words of one text times words of the other; more would keep the reader waiting
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")

_STYLE = """<style>
.wb-item { max-width: 74rem; line-height: 1.5; color: var(--jp-ui-font-color1, inherit); }
.wb-item h4 { margin: .7rem 0 .15rem; font-size: 12px; font-weight: 600; }
.wb-item pre { margin: 0; padding: 0; background: none; color: inherit; white-space: pre-wrap;
  overflow-wrap: anywhere; word-break: normal; unicode-bidi: plaintext; font: inherit; font-size: 14px; }
.wb-item .wb-two { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .8rem; }
.wb-item section { min-width: 0; max-height: 28rem; overflow: auto; padding: .1rem .75rem .6rem;
  border: 1px solid rgba(128,128,128,.4); border-radius: 5px; }
.wb-item ins { text-decoration: underline 2px; text-underline-offset: 3px; background: rgba(0,114,178,.13); }
.wb-item del { opacity: .75; background: rgba(213,94,0,.13); }
.wb-item p { margin: .35rem 0 0; font-size: 13px; opacity: .85; overflow-wrap: anywhere; }
.wb-item details, .wb-item > table { margin-top: .7rem; font-size: 13px; }
</style>"""


_AGAINST_REFERENCE = "Underlined: not in the reference. Struck through: missing from the answer."
_AGAINST_BASE = "There is no reference; the tuned answer is shown against the base one."


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
    example: Example | None = None,
) -> str:
    """Write the item as HTML; ``similar`` is None where nobody gave the training rows.

    With the ``example`` of the test, the prompts are shown as they were sent; without it they are made of the
    question alone.
    """
    item = base[1]
    asked = example or Example(({"role": "user", "content": item.question},), item.origin, item.more)
    against = item.reference if item.reference.strip() else base[1].answer
    reference = _block("Reference", _text(item.reference)) if item.reference.strip() else ""
    parts = [
        _STYLE,
        f"<p><b>{safe(kind)}</b> · {safe(item.origin)} · {safe(item.id)}</p>",
        _block("Question", _text(item.question)),
        reference,
        f"<h4>{_AGAINST_REFERENCE if reference else _AGAINST_BASE}</h4>",
        '<div class="wb-two">',
        _side("base", *base, against),
        _side("tuned", *tuned, against),
        "</div>",
        *_prompts(base[0], tuned[0], asked),
        _taught(similar),
    ]
    return f'<div class="wb-item mathjax_ignore">{"".join(parts)}</div>'


def diffed(answer: str, reference: str) -> str:
    """The answer as HTML, word for word against the reference."""
    answer, reference = answer[:LONGEST], reference[:LONGEST]
    said, meant = _WORDS.findall(answer), _WORDS.findall(reference)
    if len(said) * len(meant) > _COMPARED:
        return safe(answer) + "<p>(too long to compare word for word)</p>"
    return "".join(_pieces(said, meant))


def _pieces(said: Sequence[str], meant: Sequence[str]) -> Iterator[str]:
    matcher = SequenceMatcher(None, meant, said, autojunk=False)
    for what, from_meant, to_meant, from_said, to_said in matcher.get_opcodes():
        missing, added = "".join(meant[from_meant:to_meant]), "".join(said[from_said:to_said])
        if what == "equal":
            yield safe(added)
            continue
        if missing:
            yield f"<del>{safe(missing)}</del>"
        if added:
            yield f"<ins>{safe(added)}</ins>"


def _side(name: str, evaluation: Evaluation, item: Item, against: str) -> str:
    text = diffed(item.answer, against) if item.answer else "<i>(an empty answer)</i>"
    score = "no score" if math.isnan(item.score) else f"score {item.score:g}"
    facts = [f"<p><b>{score}</b>{_behind(': ', item.reason)}{_behind('. ', item.problem)}</p>"]
    first = item.first
    seconds = "" if math.isnan(first.seconds) else f" · {first.seconds:.2f} s"
    cut = " · cut short" if first.finish_reason == "length" else ""
    tokens = f"{first.prompt_tokens:,} tokens asked · {first.completion_tokens:,} answered"
    facts.append(f"<p>{tokens}{seconds}{cut}</p>")
    if len(item.answers) > 1:
        rows = [(f"{sample.score:g}", sample.text, sample.reason) for sample in item.answers]
        samples = table(f"all {len(rows)} samples", ("score", "answer", "reason"), rows)
        facts.append(f"<details><summary>{len(rows)} samples</summary>{samples}</details>")
    return f"<section>{_block(f'{name}: {evaluation.model}', text)}{''.join(facts)}</section>"


def _prompts(base: Evaluation, tuned: Evaluation, example: Example) -> Iterator[str]:
    asked = [("The base model's prompt", base.prompt), ("The tuned model's prompt", tuned.prompt)]
    if base.prompt == tuned.prompt:
        asked = [("The prompt of both", base.prompt)]
    for whose, prompt in asked:
        yield folded(f"{whose}: {prompt.name}", "".join(_sent(prompt, example)))


def _sent(prompt: Prompt, example: Example) -> Iterator[str]:
    """The messages of a prompt with this question: the very examples and passages that were looked up."""
    try:
        messages = prompt.messages(example)
    except DataError as error:  # it needs a column of the test, which is not here
        yield f"<p>{safe(str(error))}</p>"
        return
    for message in messages:
        yield _block(str(message["role"]), _text(text_of(cast(Message, message))))


def _taught(similar: Sequence[Similar] | None) -> str:
    if similar is None:
        return ""
    if not similar:
        return "<p>No training row shares a word with this question.</p>"
    rows = [(e.origin, "the same question" if same else "", e.question, e.answer) for e, same in similar]
    return table("Training rows most like this question", ("origin", "", "question", "answer"), rows)


def _block(heading: str, html: str) -> str:
    return f"<h4>{safe(heading)}</h4><pre>{html}</pre>"


def _text(text: str) -> str:
    more = len(text) - LONGEST
    return safe(text[:LONGEST]) + (f" … {more:,} more characters" if more > 0 else "")


def _behind(before: str, text: str) -> str:
    return f"{before}{safe(text[:LONGEST])}" if text else ""


WORSE, BETTER, BOTH_WRONG, BOTH_RIGHT = "right → wrong", "wrong → right", "both wrong", "both right"
NO_SCORE, DISAGREE, ALL = "no score", "scores differ", "all"
_FILTERS = (WORSE, BETTER, BOTH_WRONG, DISAGREE, NO_SCORE, ALL)


def browse(
    comparison: Comparison | Pairs, *, training: Dataset | None = None, test: Dataset | None = None
) -> "ItemBrowser":
    """Let me browse the items; it opens with what got worse.

    With the ``training`` rows, each item shows those most like its question, with their file and line. With
    the ``test``, prompts are shown as they were sent, with each row's own system message. A
    comparison has left out items without a score; ``pair(base, tuned, missing="leave out")`` has them too.
    """
    return ItemBrowser(comparison, training, test)


class ItemBrowser(Card):
    """The window: which items, which of them, and the one in view."""

    script = "item_browser.js"

    def __init__(
        self, comparison: Comparison | Pairs, training: Dataset | None, test: Dataset | None
    ) -> None:
        """Open at the first item that got worse, else at the first whose scores differ, else at the first."""
        self._comparison, self._test = comparison, test
        self._training = None if training is None else Training(training)
        answers = {item.id: item for item in comparison.tuned.items}
        items = ((item, answers.get(item.id)) for item in comparison.base.items)
        self._pairs = [(base, tuned) for base, tuned in items if tuned]
        self._kinds = [self._kind(base, tuned) for base, tuned in self._pairs]
        self._places = {name: self._chosen(name) for name in _FILTERS}
        self._which = next((name for name in (WORSE, DISAGREE) if self._places[name]), ALL)
        self._words = ""
        self._found, self._at = self._places[self._which], 0
        super().__init__()

    @property
    def items(self) -> tuple[tuple[Item, Item], ...]:
        """The items that the filter lets through, base and tuned, in the order shown."""
        return tuple(self._pairs[place] for place in self._found)

    def __repr__(self) -> str:
        """How many there are of which kind."""
        counts = ", ".join(f"{len(self._places[name]):,} {name}" for name in (WORSE, BETTER, BOTH_WRONG))
        return f"{counted(len(self._pairs), 'item')}: {counts}"

    def _repr_html_(self) -> str:
        some, rows = self._found[:ROWS_SHOWN], []
        for place in some:
            base, tuned = self._pairs[place]
            texts = (base.origin, base.question, base.reference, base.answer, tuned.answer)
            why = tuned.problem or tuned.reason
            rows.append((self._kinds[place], *texts, why, self._nearest(base)))
        caption = f"{self!r}; {self._which}, {len(some)} of {len(self._found):,}"
        texts = ("origin", "question", "reference", "base answer", "tuned answer")
        return folded(caption, table(caption, ("", *texts, "grader", "like it in training"), rows))

    def _do(self, content: Mapping[str, object]) -> str:
        match content.get("do"), content.get("value"):
            case "go", int(place):
                self._at = min(max(place, 0), max(len(self._found) - 1, 0))
            case "show", str(which) if which in self._places:
                self._choose(which, self._words)
            case "find", str(words):
                self._choose(self._which, words)
        return ""

    def _choose(self, which: str, words: str) -> None:
        wanted = words.casefold().split()
        self._which, self._words, self._at = which, words, 0
        self._found = [n for n in self._places[which] if _holds(self._pairs[n], wanted)]

    def _in_view(self) -> dict[str, object]:
        view: dict[str, object] = {
            "filters": [(name, f"{name} ({len(self._places[name]):,})") for name in _FILTERS],
            "which": self._which,
            "at": self._at,
            "of": len(self._found),
            "page": "<p>No such item.</p>",
        }
        if not self._found:
            return view
        place = self._found[self._at]
        base, tuned = self._pairs[place]
        similar = self._training.similar(base.question) if self._training else None
        sides = (self._comparison.base, base), (self._comparison.tuned, tuned)
        return view | {"page": page(self._kinds[place], *sides, similar, self._examples.get(base.id))}

    @cached_property
    def _examples(self) -> Mapping[str, Example]:
        """The rows of the test by the id of their item."""
        test = self._test
        return {} if test is None else {i.id: e for i, e in zip(questions(test), test, strict=True)}

    def _kind(self, base: Item, tuned: Item) -> str:
        if math.isnan(base.score) or math.isnan(tuned.score):
            return NO_SCORE
        was, became = (passes(self._comparison.base.grader, item.score) for item in (base, tuned))
        return {(True, False): WORSE, (False, True): BETTER, (True, True): BOTH_RIGHT}.get(
            (was, became), BOTH_WRONG
        )

    def _chosen(self, name: str) -> list[int]:
        places = range(len(self._pairs))
        if name == ALL:
            return list(places)
        if name != DISAGREE:
            return [place for place in places if self._kinds[place] == name]
        changed = {n: tuned.score - base.score for n, (base, tuned) in enumerate(self._pairs)}
        return sorted((n for n in places if changed[n] < 0 or changed[n] > 0), key=changed.__getitem__)

    def _nearest(self, item: Item) -> str:
        similar = self._training.similar(item.question) if self._training else []
        return similar[0].example.origin if similar else ""


def _holds(pair: tuple[Item, Item], wanted: list[str]) -> bool:
    base, tuned = pair
    text = f"{base.question} {base.answer} {tuned.answer}".casefold() if wanted else ""
    return all(word in text for word in wanted)
