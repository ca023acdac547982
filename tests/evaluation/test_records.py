"""What evaluations leave in a project's record, when some of it is not known."""

import json
import math
from pathlib import Path

from workbench.evaluation.compare import compare
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompt_comparison import compare_prompts
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.records import record_baseline, record_comparison
from workbench.evaluation.requests import Answer
from workbench.project import Project


def evaluation(*scores: float, model: str = "base", prompt: str = "short") -> Evaluation:
    items = tuple(
        Item(
            f"i{n}",
            f"faq.csv:{n + 2}",
            f"Q{n}?",
            "a",
            (Answer("b", "stop", math.nan, 9, 1, problem="it hung", score=score),),
        )
        for n, score in enumerate(scores)
    )
    return Evaluation(model, Prompt(prompt), grader("exact"), items, 64, 0.0)


def test_a_comparison_is_recorded_with_what_does_not_count_and_why(tmp_path: Path):
    project = Project("p", tmp_path / "p")
    base, tuned = evaluation(0.0, 0.0, 1.0), evaluation(1.0, math.nan, 1.0, model="tuned")
    entry = record_comparison(project, compare(base, tuned), job_id="ftjob-1", training_seconds=9.0)
    facts = json.loads((tmp_path / "p" / "record.jsonl").read_text())["facts"]
    assert (facts["items"], facts["fixed"], facts["broken"], facts["minimum"]) == (2, 1, 0, 0.02)
    assert facts["left_out"][0]["ids"] == ["i1"]
    assert (facts["base_model"], facts["tuned_model"], facts["job_id"]) == ("base", "tuned", "ftjob-1")
    assert facts["outcome"] == "inconclusive"
    assert len(Evaluation.load(project.path / str(entry.facts["tuned_evaluation"])).items) == 2


def test_a_prompt_of_which_nothing_could_be_graded_is_not_the_best_and_is_recorded(tmp_path: Path):
    project = Project("p", tmp_path / "p")
    hopeless, poor = evaluation(math.nan, math.nan, prompt="hopeless"), evaluation(0.0, 0.0, prompt="poor")
    rungs = compare_prompts([hopeless, poor])
    assert rungs.best.prompt.name == "poor"
    entry = record_baseline(project, rungs, test_sha256="0" * 64)
    assert [rung["score"] for rung in entry.facts["rungs"]] == [None, 0.0]
    assert [rung["seconds_p50"] for rung in entry.facts["rungs"]] == [None, None]
