"""The record: nothing written is lost, nothing half written is believed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workbench.errors import DataError, SetupError
from workbench.project import Project, existing_project, open_project


@pytest.fixture
def gql(home: Path) -> Project:
    return open_project("gql")


def test_a_project_lies_in_the_workbench_home(gql, home):
    assert gql.path == home / "projects" / "gql"


def test_nothing_is_on_disk_before_something_is_written(gql, home):
    assert gql.entries() == ()
    assert gql.latest("job") is None
    assert not home.exists()


def test_what_is_recorded_is_read_back_in_order(gql):
    gql.record("dataset", training_examples=240, files=["a.jsonl"])
    gql.record("job", job_id="ftjob-1", seed=0)
    gql.record("job", job_id="ftjob-2", note="Füße\nzweite Zeile")
    assert [entry.kind for entry in gql.entries()] == ["dataset", "job", "job"]
    assert gql.entries("dataset")[0].facts == {"training_examples": 240, "files": ["a.jsonl"]}
    assert gql.latest("job").facts == {"job_id": "ftjob-2", "note": "Füße\nzweite Zeile"}


def test_an_entry_says_when_and_by_which_version(gql):
    entry = gql.record("environment", provider="local")
    assert entry.at.endswith("+00:00")
    assert entry.version == "0.1.0"
    assert gql.entries() == (entry,)


def test_a_torn_last_line_is_skipped_and_does_not_swallow_the_next_entry(gql):
    gql.record("dataset", rows=1)
    with (gql.path / "record.jsonl").open("ab") as file:
        file.write(b'{"id": "x", "at": "2026-')
    assert len(gql.entries()) == 1
    gql.record("job", job_id="ftjob-1")
    assert [entry.kind for entry in gql.entries()] == ["dataset", "job"]


def test_many_kernels_can_record_at_once(gql):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: open_project("gql").record("score", number=number), range(40)))
    assert sorted(entry.facts["number"] for entry in gql.entries()) == list(range(40))


def test_what_is_missing_names_the_notebook_that_writes_it(gql):
    with pytest.raises(SetupError, match="gql has no dataset yet; run 03_build_data first"):
        gql.need("dataset", "03_build_data")


def test_the_newest_job_is_that_of_a_method_and_one_without_is_supervised(gql):
    gql.record("job", job_id="ftjob-1")
    gql.record("job", job_id="ftjob-2", method="dpo")
    assert gql.need_job().facts["job_id"] == "ftjob-1"
    assert gql.need_job("dpo").facts["job_id"] == "ftjob-2"
    assert gql.latest_job("reinforcement") is None
    with pytest.raises(SetupError, match="gql has no reinforcement job yet; run 09_reinforcement first"):
        gql.need_job("reinforcement")


def test_without_any_job_the_launch_is_named(gql):
    with pytest.raises(SetupError, match="gql has no job yet; run 04_launch first"):
        gql.need_job()


@pytest.mark.parametrize("value", [float("nan"), object(), Path("x")])
def test_a_fact_that_is_no_json_is_refused_by_name(gql, value):
    with pytest.raises(DataError, match="fact loss of curve"):
        gql.record("curve", loss=value)
    assert gql.entries() == ()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", "x" * 65, "ö", "a b"])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(DataError, match="cannot be a project's name"):
        open_project(name)


def test_a_saved_file_replaces_the_old_one_whole(gql):
    gql.save("scores/base.json", "old")
    path = gql.save("scores/base.json", "neu ä")
    assert path == gql.path / "scores" / "base.json"
    assert path.read_bytes() == b"neu \xc3\xa4"
    assert [left.name for left in path.parent.iterdir()] == ["base.json"]


@pytest.mark.parametrize("name", ["../other/x", "/etc/passwd", ".", "", "a/../../x"])
def test_a_file_outside_the_project_is_refused(gql, name):
    with pytest.raises(DataError, match="lies outside project gql"):
        gql.save(name, b"")


def test_the_record_cannot_be_overwritten(gql):
    with pytest.raises(DataError, match="is the record itself"):
        gql.save("record.jsonl", b"")


def test_a_disk_that_refuses_is_told_in_a_sentence(gql, home):
    home.write_text("a file where a folder should be")
    with pytest.raises(SetupError, match=r"cannot be written: .*\. Free some space, or set WORKBENCH_HOME"):
        gql.record("job", job_id="ftjob-1")


def test_a_project_shows_its_record_escaped(gql):
    gql.record("note", text="<script>alert(1)</script>")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in gql._repr_html_()
    assert "<script>" not in gql._repr_html_()


def test_what_is_locked_may_be_used_again_as_it_is(gql):
    gql.lock("test", "a" * 64)
    gql.lock("test", "a" * 64)
    assert [entry.facts for entry in gql.entries("seal")] == [{"name": "test", "sha256": "a" * 64}]


def test_what_has_changed_since_it_was_locked_is_refused(gql):
    gql.lock("test", "a" * 64)
    gql.lock("few-shot examples", "b" * 64)
    with pytest.raises(DataError, match=r"^The test of project gql has changed since it was locked on 20"):
        gql.lock("test", "b" * 64)


def test_a_project_that_is_none_is_answered_with_the_near_one(home):
    with pytest.raises(
        DataError, match=r"^There is no project gqll\. Did you mean gql\? There are gql, support\.$"
    ):
        existing_project("gqll")
    open_project("mine").record("job", job_id="ftjob-1")
    assert existing_project("mine") == open_project("mine")
    assert existing_project("gql").entries() == ()
