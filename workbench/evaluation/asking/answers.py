"""Ask a model many questions at once, and never pay for the same one twice.

The synchronous client is used from several threads: waiting for a service costs
a thread nothing (tests/benchmarks/evaluate.py measures an asyncio client beside
it). Every answer is written down as it comes, by the content of its request, so
an interrupted run goes on where it stopped, and a rerun is free.
"""

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.evaluation.asking.kept import Kept
from workbench.evaluation.asking.requests import RETRIES as RETRIES
from workbench.evaluation.asking.requests import Answer as Answer
from workbench.evaluation.asking.requests import Request as Request
from workbench.evaluation.asking.requests import fetch, patient

if TYPE_CHECKING:
    from openai import OpenAI


def ask(
    client: "OpenAI", requests: Sequence[Request], *, concurrency: int, cache: str | Path | Kept | None
) -> Generator[tuple[int, Answer], None, None]:
    """Give each answer with the place of its request, as they come; the same request is sent once.

    When one fails, those not yet sent are dropped, those on their way are
    waited for and kept, and then the client's own error is raised, with a note
    that says how many are kept. An interrupt (Ctrl-C) and a consumer that stops
    do the same.
    """
    import openai

    kept = cache if isinstance(cache, Kept) else Kept(cache)
    places: dict[str, list[int]] = {}
    for place, request in enumerate(requests):
        places.setdefault(request.key, []).append(place)
    try:
        yield from _answers(client, requests, places, kept, concurrency)
    except (openai.OpenAIError, KeyboardInterrupt) as error:
        error.add_note(note_of(requests, kept))
        raise


def _answers(
    client: "OpenAI",
    requests: Sequence[Request],
    places: Mapping[str, Sequence[int]],
    kept: Kept,
    concurrency: int,
) -> Generator[tuple[int, Answer], None, None]:
    missing = {key: requests[where[0]] for key, where in places.items() if key not in kept.answers}
    asked = patient(client) if missing else client

    def answered(request: Request, key: str) -> Answer:
        answer = fetch(asked, request)
        kept.add(key, request.model, answer)
        return answer

    pool = ThreadPoolExecutor(max_workers=concurrency)
    try:
        sent = {pool.submit(answered, request, key): key for key, request in missing.items()}
        for key, where in places.items():
            if key not in missing:
                yield from ((place, kept.answers[key]) for place in where)
        for done in as_completed(sent):
            answer = done.result()
            yield from ((place, answer) for place in places[sent[done]])
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def note_of(requests: Sequence[Request], kept: Kept) -> str:
    """What an interrupted run leaves, and how it goes on."""
    there = f"{sum(request.key in kept.answers for request in requests):,} of {len(requests):,} answers"
    if kept.path is None:
        return f"{there} had come, and none is kept; give a cache= to keep them."
    return f"{there} are kept in {kept.path}; run it again to go on."
