"""One line of a run: ask the model, grade its answer by every criterion, and tell what came out."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from workbench.errors import DataError
from workbench.evaluation.graders import Grade, Grader, graded, passes
from workbench.evaluation.graders.judges import Ask
from workbench.local.api.chat.chat import Answerer
from workbench.local.api.chat.chat_answers import whole_answer
from workbench.local.api.chat.chat_request import CompletionRequest
from workbench.local.api.deployments.serving import Serving
from workbench.local.api.evals.asked import Answers, Questions
from workbench.local.api.evals.lines import messages_for
from workbench.local.api.graders.graders import GradersApi
from workbench.local.api.refusals import Refusal
from workbench.local.api.requests import check_shape
from workbench.local.chat import ChatError, Completion
from workbench.local.faults import Faults
from workbench.local.storage.eval_runs import Line
from workbench.local.storage.evals import Body
from workbench.local.storage.rows import JSON


@dataclass(frozen=True)
class Examiner:
    """What examines the lines of one run, or of many."""

    answerer: Answerer
    serving: Serving
    faults: Faults
    ask: Ask
    graders: GradersApi

    async def examine(self, source: Answers | Questions, criteria: Sequence[Grader], line: Line) -> Body:
        """What came out for this line: ``pass``, ``fail``, or ``error`` where something could not be done."""
        sample, problem = await self._sample(source, line)
        results: list[Body] = []
        if problem is None:
            text = _text(sample)
            grades = await self.graders.in_thread(
                lambda: [graded(grader, text, line.item, ask=self.ask) for grader in criteria]
            )
            results = [_result(grader, grade) for grader, grade in zip(criteria, grades, strict=True)]
        passed = all(result["passed"] for result in results)
        status = "pass" if passed else "fail"
        if problem is not None or any("error" in result for result in results):
            status = "error"
        return {
            "object": "eval.run.output_item",
            "created_at": int(time.time()),
            "status": status,
            "results": list[JSON](results),
            "sample": sample,
        }

    async def _sample(self, source: Answers | Questions, line: Line) -> tuple[Body, str | None]:
        """The model's answer, or the one that the line brought; and why there is none."""
        if isinstance(source, Answers):
            text = (line.sample or {}).get("output_text")
            return {"input": [], "output": [{"role": "assistant", "content": text}], "error": None}, None
        sample: Body = {"model": source.model, "input": [], "output": []}
        try:
            sample["input"] = messages_for(source.input_messages, line.item)
            asked = question(source, line.item)
            served = self.serving.find(source.model, self.faults)
            completion = await self.answerer.complete(asked.of(served.model))
        except (Refusal, ChatError) as error:
            return sample | {"error": {"code": error.code, "message": error.message}}, error.message
        except DataError as error:
            return sample | {"error": {"code": "invalidPayload", "message": str(error)}}, str(error)
        self.serving.note_answer(served)
        return sample | _answered(asked, completion), None


def question(source: Questions, item: Mapping[str, JSON]) -> CompletionRequest:
    """The chat completion that an item becomes.

    Raises ``Refusal`` for what cannot be asked so, ``DataError`` for what the item lacks.
    """
    messages = messages_for(source.input_messages, item)
    return check_shape(
        {"model": source.model, "messages": messages, **source.sampling_params}, CompletionRequest
    )


def _answered(asked: CompletionRequest, completion: Completion) -> Body:
    whole = cast(Any, whole_answer({}, completion))
    choice, tokens = whole["choices"][0], whole["usage"]
    cached = tokens.pop("prompt_tokens_details")["cached_tokens"]
    return {
        "output": [choice["message"]],
        "finish_reason": choice["finish_reason"],
        "usage": {**tokens, "cached_tokens": cached},
        "error": None,
        "temperature": 1.0 if asked.temperature is None else asked.temperature,
        "top_p": 1.0 if asked.top_p is None else asked.top_p,
        "max_completion_tokens": asked.max_completion_tokens,
        "seed": asked.seed,
    }


def _result(grader: Grader, grade: Grade) -> Body:
    result: Body = {"name": str(grader["name"]), "type": str(grader["type"])}
    if not grade.graded:
        # JSON has no nan; the error says that the number means nothing.
        error: Body = {"code": "grader_error", "message": grade.problem}
        return result | {"score": 0.0, "passed": False, "error": error}
    result |= {"score": grade.score, "passed": passes(grader, grade.score), "reason": grade.reason}
    return result | ({"sub_scores": dict(grade.sub_scores)} if grade.sub_scores else {})


def _text(sample: Body) -> str:
    output = sample["output"]
    assert isinstance(output, list)
    message = output[0]
    assert isinstance(message, dict)
    return str(message["content"] or "")
