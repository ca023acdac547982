"""08_preferences on nano: from each source of pairs to the verdict, the request, and what is refused."""

import html
import json
import re

import pytest
from notebook_road import Road, Walk

from workbench.local import process

SMALL = ("-p", "MODEL", "nano", "-p", "N_EPOCHS", "1", "-p", "TEST_ITEMS", "12", "-p", "MAX_TOKENS", "12")
SMALL += ("-p", "PLAUSIBLE", "4", "-p", "QUESTIONS", "20", "-p", "SAMPLES", "3")


@pytest.fixture(scope="module")
def walk(road: Road) -> Walk:
    return road.ran("--project", "support", "--only", "03,04,08", *SMALL)


class TestWalk:
    def test_it_trains_by_preference_on_top_of_the_supervised_model(self, walk: Walk, road: Road):
        assert walk.code == 0, walk.err
        project = road.project_of("support")
        supervised, preference = project.need_job(), project.need_job("dpo")
        with road.client as client:
            first = client.fine_tuning.jobs.retrieve(str(supervised.facts["job_id"]))
            second = client.fine_tuning.jobs.retrieve(str(preference.facts["job_id"]))
        assert (second.status, second.method.type) == ("succeeded", "dpo")
        assert second.model == first.fine_tuned_model
        assert preference.facts["model"] == first.fine_tuned_model

    def test_the_pairs_are_kept_apart_from_the_training_data(self, walk: Walk, road: Road):
        project = road.project_of("support")
        kept = project.need("pairs", "08_preferences").facts
        assert (kept["training_examples"], kept["validation_examples"]) == (128, 54)
        assert kept["source"] == "file"
        line = json.loads((project.path / str(kept["training_file"])).read_text().splitlines()[0])
        assert list(line) == ["input", "preferred_output", "non_preferred_output"]
        assert project.need("dataset", "03_build_data").facts["training_file"] != kept["training_file"]

    def test_three_models_are_judged_by_two_measures_and_the_record_has_it_all(self, walk: Walk, road: Road):
        facts = road.project_of("support").need("preference", "08_preferences").facts
        assert list(facts["models"]) == ["base", "SFT", "SFT + DPO"]
        assert {name: each["grader"] for name, each in facts["measures"].items()} == {
            "preference": "support_tone",
            "task": "support",
        }
        assert (facts["items"], facts["pairs"], facts["training_pairs"]) == (12, "file", 128)
        assert facts["models"]["SFT + DPO"] == facts["tuned_model"]
        assert len(facts["evaluations"]) == 6

    def test_curve_lengths_and_scores_are_pictures(self, walk: Walk):
        for cell in ("length", "watch", "picture"):
            shown = walk.shown("08_preferences", cell)
            assert {"image/svg+xml", "text/plain"} <= set(shown), cell
        assert (
            "Log-probability of the answers, in nats"
            in walk.shown("08_preferences", "watch")["image/svg+xml"]
        )
        assert "SFT + DPO against SFT" in walk.shown("08_preferences", "picture")["text/html"]

    def test_the_runs_of_the_project_show_both_jobs(self, walk: Walk, road: Road):
        entries = road.project_of("support").entries("job")
        assert [entry.facts.get("method") for entry in entries] == [None, "dpo"]

    def test_again_it_finds_the_job_and_asks_nothing_twice(self, walk: Walk, road: Road):
        project = road.project_of("support")
        answers = (project.path / "answers.jsonl").read_bytes()
        again = road.ran("--project", "support", "--only", "08", *SMALL)
        assert again.code == 0, again.err
        assert len(project.entries("job")) == 2
        assert (project.path / "answers.jsonl").read_bytes() == answers


NUMBERED = """
def grade(sample, item):
    return sum(map(ord, sample["output_text"])) % 97 / 97
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A task of one's own, whose table of pairs has other columns and another separator."""
    folder = tmp_path_factory.mktemp("task")
    rows = [(f"Ticket {n} of {word}?", f"{word} {n}") for n in range(12) for word in ("red", "blue", "pink")]
    for name, part in (("train", rows[:24]), ("test", rows[24:])):
        (folder / f"{name}.csv").write_text("\n".join(["ticket,said", *map(",".join, part)]))
    pairs = (f"{asked};Gladly! {said}.;{said}" for asked, said in rows[:24])
    (folder / "own.csv").write_text("\n".join(["asked;warm;cold", *pairs]))
    (folder / "numbered.py").write_text(NUMBERED)
    stated = {
        "EXAMPLES": folder / "train.csv",
        "TEST": folder / "test.csv",
        "QUESTION": "ticket",
        "ANSWER": "said",
        "PREFERENCE_PAIRS": folder / "own.csv",
        "PREFERRED": "warm",
        "REJECTED": "cold",
        "PREFERENCE_GRADER": folder / "numbered.py",
    }
    return tuple(word for name, value in stated.items() for word in ("-p", name, str(value)))


@pytest.fixture(scope="module")
def cloud(walk: Walk, road: Road, task: tuple[str, ...]) -> Walk:
    """That task at Azure, on top of the model that ``walk`` has trained by preference."""
    address = process.find(road.home)
    supervised = road.project_of("support").need("preference", "08_preferences").facts["tuned_model"]
    own = {"START_FROM": supervised, "BETA": "0.1", "SUFFIX": "tone", "SEED": "7", "PROVIDER": "azure"}
    asked = [word for name, value in own.items() for word in ("-p", name, str(value))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_OPENAI_ENDPOINT", address.url)
        patch.setenv("AZURE_OPENAI_API_KEY", address.key)
        return road.ran("--project", "cloud", *task, *SMALL, *asked, "--only", "08")


def test_azure_gets_the_documented_request(road: Road, cloud: Walk):
    assert cloud.code == 0, cloud.err
    shown = cloud.shown("08_preferences", "preflight")["text/html"]
    body = json.loads(html.unescape(re.search(r"<pre[^>]*>(.*?)</pre>", shown, re.DOTALL)[1]))
    (recorded,) = road.project_of("cloud").entries("job")
    with road.client as client:
        job = client.fine_tuning.jobs.retrieve(str(recorded.facts["job_id"]))
    # azure-rest-api, "Create request", 2025-04-01-preview: what is not given is left to the service.
    hyperparameters = {"n_epochs": 1, "batch_size": "auto", "learning_rate_multiplier": "auto", "beta": 0.1}
    assert {name: body[name] for name in ("model", "seed", "suffix", "trainingType", "method")} == {
        "model": job.model,
        "seed": 7,
        "suffix": "tone",
        "trainingType": "globalStandard",
        "method": {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}},
    }
    assert set(body) == {
        *("model", "training_file", "validation_file", "method", "seed", "suffix", "metadata", "trainingType")
    }
    assert (job.method.type, job.method.dpo.hyperparameters.beta) == ("dpo", 0.1)
    assert job.model_extra["trainingType"] == "globalStandard"
    assert recorded.facts["provider"] == "azure"


def test_a_task_of_ones_own_names_its_pairs_and_its_grader(road: Road, cloud: Walk):
    project = road.project_of("cloud")
    kept = project.need("pairs", "08_preferences").facts
    assert (kept["source"], kept["training_examples"]) == ("file", 20)
    assert (
        project.need("preference", "08_preferences").facts["measures"]["preference"]["grader"] == "numbered"
    )
    line = json.loads((project.path / str(kept["training_file"])).read_text().splitlines()[0])
    assert [message["role"] for message in line["input"]["messages"]] == ["user"]
    assert [message["role"] for message in line["preferred_output"]] == ["assistant"]


def test_the_models_are_named_by_all_that_they_were_trained_by(road: Road, cloud: Walk):
    facts = road.project_of("cloud").need("preference", "08_preferences").facts
    assert list(facts["models"]) == ["base", "SFT + DPO", "SFT + DPO + DPO"]
    assert (
        facts["models"]["SFT + DPO"]
        == road.project_of("support").entries("preference")[0].facts["tuned_model"]
    )


def test_the_models_own_answers_become_pairs(road: Road, walk: Walk, task: tuple[str, ...]):
    project = road.project_of("support")
    numbered = task[task.index("PREFERENCE_GRADER") + 1]  # random weights have no tone
    asked = ("-p", "PAIRS", "sampled", "-p", "PREFERENCE_GRADER", numbered)
    sampled = road.ran("--project", "support", "--only", "08", *asked, *SMALL)
    assert sampled.code == 0, sampled.err
    kept = project.need("pairs", "08_preferences").facts
    assert kept["source"] == "sampled"
    assert 15 <= kept["training_examples"] + kept["validation_examples"] <= 20
    _, *others = project.entries("job")
    assert [job.facts["method"] for job in others] == ["dpo", "dpo"]
    assert {job.facts["model"] for job in others} == {others[0].facts["model"]}
