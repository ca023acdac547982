"""Pairs of a project from each of the three sources, and what is said where a source gives none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.preference_pairs import rejected_answer
from workbench.dataset.read import read
from workbench.errors import DataError
from workbench.evaluation.compare import compare, contaminated
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.pair_sources import (
    enough_pairs,
    graders_of_project,
    pairs_of_project,
    plausible,
    source_of_pairs,
    split_pairs,
)
from workbench.evaluation.ratings import matches
from workbench.evaluation.records import open_ratings, record_comparison
from workbench.project import Project, open_project

TONE = 'def grade(sample, item):\n    return 1.0 if "!" in sample["output_text"] else 0.0\n'


@pytest.fixture
def files(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = [f"is {word}?,{word}" for word in ("red", "blue", "green", "pink")]
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("\n".join(["asked,colour", *rows]))
    (tmp_path / "pairs.csv").write_text("asked,good,bad\nis red?,red!,red\nis blue?,blue!,blue\n")
    (tmp_path / "tone.py").write_text(TONE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(files: Path) -> Project:
    made = open_project("mine")
    made.path.mkdir(parents=True)
    state(made, files)
    training = read(files / "train.csv", question="asked", answer="colour", system="Name it.")
    made.save("data/training.jsonl", training.to_jsonl())
    made.record("dataset", training_file="data/training.jsonl")
    return made


def state(project: Project, files: Path, *lines: str) -> None:
    known = [f'examples = "{files}/train.csv"', f'test = "{files}/test.csv"']
    known += ['question = "asked"', 'answer = "colour"', 'system = "Name it."', 'grader = "contains"', *lines]
    (project.path / "project.toml").write_text("\n".join(known))


def client(said: Callable[[str, int], str]) -> OpenAI:
    """A model that says this to a question, asked with a seed."""

    async def complete(request: Request) -> JSONResponse:
        body = await request.json()
        text = said(body["messages"][-1]["content"], body.get("seed", 0))
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        reply = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        return JSONResponse(reply)

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    http = TestClient(app, base_url="http://testserver/v1/")
    return OpenAI(base_url="http://testserver/v1/", api_key="test", http_client=http, max_retries=0)


def texts(pairs: Dataset) -> list[tuple[str, str, str]]:
    return [(pair.question, pair.answer, rejected_answer(pair)) for pair in pairs]


NOBODY = client(lambda question, seed: "never asked")


def test_the_file_that_the_task_names_comes_first_then_ratings_then_samples(project, files):
    assert source_of_pairs(project) == "sampled"
    rated(project, files, "tt")
    assert source_of_pairs(project) == "ratings"
    state(project, files, f'preference_pairs = "{files}/pairs.csv"', 'preferred = "good"', 'rejected = "bad"')
    assert source_of_pairs(project) == "file"
    assert source_of_pairs(project, "sampled") == "sampled"
    with pytest.raises(DataError, match="PAIRS is 'rated'; choose file, ratings, sampled, or None"):
        source_of_pairs(project, "rated")


def test_pairs_of_a_file_have_the_instruction_in_front(project, files):
    state(project, files, f'preference_pairs = "{files}/pairs.csv"', 'preferred = "good"', 'rejected = "bad"')
    pairs = pairs_of_project(NOBODY, project, "m", "file")
    assert texts(pairs) == [("is red?", "red!", "red"), ("is blue?", "blue!", "blue")]
    assert pairs[0].messages[0] == {"role": "system", "content": "Name it."}


def test_a_task_without_a_file_of_pairs_says_how_to_name_one(project):
    with pytest.raises(DataError, match=r"names no file of pairs; add a line like preference_pairs"):
        pairs_of_project(NOBODY, project, "m", "file")


# Ratings


def rated(project: Project, files: Path, choices: str) -> None:
    """A comparison on record, and what somebody thinks of its first questions: t, b, = for a tie."""
    test = project.task.read_test()
    base = evaluate(client(lambda question, seed: "grey"), "base", test, grader("contains"))
    tuned = evaluate(client(lambda question, seed: f"{question} yes"), "tuned", test, grader("contains"))
    record_comparison(project, compare(base, tuned), job_id="ftjob-1", training_seconds=1.0)
    asked = sorted(matches(base, tuned).asked, key=lambda match: match.origin)
    meant = {"t": "tuned", "b": "base", "=": "tie"}
    for match, letter in zip(asked, choices, strict=False):
        open_ratings(project).rate(match, meant[letter], first="base")


def test_what_people_preferred_in_the_blind_review_becomes_pairs(project, files):
    rated(project, files, "tb=")
    pairs = pairs_of_project(NOBODY, project, "m", "ratings")
    assert texts(pairs) == [("is red?", "is red? yes", "grey"), ("is blue?", "grey", "is blue? yes")]
    assert pairs.notes == ("1 question gave no pair: no answer was preferred",)
    rated(project, files, "")  # the same comparison once more
    assert len(pairs_of_project(NOBODY, project, "m", "ratings")) == 2


def test_questions_whose_ratings_are_trained_on_are_known_as_contaminated(project, files):
    rated(project, files, "tb")
    pairs = pairs_of_project(NOBODY, project, "m", "ratings")
    assert contaminated(project.task.read_test(), pairs) == {"test.csv:2", "test.csv:3"}


@pytest.mark.parametrize("choices", ["", "=="])
def test_without_a_preference_the_way_out_is_named(project, files, choices):
    rated(project, files, choices)
    with pytest.raises(DataError) as caught:
        pairs_of_project(NOBODY, project, "m", "ratings")
    assert str(caught.value) == (
        "Nobody has preferred an answer in project mine yet: rate answers in 06_evaluate first, or take "
        "other pairs with PAIRS = 'sampled' or 'file'."
    )


# Samples


def test_the_best_of_several_answers_is_paired_with_the_worst(project):
    model = client(lambda question, seed: question[3:-1] if seed == 1 else f"no {seed}")
    pairs = pairs_of_project(model, project, "m", "sampled", questions=2, samples=3)
    assert texts(pairs) == [("is red?", "red", "no 0"), ("is blue?", "blue", "no 0")]
    assert (pairs.name, pairs[0].metadata["preferred_score"]) == ("m on training.jsonl (pairs)", 1.0)


def test_with_a_second_grader_no_answer_is_preferred_that_is_worse_by_either(project, files):
    state(project, files, f'preference_grader = "{files}/tone.py"')
    said = {
        "is red?": ["red", "red!"],  # equally right, the second in the tone
        "is blue?": ["blue", "no!"],  # what one prefers, the other rejects: the sums are equal
        "is green?": ["green", "green"],
        "is pink?": ["pink!", "no"],
    }
    model = client(lambda question, seed: said[question][seed])
    pairs = pairs_of_project(model, project, "m", "sampled", samples=2)
    assert texts(pairs) == [("is red?", "red!", "red"), ("is pink?", "pink!", "no")]


def test_prompts_of_rehearsal_are_none_to_make_pairs_of(project):
    rows = {"red": "red", "green": "green", "pink": "pink"}
    mixed = [
        Example(({"role": "user", "content": f"is {word}?"}, {"role": "assistant", "content": said}), "x")
        for word, said in rows.items()
    ]
    project.save("data/training.jsonl", Dataset("mixed", tuple(mixed)).to_jsonl())
    rehearsal = {"share": 0.5, "rows": 1, "lines": [2]}
    project.record("dataset", training_file="data/training.jsonl", rehearsal=rehearsal)
    model = client(lambda question, seed: question[3:-1] if seed == 1 else f"no {seed}")
    pairs = pairs_of_project(model, project, "m", "sampled", questions=2, samples=2)
    assert [pair.question for pair in pairs] == ["is red?", "is pink?"]


def test_pairs_of_one_text_are_kept_back_together(project, files):
    known = [
        'preference_pairs = "tickets.csv"',
        'preferred = "good"',
        'rejected = "bad"',
    ]
    rows = [f"ask {n},good {n},bad {n},text {n // 3}" for n in range(60)]
    (files / "tickets.csv").write_text("\n".join(["asked,good,bad,text", *rows]))
    state(project, files, *(line.replace("tickets.csv", f"{files}/tickets.csv") for line in known))
    pairs = project.task.read_pairs()
    training, validation = split_pairs(pairs, 0.2, group="text")
    assert (len(training), len(validation)) == (48, 12)
    assert not {pair.metadata["text"] for pair in training} & {pair.metadata["text"] for pair in validation}
    assert len(split_pairs(pairs, 0.2, group="customer")[1]) == 12  # samples and ratings have no such column


def test_where_all_answers_are_equally_good_there_is_no_pair(project):
    with pytest.raises(
        DataError, match="none of 4 prompts has two different answers with scores that differ"
    ):
        pairs_of_project(client(lambda question, seed: "no"), project, "m", "sampled", samples=2)


# What is preferred, and whether it is plausible


def test_the_aim_is_what_the_task_prefers_and_then_the_task(project, files):
    assert {what: one["name"] for what, one in graders_of_project(project).items()} == {"task": "contains"}
    state(project, files, f'format_grader = "{files}/tone.py"')
    assert list(graders_of_project(project)) == ["well formed", "task"]
    state(project, files, f'format_grader = "{files}/tone.py"', 'preference_grader = "exact"')
    found = graders_of_project(project)
    assert [(what, one["name"]) for what, one in found.items()] == [
        ("preference", "exact"),
        ("task", "contains"),
    ]


def test_this_machine_trains_on_128_of_the_pairs_and_a_cloud_on_all(project, files):
    state(project, files, f'preference_pairs = "{files}/pairs.csv"', 'preferred = "good"', 'rejected = "bad"')
    few = project.task.read_pairs()
    many = Dataset("many", tuple(replace(few[0], origin=f"pairs.csv:{n}") for n in range(200)))
    local = OpenAI(base_url="http://127.0.0.1:8123/openai/v1/", api_key="key")
    azure = OpenAI(base_url="https://r.openai.azure.com/openai/v1/", api_key="key")
    drawn = enough_pairs(local, many)
    assert (len(drawn), len({pair.origin for pair in drawn})) == (128, 128)
    assert [pair.origin for pair in enough_pairs(local, many)] == [pair.origin for pair in drawn]
    assert [pair.origin for pair in enough_pairs(local, many, seed=1)] != [pair.origin for pair in drawn]
    assert (
        len(enough_pairs(azure, many)),
        len(enough_pairs(local, many, 150)),
        len(enough_pairs(local, few)),
    ) == (200, 150, 2)
    with pytest.raises(DataError, match="0 is too few to train on; ask for 10 or more, or None"):
        enough_pairs(local, many, 0)


def test_the_model_is_asked_the_first_questions_of_the_pairs(project, files):
    state(project, files, f'preference_pairs = "{files}/pairs.csv"', 'preferred = "good"', 'rejected = "bad"')
    pairs = project.task.read_pairs()
    found = plausible(client(lambda question, seed: question), "m", pairs, questions=1)
    assert found.own == ("is red?",)
    assert plausible(NOBODY, "m", pairs, questions=0) is None
