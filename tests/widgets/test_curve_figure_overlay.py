"""Curves of several runs laid over each other."""

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from workbench.errors import DataError
from workbench.training.curve import Curve
from workbench.widgets.curve_figure import MOST, plot

SVG = "{http://www.w3.org/2000/svg}"


def run(steps: int, lowest: float = 0.5, **more: object) -> Curve:
    """A falling training loss, the whole validation file at the half and at the end, and two epochs."""
    step = np.arange(1, steps + 1)
    columns = {
        "train_loss": lowest + 2.0 / step,
        "full_valid_loss": np.where(step % (steps // 2) == 0, lowest + 1.0, np.nan),
        "epoch": 2.0 * step / steps,
        **more,
    }
    return Curve(pd.DataFrame(columns, index=pd.RangeIndex(1, steps + 1, name="step")))


def words(picture: str) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(picture).iter(f"{SVG}text")]


def test_each_measure_has_a_panel_and_each_run_a_name_in_it():
    shown = words(plot({"1: n_epochs 2": run(20), "2: n_epochs 3": run(40, 0.25)}).svg)
    assert "Training loss" in shown
    assert "Validation loss" in shown
    assert "1: n_epochs 2 1.5" in shown
    assert "2: n_epochs 3 1.25" in shown


def test_runs_differ_in_colour_in_dashes_and_in_markers():
    root = ET.fromstring(plot({f"run {number}": run(20) for number in range(MOST)}).svg)
    looks = {
        (path.get("stroke"), path.get("stroke-dasharray", ""))
        for path in root.iter(f"{SVG}path")
        if path.get("stroke-width") == "2" and "h18" in path.get("d", "")
    }
    assert len(looks) == len({colour for colour, _ in looks}) == MOST
    dashes = [dash for _, dash in looks]
    assert max(dashes.count(dash) for dash in dashes) == 1  # one is solid


def test_on_epochs_runs_of_different_lengths_end_at_the_same_place():
    shown = plot({"short": run(20), "long": run(200)}, axis="epoch")
    ends = {trace.name: trace.x[-1] for trace in shown.figure.data if "each step" not in trace.name}
    assert ends == {"short": 2.0, "long": 2.0}


def test_on_steps_each_ends_where_it_ended():
    shown = plot({"short": run(20), "long": run(200)})
    ends = {trace.name: trace.x[-1] for trace in shown.figure.data if "each step" not in trace.name}
    assert ends == {"short": 20, "long": 200}


def test_the_table_has_the_numbers_of_every_line():
    rows = plot({"short": run(20), "long": run(40)}).table.rows
    assert rows[2] == (
        "Validation loss: short",
        "1.5 (step 10)",
        "1.5 (step 10)",
        "1.5 (step 10)",
        "1.5 (step 20)",
    )
    assert [row[0] for row in rows] == [
        "Training loss: short",
        "Training loss: long",
        "Validation loss: short",
        "Validation loss: long",
    ]


def test_a_single_validation_batch_is_drawn_only_where_nobody_measured_the_whole_file():
    batch = {"valid_loss": np.ones(20)}
    assert "Validation loss, batch by batch" not in words(plot({"run": run(20, **batch)}).svg)
    only = {"run": run(20, **batch, full_valid_loss=np.full(20, np.nan))}
    assert "Validation loss, batch by batch" in words(plot(only).svg)


def test_a_label_says_which_run_ends_lowest():
    label = ET.fromstring(plot({"a": run(20), "b": run(20, 0.25)}).svg).get("aria-label", "")
    assert "Validation loss: lowest at its end is b (1.25), highest a (1.5)." in label


def test_a_name_is_text_in_the_drawing_and_in_the_figure():
    shown = plot({"<b>": run(20)})
    assert "<b>" not in shown._repr_mimebundle_()["text/html"]
    assert {trace.name for trace in shown.figure.data} == {"&lt;b&gt;", "&lt;b&gt;, each step"}


def test_a_long_name_is_cut():
    assert "learning_rate_multiplie… 1.5" in words(plot({"learning_rate_multiplier 0.25": run(20)}).svg)


def test_a_run_that_does_not_tell_the_axis_is_named():
    silent = Curve(run(20).frame.drop(columns="epoch"))
    with pytest.raises(DataError, match="b tells no epochs; draw all along 'step', or leave it out"):
        plot({"a": run(20), "b": silent}, axis="epoch")


def test_none_is_refused():
    with pytest.raises(DataError, match="There is no curve to draw"):
        plot({})


def test_of_more_than_can_be_told_apart_the_last_are_drawn():
    shown = plot({f"run {each}": run(20) for each in range(MOST + 2)})
    names = [row[0].removeprefix("Training loss: ") for row in shown.table.rows[:MOST]]
    assert names == [f"run {each}" for each in range(2, MOST + 2)]
    assert "8 runs by step, 2 older ones left out" in words(shown.svg)


def test_runs_that_measured_nothing_say_so():
    empty = Curve(pd.DataFrame({"train_loss": []}, index=pd.Index([], name="step", dtype=int)))
    assert "Nothing has been measured yet." in plot({"run": empty}).svg
