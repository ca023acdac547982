"""The task of a project: read from project.toml, written by ``new`` and by the first run, changed by -p."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from workbench import runner
from workbench.__main__ import app
from workbench.connect import connect
from workbench.dataset.check.check import check
from workbench.errors import DataError, SetupError
from workbench.project import Project, open_project, state_task
from workbench.settings import DATA, ROOT
from workbench.task import PARAMETERS, SETTINGS, Task, changed_task


@pytest.fixture
def files(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a task of one's own, which is the current one."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "train.csv").write_text("body,team,shop\nMy card is lost,bank,a\nMy parcel is late,post,b\n")
    (folder / "test.csv").write_text("body,team,shop\nWhere is my parcel?,post,c\n")
    (folder / "rules.txt").write_text("Two teams: bank, post.")
    (folder / "mine.py").write_text("def grade(sample, item):\n    return 1.0\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def mine(files: Path) -> Project:
    project = open_project("mine")
    project.path.mkdir(parents=True)
    return project


def write(project: Project, *lines: str) -> None:
    (project.path / "project.toml").write_text("\n".join(lines), encoding="utf-8")


NEEDED = ('examples = "{0}/train.csv"', 'test = "{0}/test.csv"')


def needed(files: Path) -> tuple[str, ...]:
    return tuple(line.format(files) for line in NEEDED)


def call(*words: str) -> Result:
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_the_samples_task_needs_no_file_to_be_edited(home: Path):
    task = open_project("gql").task
    assert task.examples == str(DATA / "gql" / "collected.csv")
    assert task.format_grader == f"{DATA / 'gql' / 'gql.py'}:valid"
    assert (task.question, task.answer, task.cluster, task.target) == ("question", "query", "template", 0.85)
    assert not home.exists()


def test_a_task_is_read_as_it_is_written_by_hand(mine: Project, files: Path):
    columns = ('question = "body"', 'answer = "team"')
    write(mine, *needed(files), *columns, 'system = "One\\nlabel."', "target = 1", "budget = 2.5")
    task = mine.task
    assert (task.system, task.grader, task.target, task.budget) == ("One\nlabel.", "exact", 1.0, 2.5)
    assert [example.answer for example in task.read_examples()] == ["bank", "post"]
    assert task.validation is None


def test_a_relative_path_counts_from_the_projects_folder_and_else_from_the_repository(mine: Project):
    (mine.path / "train.csv").write_text("question,answer\na,b\n")
    write(mine, 'examples = "train.csv"', 'test = "data/gql/test.csv"')
    assert mine.task.examples == str(mine.path / "train.csv")
    assert mine.task.test == str(ROOT / "data" / "gql" / "test.csv")


def test_an_edit_counts_at_once(mine: Project, files: Path):
    write(mine, *needed(files), "target = 0.5")
    assert mine.task.target == 0.5
    write(mine, *needed(files), "target = 0.75")
    assert mine.task.target == 0.75


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ('quesiton = "body"', r"project\.toml has no use for 'quesiton'\. Did you mean question\?"),
        ('reference = "rule.txt"', r"reference is 'rule\.txt', and no such file is in .*; correct the path"),
        ('grader = "my.py:valid"', r"grader is 'my\.py:valid', and no such file is in "),
        ("target = 85", r"target is 85; give a share from 0 to 1, such as 0\.85"),
        ('target = "high"', r"target is 'high'; give a number such as 0\.85"),
        ("budget = true", r"budget is True; give a number"),
        ("question = 3", r"question is 3; give a text in quotes, such as question = "),
        ('system = ""', r"system is ''; give a text in quotes"),
        ("question = body", r"project\.toml is not TOML: .*line 3.*A setting is a line like question = "),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_the_way_out(
    mine: Project, files: Path, line: str, finding: str
):
    write(mine, *needed(files), line)
    with pytest.raises(DataError, match=finding):
        mine.task  # noqa: B018


def test_a_task_without_a_test_is_none(mine: Project, files: Path):
    write(mine, needed(files)[0])
    with pytest.raises(DataError, match=r'does not say test; add a line like test = "test\.csv"'):
        mine.task  # noqa: B018


def test_a_file_in_another_encoding_is_told(mine: Project):
    (mine.path / "project.toml").write_bytes('system = "Füge"'.encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8 text; save it as UTF-8"):
        mine.task  # noqa: B018


def test_a_project_without_a_task_says_how_to_state_one_and_keeps_its_record(home: Path):
    project = open_project("old")
    project.record("job", job_id="ftjob-1")
    with pytest.raises(SetupError, match=r"^Project old states no task yet; write it with 'python -m workb"):
        project.task  # noqa: B018
    assert project.stated("provider") is None
    assert project.need("job", "04_launch").facts["job_id"] == "ftjob-1"


def test_what_is_written_is_read_back_and_columns_are_guessed(files: Path):
    (files / "train.csv").write_text("text,label\na,b\n")
    (files / "test.csv").write_text("text,label\nc,d\n")
    task = state_task(
        open_project("mine"), {"examples": "train.csv", "test": "test.csv", "system": 'Say "b".'}
    )
    assert (task.question, task.answer) == ("text", "label")
    assert open_project("mine").task == task
    written = (open_project("mine").path / "project.toml").read_text()
    assert 'system = "Say \\"b\\"."' in written
    assert "# cluster =" in written


def test_stating_the_same_again_leaves_the_file_and_its_comments_alone(mine: Project, files: Path):
    write(mine, "# my own words", *needed(files), 'question = "body"', 'answer = "team"')
    state_task(mine, {"examples": "train.csv", "test": "test.csv", "system": None})
    assert (mine.path / "project.toml").read_text().startswith("# my own words")


def test_the_samples_own_project_keeps_its_task(files: Path):
    with pytest.raises(DataError, match="Project gql is the sample's own; open a project of another name"):
        state_task(open_project("gql"), {"examples": "train.csv", "test": "test.csv"})


def test_other_examples_take_the_prompts_examples_with_them(files: Path):
    changed = changed_task(open_project("gql").task, {"examples": str(DATA / "gql" / "pairs.csv")})
    assert changed.prompt_examples is None


def test_rows_with_another_instruction_than_the_tasks_are_found_by_the_check(mine: Project, files: Path):
    turns = [{"role": "user", "content": "My card is lost"}, {"role": "assistant", "content": "bank"}]
    lines = [
        {"messages": [{"role": "system", "content": text}, *turns]} for text in ("One label.", "Be kind.")
    ]
    (files / "train.csv").with_suffix(".jsonl").write_text("\n".join(map(json.dumps, lines)))
    write(mine, f'examples = "{files}/train.jsonl"', f'test = "{files}/test.csv"', 'system = "One label."')
    task = mine.task
    [found] = check(task.read_examples(), prompt=task.prompt, only=["skew"]).problems
    assert (found.origin, found.message) == (
        "train.jsonl:2",
        "the instruction is not that of the prompt in use",
    )
    write(mine, *needed(files))
    assert mine.task.prompt is None


def test_a_task_prints_itself_escaped(mine: Project, files: Path):
    write(mine, *needed(files), 'system = "<b>One</b>"')
    assert "&lt;b&gt;One&lt;/b&gt;" in mine.task._repr_html_()
    assert "system: <b>One</b>" in repr(mine.task)


PAIRED = 'preference_pairs = "{}/pairs.csv"'


def pairs_task(mine: Project, files: Path, header: str, *lines: str) -> Project:
    (files / "pairs.csv").write_text(f"{header}\nWhere is it?,On its way!,It is late.\n")
    write(mine, *needed(files), 'question = "body"', 'system = "Answer."', PAIRED.format(files), *lines)
    return mine


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        ("body,good,bad", ('preferred = "good"', 'rejected = "bad"')),
        ("ask,good,bad", ('preferred = "good"', 'rejected = "bad"')),
        ("question,chosen,rejected", ()),
    ],
    ids=["the task's question", "the only one left", "usual names"],
)
def test_pairs_are_read_by_the_columns_that_the_task_names(mine, files, header, lines):
    (pair,) = pairs_task(mine, files, header, *lines).task.read_pairs()
    assert pair.method == "dpo"
    assert [message["content"] for message in pair.messages] == ["Answer.", "Where is it?"]
    assert (pair.answer, pair.origin) == ("On its way!", "pairs.csv:2")


@pytest.mark.parametrize(
    ("header", "lines", "finding"),
    [
        ("body,good,bad", ('preferred = "better"', 'rejected = "bad"'), "pairs.csv has no column 'better'"),
        ("body,good,bad", ('preferred = "good"',), "preferred is given without rejected"),
        (
            "body,answer,bad",
            (),
            "pairs.csv holds no preference pairs: name the columns with the better and the worse answer, "
            "preferred and rejected, in project.toml; it has body, answer, bad",
        ),
    ],
    ids=["missing", "one of two", "no pairs"],
)
def test_a_file_of_pairs_without_the_columns_is_refused(mine, files, header, lines, finding):
    with pytest.raises(DataError, match=finding):
        pairs_task(mine, files, header, *lines).task.read_pairs()


def test_a_task_without_pairs_says_how_to_name_them(mine, files):
    write(mine, *needed(files))
    with pytest.raises(
        DataError, match=r"project\.toml names no file of pairs; add a line like preference_p"
    ):
        mine.task.read_pairs()


def test_a_column_of_pairs_that_is_not_there_stops_a_run_before_it_begins(mine, files):
    project = pairs_task(mine, files, "body,good,bad", 'preferred = "good"', 'rejected = "bad"')
    with pytest.raises(DataError, match=r"pairs\.csv has no column 'worse'"):
        changed_task(project.task, {"rejected": "worse"})


def test_the_parameters_of_older_scripts_are_known():
    older = {"TRAIN_CSV", "TEST_CSV", "QUESTION", "ANSWER", "SYSTEM", "CLUSTER", "REFERENCE", "DOCUMENTS"}
    older |= {"GOLD", "GRADER", "VALID", "WELL_FORMED", "GROUP", "TARGET"}
    assert older <= set(PARAMETERS)
    assert {PARAMETERS["TRAIN_CSV"], PARAMETERS["EXAMPLES"]} == {"examples"}
    assert len({each.name for each in SETTINGS}) == len(SETTINGS) == 28


WORDS = ("--train", "train.csv", "--test", "test.csv", "--question", "body", "--answer", "team")


class TestNew:
    def test_it_writes_the_task_and_says_what_it_guessed(self, files: Path):
        (files / "train.csv").write_text("text,label\na,b\n")
        (files / "test.csv").write_text("text,label\nc,d\n")
        done = call("new", "mine", "--train", "train.csv", "--test", "test.csv", "--grader", "mine.py")
        assert done.exit_code == 0
        assert done.stderr.splitlines() == [
            "The question is guessed: the column 'text'.",
            "The answer is guessed: the column 'label'.",
            "Next: python -m workbench run --project mine",
        ]
        assert open_project("mine").task.grader == str(files / "mine.py")

    def test_it_is_one_json_object_for_programs(self, files: Path):
        words = ("--train", "train.csv", "--test", "test.csv", "--question", "body", "--answer", "team")
        done = call("new", "mine", *words, "--target", "0.9", "--json")
        facts = json.loads(done.stdout)
        assert (facts["question"], facts["answer"], facts["target"]) == ("body", "team", 0.9)
        assert facts["file"] == str(open_project("mine").path / "project.toml")

    def test_every_setting_of_a_task_is_an_option(self, files: Path):
        words = (*WORDS, "--group", "shop", "--preference-grader", "mine.py", "--rehearsal", "0.2")
        assert call("new", "mine", *words).exit_code == 0
        task = open_project("mine").task
        assert (task.group, task.rehearsal, task.budget) == ("shop", 0.2, None)
        assert task.preference_grader == str(files / "mine.py")

    def test_it_replaces_a_task_only_when_forced(self, files: Path):
        words = ("new", "mine", "--train", "train.csv", "--test", "test.csv", "--question", "body")
        words += ("--answer", "team")
        assert call(*words, "--target", "0.9").exit_code == 0
        again = call(*words)
        assert again.exit_code == 2
        assert again.stderr.endswith("project.toml is there already; edit it, or replace it with --force.\n")
        assert open_project("mine").task.target == 0.9
        assert call(*words, "--force").exit_code == 0
        assert open_project("mine").task.target == 0.85

    @pytest.mark.parametrize(
        ("header", "typed", "columns"),
        [
            ("text,label", b"\n\n", ("text", "label")),  # Enter takes the guess
            ("body,team", b"body\nteam\n", ("body", "team")),  # nobody can guess these
        ],
    )
    def test_it_asks_a_person_for_what_is_missing(
        self, files: Path, header: str, typed: bytes, columns: tuple[str, str]
    ):
        (files / "train.csv").write_text(f"{header}\na,b\n")
        (files / "test.csv").write_text(f"{header}\nc,d\n")
        terminal, end = os.openpty()
        os.write(terminal, b"train.csv\ntest.csv\n\n" + typed)  # the empty line is the grader
        command = [sys.executable, "-m", "workbench", "new", "mine", "--system", "Sort."]
        try:
            asked = subprocess.run(
                command, stdin=end, capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            os.close(terminal)
            os.close(end)
        assert asked.returncode == 0, asked.stderr
        assert "The examples to learn from" in asked.stdout
        task = open_project("mine").task
        assert (task.question, task.answer, task.system, task.grader) == (*columns, "Sort.", "exact")

    @pytest.mark.parametrize("name", ["gql", "support"])
    def test_it_copies_a_samples_task(self, home: Path, name: str):
        assert call("new", "mine", "--sample", name).exit_code == 0
        copied, sample = open_project("mine").task, open_project(name).task
        assert copied.facts == sample.facts
        assert f'test = "data/{name}/test.csv"' in copied.stated_in.read_text()

    @pytest.mark.parametrize(
        ("words", "finding"),
        [
            (("--train", "train.csv"), "--test must be given: python -m workbench new mine --train FILE"),
            (("--train", "train.csv", "--test", "test.csv"), "none has a usual name for what asks"),
            (
                ("--train", "train.csv", "--test", "test.csv", "--question", "text"),
                "train.csv has no column 'text'; it has body, team, shop.",
            ),
            (("--train", "none.csv", "--test", "test.csv"), "examples is 'none.csv', and no such file is in"),
            (("--sample", "sql"), "There is no sample 'sql'; choose gql, support."),
            (
                [
                    "--train",
                    "train.csv",
                    "--test",
                    "test.csv",
                    "--question",
                    "body",
                    "--answer",
                    "team",
                    "--grader",
                    "exacd",
                ],
                "There is no ready-made grader 'exacd'",
            ),
            (
                [
                    "--train",
                    "train.csv",
                    "--test",
                    "test.csv",
                    "--question",
                    "body",
                    "--answer",
                    "team",
                    "--cluster",
                    "city",
                ],
                "test.csv has no column 'city', which the task names as cluster; it has body, team, shop.",
            ),
        ],
    )
    def test_what_cannot_be_a_task_is_told_in_a_sentence(
        self, files: Path, words: tuple[str, ...], finding: str
    ):
        done = call("new", "mine", *words)
        assert done.exit_code == 2
        assert finding in done.stderr
        assert done.stderr.count("\n") == 1
        assert not open_project("mine").path.exists()


class TestRun:
    def test_a_project_without_a_task_never_runs_the_sample(self, home: Path):
        done = call("run", "--project", "mine", "-p", "MODEL", "nano")
        assert done.exit_code == 2
        assert done.stderr.startswith(
            "Project mine states no task yet; write it with 'python -m workbench new"
        )
        assert not home.exists()

    def test_half_a_task_is_refused_before_anything_runs(self, files: Path):
        done = call("run", "-p", "PROJECT", "mine", "-p", "TEST_CSV", "test.csv")
        assert done.exit_code == 2
        assert 'does not say examples; add a line like examples = "examples.csv"' in done.stderr
        assert not open_project("mine").path.exists()

    def test_the_first_run_writes_down_what_older_scripts_give_it(self, files: Path):
        older = {"TRAIN_CSV": "train.csv", "TEST_CSV": "test.csv", "QUESTION": "body", "ANSWER": "team"}
        older |= {"VALID": None, "CLUSTER": None, "REFERENCE": "rules.txt"}
        runner.state(open_project("mine"), {"PROJECT": "mine", "MODEL": "nano", **older})
        task = open_project("mine").task
        assert (task.examples, task.question, task.reference) == (
            str(files / "train.csv"),
            "body",
            str(files / "rules.txt"),
        )
        assert (task.cluster, task.model) == (None, None)  # a model is for one run

    def test_a_parameter_changes_the_task_for_one_run_only(
        self, files: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("WORKBENCH_TASK", "")
        project = open_project("mine")
        words = {"examples": "train.csv", "test": "test.csv", "question": "body", "answer": "team"}
        state_task(project, {**words, "cluster": "shop"})
        changed = runner.state(project, {"GRADER": "mine.py", "CLUSTER": None})
        with runner.for_this_run(changed, project, project.path / "runs" / "now"):
            assert (project.task.grader, project.task.cluster) == (str(files / "mine.py"), None)
            assert project.task.examples == str(files / "train.csv")
            assert open_project("gql").task.grader == str(DATA / "gql" / "gql.py")
        assert (project.task.grader, project.task.cluster) == ("exact", "shop")
        assert os.environ["WORKBENCH_TASK"] == ""

    @pytest.mark.parametrize(
        ("name", "value", "finding"),
        [
            ("QUESTION", "txt", "has no column 'txt'; it has question, query"),
            ("QUESTION", True, "QUESTION was read as true; for the word, put it in quotes"),
            ("TEST_CSV", "none.csv", "test is 'none.csv', and no such file is in"),
            ("GRADER", "exacd", "no ready-made grader 'exacd'"),
            ("TARGET", 85, "target is 85; give a share from 0 to 1"),
            ("TEST", None, "does not say test"),
        ],
    )
    def test_a_bad_parameter_is_told_before_anything_runs(
        self, home: Path, name: str, value: runner.Value, finding: str
    ):
        with pytest.raises(DataError, match=finding):
            runner.state(open_project("gql"), {name: value})
        assert not home.exists()


def test_what_no_notebook_measures_has_a_place_in_the_task(mine: Project, files: Path):
    write(
        mine,
        *needed(files),
        'question = "body"',
        'answer = "team"',
        "[situation]",
        'motive = "cost"',
        "judge_agreement = 0.7",
        "latency_objective_missed = true",
        'payback_months = "never"',
        "failures = {format = 0.5, style = 0.5}",
    )
    task = mine.task
    assert task.situation == {
        "motive": "cost",
        "judge_agreement": 0.7,
        "latency_objective_missed": True,
        "payback_months": "never",
        "failures": {"format": 0.5, "style": 0.5},
    }
    answers = task.answers(motive=None, requests_per_month=5)
    assert (answers["motive"], answers["requests_per_month"], answers["target"]) == ("cost", 5, 0.85)
    assert answers["task_changes_every_days"] == 365
    # What a run changes keeps it, and it is written as it was read.
    changed = changed_task(task, {"target": 0.5})
    assert (changed.target, changed.situation) == (0.5, task.situation)
    write(mine, task.to_toml(mine.path))
    assert mine.task.situation == task.situation
    assert "# target =" not in task.to_toml(mine.path)  # it is a setting of its own
    assert "# agreement =  # How well do two people agree" in task.to_toml(mine.path)


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("motiv = 1", r"project\.toml, \[situation\]: motiv is not known; there are motive, "),
        ("score = 85", r"project\.toml, \[situation\]: score is 85; it should be 1 or less\."),
        ("leaks = true", r"leaks is True; it should be a whole number"),
    ],
)
def test_an_answer_that_cannot_be_is_named_with_its_place(
    mine: Project, files: Path, line: str, finding: str
):
    write(mine, *needed(files), "[situation]", line)
    with pytest.raises(DataError, match=finding):
        mine.task  # noqa: B018


class Models:
    """A service that lists models, and answers nothing else."""

    def __init__(self, *names: str, provider: str = "local") -> None:
        async def show(request: Request) -> JSONResponse:
            if request.path_params["name"] in names:
                return JSONResponse({"id": request.path_params["name"], "object": "model"})
            return JSONResponse({"error": {"message": "no such model", "code": "404"}}, 404)

        async def listed(request: Request) -> JSONResponse:
            return JSONResponse(
                {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
            )

        routes = [Route("/openai/v1/models", listed), Route("/openai/v1/models/{name:path}", show)]
        http = TestClient(Starlette(routes=routes))
        client = OpenAI(base_url="http://testserver/openai/v1/", api_key="k", http_client=http, max_retries=0)
        self.client = connect(provider, client=client)


class TestCheckBeforeTheFirstRequest:
    @pytest.fixture
    def task(self, mine: Project, files: Path) -> Task:
        write(mine, *needed(files), 'question = "body"', 'answer = "team"')
        return mine.task

    def test_what_is_right_is_one_line(self, task: Task):
        found = task.check(Models("nano", "nano.ft-1").client, "nano")
        assert repr(found) == (
            "✓ 2 examples and 1 test question can be read, the grader exact grades, and local has nano."
        )
        assert found.notes == ()
        assert found._repr_html_().startswith('<p class="mathjax_ignore" role="status">✓ 2 examples')

    def test_an_unknown_model_is_answered_with_those_there_are_base_models_first(self, task: Task):
        client = Models("nano.ft-1", "nano", "SmolLM2-135M-Instruct").client
        with pytest.raises(SetupError) as caught:
            task.check(client, "nonano")
        assert str(caught.value) == (
            "local has no model nonano. Did you mean nano? It has nano, SmolLM2-135M-Instruct, nano.ft-1; "
            "name one of them."
        )

    def test_where_models_answer_through_deployments_their_names_are_not_asked_for(self, task: Task):
        found = task.check(Models(provider="azure").client, "my-deployment")
        assert found.sentence.endswith("the grader exact grades.")

    def test_a_grader_that_cannot_grade_the_right_answers_stops_before_any_is_asked_for(
        self, mine: Project, files: Path
    ):
        write(mine, *needed(files), 'question = "body"', 'answer = "team"', 'grader = "numeric"')
        with pytest.raises(DataError) as caught:
            mine.task.check(Models("nano").client, "nano")
        assert "The grader numeric cannot grade the right answer of test.csv:2, 'post'" in str(caught.value)
        assert "has no number" in str(caught.value)
        assert "Choose a grader that fits such answers (exact, " in str(caught.value)

    def test_a_grader_that_takes_right_answers_for_wrong_is_worth_a_note(self, mine: Project, files: Path):
        (files / "mine.py").write_text("def grade(sample, item):\n    return 0.0\n")
        write(mine, *needed(files), 'question = "body"', 'answer = "team"', f'grader = "{files}/mine.py"')
        [note] = mine.task.check(Models("nano").client, "nano").notes
        assert note.startswith("The grader mine takes 1 of the first 1 right answers for wrong (test.csv:2")

    @pytest.mark.parametrize(
        ("line", "finding"),
        [
            (
                'grader = "regex"',
                r'needs a pattern: .* name a file, mine\.json, that holds \{"name": "regex"',
            ),
            ('grader = "exakt"', "Did you mean exact"),
            ('answer = "tem"', "has no column 'tem'; it has body, team, shop"),
            ('format_grader = "json_schema"', "needs a schema"),
        ],
    )
    def test_files_columns_and_graders_are_checked(self, mine: Project, files: Path, line: str, finding: str):
        lines = [each for each in ('question = "body"', 'answer = "team"') if line.split()[0] not in each]
        write(mine, *needed(files), *lines, line)
        with pytest.raises(DataError, match=finding):
            mine.task.check(Models("nano").client, "nano")

    def test_run_checks_before_any_notebook(
        self, mine: Project, files: Path, monkeypatch: pytest.MonkeyPatch
    ):
        write(mine, *needed(files), 'question = "body"', 'answer = "team"')
        client = Models("nano").client
        monkeypatch.setattr("workbench.__main__.connect", lambda provider: client)
        for words in (("MODEL=nonano",), ("MODEL=nano", "-p", "TEACHER=nonano")):
            done = call("run", "--project", "mine", "-p", *words)
            assert (done.exit_code, done.stdout) == (2, "")
            assert done.stderr.startswith("local has no model nonano. Did you mean nano?")
        assert not (mine.path / "runs").exists()


NOTEBOOKS = runner.notebooks()[1:]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_of_a_project_without_a_task_stops_and_never_reads_the_sample(
    home: Path, monkeypatch: pytest.MonkeyPatch, notebook: Path
):
    monkeypatch.setenv("WORKBENCH_PROVIDER", "openai")  # connecting asks nothing, and starts nothing
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    parameters, *code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    exec(f"{parameters}\nPROJECT = 'mine'", names)
    with pytest.raises(SetupError, match=r"^Project mine (states no task yet|has no \w+ yet)"):
        exec("\n".join(code), names)
    assert not (home / "projects").exists()


def test_parameters_forgotten_in_a_later_run_are_those_of_the_project_and_not_the_samples(files: Path):
    own = {"TRAIN_CSV": "train.csv", "TEST_CSV": "test.csv", "QUESTION": "body", "ANSWER": "team"}
    runner.state(open_project("mine"), {"PROJECT": "mine", **own})
    later = runner.state(open_project("mine"), {"PROJECT": "mine", "MODEL": "nano"})
    assert later.examples == str(files / "train.csv")
    assert [example.answer for example in open_project("mine").task.read_examples()] == ["bank", "post"]


def test_no_notebook_names_the_samples_files_in_its_code():
    for notebook in runner.notebooks():
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        assert code.count("open_project(") == code.count("open_project(PROJECT)") == 1
        assert not [word for word in ("wb.DATA", "data/gql", "data/support", ".csv") if word in code]
