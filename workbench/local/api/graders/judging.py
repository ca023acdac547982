"""Judges of the service: the models that graders ask are the service's own, or what is deployed here.

Graders run in threads, models on the service's loop; this is the way from the one to the other.
"""

import asyncio

from workbench.evaluation.graders.judges import Ask, Judged, JudgeError, Reply
from workbench.local.api.chat.chat import Answerer
from workbench.local.api.chat.chat_request import CompletionRequest
from workbench.local.api.deployments.serving import Serving
from workbench.local.api.refusals import Refusal
from workbench.local.api.requests import check_shape
from workbench.local.chat import ChatError
from workbench.local.faults import Faults

# OpenAI's graders spell it with one letter more than its chats do.
_SPELT = {"max_completions_tokens": "max_completion_tokens"}


def ask_here(answerer: Answerer, serving: Serving, faults: Faults) -> Ask:
    """The way to ask a judge; called from the loop, the ``Ask`` itself from any other thread."""
    loop = asyncio.get_running_loop()

    def ask(judged: Judged) -> Reply:
        sampling = {_SPELT.get(name, name): value for name, value in judged.sampling.items()}
        messages = [dict(message) for message in judged.messages]
        try:
            asked = check_shape({**sampling, "messages": messages, "model": judged.model}, CompletionRequest)
            served = serving.find(judged.model, faults)
            answer = asyncio.run_coroutine_threadsafe(answerer.complete(asked.of(served.model)), loop)
            completion = answer.result()
        except (Refusal, ChatError) as error:
            raise JudgeError(error.message) from None
        serving.note_answer(served)
        tokens = completion.prompt_tokens + completion.completion_tokens
        return Reply(completion.choices[0].text, tokens)

    return ask
