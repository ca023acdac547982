"""Try models by hand: one question, their answers side by side as they are written, what is worth it kept.

Answers are fetched in threads, so the kernel stays free for other cells. Headless, and wherever no browser
answers, it is a table: of two questions of the test, asked of every model.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import traitlets

from workbench.dataset.dataset import counted
from workbench.display import table
from workbench.errors import DataError
from workbench.evaluation.by_hand import (
    LONGEST_ANSWER,
    USES,
    Kept,
    Use,
    asked_by_hand,
    cost_of,
    prompts_of,
    questions_of,
    stream,
)
from workbench.evaluation.prompts import Prompt, plain
from workbench.evaluation.requests import Answer, Request, ask
from workbench.project import Project
from workbench.settings import setting
from workbench.widgets.card import Card
from workbench.widgets.row_review import LONGEST, shown

if TYPE_CHECKING:
    from openai import OpenAI, OpenAIError

SHOWN_EVERY = 0.1  # seconds between two pictures of answers that are being written
OFFERED = 20  # questions of the test, to be asked by a key
ASKED_HEADLESS = 2
_EVALUATED = 64  # tokens of an answer, as in evaluations: so what they have asked costs nothing here


def playground(
    client: "OpenAI",
    models: Mapping[str, str],
    *,
    project: Project,
    prompt: Prompt | None = None,
    max_tokens: int = LONGEST_ANSWER,
    temperature: float = 0.0,
) -> "Playground":
    """Let me ask ``models`` (``{"base": ..., "tuned": ...}``) questions of my own, side by side.

    The project's prompts are offered, its short one first; ``prompt`` is one of your own, before them. A
    question can be kept with its right answer, for the test or for training; ``read(kept.file("test"))`` with
    the widget's ``kept`` gives those of the test as examples. Headless two questions of the test are asked.
    """
    return Playground(client, models, project, prompt, max_tokens, temperature)


@dataclass
class _Column:
    """One model's answer to one question, as far as it is written."""

    name: str
    request: Request
    state: str = "waiting"
    answer: Answer | None = None
    problem: str = ""


@dataclass
class _Asked:
    """One question and the answers to it."""

    question: str
    prompt: str
    columns: list[_Column]
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def is_open(self) -> bool:
        return any(column.state in ("waiting", "writing") for column in self.columns)


class Playground(Card):
    """The widget: a question, the models' answers, and what was kept of them."""

    script = "playground.js"

    offered: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    """Questions of the test, to be asked by a key; apart from ``row``, which is sent with every new word."""

    def __init__(
        self,
        client: "OpenAI",
        models: Mapping[str, str],
        project: Project,
        prompt: Prompt | None,
        max_tokens: int,
        temperature: float,
    ) -> None:
        """Ask nothing before somebody types; headless ask the test's first questions."""
        if not models:
            raise DataError('There is no model to ask; give at least one: {"base": "nano"}.')
        self.kept = Kept(project)
        self._client, self._models, self._project = client, dict(models), project
        self._max_tokens, self._temperature = max_tokens, temperature
        self._prompts = {prompt.name: prompt} if prompt else {}
        self._prompts |= {name: one for name, one in prompts_of(project).items() if name not in self._prompts}
        self._prompt = next(iter(self._prompts))
        self._rounds: list[_Asked] = []
        test = questions_of(project)
        self._right = {plain(example.question): example.answer for example in test}
        self._showing = threading.RLock()
        self._drawn_at, self._is_due = 0.0, False
        if setting("WORKBENCH_HEADLESS") == "1":
            self._ask_the_test()
        super().__init__()
        self.offered = [shown(example.question[:LONGEST]) for example in test[:OFFERED]]

    def __repr__(self) -> str:
        """Who was asked how much, and what was kept."""
        kept = sum(len(self.kept.answers(use)) for use in USES)
        asked = counted(len(self._rounds), "question")
        return f"Playground of {' and '.join(self._models)}: {asked} asked, {kept} kept"

    def _repr_html_(self) -> str:
        rows = [(one.question, *map(_in_words, one.columns)) for one in self._rounds]
        caption = f"{self!r}, with the prompt {self._prompt}" if rows else repr(self)
        return table(caption, ("question", *self._models), rows)

    def _hear(self, widget: object, content: Mapping[str, object], buffers: object) -> None:
        with self._showing:  # answers come from threads
            super()._hear(widget, content, buffers)

    def _do(self, content: Mapping[str, object]) -> str:
        match content.get("do"), content.get("value"):
            case "ask", {"question": str(question), "prompt": str(prompt)}:
                return self._ask(question.strip(), prompt)
            case "stop", _:
                return self._stop()
            case "keep", {"place": int(place), "use": str(use), "answer": str(answer)}:
                return self._keep(place, "test" if use == "test" else "training", answer)
        return ""

    def _ask(self, question: str, prompt: str) -> str:
        """Send the question to every model, each in a thread; another one still being answered is stopped."""
        if not question:
            return "Write a question first."
        last = self._rounds[-1] if self._rounds else None
        if last and last.is_open and (last.question, last.prompt) == (question, prompt):
            return ""  # a held key, or a second click
        self._stop()
        self._prompt = prompt if prompt in self._prompts else self._prompt
        messages = self._prompts[self._prompt].messages(asked_by_hand(self._project, question))
        columns = [
            _Column(name, Request(model, messages, self._max_tokens, self._temperature))
            for name, model in self._models.items()
        ]
        asked = _Asked(question, self._prompt, columns)
        self._rounds.append(asked)
        for column in columns:
            threading.Thread(target=self._write, args=(asked, column), daemon=True).start()
        return ""

    def _write(self, asked: _Asked, column: _Column) -> None:
        """Take the answer piece by piece; once stopped, it ends at the next piece that comes."""
        import openai

        try:
            with closing(stream(self._client, column.request)) as answers:
                for answer in answers:
                    with self._showing:
                        if asked.stop.is_set():
                            return
                        column.answer, column.state = answer, "done" if answer.finish_reason else "writing"
                    self._show()
        except openai.OpenAIError as error:
            with self._showing:
                if not asked.stop.is_set():
                    column.state, column.problem = "failed", _sentence(error)
        finally:
            self._show(now=True)

    def _show(self, *, now: bool = False) -> None:
        """Draw how far the answers are, some times a second; ``now`` draws at once."""
        with self._showing:
            wait = self._drawn_at + SHOWN_EVERY - time.monotonic()
            if now or wait <= 0:
                self._drawn_at, self._is_due = time.monotonic(), False
                self.row = {**self.row, **self._answers_in_view()}
            elif not self._is_due:  # else what has come would wait for the next word
                self._is_due = True
                later = threading.Timer(wait, self._show, kwargs={"now": True})
                later.daemon = True
                later.start()

    def _stop(self) -> str:
        if not self._rounds or not self._rounds[-1].is_open:
            return ""
        last = self._rounds[-1]
        last.stop.set()
        for column in last.columns:
            column.state = "stopped" if column.state in ("waiting", "writing") else column.state
        return "Stopped."

    def _keep(self, place: int, use: Use, answer: str) -> str:
        if not self._rounds or not 0 <= place < len(self._models):
            return ""
        question = self._rounds[-1].question
        before = self.kept.keep(use, question, answer)
        self._undone_by(partial(self.kept.keep, use, question, before))
        number = counted(len(self.kept.answers(use)), "question")
        return f"Kept for {'the test' if use == 'test' else 'training'}: {number} in kept/{use}.jsonl."

    def _ask_the_test(self) -> None:
        """Ask the first questions of the test with the first prompt; what an evaluation has asked is free."""
        prompt = self._prompts[self._prompt]
        for example in questions_of(self._project, ASKED_HEADLESS):
            requests = [
                Request(model, prompt.messages(example), _EVALUATED, 0.0) for model in self._models.values()
            ]
            columns = [_Column(name, request) for name, request in zip(self._models, requests, strict=True)]
            cache = self._project.path / "answers.jsonl"
            for place, answer in ask(self._client, requests, concurrency=len(requests), cache=cache):
                columns[place].state, columns[place].answer = "done", answer
            self._rounds.append(_Asked(example.question, self._prompt, columns))

    def _in_view(self) -> dict[str, object]:
        last = self._rounds[-1] if self._rounds else None
        return {
            "at": len(self._rounds),
            "models": [{"name": name, "model": model} for name, model in self._models.items()],
            "prompts": list(self._prompts),
            "prompt": self._prompt,
            "question": shown(last.question[:LONGEST]) if last else "",
            "reference": shown(self._right.get(plain(last.question), "")[:LONGEST]) if last else "",
            **self._answers_in_view(),
            "kept": {use: len(self.kept.answers(use)) for use in USES},
        }

    def _answers_in_view(self) -> dict[str, object]:
        last = self._rounds[-1] if self._rounds else None
        columns = [_shown(column) for column in last.columns] if last else []
        return {"columns": columns, "open": bool(last and last.is_open)}


def _shown(column: _Column) -> dict[str, object]:
    answer = column.answer
    return {
        "text": answer.text if answer else "",
        "state": column.state,
        "cost": cost_of(answer) if answer else "",
        "problem": shown(column.problem),
    }


def _in_words(column: _Column) -> str:
    cost = f"({cost_of(column.answer)})" if column.answer else f"({column.state})"
    return "\n".join(filter(None, (column.answer.text if column.answer else "", column.problem, cost)))


def _sentence(error: "OpenAIError") -> str:
    """What the service said, without the JSON around it."""
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, Mapping) else None
    return str(message or error)
