"""Models tried by hand: an answer as it is written, and questions kept as examples with their right answers.

Which models and prompts a project has to try stands here too. What is kept is a file of chat lines in the
project's folder, one for training and one for the test; ``read(kept.file("test"))`` gives it as examples.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

from workbench import jsonl_log
from workbench.connect import base_model
from workbench.dataset.dataset import Example, Message, line_of
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.prompts import Prompt, plain
from workbench.evaluation.records import trained_model
from workbench.evaluation.requests import Answer, Request, with_limit, writable
from workbench.project import STARTED_BY, Project

if TYPE_CHECKING:
    from openai import OpenAI, Stream
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

Use: TypeAlias = Literal["test", "training"]
USES: tuple[Use, ...] = get_args(Use)
LONGEST_ANSWER = 256  # tokens; who tries by hand can ask for more


def stream(client: "OpenAI", request: Request) -> Generator[Answer, None, None]:
    """Give the answer as it is written, the whole one last; closing the generator stops the model.

    Before the last one, ``finish_reason`` is empty and ``completion_tokens`` counts the pieces that came, at
    most one a token. Raises the client's own errors, in the middle too.
    """
    import openai

    send = partial(
        client.chat.completions.create,
        model=request.model,
        messages=cast("list[ChatCompletionMessageParam]", request.messages),
        temperature=openai.omit if request.temperature is None else request.temperature,
        seed=openai.omit if request.seed is None else request.seed,
        extra_body=request.more,
        stream=True,
        stream_options={"include_usage": True},
    )
    began, text, refusal, reason, pieces, usage = time.perf_counter(), "", "", "", 0, None
    # The client's types know the kind of an answer only where ``stream`` stands in the call itself.
    received = cast("Stream[ChatCompletionChunk]", with_limit(send, request.max_tokens))
    with closing(received) as chunks:
        for chunk in chunks:
            usage = chunk.usage or usage
            for choice in chunk.choices[:1]:
                reason = choice.finish_reason or reason
                refusal += choice.delta.refusal or ""
                new = choice.delta.content or choice.delta.refusal or ""
                if new:
                    text, pieces = text + new, pieces + 1
                    yield Answer(writable(text), "", time.perf_counter() - began, 0, pieces)
    yield Answer(
        writable(text),
        reason or "stop",
        round(time.perf_counter() - began, 4),
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else pieces,
        refusal=writable(refusal),
    )


def cost_of(answer: Answer) -> str:
    """What an answer took, in words: ``48 tokens read, 12 written, 0.8 s``."""
    read = f"{answer.prompt_tokens:,} tokens read, " if answer.prompt_tokens else ""
    cut = ", cut off at the limit" if answer.finish_reason == "length" else ""
    return f"{read}{answer.completion_tokens:,} written, {answer.seconds:.1f} s{cut}"


def models_of(client: "OpenAI", project: Project) -> dict[str, str]:
    """The models to try: the base model, and what the newest job by each method made of it.

    Raises ``SetupError`` where such a job has not succeeded, or its model is gone.
    """
    names = dict(zip(STARTED_BY, ("tuned", "preferred", "reinforced"), strict=True))
    made = [method for method in STARTED_BY if project.latest_job(method)]
    found = {names[method]: trained_model(client, project, method) for method in made}
    base = next((model.base for model in found.values()), None)
    return {
        "base": base or base_model(client, project.stated("model")),
        **{name: one.model for name, one in found.items()},
    }


def prompts_of(project: Project) -> dict[str, Prompt]:
    """The prompts to try: the short one, the engineered one, and the best one that 01_baseline found."""
    found = {"short": Prompt("short")}
    instructions = project.stated("instructions")
    if instructions is not None:
        found["engineered"] = Prompt("engineered", system=instructions)
    if (baseline := project.latest("baseline")) is not None:
        best = Evaluation.load(project.path / str(baseline.facts["best_evaluation"])).prompt
        if best.name not in ("zero-shot", *found):
            found[best.name] = best
    return found


def asked_by_hand(project: Project, question: str) -> Example:
    """A question that was typed, with the task's instruction in front, where there is one."""
    system = project.stated("system")
    leading: list[Message] = [{"role": "system", "content": system}] if system else []
    return Example((*leading, {"role": "user", "content": question}), "by hand")


def questions_of(project: Project, first: int | None = None) -> Sequence[Example]:
    """The test of the project's task, or its ``first`` questions; nothing where no task is stated."""
    return () if project.stated("test") is None else project.task.read_test(first)


@dataclass(frozen=True)
class Kept:
    """Questions that were tried by hand and kept with the right answer, for training or for the test."""

    project: Project

    def file(self, use: Use) -> Path:
        """The file of chat lines; it is there once something is kept."""
        return self.project.path / "kept" / f"{use}.jsonl"

    def answers(self, use: Use) -> dict[str, str]:
        """The right answers by their questions, oldest first."""
        return {example.question: example.answer for example in self._examples(use)}

    def keep(self, use: Use, question: str, answer: str | None) -> str | None:
        """Keep the right answer to a question; ``None`` forgets the question.

        Gives the answer that stood there before, if one did. Raises ``DataError`` for an empty answer, and
        for a question that the other use has: what is trained on is no test.
        """
        if use not in USES:
            raise DataError(f"'{use}' is nothing to keep a question for; give one of {', '.join(USES)}.")
        if answer is not None and not answer.strip():
            raise DataError("The answer is empty; write the one that would be right.")
        same = plain(question)
        if answer is not None:
            self._refuse_both(use, same)
        file = self.file(use)
        with jsonl_log.locked(file.with_suffix(".lock"), file.name):
            before = [example for example in self._examples(use) if plain(example.question) == same]
            lines = [example for example in self._examples(use) if plain(example.question) != same]
            if answer is not None:
                messages = asked_by_hand(self.project, question).messages
                lines.append(Example((*messages, {"role": "assistant", "content": answer}), "by hand"))
            self.project.save(f"kept/{file.name}", b"".join(map(line_of, lines)))
        return before[-1].answer if before else None

    def _examples(self, use: Use) -> list[Example]:
        found = enumerate(jsonl_log.objects(self.file(use)), start=1)
        return [Example(tuple(line["messages"]), f"{use}.jsonl:{number}") for number, line in found]

    def _refuse_both(self, use: Use, question: str) -> None:
        if use == "training" and question in self._test | set(map(plain, self.answers("test"))):
            raise DataError("The test asks this question; what is trained on is no test. Ask another one.")
        if use == "test" and question in self._trained | set(map(plain, self.answers("training"))):
            raise DataError("It is trained on this question, so it tests nothing. Ask another one.")

    @cached_property
    def _test(self) -> set[str]:
        return {plain(example.question) for example in questions_of(self.project)}

    @cached_property
    def _trained(self) -> set[str]:
        known = self.project.stated("examples") is not None
        return {plain(example.question) for example in (self.project.task.read_examples() if known else ())}
