"""Diagnoses of real runs: nano, trained by the real local service on data whose set-up fixes the truth."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from job_specs import start
from openai import OpenAI
from starlette.testclient import TestClient

from workbench.dataset.dataset import Dataset, Example
from workbench.local.api.app import create_app
from workbench.local.models.bases import NANO
from workbench.training.diagnosis import diagnose
from workbench.training.follow import Progress, follow

KEY = "the-key-of-this-test"


@pytest.fixture(scope="module")
def client(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    app = create_app(tmp_path_factory.mktemp("home"), KEY, models=models)
    with TestClient(app) as http:
        yield OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key=KEY, http_client=http, max_retries=0)


def made_up(count: int, seed: int) -> list[str]:
    """Words of six random letters: nothing in one tells another."""
    draw = random.Random(seed)
    return ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(count)]


def answering(questions: list[str], answers: list[str]) -> Dataset:
    examples = (
        Example(
            ({"role": "user", "content": f"say {question}"}, {"role": "assistant", "content": answer}), "t"
        )
        for question, answer in zip(questions, answers, strict=True)
    )
    return Dataset("words", tuple(examples))


def by_heart(seed: int, count: int = 12) -> Dataset:
    """Answers that follow from no rule, so that they can only be memorised."""
    return answering(made_up(count, seed), made_up(count, seed + 1))


def signals(seed: int, count: int) -> Dataset:
    """Answers that follow from the question's first word."""
    meant = {"red": "STOP", "amber": "WAIT", "green": "GO"}
    colors = [list(meant)[number % 3] for number in range(count)]
    questions = [f"{color} {word}" for color, word in zip(colors, made_up(count, seed), strict=True)]
    return answering(questions, [meant[color] for color in colors])


def trained(
    client: OpenAI, train: Dataset, validation: Dataset, n_epochs: int, rate: float, model: str = NANO
) -> Progress:
    job = start(
        client,
        train,
        validation=validation,
        model=model,
        n_epochs=n_epochs,
        batch_size=4,
        learning_rate_multiplier=rate,
    )
    *_, last = follow(client, job, poll_seconds=0.05)
    assert last.job.status == "succeeded"
    return last


@pytest.fixture(scope="module")
def learnt(client: OpenAI) -> Progress:
    """A run as it should be: one easy rule, enough rows, others held out."""
    return trained(client, signals(1, 48), signals(2, 12), n_epochs=5, rate=5)


def test_an_easy_rule_is_well_learnt_once_a_search_found_no_leak(learnt: Progress):
    assert diagnose(learnt.curve, n_epochs=5, leaks=0).verdict in ("healthy", "still_improving")


def test_validation_rows_among_the_training_rows_are_suspected(client: OpenAI):
    rows = by_heart(10)
    curve = trained(client, rows, rows, n_epochs=12, rate=5).curve
    assert diagnose(curve, n_epochs=12).verdict == "leakage_suspected"
    assert diagnose(curve).verdict == "leakage_suspected"  # the full validations tell the epochs


def test_few_rows_and_many_epochs_overfit(client: OpenAI):
    train, validation = (
        answering(made_up(12, seed), [w.upper() for w in made_up(12, seed)]) for seed in (20, 22)
    )
    curve = trained(client, train, validation, n_epochs=25, rate=10).curve
    assert diagnose(curve, n_epochs=25).verdict.startswith("overfitting")


def test_shuffled_labels_are_memorised_and_help_no_other_row(client: OpenAI):
    curve = trained(client, by_heart(30), by_heart(32), n_epochs=20, rate=10).curve
    diagnosis = diagnose(curve, n_epochs=20)
    assert diagnosis.verdict.startswith("overfitting")
    assert "large_gap" in diagnosis.flags


def test_a_learning_rate_that_is_too_low_underfits(client: OpenAI):
    curve = trained(client, signals(1, 48), signals(2, 12), n_epochs=2, rate=0.001).curve
    assert diagnose(curve, n_epochs=2).verdict == "underfitting"


def test_a_learning_rate_that_is_too_high_destroys_what_was_learnt(client: OpenAI, learnt: Progress):
    model = str(learnt.job.fine_tuned_model)
    curve = trained(client, signals(1, 48), signals(2, 12), n_epochs=2, rate=1000, model=model).curve
    assert diagnose(curve, n_epochs=2).verdict == "diverged"
