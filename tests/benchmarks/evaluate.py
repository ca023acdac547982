"""How long an evaluation takes against a service that answers in 200 ms, beside what is ideal.

    python tests/benchmarks/evaluate.py          half a minute

500 questions, 20 at a time, are 25 rounds: 5.0 s is ideal, 1.3 times that is the limit. The same is asked
by an asyncio client, with nothing kept and nothing graded, to see what the threads cost. 5,000 questions
show memory and CPU time. The service is another process, so that its work is not counted.
"""

import asyncio
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2
import psutil
import uvicorn
from openai import AsyncOpenAI, OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from workbench.dataset.dataset import Dataset, Example
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.graders.ready_made import grader

VALID = grader("data/gql/gql.py:valid")
SECONDS = 0.2  # that an answer takes


def serve(listening: socket.socket) -> None:
    """Answer every question with 4, after a while."""

    async def complete(request: Request) -> JSONResponse:
        body = await request.json()
        await asyncio.sleep(SECONDS)
        said = "Score: 1" if body["model"] == "judge" else "4"
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
        reply = {"id": "c", "object": "chat.completion", "created": 0, "model": body["model"]}
        return JSONResponse({**reply, "choices": [choice], "usage": usage})

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])


def dataset(count: int) -> Dataset:
    """So many different questions."""
    return Dataset(
        "sums",
        tuple(
            Example(
                ({"role": "user", "content": f"{n} + 0?"}, {"role": "assistant", "content": "4"}), f"s:{n}"
            )
            for n in range(count)
        ),
    )


def with_asyncio(address: str, count: int, concurrency: int) -> None:
    """Ask the same questions from one thread."""

    async def ask() -> None:
        limits = httpx2.Limits(max_connections=concurrency)
        async with AsyncOpenAI(
            base_url=address, api_key="x", http_client=httpx2.AsyncClient(limits=limits, timeout=60)
        ) as client:
            free = asyncio.Semaphore(concurrency)

            async def one(number: int) -> None:
                question: Mapping[str, str] = {"role": "user", "content": f"{number} + 0?"}
                async with free:
                    await client.chat.completions.create(
                        model="m", messages=[question], max_tokens=8, temperature=0.0
                    )

            await asyncio.gather(*map(one, range(count)))

    asyncio.run(ask())


def told(name: str, ideal: float, run: Callable[[], object]) -> None:
    """Time it, and print what it took beside what is ideal."""
    process = psutil.Process()
    cpu, memory, started = time.process_time(), process.memory_info().rss, time.perf_counter()
    run()
    took = time.perf_counter() - started
    more = (process.memory_info().rss - memory) / 1024**2
    used = time.process_time() - cpu
    print(
        f"{name:52}{took:7.2f} s {took / ideal:5.2f} x ideal {used:7.2f} s CPU {more:+7.0f} MiB", flush=True
    )


def main() -> None:
    """Measure and print."""
    listening = socket.create_server(("127.0.0.1", 0))
    service = multiprocessing.get_context("fork").Process(target=serve, args=(listening,), daemon=True)
    service.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/"
    client = OpenAI(base_url=address, api_key="x")
    exact, judge = grader("exact"), {"type": "score_model", "name": "judge", "model": "judge"}
    judge |= {"input": [{"role": "user", "content": "{{sample.output_text}}, {{item.question}}"}]}
    try:
        evaluate(client, "m", dataset(1), exact)  # imports, and a service that is awake
        with tempfile.TemporaryDirectory() as folder:
            answers = Path(folder) / "answers.jsonl"

            def run(
                count: int, model: str, concurrency: int, by: Mapping[str, object]
            ) -> Callable[[], object]:
                return lambda: evaluate(
                    client, model, dataset(count), by, concurrency=concurrency, cache=answers
                )

            told("500 questions, 20 at a time", 5, run(500, "a", 20, exact))
            told("again: all answers are kept", 5, run(500, "a", 20, exact))
            told("500 questions and a judge, 20 at a time each", 5, run(500, "b", 20, judge))
            told("500 questions and a grader in Python", 5, run(500, "c", 20, VALID))
            told("500 questions, asyncio, nothing kept or graded", 5, lambda: with_asyncio(address, 500, 20))
            told("5,000 questions, 100 at a time", 10, run(5_000, "d", 100, exact))
            told("5,000, asyncio, nothing kept or graded", 10, lambda: with_asyncio(address, 5_000, 100))
    finally:
        service.terminate()
        service.join()


if __name__ == "__main__":
    main()
