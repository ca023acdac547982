"""The playground from Python's side: answers in threads, stopping, keeping, and the table left headless."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from workbench.evaluation.prompts import Prompt
from workbench.project import Project, open_project
from workbench.widgets.playground import Playground, playground

TASK = 'examples = "train.csv"\ntest = "test.csv"\n'
PATIENCE = 30  # seconds


class Service:
    """Says ``one two``, the second word only when ``go`` is set; a model ``gone`` is not there."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked: list[dict[str, object]] = []
        listening = socket.create_server(("127.0.0.1", 0))
        routes = [Route("/chat/completions", self.answer, methods=["POST"])]
        self.server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]})
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.client = OpenAI(base_url=address, api_key="test", max_retries=0)

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        if body["model"] == "breaks":
            return StreamingResponse(self.half(), media_type="text/event-stream")
        if body["model"] == "gone":
            return JSONResponse({"error": {"message": "There is no model gone."}}, status_code=404)
        if not body.get("stream"):
            message = {"role": "assistant", "content": f"{body['model']} <b>says</b>"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return JSONResponse({**self.head("chat.completion"), "choices": [choice]})
        return StreamingResponse(self.words(), media_type="text/event-stream")

    async def half(self):
        yield self.event({"content": "one"})
        await asyncio.sleep(0.01)
        self.server.force_exit = self.server.should_exit = True  # as if somebody had killed it
        await asyncio.sleep(PATIENCE)

    async def words(self):
        yield self.event({"content": "one"})
        while not self.go.is_set():
            await asyncio.sleep(0.01)
        yield self.event({"content": " two"})
        yield self.event({}, "stop")
        yield "data: [DONE]\n\n"

    def head(self, kind: str) -> dict[str, object]:
        return {"id": "c", "object": kind, "created": 0, "model": "m"}

    def event(self, delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return f"data: {json.dumps({**self.head('chat.completion.chunk'), 'choices': [choice]})}\n\n"


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    made.thread.start()
    yield made
    made.go.set()
    made.server.should_exit = True
    made.thread.join(timeout=PATIENCE)


@pytest.fixture
def project(home: Path) -> Project:
    project = open_project("shop")
    project.save("project.toml", TASK)
    project.save("train.csv", "question,answer\nIs it blue?,Yes.\n")
    project.save("test.csv", "question,answer\nIs it red?,No.\nIs it big?,Yes.\nIs it old?,No.\n")
    return project


def press(shown: Playground, action: str, value: object = None) -> dict[str, object]:
    shown._handle_custom_msg({"do": action, "row": shown.row["at"], "value": value}, [])
    return dict(shown.row)


def ask(shown: Playground, question: str, prompt: str = "short") -> dict[str, object]:
    return press(shown, "ask", {"question": question, "prompt": prompt})


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def columns(shown: Playground) -> list[tuple[object, object]]:
    return [(column["state"], column["text"]) for column in shown.row["columns"]]


def test_both_answers_grow_while_the_kernel_is_free(service: Service, project: Project):
    shown = playground(service.client, {"base": "nano", "tuned": "nano.ft"}, project=project)
    assert (shown.row["question"], shown.row["columns"], shown.row["open"]) == ("", [], False)
    at_once = ask(shown, " Is it red? ")
    assert (at_once["question"], at_once["reference"], at_once["open"]) == ("Is it red?", "No.", True)
    wait(lambda: columns(shown) == [("writing", "one"), ("writing", "one")])
    service.go.set()
    wait(lambda: columns(shown) == [("done", "one two"), ("done", "one two")])
    assert shown.row["open"] is False
    assert sorted(body["model"] for body in service.asked) == ["nano", "nano.ft"]


def test_stop_keeps_what_is_written_and_nothing_that_comes_later(service: Service, project: Project):
    shown = playground(service.client, {"base": "nano"}, project=project)
    ask(shown, "Is it red?")
    wait(lambda: columns(shown) == [("writing", "one")])
    assert press(shown, "stop")["said"] == "Stopped."
    threads = [thread for thread in threading.enumerate() if "_write" in thread.name]
    service.go.set()
    for thread in threads:
        thread.join(timeout=PATIENCE)
    assert columns(shown) == [("stopped", "one")]
    ask(shown, "Is it big?")
    wait(lambda: columns(shown) == [("done", "one two")])


def test_a_model_that_is_not_there_says_so_beside_the_other(service: Service, project: Project):
    service.go.set()
    shown = playground(service.client, {"base": "nano", "tuned": "gone"}, project=project)
    ask(shown, "Is it red?")
    wait(lambda: not shown.row["open"])
    assert columns(shown) == [("done", "one two"), ("failed", "")]
    assert shown.row["columns"][1]["problem"] == "There is no model gone."


def test_a_prompt_of_ones_own_comes_first_and_is_what_is_sent(service: Service, project: Project):
    service.go.set()
    own = Prompt("own", system="Be brief.")
    shown = playground(service.client, {"base": "nano"}, project=project, prompt=own)
    assert (shown.row["prompts"], shown.row["prompt"]) == (["own", "short"], "own")
    ask(shown, "Why?", "own")
    wait(lambda: not shown.row["open"])
    assert service.asked[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    ]


def test_a_question_is_kept_with_the_corrected_answer_and_taken_back(service: Service, project: Project):
    service.go.set()
    shown = playground(service.client, {"base": "nano"}, project=project)
    ask(shown, "Is it green?")
    kept = press(shown, "keep", {"place": 0, "use": "training", "answer": "No, blue."})
    assert (kept["said"], kept["kept"]) == (
        "Kept for training: 1 question in kept/training.jsonl.",
        {"test": 0, "training": 1},
    )
    assert shown.kept.answers("training") == {"Is it green?": "No, blue."}
    assert press(shown, "undo")["kept"] == {"test": 0, "training": 0}
    ask(shown, "Is it red?")
    refused = press(shown, "keep", {"place": 0, "use": "training", "answer": "No."})
    assert refused["trouble"].startswith("Not saved. The test asks this question")


def test_a_second_click_on_ask_asks_nobody_again(service: Service, project: Project):
    shown = playground(service.client, {"base": "nano"}, project=project)
    for _ in range(3):
        ask(shown, "Is it red?")
    service.go.set()
    wait(lambda: not shown.row["open"])
    assert (len(service.asked), shown.row["at"]) == (1, 1)
    ask(shown, "Is it red?")  # once it is answered, one may ask again
    wait(lambda: len(service.asked) == 2)


def test_a_service_that_vanishes_in_the_middle_leaves_what_it_wrote_and_says_so(
    service: Service, project: Project
):
    shown = playground(service.client, {"base": "breaks"}, project=project)
    ask(shown, "Is it red?")
    wait(lambda: not shown.row["open"])
    assert columns(shown) == [("failed", "one")]
    assert shown.row["columns"][0]["problem"] == "Connection error."


def test_long_questions_of_the_test_are_sent_once_and_not_with_every_word(service: Service, project: Project):
    project.save("test.csv", f"question,answer\n{'Why? ' * 40_000},No.\n")
    shown = playground(service.client, {"base": "nano"}, project=project)
    assert [len(question) for question in shown.offered] == [100_000]
    assert len(json.dumps(shown.row)) < 1_000


def test_an_empty_question_asks_nobody(service: Service, project: Project):
    shown = playground(service.client, {"base": "nano"}, project=project)
    assert ask(shown, " ")["said"] == "Write a question first."
    assert service.asked == []


def test_headless_two_questions_of_the_test_are_asked_once(
    service: Service, project: Project, monkeypatch: pytest.MonkeyPatch, unstyled: Callable[[str], str]
):
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    models = {"base": "nano", "tuned": "nano.ft"}
    for _ in range(2):
        shown = playground(service.client, models, project=project)
    assert len(service.asked) == 4
    assert repr(shown) == "Playground of base and tuned: 2 questions asked, 0 kept"
    html = unstyled(shown._repr_html_())
    assert '<th scope="row">Is it red?</th><td>nano &lt;b&gt;says&lt;/b&gt;\n' in html
    assert "Is it big?" in html
    assert "Is it old?" not in html
    assert shown._repr_mimebundle_()[0].keys() == {"text/plain", "text/html"}
