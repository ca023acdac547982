"""Judges: models that a grader asks what an answer is worth; the same judgement is paid for once.

``judging`` gives what ``graded`` takes as ``ask``. What is about one judgement (a
refusal, a filter, a service that failed at it) becomes a finding on that answer;
the client's other errors pass through and stop the grading.
"""

from collections import defaultdict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from workbench.evaluation.asking.kept import Kept
from workbench.evaluation.asking.requests import Request, fetch, patient
from workbench.evaluation.graders import Ask, Judged, JudgeError, Reply

if TYPE_CHECKING:
    from openai import OpenAI


def judging(client: "OpenAI", cache: str | Path | Kept | None = None) -> Ask:
    """Let graders ask models through ``client``; several threads may ask at once.

    ``cache`` is a file that keeps every reply, so that grading again asks nothing; it may be the file of
    the answers.
    """
    import openai

    kept, asked = cache if isinstance(cache, Kept) else Kept(cache), patient(client)
    opening, waiting = Lock(), defaultdict[str, Lock](Lock)

    def ask(judged: Judged) -> Reply:
        # A grader calls the limit by its own name, with an s; the chat API has none.
        sampling = dict(judged.sampling)
        if "max_completions_tokens" in sampling:
            sampling["max_completion_tokens"] = sampling.pop("max_completions_tokens")
        request = Request(judged.model, judged.messages, more=sampling)
        key = request.key
        with opening:
            mine = waiting[key]
        with mine:  # equal answers, graded at the same time, are judged once
            answer = kept.answers.get(key)
            if answer is None:
                try:
                    answer = fetch(asked, request)
                except (openai.InternalServerError, openai.APITimeoutError) as error:
                    raise JudgeError(f"{judged.model} gave no answer: {error}") from error
                kept.add(key, request.model, answer)
        refused = answer.refusal or answer.problem
        tokens = answer.prompt_tokens + answer.completion_tokens
        return Reply(refused or answer.text, tokens, bool(refused))

    return ask
