"""Chat answers as the API shows them: a whole completion, or the chunks of a stream."""

from typing import TypeAlias

from workbench.local.chat_protocol import Choice, Completion, Delta, Likelihood
from workbench.local.store.rows import JSON

Body: TypeAlias = dict[str, JSON]


def whole_answer(head: Body, completion: Completion) -> Body:
    """A completion; ``head`` has its id, time and model."""
    choices: list[JSON] = []
    for index, choice in enumerate(completion.choices):
        message: Body = {"role": "assistant", "content": choice.text, "refusal": None}
        if choice.tool_calls:
            message |= {"content": choice.text or None, "tool_calls": [*_calls(head, index, choice)]}
        choices.append(
            {
                "index": index,
                "message": message,
                "finish_reason": choice.finish_reason,
                "logprobs": _logprobs(choice.likelihoods),
            }
        )
    return head | {"object": "chat.completion", "choices": choices, "usage": usage(completion)}


def first_chunk(head: Body, index: int) -> Body:
    """Answer ``index`` begins."""
    return _chunk(head, index, {"role": "assistant", "content": ""})


def next_chunk(head: Body, delta: Delta) -> Body:
    """An answer goes on."""
    return _chunk(head, delta.index, {"content": delta.text}, likelihoods=delta.likelihoods or None)


def last_chunk(head: Body, index: int, choice: Choice) -> Body:
    """Answer ``index`` is complete; calls of tools come with its end."""
    calls: list[JSON] = [{"index": at, **call} for at, call in enumerate(_calls(head, index, choice))]
    return _chunk(head, index, {"tool_calls": calls} if calls else {}, choice.finish_reason)


def usage(completion: Completion) -> Body:
    """What the answers cost, in tokens."""
    return {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "total_tokens": completion.prompt_tokens + completion.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": completion.cached_tokens},
    }


def _chunk(
    head: Body,
    index: int,
    delta: Body,
    finish_reason: str | None = None,
    likelihoods: tuple[Likelihood, ...] | None = None,
) -> Body:
    choice: Body = {
        "index": index,
        "delta": delta,
        "finish_reason": finish_reason,
        "logprobs": _logprobs(likelihoods),
    }
    return head | {"choices": [choice]}


def _calls(head: Body, index: int, choice: Choice) -> list[Body]:
    """The calls, with ids that are the same in a stream and in what is kept of it."""
    stem = str(head["id"]).removeprefix("chatcmpl-")[:16]
    return [
        {
            "id": f"call_{stem}_{index}_{at}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for at, call in enumerate(choice.tool_calls)
    ]


def _logprobs(likelihoods: tuple[Likelihood, ...] | None) -> JSON:
    if likelihoods is None:
        return None
    content: list[JSON] = [
        _likelihood(one) | {"top_logprobs": [_likelihood(rival) for rival in one.top]} for one in likelihoods
    ]
    return {"content": content, "refusal": None}


def _likelihood(one: Likelihood) -> Body:
    return {"token": one.token, "logprob": one.logprob, "bytes": [*one.bytes]}
