"""Scores of other tools: a JSON object a line, and bad lines named with what to do."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.evaluation.test_compare import evaluation
from workbench.errors import DataError
from workbench.evaluation.compare import compare
from workbench.evaluation.scores import read_scores


def written(folder: Path, text: str, name: str = "tuned.jsonl") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_an_item_a_line_becomes_an_evaluation(tmp_path):
    found = read_scores(
        written(
            tmp_path,
            '{"id": "q1", "score": 1, "cluster": "faq.pdf", "question": "How?", "answer": "So."}\n'
            "\n"
            '{"id": 2, "score": 0.25, "latency": 3}\n'
            '{"id": "q3", "score": null}\n'
            '{"id": "q4", "score": true}\n',
        )
    )
    assert found.model == "tuned"
    assert [item.id for item in found.items] == ["q1", "2", "q3", "q4"]
    assert [item.origin for item in found.items] == [f"tuned.jsonl:{line}" for line in (1, 3, 4, 5)]
    assert [item.score for item in found.graded] == [1, 0.25, 1]
    assert (found.items[0].cluster, found.items[0].question, found.items[0].answer) == (
        "faq.pdf",
        "How?",
        "So.",
    )
    assert found.problems == {"the file has no score for it": 1}


def test_two_files_of_another_tool_are_compared(tmp_path):
    lines = [f'{{"id": {n}, "score": %d}}\n' for n in range(12)]
    base = read_scores(written(tmp_path, "".join(line % 0 for line in lines), "base.jsonl"))
    tuned = read_scores(written(tmp_path, "".join(line % 1 for line in lines)))
    result = compare(base, tuned)
    assert result.verdict.startswith(
        "The tuned model is better: 12 of 12 items right against 0 (+100.0 points"
    )
    assert "<td" in result._repr_html_()
    assert "not known" in result._repr_html_()


def test_a_saved_evaluation_is_read_as_one(tmp_path):
    kept = evaluation("011")
    assert read_scores(kept.save(tmp_path / "base.jsonl")) == kept
    assert read_scores(kept.to_parquet(tmp_path / "base.parquet")) == kept


def test_several_samples_of_an_item_are_averaged_first(tmp_path):
    found = read_scores(
        written(
            tmp_path,
            '{"id": "q1", "sample": 1, "score": 1, "answer": "a"}\n'
            '{"id": "q1", "sample": 2, "score": 0, "answer": "b"}\n'
            '{"id": "q1", "sample": 3, "score": null}\n',
        )
    )
    (item,) = found.items
    assert item.score == 0.5
    assert [answer.text for answer in item.answers] == ["a", "b", ""]
    assert math.isnan(item.answers[2].score)


def test_all_bad_lines_are_named_at_once_with_the_way_out(tmp_path):
    path = written(
        tmp_path,
        '{"id": "q1", "score": 1}\n'
        "score: 1\n"
        '{"name": "q2", "score": 1}\n'
        '{"id": "q3", "score": "good"}\n'
        '{"id": "q4", "score": 7}\n'
        '{"id": "q1", "score": 0}\n',
    )
    with pytest.raises(DataError) as error:
        read_scores(path)
    said = str(error.value)
    assert said.startswith(f"{path}: line 2: is no JSON")
    assert "line 3: has no 'id'; it has 'name', 'score'." in said
    assert "line 4: score is 'good'; give a number from 0 to 1, or null if there is none." in said
    assert "line 5: score is 7; give one from 0 to 1: divide by the largest there can be." in said
    assert "line 6: id 'q1' stands in line 1 already; leave one out, or number several answers" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; write a line such as"),
        ("[1]\n", 'line 1: is no object; write {"id": …, "score": …}'),
        ('{"id": true, "score": 1}\n', "line 1: id is True; give each item a text or a whole number"),
        ('{"id": "a", "score": Infinity}\n', "line 1: score is inf; give one from 0 to 1"),
        ("{}\n", "line 1: has no 'id' and no 'score'; it has nothing"),
        ("x\n" * 9, "And 4 more."),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, said):
    with pytest.raises(DataError) as error:
        read_scores(written(tmp_path, text))
    assert said in str(error.value)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*nothing\.jsonl; give the scores of one model"):
        read_scores(tmp_path / "nothing.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "\xe9", "score": 1}')
    with pytest.raises(DataError, match=r"latin.jsonl is no UTF-8 text \(.* at byte 8\)"):
        read_scores(tmp_path / "latin.jsonl")


def test_a_bom_is_no_trouble(tmp_path):
    assert len(read_scores(written(tmp_path, '\ufeff{"id": 1, "score": 1}\n')).items) == 1


def test_what_another_grader_scored_is_not_compared_with_a_file(tmp_path):
    foreign = read_scores(written(tmp_path, '{"id": "id0", "score": 1}\n'))
    ours = evaluation("1")
    with pytest.raises(DataError, match="graded by 'exact' and the tuned one by 'as scored in the file'"):
        compare(ours, foreign)
    assert compare(replace(ours, grader=foreign.grader), foreign).items == 1
