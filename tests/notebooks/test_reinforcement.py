"""09_reinforcement on nano: from prompts to the verdict, what is refused before, and Azure's request."""

import html
import json
import re
from pathlib import Path

import pytest
from notebook_road import Road, Walk

from workbench.local import process

SMALL = ("-p", "MODEL", "nano", "-p", "N_EPOCHS", "1", "-p", "BATCH_SIZE", "6", "-p", "TEST_ITEMS", "12")
SMALL += ("-p", "PROMPTS", "8", "-p", "SAMPLES", "4", "-p", "MAX_TOKENS", "8", "-p", "SHOTS", "1")
SMALL += ("-p", "COMPUTE_MULTIPLIER", "0.5", "-p", "EVAL_SAMPLES", "4")
# Random weights never name a team; half of what they write is even.
EVEN = "def grade(sample, item):\n    return 1.0 - sum(map(ord, sample['output_text'])) % 2\n"
TICKETS = ["ticket,team,note"]
TICKETS += [f"Ticket {n} of {team}?,{team},n{n}" for n in range(30) for team in ("billing", "returns")]
TEST = ["ticket,team,note", *(f"May I ask {n} of {team}?,{team},n" for n in range(6) for team in ("a", "b"))]
TEST[1] = TICKETS[1]  # is trained on, so it does not count


def failure(walk: Walk) -> str:
    assert walk.code == 1, walk.err
    return walk.err


@pytest.fixture(scope="module")
def task(road: Road, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A project of one's own, whose reward random weights can earn."""
    folder = tmp_path_factory.mktemp("files")
    for name, text in (("train.csv", TICKETS), ("test.csv", TEST)):
        (folder / name).write_text("\n".join(text))
    (folder / "even.py").write_text(EVEN)
    files = ("-p", "EXAMPLES", str(folder / "train.csv"), "-p", "TEST", str(folder / "test.csv"))
    columns = ("-p", "QUESTION", "ticket", "-p", "ANSWER", "team")
    return (*files, *columns, "-p", "REINFORCEMENT_GRADER", str(folder / "even.py"))


@pytest.fixture(scope="module")
def walk(road: Road, task: tuple[str, ...]) -> Walk:
    return road.ran("--only", "09", "--project", "own", *task, *SMALL, "-p", "START_ANYWAY", "True")


class TestWalk:
    def test_it_trains_by_reinforcement_with_the_graders_of_the_task(self, walk: Walk, road: Road):
        assert walk.code == 0, walk.err
        job = road.project_of("own").need_job("reinforcement")
        with road.client as client:
            done = client.fine_tuning.jobs.retrieve(str(job.facts["job_id"]))
        assert (done.status, done.method.type) == ("succeeded", "reinforcement")
        assert done.method.reinforcement.grader.name == "even"

    def test_the_prompts_are_kept_with_their_fields(self, walk: Walk, road: Road):
        project = road.project_of("own")
        kept = project.need("prompts", "09_reinforcement").facts
        assert kept["training_examples"] + kept["validation_examples"] == 59  # one of 60 is shown
        line = json.loads((project.path / str(kept["training_file"])).read_text().splitlines()[0])
        assert list(line) == ["messages", "note", "question", "answer"]
        assert [message["role"] for message in line["messages"]] == ["user", "assistant", "user"]

    def test_the_check_before_it_and_the_signs_after_it_are_on_record(self, walk: Walk, road: Road):
        project = road.project_of("own")
        before = project.need("pass_rates", "09_reinforcement").facts
        assert (before["prompts"], before["answers"], before["group_size"]) == (8, 32, 4)
        assert before["mixed"] > 0.3
        facts = project.need("reinforcement", "09_reinforcement").facts
        assert before["grader_quality"]["result"] == "refused"  # it knows no right from wrong
        assert [sign["name"] for sign in facts["reward_hacking"]["signs"]] == [
            "training earns more than validation",
            "answers grow longer",
            "template answers",
            "the reward rises alone",
            "answers that the grader cannot grade",
        ]
        assert list(facts["models"]) == ["base", "after"]
        assert {name: each["grader"] for name, each in facts["measures"].items()} == {
            "judging grader": "normalised",
            "paying grader": "even",
        }
        assert (facts["items"], facts["reward_hacking"]["items"]) == (11, 11)
        assert [each["why"] for each in facts["left_out"]] == ["trained on"]
        assert facts["hyperparameters"]["max_completion_tokens"] == 8

    def test_pass_rates_reward_and_scores_are_pictures(self, walk: Walk):
        for cell in ("sample-code", "watch-code", "compare-code"):
            bundle = walk.shown("09_reinforcement", cell)
            assert {"image/svg+xml", "text/plain"} <= set(bundle), cell
        assert "share of a prompt" in walk.shown("09_reinforcement", "sample-code")["image/svg+xml"]

    def test_again_it_finds_the_job_and_asks_nothing_twice(self, walk: Walk, road: Road):
        project = road.project_of("own")
        answers = (project.path / "answers.jsonl").read_bytes()
        again = road.ran("--only", "09", "--project", "own", *SMALL, "-p", "START_ANYWAY", "True")
        assert again.code == 0, again.err
        assert len(project.entries("job")) == 1
        assert (project.path / "answers.jsonl").read_bytes() == answers


def test_what_never_passes_cannot_start(road: Road):
    stopped = failure(road.ran("--only", "09", "--project", "support", *SMALL))
    assert "DataError: Reinforcement cannot start: 0 % of 32 answers to 8 prompts pass" in stopped
    assert "Do supervised fine-tuning first (04_launch)" in stopped
    assert road.project_of("support").entries("job") == ()


def test_a_row_without_what_the_grader_reads_is_named(road: Road, tmp_path: Path):
    by_team = {"type": "string_check", "name": "team", "operation": "eq"}
    by_team |= {"input": "{{sample.output_text}}", "reference": "{{item.note}}"}
    (tmp_path / "team.json").write_text(json.dumps(by_team))
    (tmp_path / "train.csv").write_text(
        "\n".join([TICKETS[0], *(row.rpartition("n")[0] for row in TICKETS[1:])])
    )
    (tmp_path / "test.csv").write_text("\n".join(TEST))
    words = ("-p", "EXAMPLES", str(tmp_path / "train.csv"), "-p", "TEST", str(tmp_path / "test.csv"))
    words += ("-p", "QUESTION", "ticket", "-p", "ANSWER", "team")
    words += ("-p", "REINFORCEMENT_GRADER", str(tmp_path / "team.json"))
    stopped = failure(road.ran("--only", "09", "--project", "gaps", *words, *SMALL))
    assert "{{item.note}} finds nothing in item train.csv:" in stopped
    assert road.project_of("gaps").entries("job") == ()


def test_azure_gets_the_documented_request(
    road: Road, walk: Walk, task: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    address = process.find(road.home) or process.start(road.home)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", address.url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", address.key)
    job = road.project_of("own").need_job("reinforcement")
    with road.client as client:
        tuned = client.fine_tuning.jobs.retrieve(str(job.facts["job_id"])).fine_tuned_model
    made = {"PROVIDER": "azure", "MODEL": str(tuned), "SUFFIX": "team", "SEED": "7", "EVAL_INTERVAL": "5"}
    made |= {"START_ANYWAY": "True", "HOURS": "2", "TRAIN_PROMPTS": "20"}
    words = [word for name, value in made.items() for word in ("-p", name, value)]
    done = road.ran("--only", "09", "--project", "cloud", *task, *SMALL, *words)
    assert done.code == 0, done.err
    request = re.search(
        r"<pre[^>]*>(.*?)</pre>", done.shown("09_reinforcement", "preflight-code")["text/html"], re.DOTALL
    )
    body = json.loads(html.unescape(request[1]))
    assert {name: body[name] for name in ("model", "seed", "suffix", "trainingType", "method")} == {
        "model": tuned,
        "seed": 7,
        "suffix": "team",
        "trainingType": "globalStandard",
        "method": {
            "type": "reinforcement",
            "reinforcement": {
                "hyperparameters": {
                    "n_epochs": 1,
                    "batch_size": 6,
                    "learning_rate_multiplier": "auto",
                    "compute_multiplier": 0.5,
                    "eval_interval": 5,
                    "eval_samples": 4,
                },
                "grader": {"name": "even", "type": "python", "source": EVEN},
            },
        },
    }
    assert set(body) == {
        *("model", "training_file", "validation_file", "method", "seed", "suffix", "metadata", "trainingType")
    }
    kept = road.project_of("cloud").need("prompts", "09_reinforcement").facts
    assert kept["training_examples"] == 20  # TRAIN_PROMPTS
    facts = road.project_of("cloud").need("reinforcement", "09_reinforcement").facts
    assert list(facts["models"]) == ["base", "before", "after"]
    assert facts["models"]["before"] == tuned
