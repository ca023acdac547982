"""The drawn lineage: a box for each training, joined from the base model on."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from workbench.project import Project, open_project
from workbench.training.lineage import lineage
from workbench.widgets.lineage_chart import LineageChart, lineage_chart, stages

SFT = "nano.ft-aaaa"


@pytest.fixture
def shop(home: Path) -> Project:
    project = open_project("shop")
    for digit, model, method in (("a", "nano", "supervised"), ("b", SFT, "dpo"), ("c", SFT, "reinforcement")):
        facts = {"model": model, "method": method, "training_examples": 40}
        project.record("job", job_id=f"ftjob-{digit * 4}", **facts)
    facts = {"tuned_low": 0.3, "tuned_high": 0.5, "items": 50, "grader": "g", "difference": -0.4}
    facts |= {"base_model": "nano", "base_score": 0.8, "tuned_score": 0.4, "outcome": "worse"}
    project.record("comparison", tuned_model=SFT, job_id="ftjob-aaaa", **facts)
    return project


def boxes(chart: LineageChart) -> list[tuple[float, float, str]]:
    """Where each box begins, and its title."""
    found = re.findall(r'<g><title>(.*?)</title><path d="M(\S+) (\S+)h182', chart.svg)
    return [(float(x), float(y), title) for title, x, y in found]


def test_a_model_is_named_by_all_that_it_was_trained_by(shop: Project):
    assert stages(shop, None, "nano.ft-bbbb") == "SFT + DPO"
    assert stages(shop, None, f"{SFT}:ckpt-step-5") == "SFT"
    assert stages(shop, None, "nano") == ""
    assert stages(shop, None, "nano.ft-0123") == "made elsewhere"


def test_the_first_training_on_a_model_stands_beside_it_and_the_next_below(shop: Project):
    assert [(x, y) for x, y, _ in boxes(lineage_chart(shop))] == [
        (1, 1),  # the base
        (221, 1),  # SFT
        (441, 1),  # DPO
        (441, 107),  # RFT, on the same SFT model
    ]
    assert [x for x, _, _ in boxes(lineage_chart(shop, model="ftjob-cccc"))] == [1, 221, 441]


def test_a_box_says_method_data_score_and_what_speaks_against_it(shop: Project):
    svg = lineage_chart(shop).svg
    words = "".join(ElementTree.fromstring(svg).itertext())
    assert "SFT 40 examples" in words
    assert "40 % (30–50) of 50" in words
    assert "answers the task worse than nano: 40 % against 80 % of 50 items" in words
    assert words.count("not tested") == 2
    assert 'd="M389.0 16.0m-3.4 -3.4l6.8 6.8m0 -6.8l-6.8 6.8"' in svg  # the cross in the corner


def test_what_speaks_against_a_model_is_written_below_the_drawing(shop: Project):
    html = lineage_chart(shop)._repr_html_()
    assert (
        "</svg></div><ul><li>✗ nano.ft-aaaa answers the task worse than nano: 40 % against 80 % of 50" in html
    )
    assert "<ul>" not in LineageChart(lineage(open_project("empty")))._repr_html_()


def test_it_is_whole_xml_whatever_a_model_is_called(shop: Project):
    shop.record("job", job_id="ftjob-dddd", model="<b>&\x00", method="supervised")
    ElementTree.fromstring(lineage_chart(shop).svg)


def test_a_project_without_a_run_says_so(home: Path):
    chart = lineage_chart(open_project("empty"))
    assert repr(chart) == "Project empty has no run yet."
    assert "<svg" not in chart._repr_html_()
