"""Watching a model: alarms for planted changes, silence without one, and requests within their limit."""

import csv
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from echo_service import Watch, client_of, echo_service
from made_evaluations import evaluation
from openai import OpenAI
from typer.testing import CliRunner

from workbench import __main__ as shell
from workbench import runner
from workbench.cli import hosting
from workbench.connect import connect
from workbench.dataset.dataset import Dataset
from workbench.drift import drift
from workbench.errors import DataError, SetupError
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.graders.ready_made import grader
from workbench.monitor import (
    Indicator,
    answer_indicators,
    corrected,
    drift_indicators,
    plan_monitoring,
    watch,
)
from workbench.project import Project, open_project, state_task
from workbench.replay import old_and_new, replay
from workbench.task import read_task, sample_task


def sample_questions(name: str) -> list[str]:
    stated = sample_task(name)
    assert stated is not None
    return [example.question for example in read_task(stated).read_examples()]


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("question", "answer"), *rows])
    return path


@pytest.fixture
def client(home: Path) -> Iterator[OpenAI]:
    """A model that repeats the question: right where the answer is the question."""
    with echo_service(home / "service", Watch()) as http:
        yield connect("local", client=client_of(http))


@pytest.fixture
def project(client: OpenAI, tmp_path: Path) -> Project:
    """Judged as right on all 40 questions of its test, and so it still answers."""
    asked = sample_questions("gql")
    made = open_project("mine")
    examples = write(tmp_path / "train.csv", [(each, each) for each in asked[:120]])
    test = write(tmp_path / "test.csv", [(each, each) for each in asked[120:160]])
    state_task(made, {"examples": str(examples), "test": str(test)}, new=True)
    judge(client, made)
    return made


def judge(client: OpenAI, project: Project) -> Evaluation:
    test = project.task.read_test()
    project.lock("test", test.sha256)
    found = evaluate(client, "nano", test, grader("exact"))
    project.save("tuned.jsonl", found.to_jsonl())
    project.record("comparison", tuned_evaluation="tuned.jsonl", tuned_model="nano", training_seconds=260)
    return found


def states(indicators: tuple[Indicator, ...]) -> dict[str, str]:
    return {indicator.name: indicator.state for indicator in indicators}


def test_a_model_that_answers_as_before_is_quiet_and_the_run_is_kept(client: OpenAI, project: Project):
    rows = write(Path(project.path / "rows.csv"), [(q, q) for q in sample_questions("gql")[160:200]])
    found = watch(client, plan_monitoring(client, project, rows=rows), now=1_800_000_000.0)
    assert states(found.indicators) == {
        "The locked test again": "quiet",
        "New labelled rows": "quiet",
        "Form of stored answers": "not measured",
        "Topics of new questions": "quiet",
        "Lengths of new questions": "quiet",
        "Languages of new questions": "quiet",
        "Price": "quiet",
        "Dates": "quiet",
    }
    assert found.verdict == "Nothing needs you: nano is quiet in all 7 indicators that were measured."
    entry = project.need("monitoring", "07_deploy")
    assert (entry.facts["alarms"], entry.facts["score"], entry.facts["moment"]) == ([], 1.0, 1_800_000_000.0)
    again = watch(client, plan_monitoring(client, project))
    assert [run["score"] for run in again.history] == [1.0]
    assert "15 Jan 08:00" in again.pictures[0]


def test_a_model_that_became_worse_on_the_locked_test_is_an_alarm(client: OpenAI, project: Project):
    wrong = [
        (each.question, "no" if place < 8 else each.question)
        for place, each in enumerate(project.task.read_test())
    ]
    other = open_project("worse")
    test = write(project.path / "other.csv", wrong)
    state_task(other, {"examples": project.task.examples, "test": str(test)}, new=True)
    judged = judge(client, other)
    before = tuple(item.answered(score=1.0, text=item.reference) for item in judged.items)
    other.save("tuned.jsonl", replace(judged, items=before).to_jsonl())
    found = watch(client, plan_monitoring(client, other))
    assert [indicator.name for indicator in found.alarms] == ["The locked test again"]
    words = "80.0 % on 40 questions, 100.0 % when it was judged (p = 0.0078)"
    assert found.verdict == f"The locked test again: {words}."


def test_questions_about_something_else_are_an_alarm_and_the_strangest_are_shown(
    client: OpenAI, project: Project
):
    new = sample_questions("gql")[160:190] + sample_questions("support")[:10]
    rows = write(project.path / "rows.csv", [(each, each) for each in new])
    found = watch(client, plan_monitoring(client, project, rows=rows))
    assert "Topics of new questions" in [indicator.name for indicator in found.alarms]
    assert found.drift is not None
    assert {question for question, _, _ in found.drift.far} <= set(sample_questions("support")[:10])
    page = found._repr_html_()
    assert page.count("<svg") == 2
    assert "▲\u00a0alarm" in page


def test_without_a_change_at_most_one_run_in_twenty_alarms():
    """Two hundred runs of five indicators: a pool of questions, and a model that answers anew by chance."""
    pool, dice, alarms = sample_questions("gql"), random.Random(7), 0
    for run in range(200):
        asked = dice.sample(pool, 160)
        then = [dice.random() < 0.8 for _ in range(120)]
        again = [right if dice.random() < 0.8 else dice.random() < 0.8 for right in then]
        fresh = [dice.random() < 0.8 for _ in range(50)]
        before, after, rows = (
            evaluation("".join("01"[right] for right in side), "nano") for side in (then, again, fresh)
        )
        found = drift(asked[:110], asked[110:], permutations=199, seed=run)
        alarms += any(
            indicator.state == "alarm"
            for indicator in corrected([*answer_indicators(before, after, rows), *drift_indicators(found)])
        )
    assert alarms <= 10


def test_a_new_topic_in_a_fifth_of_the_questions_is_found_in_nine_of_ten_runs():
    pool, strange, dice = sample_questions("gql"), sample_questions("support"), random.Random(7)
    found = 0
    for run in range(20):
        asked = dice.sample(pool, 150)
        new = [*asked[110:], *dice.sample(strange, 10)]
        indicators = corrected(list(drift_indicators(drift(asked[:110], new, permutations=199, seed=run))))
        found += indicators[0].state == "alarm"
    assert found >= 18


def test_longer_questions_and_another_language_are_told_apart():
    known = [
        f"Show the {n} newest orders of the shop, please"
        for n in ("one", "two", "three", "four", "five", "six") * 5
    ]
    known = [f"{each}, {place}" for place, each in enumerate(known)]
    longer = [f"{each} and then also all of the others of this year" for each in known[:15]]
    german = [f"Zeig mir bitte die {n} und nicht die anderen, die ich habe" for n in "abcdefghijklmno"]
    assert drift(known, longer).lengths < 0.01
    assert drift(known, longer).languages == 1.0
    found = drift(known, german)
    assert found.languages < 0.01
    assert list(found.added_languages) == ["German"]


def test_one_question_asked_two_hundred_times_is_one_observation():
    known = sample_questions("gql")[:100]
    found = drift(known, ["Where is my parcel, which I ordered on Monday?"] * 200)
    assert 0.005 < found.topics < 0.02  # one of 101 groups, and it is the strangest
    others = sample_questions("support")[:30]
    assert drift(known, others).topics == 0.0005


def test_no_more_is_asked_than_the_limit_says(client: OpenAI, project: Project):
    rows = write(project.path / "rows.csv", [(q, q) for q in sample_questions("gql")[160:200]])
    plan = plan_monitoring(client, project, rows=rows, limit=45)
    assert repr(plan) == (
        "Sends 45 requests to nano: 40 of the locked test and 5 new rows; the limit leaves out 35."
    )
    assert plan_monitoring(client, project, rows=rows, limit=7).requests == 7
    found = watch(client, plan_monitoring(client, project, limit=7))
    assert len(found.now.items) == 7
    with pytest.raises(DataError, match="limit is 0; give 1 request or more"):
        plan_monitoring(client, project, limit=0)


def test_rows_that_were_trained_on_are_no_new_rows(client: OpenAI, project: Project):
    old = write(project.path / "old.csv", [(q, q) for q in sample_questions("gql")[:5]])
    with pytest.raises(DataError, match=r"Every row of old\.csv is in the training data"):
        plan_monitoring(client, project, rows=old)


def test_a_changed_test_and_a_project_without_a_judged_model_are_refused(client: OpenAI, project: Project):
    write(Path(project.task.test), [("What?", "That.")])
    with pytest.raises(DataError, match="The test of project mine has changed since it was locked"):
        plan_monitoring(client, project)
    with pytest.raises(SetupError, match="Project other has no comparison yet; run 06_evaluate first"):
        plan_monitoring(client, open_project("other"))


def test_what_the_service_has_stored_is_read_and_its_questions_count(client: OpenAI, project: Project):
    for question in sample_questions("support")[:12]:
        message = {"role": "user", "content": question}
        client.chat.completions.create(model="nano", messages=[message], store=True)
    plan = plan_monitoring(client, project, stored=10)
    assert isinstance(plan.observed, Dataset)
    assert [each.question for each in plan.observed] == sample_questions("support")[11:1:-1]
    found = watch(client, plan)
    assert "Topics of new questions" in [indicator.name for indicator in found.alarms]


def test_the_verb_ends_with_1_for_an_alarm_and_says_before_how_much_it_asks(
    client: OpenAI, project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hosting, "connect", lambda provider: client)
    app = typer.Typer()
    hosting.add_to(app)
    quiet = CliRunner().invoke(app, ["monitor", "--project", "mine", "--json"])
    assert quiet.exit_code == 0
    assert json.loads(quiet.stdout)["alarms"] == []
    assert "Sends 40 requests to nano" in quiet.stderr
    strange = write(project.path / "strange.csv", [(q, "no") for q in sample_questions("support")[:30]])
    alarmed = CliRunner().invoke(app, ["monitor", "--project", "mine", "--rows", str(strange), "--json"])
    assert alarmed.exit_code == 1
    assert json.loads(alarmed.stdout)["alarms"][:2] == ["New labelled rows", "Topics of new questions"]


def test_a_replay_has_the_same_task_and_test_and_one_change(project: Project):
    other = replay(project, model="nano-2")
    assert other.name == "mine-nano-2"
    assert other.task.facts == {**project.task.facts, "model": "nano-2"}
    with pytest.raises(DataError, match="The test of project mine-nano-2 has changed"):
        other.lock("test", "0" * 64)
    assert other.need("replay", "").facts == {"of": "mine", "changed": "model", "to": "nano-2"}


def test_a_replay_takes_a_new_file_or_adds_rows_to_the_old_ones(project: Project, tmp_path: Path):
    more = write(tmp_path / "more.csv", [("Who is new?", "I am.")])
    added = replay(project, rows=more)
    assert added.name == "mine-more"
    assert len(added.task.read_examples()) == 121
    assert added.task.read_examples()[120].answer == "I am."
    instead = replay(project, train=more, name="instead")
    assert [each.question for each in instead.task.read_examples()] == ["Who is new?"]
    assert instead.task.test == project.task.test


def test_a_replay_changes_one_thing_and_never_the_project_itself(project: Project):
    with pytest.raises(DataError, match="Change one thing at a time"):
        replay(project, model="nano-2", rows="more.csv")
    with pytest.raises(DataError, match="The replay needs another name than mine"):
        replay(project, model="nano-2", name="mine")


def test_the_verb_runs_the_replay_and_puts_old_and_new_side_by_side(
    client: OpenAI, project: Project, monkeypatch: pytest.MonkeyPatch
):
    def executed(plans: object, folder: Path) -> Iterator[runner.NotebookRun]:
        """In place of the notebooks: they leave what is compared."""
        judge(client, open_project("again"))
        yield runner.NotebookRun("05_loss_curves", folder / "05_loss_curves.ipynb", "completed", 1.0)

    monkeypatch.setattr(shell, "connect", lambda provider: client)
    monkeypatch.setattr(runner, "execute", executed)
    asked = ["replay", "--project", "mine", "--model", "nano", "--as", "again", "-p", "PROVIDER=local"]
    refused = CliRunner().invoke(shell.app, ["replay", "--project", "mine"])
    assert (refused.exit_code, refused.stderr[:29]) == (2, "Change one thing at a time: g")
    done = CliRunner().invoke(shell.app, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["difference"] == 0.0


def test_old_and_new_are_compared_by_the_questions_of_the_locked_test(tmp_path: Path):
    projects = []
    for name, right in (("old", "1" * 20 + "0" * 20), ("new", "1" * 32 + "0" * 8)):
        project = Project(name, tmp_path / name)
        project.save("tuned.jsonl", evaluation(right, f"nano.ft-{name}").to_jsonl())
        project.record("comparison", tuned_evaluation="tuned.jsonl", training_seconds=260.0)
        projects.append(project)
    found = old_and_new(*projects)
    assert found.verdict.startswith(
        "new is better than old: 80.0 % against 50.0 % on 40 questions (+30.0 points"
    )
    assert found.text.splitlines()[2].split()[:4] == ["old", "nano", "50.0", "%"]
