"""``python -m workbench evaluate`` and ``compare``: what a shell and CI are told."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import typer
import uvicorn
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from workbench.cli import OneSentence
from workbench.cli import evaluate as commands
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.requests import Answer

SUMS = "question,answer,page\n1 + 1?,2,a\n2 + 2?,4,a\n3 + 3?,6,b\n4 + 4?,8,b\n"


class Model:
    """A service on a free port whose model is right, but for what it is told to get wrong."""

    def __init__(self) -> None:
        self.wrong: tuple[str, ...] = ()
        self.asked: list[dict[str, object]] = []
        self.interrupt_at = 0
        self.refused: tuple[str, ...] = ()
        self.listening = socket.create_server(("127.0.0.1", 0))
        route = Route("/openai/v1/chat/completions", self.complete, methods=["POST"])
        self.server = uvicorn.Server(uvicorn.Config(Starlette(routes=[route]), log_level="error"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]})

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    async def complete(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append(body)
        if len(self.asked) == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)
        question = body["messages"][-1]["content"]
        if question in self.refused:
            return JSONResponse({"error": {"code": "content_filter", "message": "no"}}, status_code=400)
        said = "?" if question in self.wrong else str(2 * int(question[0]))
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        reply = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        return JSONResponse(reply)


@pytest.fixture
def model(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    model = Model()
    model.thread.start()
    monkeypatch.setenv("WORKBENCH_PROVIDER", "azure")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", model.address)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "test")
    monkeypatch.setenv("WORKBENCH_HEADLESS", "1")
    yield model
    model.server.should_exit = True
    model.thread.join(timeout=30)


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    path = tmp_path / "sums.csv"
    path.write_text(SUMS)
    return path


def call(*words: str | Path | float) -> Result:
    app = typer.Typer(cls=OneSentence, pretty_exceptions_enable=False)
    commands.add_to(app)
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_a_model_is_asked_and_its_score_told_with_how_sure_it_is(model: Model, sums: Path):
    model.wrong = ("1 + 1?",)
    done = call("evaluate", sums, "--model", "m")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "m, asked with the prompt as trained: 75.0 % (95 % interval 30–95), 3 of 4 right.\n"


@pytest.mark.parametrize(("share", "code"), [(0.75, 0), (0.76, 1)])
def test_the_gate_refuses_a_score_that_is_too_low(model: Model, sums: Path, share: float, code: int):
    model.wrong = ("1 + 1?",)
    done = call("evaluate", sums, "--model", "m", "--at-least", share, "--json")
    assert done.exit_code == code
    facts = json.loads(done.stdout)
    assert (facts["score"], facts["at_least"], facts["passed"]) == (0.75, share, code == 0)
    assert (facts["model"], facts["items"], facts["graded"], facts["correct"]) == ("m", 4, 4, 3)


def test_what_could_not_be_graded_is_told_and_does_not_help_a_model_through_the_gate(
    model: Model, sums: Path
):
    model.refused = ("1 + 1?", "2 + 2?")
    done = call("evaluate", sums, "--model", "m", "--at-least", 0.8)
    assert done.exit_code == 1
    assert done.stderr == "2 could not be graded: the service refused the question (content_filter)\n"
    assert "100.0 %" in done.stdout
    assert "Not at least 80 %." in done.stdout


def test_nothing_graded_is_not_a_refusal_of_the_model_but_unusable(model: Model, sums: Path):
    model.refused = tuple(line.split(",")[0] for line in SUMS.splitlines()[1:])
    assert call("evaluate", sums, "--model", "m").exit_code == 2


@pytest.mark.parametrize("name", ["run.jsonl", "run.parquet"])
def test_it_is_kept_and_a_second_run_pays_nothing(model: Model, sums: Path, tmp_path: Path, name: str):
    for _ in range(2):
        assert call("evaluate", sums, "--model", "m", "-o", tmp_path / name).exit_code == 0
    assert len(model.asked) == 4
    assert Evaluation.load(tmp_path / name).score == 1.0


def test_prompt_samples_clusters_and_a_grader_of_ones_own_are_taken(model: Model, sums: Path, tmp_path: Path):
    own = tmp_path / "grader.json"
    own.write_text(json.dumps({**grader("exact"), "name": "own"}))
    rules = tmp_path / "rules.md"
    rules.write_text("Only the number.\n")
    kept = tmp_path / "run.jsonl"
    words = ("--grader", own, "--prompt", rules, "--samples", 2, "--temperature", 1, "--cluster", "page")
    done = call("evaluate", sums, "--model", "m", "--first", 3, *words, "-o", kept)
    assert done.exit_code == 0
    found = Evaluation.load(kept)
    assert (found.grader["name"], found.prompt, found.temperature) == (
        "own",
        Prompt("rules", system="Only the number."),
        1.0,
    )
    assert [item.cluster for item in found.items] == ["a", "a", "b"]
    assert [len(item.answers) for item in found.items] == [2, 2, 2]
    call("evaluate", sums, "--model", "other", "--prompt", kept, "-o", tmp_path / "other.jsonl")
    assert Evaluation.load(tmp_path / "other.jsonl").prompt == found.prompt


def test_an_interrupted_run_says_what_is_kept_and_how_to_go_on(model: Model, sums: Path, home: Path):
    model.interrupt_at = 2
    done = call("evaluate", sums, "--model", "m", "--concurrency", 1)
    cache = home / "evaluations" / "answers.jsonl"
    kept = len(cache.read_text().splitlines())
    assert done.exit_code == 130
    assert done.stderr == (f"Stopped.\n{kept} of 4 answers are kept in {cache}; run it again to go on.\n")
    assert call("evaluate", sums, "--model", "m").exit_code == 0
    assert len(model.asked) == 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--grader", "nobody"), "There is no ready-made grader 'nobody'. There are exact, "),
        (("--grader", "none.json"), "none.json cannot be read: No such file or directory.\n"),
        (("--system", "a", "--prompt", "b.txt"), "--system and --prompt both say what the instructions are"),
        (("--samples", "2"), "samples is 2 and temperature 0; "),
        (("--cluster", "sheet"), "sums.csv has no column 'sheet' to go by; it has page, answer."),
        (("--provider", "nobody"), ""),
    ],
)
def test_what_cannot_be_done_is_one_sentence(model: Model, sums: Path, words: tuple[str, ...], told: str):
    done = call("evaluate", sums, "--model", "m", *words)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(told)
    assert model.asked == []


# compare


def saved(path: Path, scores: str, model: str = "base") -> Path:
    """One item for each letter: 1 is right and 0 is wrong."""
    items = tuple(
        Item(
            f"i{n}", f"faq.csv:{n + 2}", f"Q{n}?", "a", (Answer("b", "stop", 0.1, 9, 1, score=float(score)),)
        )
        for n, score in enumerate(scores)
    )
    return Evaluation(model, Prompt("short"), grader("exact"), items, 64, 0.0).save(path)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return saved(tmp_path / "base.jsonl", "1" * 10 + "0" * 40)


def test_a_better_model_passes(base: Path, tmp_path: Path):
    done = call("compare", base, saved(tmp_path / "tuned.jsonl", "1" * 40 + "0" * 10, "tuned"))
    assert done.exit_code == 0
    assert done.stdout.startswith("The tuned model is better: 40 of 50 items right against 10 (+60.0 points")


def test_a_model_that_is_not_shown_to_be_better_is_refused(base: Path, tmp_path: Path):
    done = call("compare", base, saved(tmp_path / "tuned.jsonl", "1" * 12 + "0" * 38), "--json")
    facts = json.loads(done.stdout)
    assert (done.exit_code, facts["passed"], facts["must"], facts["outcome"]) == (
        1,
        False,
        "better",
        "inconclusive",
    )
    assert (facts["items"], facts["fixed"], facts["broken"], facts["minimum"]) == (50, 2, 0, 0.02)


def test_not_worse_needs_a_loss_that_matters_to_be_impossible(tmp_path: Path):
    base = saved(tmp_path / "base.jsonl", "1" * 500)
    same = saved(tmp_path / "same.jsonl", "1" * 500)
    worse = saved(tmp_path / "worse.jsonl", "1" * 450 + "0" * 50)
    assert call("compare", base, same, "--must", "not-worse").exit_code == 0
    assert call("compare", base, worse, "--must", "not-worse").exit_code == 1
    done = call("compare", base, worse, "--must", "not-worse", "--minimum", 20)
    assert (done.exit_code, done.stdout.split(":")[0]) == (0, "Not worse")


def test_what_was_tried_before_and_what_matters_change_the_verdict(base: Path, tmp_path: Path):
    tuned = saved(tmp_path / "tuned.jsonl", "1" * 17 + "0" * 33)
    assert call("compare", base, tuned).exit_code == 0
    assert call("compare", base, tuned, "--looked-at", 10).exit_code == 1
    assert call("compare", base, tuned, "--minimum", 50).exit_code == 1
    other = saved(tmp_path / "other.jsonl", "1" * 11 + "0" * 39)
    facts = json.loads(call("compare", base, tuned, "--also", other, "--json").stdout)
    assert (facts["looks"], len(facts["also"])) == (2, 1)


def test_leaked_items_do_not_count(base: Path, tmp_path: Path):
    tuned, leaked = saved(tmp_path / "tuned.jsonl", "1" * 40 + "0" * 10), tmp_path / "leaked.txt"
    leaked.write_text("".join(f"faq.csv:{n + 2}\n" for n in range(10, 38)) + "\n")
    done = call("compare", base, tuned, "--leaked", leaked, "--json")
    facts = json.loads(done.stdout)
    assert (facts["items"], facts["fixed"], done.exit_code) == (22, 2, 1)


def test_lines_of_id_and_score_from_another_tool_are_compared(tmp_path: Path):
    for name, right in (("base", 5), ("tuned", 35)):
        lines = (json.dumps({"id": n, "score": n < right}) for n in range(40))
        (tmp_path / name).write_text("\n".join(lines))
    assert call("compare", tmp_path / "base", tmp_path / "tuned").exit_code == 0


def test_runs_that_cannot_be_compared_are_one_sentence_unless_told_to_leave_items_out(
    base: Path, tmp_path: Path
):
    whole = Evaluation.load(base)
    short = replace(whole, items=whole.items[:-1]).save(tmp_path / "short.jsonl")
    done = call("compare", base, short)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("The tuned model did not answer 1 of the base model's items: i49")
    assert call("compare", base, short, "--missing", "leave-out").exit_code == 1
    done = call("compare", base, tmp_path / "nowhere.jsonl")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)


def test_an_unknown_model_is_answered_with_those_there_are(home: Path, tmp_path: Path, monkeypatch):
    def refused(request: Request) -> JSONResponse:
        return JSONResponse({"error": {"message": "no such deployment", "code": "404"}}, 404)

    def listed(request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [{"id": "nano", "object": "model"}]})

    routes = [
        Route("/openai/v1/models", listed),
        Route("/openai/v1/{rest:path}", refused, methods=["GET", "POST"]),
    ]
    http = TestClient(Starlette(routes=routes))
    client = OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key="k", http_client=http, max_retries=0)
    monkeypatch.setattr(import_module("workbench.connect"), "connect", lambda provider: client)
    (tmp_path / "sums.csv").write_text(SUMS)
    done = call("evaluate", tmp_path / "sums.csv", "--model", "nonano")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "local has no model nonano. Did you mean nano? It has nano; name one of them." in done.stderr
