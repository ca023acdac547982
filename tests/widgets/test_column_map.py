"""The columns of a table: guessed, shown with three rows, corrected by a person, written into the task."""

import datetime
from pathlib import Path

import pytest

from workbench.errors import DataError
from workbench.project import Project, open_project, state_task
from workbench.widgets.column_map import ColumnMap, TaskForm, map_columns, task_form

NOW = datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)

TRAIN = "id,customer,question,text,answer\n" + "".join(
    f"{n},c{n % 2},Where is {n}?,ticket {n} of j.doe@contoso.com,Here {n}.\n" for n in range(5)
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text(TRAIN)
    made = Project("shop", tmp_path / "shop")
    state_task(made, {"examples": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")})
    return made


@pytest.fixture
def columns(project: Project, tmp_path: Path) -> ColumnMap:
    return map_columns(tmp_path / "train.csv", project)


def said(window: ColumnMap | TaskForm) -> str:
    return str(window._said.value)


def test_the_columns_are_guessed_and_shown_with_three_rows(columns, unstyled):
    assert columns.choice == {"question": "question", "answer": "answer", "cluster": None}
    html = unstyled(columns._repr_html_())
    assert '<th scope="col">question\n▸ question</th>' in html
    assert html.count('<th scope="row">') == 3
    assert "j.doe" not in html


def test_a_person_corrects_them_and_the_task_is_the_corrected_one(columns, project):
    columns.fields["question"].value = "text"
    columns.fields["cluster"].value = "customer"
    assert "text\n▸ question" in columns._repr_html_()
    assert project.task.question == "question"  # nothing is written before it is saved
    columns.save.click()
    assert (project.task.question, project.task.answer, project.task.cluster) == (
        "text",
        "answer",
        "customer",
    )
    assert "✓ Saved in project.toml: question text, answer answer, cluster customer." in said(columns)


def test_saving_twice_is_harmless_and_a_rerun_shows_what_was_saved(columns, project, tmp_path):
    columns.fields["question"].value = "text"
    for _ in range(3):
        columns.save.click()
    again = map_columns(tmp_path / "train.csv", project)
    assert again.choice == {"question": "text", "answer": "answer", "cluster": None}
    again.fields["answer"].value = "id"
    again.save.click()
    assert project.task.answer == "id"


def test_what_cannot_be_is_said_and_nothing_is_written(project, tmp_path):
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    odd = map_columns(tmp_path / "odd.csv", Project("odd", tmp_path / "odd"))
    assert odd.choice == {"question": None, "answer": None, "cluster": None}
    odd.save.click()
    assert "✕ Not saved. Choose a column for the question and one for the answer first." in said(odd)
    odd.fields["question"].value, odd.fields["answer"].value = "a", "b"
    odd.save.click()
    assert "does not say test" in said(odd)
    assert not (tmp_path / "odd" / "project.toml").exists()


def test_a_sample_keeps_its_own_task(tmp_path):
    from workbench.settings import DATA

    sample = map_columns(DATA / "gql" / "collected.csv", Project("gql", tmp_path / "gql"))
    assert sample.choice == {"question": "question", "answer": "query", "cluster": "template"}
    sample.save.click()
    assert "✕ Not saved. Project gql is the sample&#x27;s own" in said(sample)


def test_conversations_have_no_columns_to_choose(tmp_path):
    line = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n'
    (tmp_path / "chats.jsonl").write_text(line)
    chats = map_columns(tmp_path / "chats.jsonl")
    assert "no columns to choose" in chats._repr_html_()
    assert chats.choice == {"question": None, "answer": None, "cluster": None}


def test_without_a_project_nothing_can_be_saved(tmp_path):
    (tmp_path / "a.csv").write_text("question,answer\nq,a\n")
    alone = map_columns(tmp_path / "a.csv")
    assert alone.save.disabled
    assert repr(alone) == "a.csv: question: question, answer: answer, cluster: none"


# The form that states a task


def typed(form: TaskForm, **values: str) -> TaskForm:
    for name, value in values.items():
        form.fields[name].value = value
    return form


@pytest.fixture
def own(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without a task, and files with Spanish columns beside the notebook."""
    rows = "".join(f"K{n % 2};¿Dónde está {n}?;envío\n" for n in range(6))
    for name in ("entrenar.csv", "prueba.csv"):
        (tmp_path / name).write_bytes(("cliente;mensaje;categoría\n" + rows).encode("cp1252"))
    monkeypatch.chdir(tmp_path)
    return open_project("own")


def test_a_task_is_stated_by_two_files_and_two_columns(own):
    form = task_form(own, {"examples": None, "grader": None})
    assert repr(form) == "Project own states no task yet."
    typed(form, examples="entrenar.csv", test="prueba.csv", system="Responde con una etiqueta.")
    assert form.columns.choice == {"question": None, "answer": None, "cluster": None}
    form.save.click()
    assert "✕ Not saved. Choose a column for the question and one for the answer first." in said(form)
    form.columns.fields["question"].value, form.columns.fields["answer"].value = "mensaje", "categoría"
    form.save.click()
    assert "6 examples and 6 test questions. Now run the cells below." in said(form)
    task = own.task
    assert (task.question, task.answer, task.cluster, task.grader) == ("mensaje", "categoría", None, "exact")
    assert task.read_test()[0].answer == "envío"
    assert task.system == "Responde con una etiqueta."


def test_a_rerun_shows_what_was_saved_and_what_is_emptied_goes(own):
    columns = {"question": "mensaje", "answer": "categoría", "cluster": "cliente"}
    files = {"examples": "entrenar.csv", "test": "prueba.csv", "system": "Etiqueta."}
    state_task(own, {**files, **columns, "target": 0.9})
    again = task_form(own, {})
    assert again.fields["system"].value == "Etiqueta."
    assert again.columns.choice == columns
    typed(again, system="")
    again.save.click()
    assert (own.task.system, own.task.cluster, own.task.target) == (None, "cliente", 0.9)


def test_an_uploaded_file_is_kept_in_the_project(own):
    form = task_form(own, {})
    content = memoryview(b"question,answer\nq,a\n")
    sent = {"name": "../faq.csv", "type": "text/csv", "size": 20, "content": content, "last_modified": NOW}
    form.uploads["examples"].value = (sent,)
    assert form.fields["examples"].value == str(own.path.resolve() / "files" / "faq.csv")
    assert form.columns.choice == {"question": "question", "answer": "answer", "cluster": None}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"examples": "nowhere.csv", "test": "prueba.csv"}, "nowhere.csv"),
        ({"examples": "empty.csv", "test": "prueba.csv"}, "empty.csv"),
        ({"examples": "entrenar.csv"}, "Name a file with the examples and one with the test first."),
        ({"examples": "entrenar.csv", "test": "prueba.csv", "grader": "exakt"}, "Did you mean exact?"),
    ],
)
def test_a_form_with_something_wrong_says_so_and_writes_nothing(own, tmp_path, values, sentence):
    (tmp_path / "empty.csv").write_text("")
    form = typed(task_form(own, {}), **values)
    form.save.click()
    assert "✕" in said(form)
    assert sentence in said(form)
    assert not (own.path / "project.toml").exists()


def test_what_is_given_needs_no_form_and_a_sample_keeps_its_task(own):
    given = {"examples": "entrenar.csv", "test": "prueba.csv", "question": "mensaje", "answer": "categoría"}
    assert "mensaje → categoría" in repr(task_form(own, given))
    sample = open_project("gql")
    assert task_form(sample, {"system": None}) == sample.task
    with pytest.raises(DataError, match="open a project of another name"):
        task_form(sample, given)
