"""Graders over HTTP: validate one, run one on an answer; judges are models of this service."""

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from workbench.evaluation.graders.grader_types import models_asked, needs
from workbench.evaluation.graders.grades import BadGraderError, Grade, Grader
from workbench.evaluation.graders.grading import check_grader, graded
from workbench.evaluation.graders.judges import Ask, Judged, JudgeError, Reply
from workbench.evaluation.graders.sandbox import close_sandboxes
from workbench.local.api.chat_request import CompletionRequest
from workbench.local.api.chat_routes import Answerer
from workbench.local.api.http import RequestShape, check_shape, faults_of, invalid, read_json
from workbench.local.api.model_routes import Serving
from workbench.local.chat_protocol import Refusal
from workbench.local.emulation import Faults
from workbench.local.store.rows import JSON

# Judges of the service: the models that graders ask are the service's own, or what is deployed here.
#
# Graders run in threads, models on the service's loop; this is the way from the one to the other.


def ask_here(answerer: Answerer, serving: Serving, faults: Faults) -> Ask:
    """The way to ask a judge; called from the loop, the ``Ask`` itself from any other thread."""
    loop = asyncio.get_running_loop()

    def ask(judged: Judged) -> Reply:
        try:
            asked = check_shape(judged.chat, CompletionRequest)
            served = serving.find(judged.model, faults)
            answer = asyncio.run_coroutine_threadsafe(answerer.complete(asked.of(served.model)), loop)
            completion = answer.result()
        except Refusal as error:
            raise JudgeError(error.message) from None
        serving.note_answer(served)
        tokens = completion.prompt_tokens + completion.completion_tokens
        return Reply(completion.choices[0].text, tokens)

    return ask


# Graders over HTTP: is this grader one, and what does it give for this answer?
#
# Python graders run in sandboxes, judges are the service's own models. Grading has threads of its own, apart
# for what waits on a sandbox, what waits on a judge, and what is only computed: a grader which takes its two
# minutes keeps waiting at most others of its kind.

# Answers that are graded at once, by what they wait for most of the time; of ``computed`` nothing waits.
AT_ONCE = {"sandbox": 16, "judge": 16, "computed": 4}

Result = TypeVar("Result")


class ValidateRequest(RequestShape):
    """A grader to look at."""

    grader: dict[str, Any]


class RunRequest(ValidateRequest):
    """A grader to try on one answer; templates read ``item`` and ``sample``."""

    model_sample: str
    item: dict[str, Any] | None = None


class GradersApi:
    """The part of the API that is about graders."""

    def __init__(self, answerer: Answerer, serving: Serving) -> None:
        """Ask the judges under the names of ``serving``, by ``answerer``."""
        self._answerer = answerer
        self._serving = serving
        self._threads = {kind: ThreadPoolExecutor(most, f"grade-{kind}") for kind, most in AT_ONCE.items()}

    async def validate(self, request: Request) -> Response:
        """Check a grader; it comes back as it was sent."""
        asked = await read_json(request, ValidateRequest)
        await self._check(asked.grader, faults_of(request))
        return JSONResponse({"grader": asked.grader})

    async def run(self, request: Request) -> Response:
        """Grade one answer; what goes wrong with it stands in ``metadata.errors``, its reward is 0."""
        asked = await read_json(request, RunRequest)
        faults = faults_of(request)
        await self._check(asked.grader, faults)
        ask = ask_here(self._answerer, self._serving, faults)
        work = partial(graded, asked.grader, asked.model_sample, asked.item or {}, ask=ask)
        return JSONResponse(_shown(asked.grader, await self._in_thread(work, asked.grader)))

    async def _in_thread(self, work: Callable[[], Result], grader: Grader) -> Result:
        """Do what grades with this grader, beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads[_waits_for(grader)], work)

    def close(self) -> None:
        """End what is being graded."""
        close_sandboxes()
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)

    async def _check(self, grader: Grader, faults: Faults) -> None:
        try:
            await self.check(grader, faults)
        except BadGraderError as error:
            raise invalid(str(error), error.path) from None

    async def check(self, grader: Grader, faults: Faults) -> None:
        """Find what is wrong with a grader: python sources are tried in a sandbox, judges are looked up.

        Raises ``BadGraderError``, and ``Refusal`` for a model that nobody serves.
        """
        await self._in_thread(lambda: check_grader(grader), grader)
        for path, model in models_asked(grader):
            try:
                self._serving.find(model, faults)
            except Refusal as refusal:
                raise Refusal(refusal.status, refusal.code, refusal.message, path) from None


def _waits_for(grader: Grader) -> str:
    """The key of ``AT_ONCE``; the grader may be anything yet, and is then only found wanting."""
    waits = needs(grader)
    return "sandbox" if "sandbox" in waits else "judge" if waits & {"model", "address"} else "computed"


def _shown(grader: Grader, grade: Grade) -> dict[str, JSON]:
    """The grade as the API shows it; a score that there is not is null among others, 0 as the reward."""
    found = grade.sub_scores.items()
    scores: dict[str, JSON] = {name: None if math.isnan(score) else score for name, score in found}
    return {
        "reward": grade.score if grade.graded else 0.0,
        "metadata": {
            "name": str(grader["name"]),
            "type": str(grader["type"]),
            "errors": {**grade.errors, "other_error": bool(grade.problem) and not any(grade.errors.values())},
            "execution_time": grade.seconds,
            "scores": scores,
            "token_usage": sum(grade.tokens.values()) if grade.tokens else None,
            "sampled_model_name": grade.model,
        },
        "sub_rewards": scores,
        "model_grader_token_usage_per_model": dict(grade.tokens),
    }
