"""The columns of a table: guessed, shown with three rows, corrected by a person, written into the task."""

from pathlib import Path

import pytest

from workbench.project import Project, state_task
from workbench.widgets.column_map import ColumnMap, map_columns

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


def said(columns: ColumnMap) -> str:
    return str(columns.children[-1].value)


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
