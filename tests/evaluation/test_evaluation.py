"""An evaluation: its numbers, how sure they are, and what comes back from disk."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest

from workbench.dataset.dataset import Example
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item, cost_per_request
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.requests import Answer
from workbench.evaluation.statistics import effective_items, interval_of, wilson

EXACT = grader("exact")


def item(number: int, score: float, **changes: object) -> Item:
    plain = Item(
        f"i{number}",
        f"faq.csv:{number + 2}",
        f"Q{number}?",
        "yes",
        (Answer("<b>no</b>", "stop", 0.1 * (number + 1), 10, 2, score=score),),
    )
    if "answers" in changes:
        return replace(plain, **changes)
    own = {name: changes.pop(name) for name in ("cluster", "more") if name in changes}
    return replace(plain.answered(**changes), **own)


def evaluation(*items: Item, prompt: Prompt | None = None) -> Evaluation:
    return Evaluation("nano", prompt or Prompt("short"), EXACT, items, 64, 0.0)


def ungraded(number: int, problem: str = "the judge refused") -> Item:
    return item(number, math.nan, problem=problem)


def several(*scores: float) -> tuple[Answer, ...]:
    return tuple(Answer("a", "stop", 1.0 + n, 10, 2 + n, score=score) for n, score in enumerate(scores))


def test_it_is_one_line_with_score_interval_tokens_and_time_escaped():
    shown = evaluation(*(item(n, float(n % 2 == 0)) for n in range(10)), prompt=Prompt("<b>"))
    assert shown._repr_html_() == (
        '<p class="mathjax_ignore"><b>&lt;b&gt;, nano</b>: 50.0 % (24 to 76 with 95 % confidence, 5 of 10 '
        "right); 10 tokens asked; 0.6 s for an answer.</p>"
    )
    assert list(shown.failures["origin"]) == [f"faq.csv:{line}" for line in (3, 5, 7, 9, 11)]
    assert repr(shown) == "<Evaluation of nano: 50.0 % (95 % interval 24–76), 5 of 10 right>"


def test_the_score_speaks_of_those_that_could_be_graded_and_says_how_many_could_not():
    shown = evaluation(item(0, 1.0), item(1, 0.0), ungraded(2), ungraded(3), ungraded(4, "it hung"))
    assert (shown.score, shown.correct, len(shown.graded)) == (0.5, 1, 2)
    assert shown.problems == {"the judge refused": 2, "it hung": 1}
    assert shown.interval == wilson(0.5, 2)
    assert repr(shown).endswith("1 of 2 right; 3 of 5 items could not be graded>")
    assert "2 items not graded: the judge refused; 1 item not graded: it hung." in shown._repr_html_()
    assert list(shown.failures["origin"]) == ["faq.csv:3"]


def test_where_nothing_could_be_graded_it_says_so_and_why():
    shown = evaluation(ungraded(0), ungraded(1))
    assert repr(shown) == "<Evaluation of nano: none of 2 items could be graded; the judge refused>"
    assert math.isnan(shown.score)
    assert all(math.isnan(end) for end in shown.interval)
    assert (shown.facts["score"], shown.facts["low"], shown.correct) == (None, None, 0)
    assert "none of 2 items" in shown._repr_html_()


def test_one_item_tells_next_to_nothing():
    assert evaluation(item(0, 1.0)).interval == pytest.approx((0.2065, 1.0), abs=1e-4)


def test_a_threshold_of_the_grader_decides_what_is_right():
    kind = {**EXACT, "pass_threshold": 0.5}
    shown = replace(evaluation(item(0, 0.4), item(1, 0.6)), grader=kind)
    assert shown.correct == 1
    assert list(shown.failures["origin"]) == ["faq.csv:2"]


def test_answers_that_never_came_have_no_part_in_times_and_tokens():
    refused = item(
        0, math.nan, seconds=math.nan, prompt_tokens=0, completion_tokens=0, finish_reason="refused"
    )
    shown = evaluation(refused, item(1, 1.0), item(2, 1.0))
    assert (shown.prompt_tokens, shown.completion_tokens) == (10, 2)
    assert shown.seconds_p50 == pytest.approx(0.25)


def test_a_service_that_tells_no_times_gives_none():
    shown = evaluation(item(0, 1.0, seconds=math.nan))
    assert math.isnan(shown.seconds_p50)
    assert shown.facts["seconds_p95"] is None
    assert "an answer" not in shown._repr_html_()


def test_of_several_samples_every_answer_counts_for_time_and_cost_and_the_item_once_for_the_score():
    shown = evaluation(item(0, 0.5, answers=several(1.0, 0.0)), item(1, 1.0, answers=several(1.0, 1.0)))
    assert (shown.score, shown.seconds_p50, shown.completion_tokens) == (0.75, 1.5, 2.5)
    assert "4 answers at temperature 0" in shown._repr_html_()
    assert len(shown.frame) == 2
    assert cost_per_request(shown, "local") == 0.0


# How many independent items


def test_independent_right_or_wrong_items_have_wilsons_interval():
    shown = evaluation(*(item(n, float(n < 47)) for n in range(50)))
    # scipy 1.17.1: binomtest(47, 50).proportion_ci(method="wilson")
    assert shown.interval == pytest.approx((0.8378290831116182, 0.979385029651026), abs=1e-12)


def test_ten_questions_five_times_each_are_ten_and_not_fifty():
    items = [item(5 * n + m, float(n < 7), cluster=f"c{n}") for n in range(10) for m in range(5)]
    shown = evaluation(*items)
    # scipy 1.17.1: binomtest(7, 10).proportion_ci(method="wilson")
    assert shown.interval == pytest.approx((0.39677815, 0.89220873), abs=1e-8)
    assert "35 of 50 right in 10 clusters)" in shown._repr_html_()


def test_clusters_whose_items_differ_are_worth_nearly_as_much_as_independent_items():
    clusters = [f"c{n // 2}" for n in range(100)]
    mixed = [float((n * 7919) % 100 < 50) for n in range(100)]
    # 0.25 / SE^2 (1.95996 / 2.00958)^2 with the SE of statsmodels 0.15.0:
    # OLS(mixed, ones).fit(cov_type="cluster", cov_kwds={"groups": clusters}).bse[0]
    assert effective_items(mixed, clusters) == 72


def test_clusters_that_all_score_the_same_say_nothing_of_how_they_differ():
    assert effective_items([0.0, 1.0] * 50, [f"c{n // 2}" for n in range(100)]) == 50


def test_one_cluster_is_one_observation_however_many_items_it_has():
    assert effective_items([1.0, 0.0, 1.0, 1.0], ["a"] * 4) == 1


def test_one_large_cluster_among_small_ones_counts_as_one():
    # Kish: 14^2 / (10^2 + 4 x 1^2)
    assert effective_items([1.0] * 14, ["a"] * 10 + [""] * 4) == 1


def test_graded_scores_that_vary_little_are_known_better_than_right_and_wrong():
    scores = [0.4, 0.6] * 50
    # 0.25 / (0.01 / 99 + 0.5 / 100^2) (1.95996 / 1.98422)^2 = 1,615.3
    assert effective_items(scores, [""] * 100) == 1615
    assert evaluation(*(item(n, score) for n, score in enumerate(scores))).interval == wilson(0.5, 1615)


def test_a_few_scores_that_are_nearly_all_full_are_no_more_certain_than_right_and_wrong():
    assert effective_items([1.0] * 29 + [0.9], [""] * 30) == 30


@pytest.mark.parametrize("kind", ["alike within a cluster", "partly right"])
def test_the_interval_covers_the_truth_about_95_times_in_100(kind: str):
    draw, covered = np.random.default_rng(0), 0
    for _ in range(300):
        if kind == "partly right":  # and seldom wholly wrong
            scores = draw.choice([1.0, 0.9, 0.0], p=[0.9, 0.07, 0.03], size=60)
            found, truth = interval_of(scores.tolist(), [""] * 60), 0.963
        else:
            share = draw.beta(1.4, 0.6, size=30)
            scores = (draw.random((10, 30)) < share).T.ravel().astype(float)
            found, truth = interval_of(scores.tolist(), [f"c{n // 10}" for n in range(300)]), 0.7
        covered += found.low <= truth <= found.high
    assert covered >= 279  # 93 %; the naive interval covers the clustered truth 64 times in 100


# On disk


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_everything_comes_back_from_disk_as_it_was(tmp_path: Path, kind: str):
    turns = ({"role": "user", "content": "Sümmen?"}, {"role": "assistant", "content": "Jä"})
    kept = evaluation(
        item(
            0, 1.0, cluster="a.pdf", reason="'yes' is 'yes'", cached_tokens=5, more={"hint": [1, {"a": None}]}
        ),
        ungraded(1),
        item(2, 0.5, answers=(*several(0.5), replace(several(0.5)[0], score=math.nan, problem="it hung"))),
        item(3, 0.0, seconds=math.nan, text=""),
        prompt=Prompt("few-shot", system="Sümmen <ü>", shots=(Example(turns, "a:1"),)),
    )
    path = tmp_path / "evaluations" / f"base.{kind}"
    assert (kept.save(path) if kind == "jsonl" else kept.to_parquet(path)) == path
    assert Evaluation.load(path) == kept
    assert [file.name for file in path.parent.iterdir()] == [f"base.{kind}"]


def test_the_content_tells_the_kind_of_file(tmp_path: Path):
    kept = evaluation(item(0, 1.0))
    assert Evaluation.load(kept.to_parquet(tmp_path / "base.jsonl")) == kept


def test_pandas_reads_the_parquet_file(tmp_path: Path):
    frame = pandas.read_parquet(evaluation(item(0, 1.0), ungraded(1)).to_parquet(tmp_path / "e.parquet"))
    assert list(frame["id"]) == ["i0", "i1"]
    assert frame["score"].isna().tolist() == [False, True]


def test_the_lines_are_json_that_every_program_reads(tmp_path: Path):
    path = evaluation(item(0, 1.0), ungraded(1)).save(tmp_path / "base.jsonl")
    header, first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (header["model"], header["items"]) == ("nano", 2)
    assert (first["score"], second["score"], second["problem"]) == (1.0, None, "the judge refused")
    assert "samples" not in first
    assert "NaN" not in path.read_text()


def test_files_of_earlier_versions_are_still_read(tmp_path: Path):
    path = evaluation(item(0, 1.0)).save(tmp_path / "base.jsonl")
    path.write_text(path.read_text().replace(', "cached_tokens": 0', ""))
    [loaded] = Evaluation.load(path).items
    assert (loaded.first.cached_tokens, loaded.cluster, len(loaded.answers)) == (0, "", 1)


# What workbench 0.1 wrote, byte for byte: an answer flat in its item, several in "samples".
OLD_HEADER = (
    '{"evaluation": 1, "model": "m", "prompt": {"name": "short", "system": null, "shots": []}, '
    '"grader": {"type": "string_check", "name": "exact", "input": "{{sample.output_text}}", '
    '"reference": "{{item.answer}}", '
    '"operation": "eq"}, "max_tokens": 64, "temperature": 0.0, "items": 3}\n'
)
OLD_LINES = OLD_HEADER + (
    '{"id": "a1", "origin": "f:1", "question": "Q1?", "reference": "yes", "answer": "yes", "score": 1.0, '
    '"seconds": 0.25, "prompt_tokens": 7, "completion_tokens": 1, "finish_reason": "stop", '
    '"cached_tokens": 2, "cluster": "a.pdf", "reason": "same", "more": {"hint": 1}}\n'
    '{"id": "a2", "origin": "f:2", "question": "Q2?", "reference": "yes", "answer": "", "score": null, '
    '"seconds": null, "prompt_tokens": 0, "completion_tokens": 0, "finish_reason": "refused", '
    '"cached_tokens": 0, "problem": "refused"}\n'
    '{"id": "a3", "origin": "f:3", "question": "Q3?", "reference": "yes", "answer": "no", "score": 0.5, '
    '"seconds": 0.5, "prompt_tokens": 7, "completion_tokens": 1, "finish_reason": "stop", '
    '"cached_tokens": 0, "samples": ['
    '{"answer": "no", "score": 0.0, "reason": "", "seconds": 0.5, "prompt_tokens": 7, '
    '"completion_tokens": 1, "finish_reason": "stop", "cached_tokens": 0, "problem": ""}, '
    '{"answer": "yes", "score": 1.0, "reason": "", "seconds": 0.75, "prompt_tokens": 7, '
    '"completion_tokens": 1, "finish_reason": "stop", "cached_tokens": 0, "problem": ""}]}\n'
)


def test_an_evaluation_saved_before_answers_carried_their_grade_is_read_as_it_was(tmp_path: Path):
    path = tmp_path / "old.jsonl"
    path.write_text(OLD_LINES, encoding="utf-8")
    first, second, third = Evaluation.load(path).items
    assert first == Item(
        *("a1", "f:1", "Q1?", "yes"),
        (Answer("yes", "stop", 0.25, 7, 1, 2, score=1.0, reason="same"),),
        "a.pdf",
        {"hint": 1},
    )
    assert second.answers == (Answer("", "refused", math.nan, 0, 0, problem="refused"),)
    assert (third.score, [answer.text for answer in third.answers]) == (0.5, ["no", "yes"])
    assert [answer.seconds for answer in third.answers] == [0.5, 0.75]


def test_an_old_parquet_file_is_read_as_it_was(tmp_path: Path):
    import pyarrow
    from pyarrow import parquet

    _, *rows = map(json.loads, OLD_LINES.splitlines())
    old = [
        {
            "cluster": "",
            "reason": "",
            "problem": "",
            "samples": [],
            **row,
            "more": json.dumps(row.get("more", {})),
        }
        for row in rows
    ]
    found = pyarrow.Table.from_pylist(old)
    assert "refusal" not in found.column_names
    parquet.write_table(
        found.replace_schema_metadata({"workbench.evaluation": OLD_HEADER}), tmp_path / "old.parquet"
    )
    (tmp_path / "old.jsonl").write_text(OLD_LINES, encoding="utf-8")
    assert Evaluation.load(tmp_path / "old.parquet") == Evaluation.load(tmp_path / "old.jsonl")


@pytest.mark.parametrize("binary", [True, False])
def test_a_missing_short_or_foreign_file_is_no_evaluation(tmp_path: Path, binary: bool):
    kept = evaluation(item(0, 1.0), item(1, 0.0), item(2, 0.0))
    with pytest.raises(DataError, match=r"There is no evaluation .*other.jsonl"):
        Evaluation.load(tmp_path / "other.jsonl")
    path = tmp_path / "base.jsonl"
    if binary:
        pandas.DataFrame({"id": ["a"]}).to_parquet(path)
        with pytest.raises(DataError, match="is not a saved evaluation"):
            Evaluation.load(path)
        path.write_bytes(kept.to_parquet(path).read_bytes()[:200])
        with pytest.raises(DataError, match="is not a saved evaluation"):
            Evaluation.load(path)
        return
    lines = kept.save(path).read_text().splitlines(keepends=True)
    for content, told in (
        ("".join(lines[:-1]), "has 2 of its 3 items"),
        (lines[1], "is not a saved evaluation"),
        ("question,answer\n", "is not a saved evaluation"),
        ("[1]\n", "is not a saved evaluation"),
        ("", "is not a saved evaluation"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=told):
            Evaluation.load(path)


# Wilson


@pytest.mark.parametrize(
    ("correct", "items", "low", "high"),
    # scipy 1.17.1: binomtest(correct, items).proportion_ci(method="wilson")
    [
        (0, 50, 0.0, 0.07134759913335872),
        (6, 50, 0.056176001509322726, 0.23804817383202986),
        (47, 50, 0.8378290831116182, 0.979385029651026),
        (50, 50, 0.9286524008666412, 1.0),
        (1, 1, 0.20654931437723745, 1.0),
    ],
)
def test_wilson_is_scipys(correct, items, low, high):
    assert wilson(correct / items, items) == pytest.approx((low, high), abs=1e-12)


def test_wilson_is_on_the_safe_side_for_scores_between_0_and_1():
    # Twenty scores of 0.5: whatever their spread, the interval of ten right in twenty.
    assert wilson(0.5, 20) == pytest.approx((0.29929801, 0.70070199), abs=1e-8)
