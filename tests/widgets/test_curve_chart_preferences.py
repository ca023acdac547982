"""The curve of a preference job: its own panels, and the alarm above them."""

import xml.etree.ElementTree as ET

import pandas as pd

from workbench.training.curve import Curve
from workbench.widgets.curve_figure import plot

SVG = "{http://www.w3.org/2000/svg}"


def preference(chosen: list[float], logps: list[float]) -> Curve:
    """A preference job whose margin rises by 0.1 a step."""
    steps = range(1, len(chosen) + 1)
    columns = {
        "train_loss": [0.69 * 0.97**step for step in steps],
        "rewards/chosen": chosen,
        "rewards/margins": [0.1 * step for step in steps],
        "rewards/accuracies": [1.0 for _ in steps],
        "logps/chosen": logps,
        "logps/rejected": [-30.0 - step for step in steps],
    }
    return Curve(pd.DataFrame(columns, index=pd.RangeIndex(1, len(chosen) + 1, name="step")))


def texts(picture: str) -> list[tuple[str, str | None]]:
    found = ET.fromstring(picture).iter(f"{SVG}text")
    return [("".join(text.itertext()), text.get("fill")) for text in found]


FALLING = preference([-0.1 * step for step in range(12)], [-20.0 - step for step in range(12)])
RISING = preference([0.1 * step for step in range(12)], [-20.0 + step for step in range(12)])


def test_the_log_probabilities_of_both_answers_have_a_panel():
    shown = [words for words, _ in texts(plot(RISING).svg)]
    assert "Log-probability of the answers, in nats" in shown
    assert "preferred -9" in shown
    assert "not preferred -42" in shown
    titles = [note.text for note in plot(RISING).figure.layout.annotations]
    assert "Log-probability of the answers, in nats" in titles


def test_the_alarm_stands_above_the_picture_in_a_colour_of_its_own_and_in_words():
    chart = plot(FALLING, "ftjob-1 · running")
    (alarm, colour) = texts(chart.svg)[1]
    assert alarm.startswith(
        "⚠ Alarm: the preferred answers become less likely: the margin rose to 1, and the"
    )
    assert colour == "#D55E00"
    assert repr(chart).splitlines()[1] == (
        "Alarm: the preferred answers become less likely: the margin rose to 1, and the log-probability of "
        "the preferred answers fell from -22 to -29."
    )
    assert "Alarm: the preferred answers become less likely" in chart.figure.layout.title.subtitle.text


def test_a_job_that_goes_well_has_no_alarm():
    chart = plot(RISING, "ftjob-1")
    assert "Alarm" not in chart.svg + repr(chart)
    assert "⚠" not in chart.svg
