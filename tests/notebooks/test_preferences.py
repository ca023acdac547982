"""08_preferences on nano: from each source of pairs to the verdict, the request, and what is refused."""

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from test_notebooks import Road, Walk

from workbench.local import process
from workbench.project import Project

SMALL = ("-p", "MODEL", "nano", "-p", "N_EPOCHS", "1", "-p", "TEST_ITEMS", "12", "-p", "MAX_TOKENS", "12")
SMALL += ("-p", "PLAUSIBLE", "4", "-p", "QUESTIONS", "12", "-p", "SAMPLES", "3")


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    made = Road(tmp_path_factory.mktemp("preferences") / "home")
    yield made
    made.end()


def ran(road: Road, *words: str) -> Walk:
    running = road.run("--json", *words)
    out, err = running.communicate(timeout=600)
    return Walk(running.returncode, out, err)


def project_of(road: Road, name: str) -> Project:
    return Project(name, road.home / "projects" / name)


def outputs(walk: Walk, cell_id: str) -> dict[str, str]:
    """What a cell of the executed notebook shows at its end."""
    notebook = nbformat.read(Path(str(walk.summary["folder"])) / "08_preferences.ipynb", as_version=4)
    return next(cell.outputs for cell in notebook.cells if cell.id == cell_id)[-1].data


@pytest.fixture(scope="module")
def walk(road: Road) -> Walk:
    return ran(road, "--project", "support", "--only", "03,04,08", *SMALL)


class TestWalk:
    def test_it_trains_by_preference_on_top_of_the_supervised_model(self, walk: Walk, road: Road):
        assert walk.code == 0, walk.err
        project = project_of(road, "support")
        supervised, preference = project.need_job(), project.need_job("dpo")
        with road.client as client:
            first = client.fine_tuning.jobs.retrieve(str(supervised.facts["job_id"]))
            second = client.fine_tuning.jobs.retrieve(str(preference.facts["job_id"]))
        assert (second.status, second.method.type) == ("succeeded", "dpo")
        assert second.model == first.fine_tuned_model
        assert preference.facts["model"] == first.fine_tuned_model

    def test_the_pairs_are_kept_apart_from_the_training_data(self, walk: Walk, road: Road):
        project = project_of(road, "support")
        kept = project.need("pairs", "08_preferences").facts
        assert (kept["training_examples"], kept["validation_examples"]) == (306, 54)
        assert kept["source"] == "file"
        line = json.loads((project.path / str(kept["training_file"])).read_text().splitlines()[0])
        assert list(line) == ["input", "preferred_output", "non_preferred_output"]
        assert project.need("dataset", "03_build_data").facts["training_file"] != kept["training_file"]

    def test_three_models_are_judged_by_two_measures_and_the_record_has_it_all(self, walk: Walk, road: Road):
        facts = project_of(road, "support").need("preference", "08_preferences").facts
        assert list(facts["models"]) == ["base", "SFT", "SFT + DPO"]
        assert {name: each["grader"] for name, each in facts["measures"].items()} == {
            "preference": "support_tone",
            "task": "support",
        }
        assert (facts["items"], facts["pairs"], facts["training_pairs"]) == (12, "file", 306)
        assert facts["models"]["SFT + DPO"] == facts["tuned_model"]
        assert len(facts["evaluations"]) == 6

    def test_curve_lengths_and_scores_are_pictures(self, walk: Walk):
        for cell in ("length", "watch", "picture"):
            shown = outputs(walk, cell)
            assert {"image/svg+xml", "application/vnd.plotly.v1+json", "text/plain"} <= set(shown), cell
        assert "Log-probability of the answers, in nats" in outputs(walk, "watch")["image/svg+xml"]
        assert "SFT + DPO against SFT" in outputs(walk, "picture")["text/html"]

    def test_the_runs_of_the_project_show_both_jobs(self, walk: Walk, road: Road):
        entries = project_of(road, "support").entries("job")
        assert [entry.facts.get("method") for entry in entries] == [None, "dpo"]

    def test_again_it_finds_the_job_and_asks_nothing_twice(self, walk: Walk, road: Road):
        project = project_of(road, "support")
        answers = (project.path / "answers.jsonl").read_bytes()
        again = ran(road, "--project", "support", "--only", "08", *SMALL)
        assert again.code == 0, again.err
        assert len(project.entries("job")) == 2
        assert (project.path / "answers.jsonl").read_bytes() == answers


AZURE = ("--project", "cloud", "-p", "PROVIDER", "azure", *SMALL)


def test_azure_gets_the_documented_request(road: Road, monkeypatch: pytest.MonkeyPatch):
    address = process.find(road.home) or process.start(road.home)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", address.url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", address.key)
    sample = ran_new(road, "cloud")
    assert sample == 0
    walk = ran(
        road, *AZURE, "--only", "03,04,08", "-p", "BETA", "0.1", "-p", "SUFFIX", "tone", "-p", "SEED", "7"
    )
    assert walk.code == 0, walk.err
    shown = outputs(walk, "preflight")["text/html"]
    body = json.loads(html.unescape(re.search(r"<pre[^>]*>(.*?)</pre>", shown, re.S)[1]))
    jobs = project_of(road, "cloud").entries("job")
    with road.client as client:
        first, second = (client.fine_tuning.jobs.retrieve(str(job.facts["job_id"])) for job in jobs)
    assert {name: body[name] for name in ("model", "seed", "suffix", "trainingType", "method")} == {
        "model": first.fine_tuned_model,
        "seed": 7,
        "suffix": "tone",
        "trainingType": "globalStandard",
        "method": {
            "type": "dpo",
            "dpo": {
                "hyperparameters": {
                    "n_epochs": 1,
                    "batch_size": "auto",
                    "learning_rate_multiplier": "auto",
                    "beta": 0.1,
                }
            },
        },
    }
    assert set(body) == {
        *("model", "training_file", "validation_file", "method", "seed", "suffix", "metadata", "trainingType")
    }
    assert (second.method.type, second.method.dpo.hyperparameters.beta) == ("dpo", 0.1)
    assert second.model_extra["trainingType"] == "globalStandard"
    assert jobs[1].facts["provider"] == "azure"


def ran_new(road: Road, name: str) -> int:
    """A project with the task of the sample."""
    command = [sys.executable, "-m", "workbench", "new", name, "--sample", "support"]
    environment = os.environ | {"WORKBENCH_HOME": str(road.home)}
    return subprocess.run(command, env=environment, check=False, capture_output=True).returncode


VOWELS = (
    "def grade(sample, item):\n"
    "    text = sample['output_text']\n"
    "    return sum(letter in 'aeiou' for letter in text) / max(1, len(text))\n"
)


def test_an_own_table_with_other_columns_and_then_the_models_own_answers(road: Road, tmp_path: Path):
    rows = [
        (f"Ticket {n} of {word}?", f"{word} {n}", f"Gladly! {word} {n}") for n in range(12) for word in "abc"
    ]
    (tmp_path / "train.csv").write_text("\n".join(["ticket,said", *(f"{a},{b}" for a, b, _ in rows[:24])]))
    (tmp_path / "test.csv").write_text("\n".join(["ticket,said", *(f"{a},{b}" for a, b, _ in rows[24:])]))
    (tmp_path / "own.csv").write_text(
        "\n".join(["asked;warm;cold", *(f"{a};{c};{b}" for a, b, c in rows[:24])])
    )
    (tmp_path / "vowels.py").write_text(VOWELS)
    task = ("--project", "own", "-p", "EXAMPLES", str(tmp_path / "train.csv"), "-p", "QUESTION", "ticket")
    task += ("-p", "TEST", str(tmp_path / "test.csv"), "-p", "ANSWER", "said")
    task += (
        "-p",
        "PREFERENCE_PAIRS",
        str(tmp_path / "own.csv"),
        "-p",
        "PREFERRED",
        "warm",
        "-p",
        "REJECTED",
        "cold",
    )
    task += ("-p", "PREFERENCE_GRADER", str(tmp_path / "vowels.py"))
    walk = ran(road, *task, "--only", "03,04,08", *SMALL)
    assert walk.code == 0, walk.err
    own = project_of(road, "own")
    assert own.need("pairs", "08_preferences").facts["training_examples"] == 20
    assert own.latest("preference").facts["measures"]["preference"]["grader"] == "vowels"
    sampled = ran(road, "--project", "own", "--only", "08", "-p", "PAIRS", "sampled", *SMALL)
    assert sampled.code == 0, sampled.err
    kept = own.latest("pairs").facts
    assert kept["source"] == "sampled"
    assert 2 <= kept["training_examples"] + kept["validation_examples"] <= 12
    assert [job.facts.get("method") for job in own.entries("job")] == [None, "dpo", "dpo"]
    first, *others = own.entries("job")
    assert {job.facts["model"] for job in others} == {
        f"nano.ft-{str(first.facts['job_id']).removeprefix('ftjob-')}"
    }


def last_line(walk: Walk) -> str:
    assert walk.code == 1
    return walk.err.splitlines()[-2]


def test_without_ratings_the_way_out_is_said(walk: Walk, road: Road):
    refused = ran(road, "--project", "support", "--only", "08", "-p", "PAIRS", "ratings", *SMALL)
    assert last_line(refused).endswith(
        "DataError: Nobody has preferred an answer in project support yet: rate answers in 06_evaluate "
        "first, or take other pairs with PAIRS = 'sampled' or 'file'."
    )


def test_a_supervised_model_that_vanished_is_named_with_the_way_out(walk: Walk, road: Road):
    project = project_of(road, "own")
    with road.client as client:
        model = client.fine_tuning.jobs.retrieve(str(project.need_job().facts["job_id"])).fine_tuned_model
        client.models.delete(model)
    refused = ran(road, "--project", "own", "--only", "08", *SMALL)
    assert (
        f"SetupError: The model {model}, which 04_launch trained for project own, is not at local any more."
        in (last_line(refused))
    )
    assert last_line(refused).endswith(
        "run 04_launch with another SEED, as the same job would be found again and not repeated."
    )


def test_a_project_without_a_supervised_model_is_sent_to_its_launch(road: Road):
    assert ran_new(road, "early") == 0
    refused = ran(road, "--project", "early", "--only", "08", *SMALL)
    assert last_line(refused).endswith("SetupError: Project early has no job yet; run 04_launch first.")
