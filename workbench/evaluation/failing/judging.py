"""A model says what is wrong with an answer, where neither a rule nor a person has.

Its labels are marked as a judge's. How far to trust it is measured by letting a
person label some of the same failures: the person's label counts.
"""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.decide.situation import FAILURES, Failure
from workbench.evaluation.asking.answers import Request, ask
from workbench.evaluation.asking.progress import progress_bar
from workbench.evaluation.failing.failures import Failed, Failures
from workbench.evaluation.failing.labels import Labels

if TYPE_CHECKING:
    from openai import OpenAI

ANSWER_TOKENS = 16  # the longest name has five

_ASKED = """You are shown a model's instructions, a question, the right answer, and the model's wrong answer.
Say what is wrong with the model's answer. Reply with exactly one of these names and nothing else:

{kinds}
"""
_SHOWN = """Instructions:
{instructions}

Question:
{question}

Right answer:
{reference}

The model's answer:
{answer}

The name of what is wrong:"""


def ask_judge(
    client: "OpenAI",
    model: str,
    failures: Failures,
    labels: Labels,
    *,
    concurrency: int = 32,
    cache: str | Path | None = None,
) -> Failures:
    """Let ``model`` label what nobody has labelled yet; a reply that names no kind leaves a failure open."""
    known = failures.labelled_with(labels.latest)
    requests = [Request(model, _messages(failed, known), ANSWER_TOKENS, 0.0) for failed in known.unlabelled]
    with closing(ask(client, requests, concurrency=concurrency, cache=cache)) as answers:
        for place, answer in progress_bar(answers, len(requests), f"labelled by {model}"):
            kind = named(answer.text)
            if kind is not None:
                labels.label(known.unlabelled[place].key, kind, by="judge", why=model)
    return failures.labelled_with(labels.latest)


def named(reply: str) -> Failure | None:
    """The one kind of failure that a reply names, whatever is around it; ``None`` for none or several."""
    words = reply.casefold().replace(" ", "_")
    found = [kind for kind in FAILURES if kind in words]
    return found[0] if len(found) == 1 else None


def _messages(failed: Failed, failures: Failures) -> list[dict[str, object]]:
    kinds = "\n".join(f"{kind}: {meaning}" for kind, meaning in FAILURES.items())
    shown = _SHOWN.format(
        instructions=failures.prompt.system or "none",
        question=failed.item.question,
        reference=failed.item.reference,
        answer=failed.item.answer,
    )
    return [{"role": "system", "content": _ASKED.format(kinds=kinds)}, {"role": "user", "content": shown}]
