"""The live view of a job, and the pictures of its curve."""

import asyncio
import threading
import time
import xml.etree.ElementTree as ET

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.fine_tuning_job import Error, Hyperparameters
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.graders.ready_made import grader
from workbench.training.curve import Curve
from workbench.training.follow import Choices, Following, JobAction, KeptCheckpoint, Progress, Verb
from workbench.widgets.curve_chart import Look, smoothed
from workbench.widgets.curve_figure import plot
from workbench.widgets.curve_view import _Buttons, _Window, checkpoint_answers, watch, watch_in_background
from workbench.widgets.svg import Logarithmic

NAN = float("nan")


def curve(**columns: list[float]) -> Curve:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="step")
    return Curve(frame)


def trained(steps: int = 30) -> Curve:
    """A small job: loss at every step, validation at each tenth, all of it at the end of each third."""
    step = np.arange(1, steps + 1)
    return curve(
        train_loss=list(4.0 / step),
        train_mean_token_accuracy=list(1 - 0.8 / step),
        valid_loss=list(np.where(step % 10 == 0, 4.4 / step, NAN)),
        full_valid_loss=list(np.where(step % (steps // 3) == 0, 4.8 / step, NAN)),
        full_valid_mean_reward=list(np.where(step % (steps // 3) == 0, step / steps * 0.9, NAN)),
    )


def strokes(picture: str, colour: str) -> list[str]:
    """The paths of a colour, as their SVG commands."""
    paths = ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}path")
    return [path.get("d", "") for path in paths if path.get("stroke") == colour]


def svg(curve: Curve, title: str = "", **style: str) -> str:
    return plot(curve, title, **style).svg


def words(picture: str) -> list[str]:
    texts = ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(text.itertext()) for text in texts]


BLUE = "#0072B2"


def test_the_drawing_is_an_image_whose_label_holds_the_numbers():
    root = ET.fromstring(svg(trained()))
    assert root.get("role") == "img"
    label = root.get("aria-label", "")
    assert "30 steps" in label
    assert "0.1333 at step 30" in label
    assert "90%" in label


def test_a_title_and_a_description_stand_in_the_drawing_too():
    root = ET.fromstring(svg(trained(), "my job"))
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "my job"
    assert root.findtext("{http://www.w3.org/2000/svg}desc", "").startswith(
        "30 steps, 30 of them with numbers."
    )


def test_series_are_named_beside_their_ends_with_their_last_values():
    shown = words(svg(trained()))
    for name in ("training 0.133", "validation 0.16", "validation batch 0.147", "held-out answers 90 %"):
        assert name in shown
    assert shown.count("checkpoint") == 3


def test_each_evaluation_set_and_each_task_measure_has_its_line():
    log = curve(
        train_loss=[2.0, 1.0], eval_law_loss=[1.5, 1.25], eval_news_loss=[3.0, 2.5], eval_wer=[0.5, 0.25]
    )
    told = words(svg(log))
    assert {"Loss", "Measured on the task"} <= {word.strip() for word in told}
    assert [word.strip() for word in told if "validation, " in word] == [
        "validation, law 1.25",
        "validation, news 2.5",
    ]
    assert any(word.startswith("wer") for word in told)


def test_series_differ_by_dash_or_marker_too():
    picture = svg(trained())
    assert 'stroke="#D55E00" stroke-width="1.5" stroke-dasharray="5 4"' in picture
    assert picture.count("<circle") == 4  # three full validations and the sample beside the name


def test_a_mark_is_a_measurement_and_never_stands_on_a_smoothed_line():
    dense = curve(train_loss=[1.0] * 60)
    assert plot({"one": dense, "other": dense}).svg.count("<circle") == 0
    few = curve(train_loss=[1.0, 2.0, 3.0])
    assert plot({"one": few}).svg.count("<circle") == 4  # and the sample beside the name


def test_the_page_shows_through():
    assert "<rect" not in svg(trained())
    assert "background" not in svg(trained())


def test_markup_and_control_letters_in_a_title_do_no_harm():
    root = ET.fromstring(svg(trained(), "failed: <script>\x07 & more"))
    assert next(root.iter("{http://www.w3.org/2000/svg}text")).text == "failed: <script> & more"


def test_a_long_title_is_wrapped():
    title = " ".join(["word"] * 60)
    texts = ET.fromstring(svg(trained(), title)).iter("{http://www.w3.org/2000/svg}text")
    assert " ".join([text.text for text in texts][:4]) == title


def test_a_curve_without_steps_says_so():
    root = ET.fromstring(svg(Curve(pd.DataFrame({"train_loss": []}, index=pd.Index([], name="step")))))
    assert "".join(root.itertext()) == "Nothing has been measured yet."


def test_one_step_is_drawn():
    assert "training" in svg(curve(train_loss=[2.0]))


def test_a_curve_without_accuracy_has_one_panel():
    picture = svg(curve(train_loss=[2.0, 1.0]))
    assert "Loss" in picture
    assert "Share that is right" not in picture


def test_a_missing_training_loss_is_a_gap():
    whole, gap = curve(train_loss=[3.0, 2.0, 2.0, 1.0]), curve(train_loss=[3.0, 2.0, NAN, 1.0])
    assert strokes(svg(whole), BLUE)[0].count("M") == 1
    assert strokes(svg(gap), BLUE)[0].count("M") == 2


def test_an_infinite_loss_is_a_gap_and_does_not_flatten_the_rest():
    assert "inf" not in svg(curve(train_loss=[3.0, float("inf"), 2.0, 1.0])).split("<text", 1)[1]


def test_gaps_and_values_that_are_not_finite_are_told_beside_the_title():
    picture = svg(curve(train_loss=[3.0, 2.5, NAN, 2.0, float("inf"), 1.0]))
    assert "Loss · 2 gaps, shaded · not finite at 1 step" in words(picture)
    assert picture.count(f'fill="{BLUE}" opacity="0.15"') == 2
    assert "Loss" in words(svg(curve(train_loss=[3.0, 2.0, 1.0])))


def test_a_gap_of_one_step_among_10_000_is_wide_enough_to_see():
    loss = [1.0] * 10_000
    loss[4321] = NAN
    (shade,) = [path for path in svg(curve(train_loss=loss)).split("<path ") if 'opacity="0.15"' in path]
    assert "h3.0v150h-3.0z" in shade


def test_a_row_of_another_measure_in_between_is_no_gap():
    frame = pd.DataFrame(
        {"train_loss": [3.0, 2.0, NAN, 1.0, 0.5], "full_valid_loss": [NAN, NAN, 2.0, NAN, NAN]},
        index=pd.Index([10, 20, 25, 30, 40], name="step"),
    )
    picture = svg(Curve(frame))
    assert strokes(picture, BLUE)[0].count("M") == 1
    assert "gap" not in picture


def test_validation_measured_now_and_then_is_one_line():
    picture = svg(curve(train_loss=[3.0] * 5, valid_loss=[3.0, NAN, 2.0, NAN, 1.0]))
    assert strokes(picture, "#D55E00")[0].count("M") == 1


def test_one_spike_among_10_000_steps_is_still_drawn():
    loss = [1.0] * 10_000
    loss[4321] = 9.0
    tops = [float(point.split()[1]) for point in strokes(svg(curve(train_loss=loss)), BLUE)[0][1:].split("L")]
    assert min(tops) == pytest.approx(max(tops) - 150 * 8 / 9, abs=0.2)
    assert len(tops) < 2_000


def test_10_000_steps_are_drawn_in_less_than_100_ms():
    long = plot(trained(9_999))
    long.html.encode()  # imports pandas and numpy
    times = []
    for _ in range(5):
        started = time.process_time()
        long.html.encode()
        times.append(time.process_time() - started)
    assert min(times) < 0.1
    assert len(long.html) < 60_000


def test_smoothing_keeps_what_is_constant_straight_or_missing():
    assert list(smoothed(np.full(50, 2.0))) == [2.0] * 50
    assert smoothed(np.arange(50.0))[2:48] == pytest.approx(np.arange(2.0, 48.0))
    assert np.flatnonzero(np.isnan(smoothed(np.array([1.0] * 20 + [NAN] + [1.0] * 20)))).tolist() == [20]


def test_a_plot_is_drawn_in_the_colours_of_the_page_with_its_numbers_folded():
    shown = plot(trained(), "my job")._repr_mimebundle_()
    assert set(shown) == {"text/html", "image/svg+xml", "text/plain"}
    assert shown["text/plain"].splitlines()[:2] == ["my job", "30 steps, 30 of them with numbers."]
    page = str(shown["text/html"])
    assert 'stroke="var(--wb-blue,#0072B2)"' in page
    assert 'class="wb-svg mathjax_ignore" style="min-width:600px;max-width:760px"' in page
    assert "<summary>The numbers</summary><table" in page
    assert "<script" not in page


def test_its_letters_are_12_pixels_high_where_600_are_free():
    root = ET.fromstring(svg(trained()))
    assert root.get("viewBox", "").split()[:3] == ["0", "0", "600"]
    texts = root.iter("{http://www.w3.org/2000/svg}text")
    assert min(float(text.get("font-size", "0")) for text in texts) == 12


def test_the_same_can_be_zoomed_into_with_one_legend_below():
    figure = plot(trained(), "my job").figure
    assert [(trace.name, trace.showlegend) for trace in figure.data] == [
        ("training, each step", False),
        ("training", True),
        ("validation batch", True),
        ("validation", True),
        ("training tokens, each step", False),
        ("training tokens", True),
        ("held-out answers", True),
    ]
    assert figure.layout.legend.orientation == "h"
    assert figure.layout.title.subtitle.text == ""
    assert figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert figure.layout.xaxis.gridcolor == "rgba(128,128,128,0.25)"


def test_a_plot_along_epochs_shows_epochs():
    epochs = Curve(trained().frame.assign(epoch=np.arange(1, 31) / 10))
    shown = plot(epochs, axis="epoch")
    assert words(shown.svg)[-1] == "epoch"
    assert shown.figure.data[0].x[-1] == 3.0
    assert [shape.x0 for shape in shown.figure.layout.shapes][::2] == [1.0, 2.0, 3.0]


def test_a_curve_that_tells_no_epochs_is_not_drawn_along_them():
    with pytest.raises(DataError, match="tells no epochs; draw it along 'step'"):
        plot(trained(), axis="epoch")


@pytest.mark.parametrize(
    ("look", "refused"), [({"axis": "hours"}, "no axis 'hours'"), ({"scale": "root"}, "no scale 'root'")]
)
def test_an_axis_or_scale_that_is_none_is_refused(look, refused):
    with pytest.raises(DataError, match=refused):
        plot(trained(), **look)
    with pytest.raises(DataError, match=refused):
        watch([progress("running", 15)], **look)


def test_on_a_logarithmic_axis_a_tenth_is_as_far_as_the_tenth_before():
    path = strokes(svg(curve(train_loss=[1.0, 0.1, 0.01]), scale="log"), BLUE)[0]
    heights = [float(point.split()[1]) for point in path[1:].split("L")]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.11)


def test_what_has_no_logarithm_is_counted_and_left_out():
    picture = svg(curve(train_loss=[1.0, 0.0, 0.01]), scale="log")
    assert "Loss · logarithmic, without 1 of 0 or less" in words(picture)
    assert "nan" not in picture


def test_losses_of_zero_alone_are_drawn_evenly():
    assert "logarithmic" not in svg(curve(train_loss=[0.0, 0.0]), scale="log")


def test_the_checkpoints_that_are_named_are_marked_in_place_of_those_guessed():
    shown = words(plot(trained(), checkpoints=[30, 20]).svg)
    assert shown.count("checkpoint") == 2


def test_preferences_have_panels_of_their_own():
    dpo = curve(
        train_loss=[0.69, 0.5],
        **{"rewards/chosen": [0.0, 0.2], "rewards/rejected": [0.0, -0.4], "rewards/margins": [0.0, 0.6]},
        **{"rewards/accuracies": [0.5, 0.75]},
    )
    shown = words(svg(dpo))
    for name in ("training pairs 75 %", "preferred 0.2", "not preferred -0.4", "margin 0.6"):
        assert name in shown


def test_the_reward_of_a_reinforcement_job_is_no_share_of_right_answers():
    rft = curve(
        train_mean_reward=[0.2, 3.5],
        full_valid_mean_reward=[NAN, 2.5],
        completion_tokens_mean=[300.0, 1400.0],
    )
    shown = words(svg(rft))
    for name in ("Reward: the mean grade of the answers", "training 3.5", "validation 2.5", "answer 1,400"):
        assert name in shown
    assert "Share that is right" not in shown


def test_the_table_has_the_numbers_of_every_line():
    assert plot(trained(), "my job").table.rows[2] == (
        "Loss: validation",
        "0.48 (step 10)",
        "0.16 (step 30)",
        "0.48 (step 10)",
        "0.16 (step 30)",
    )


def test_a_logarithmic_axis_has_powers_of_ten_and_within_a_decade_round_numbers():
    assert Logarithmic(1e-5, 2.0, 170, 0).ticks(5) == pytest.approx([1e-5, 1e-3, 0.1])
    assert Logarithmic(0.05, 2.0, 170, 0).ticks(5) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1.0, 2.0])
    assert Logarithmic(0.6, 1.5, 170, 0).ticks(5) == pytest.approx([0.6, 0.8, 1.0, 1.2, 1.4])


UNSET = dict.fromkeys(
    ("error", "hyperparameters", "trained_tokens", "finished_at", "fine_tuned_model", "method")
)


def progress(status: str, steps: int, **job: object) -> Progress:
    event = FineTuningJobEvent.model_construct(
        message="Job enqueued.", type="message", created_at=0, data=None
    )
    return Progress(
        FineTuningJob.model_construct(
            id="ftjob-1",
            status=status,
            **{**UNSET, **job},
        ),
        trained(steps) if steps else Curve(pd.DataFrame({"train_loss": []}, index=pd.Index([], name="step"))),
        (event,),
    )


def test_outside_a_notebook_watching_prints_the_end_once_and_gives_the_job(capsys):
    job = watch([progress("pending", 0), progress("running", 15), progress("succeeded", 30)])
    assert (job.id, job.status) == ("ftjob-1", "succeeded")
    printed = capsys.readouterr().out.splitlines()
    assert printed[:4] == [
        "ftjob-1 · succeeded · step 30 of 30 (100 %)",
        "Done: the model is None (step 30)",
        "ftjob-1",
        "30 steps, 30 of them with numbers.",
    ]


def test_before_the_first_step_the_services_last_word_is_shown(capsys):
    watch([progress("pending", 0)])
    assert capsys.readouterr().out.startswith("ftjob-1 · pending · Job enqueued\n")


def test_a_failed_job_says_why(capsys):
    why = Error.model_construct(code="x", message="The training file has 3 examples.", param=None)
    watch([progress("failed", 0, error=why)])
    assert "failed · Job enqueued\nFailed: The training file has 3 examples." in capsys.readouterr().out


def test_an_interrupt_shows_how_to_watch_on(capsys):
    def interrupted():
        yield progress("running", 15)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(interrupted())
    assert capsys.readouterr().out.startswith(
        "No longer watched; the job goes on. Run this cell again to watch on.\nftjob-1 · running · step 15\n"
    )


def test_while_a_job_does_not_tell_its_epochs_steps_are_drawn(capsys):
    done = {"hyperparameters": Hyperparameters(n_epochs=3), "trained_tokens": None}
    window = _Window([], None, Look("epoch"))
    assert window._plot(progress("running", 15)).picture.axis == "step"
    assert window._plot(progress("succeeded", 30, **done)).picture.axis == "epoch"


def test_in_the_background_the_loop_goes_on_while_the_service_is_waited_for(capsys):
    asked, answered = threading.Event(), threading.Event()

    def slow():
        yield progress("running", 15)
        asked.set()
        assert answered.wait(60)
        yield progress("succeeded", 30)

    async def works_on():
        task = watch_in_background(slow())
        await asyncio.to_thread(asked.wait, 60)
        assert not task.done()  # and yet here we are
        answered.set()
        return await task

    assert asyncio.run(works_on()).status == "succeeded"
    assert capsys.readouterr().out.startswith("ftjob-1 · succeeded · step 30 of 30 (100 %)\n")


def test_what_is_watched_in_the_background_can_be_left(capsys):
    asked, answered = threading.Event(), threading.Event()

    def endless():
        yield progress("running", 15)
        asked.set()
        assert answered.wait(60)

    async def leaves():
        task = watch_in_background(endless())
        await asyncio.to_thread(asked.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        answered.set()

    asyncio.run(leaves())
    assert capsys.readouterr().out.startswith("No longer watched; the job goes on. Run this cell again")


def test_nothing_to_watch_is_an_error():
    with pytest.raises(DataError, match="nothing to watch"):
        watch([])


LOOKS = """
import os, pandas as pd
from IPython import get_ipython
from openai.types.fine_tuning import FineTuningJob
from workbench.training.curve import Curve
from workbench.training.follow import Progress
from workbench.widgets.curve_view import watch

sent = []

def note(message):
    sent.append((message["msg_type"], *sorted(message["content"]["data"])))
    return message

get_ipython().display_pub.register_hook(note)

def looks():
    for steps, status in ((20, "running"), (40, "succeeded")):
        if status == "succeeded":
            print(sent)
        frame = pd.DataFrame({"train_loss": [4 / n for n in range(1, steps + 1)]})
        frame.index = pd.RangeIndex(1, steps + 1, name="step")
        unset = ("error", "hyperparameters", "trained_tokens", "finished_at", "fine_tuned_model", "method")
        unset = dict.fromkeys(unset)
        job = FineTuningJob.model_construct(id="ftjob-1", status=status, **unset)
        yield Progress(job, Curve(frame), ())
"""


@pytest.mark.parametrize(
    ("headless", "printed_while_running"),
    [
        ("0", ["[('display_data', 'text/html', 'text/plain')]"]),
        ("1", ["ftjob-1 · running · step 20", "[]"]),
    ],
)
def test_in_a_kernel_one_output_is_drawn_over_and_keeps_its_style(tmp_path, headless, printed_while_running):
    watching = f"os.environ['WORKBENCH_HEADLESS'] = '{headless}'\nwatch(looks()).status"
    cells = [nbformat.v4.new_code_cell(source) for source in (LOOKS, watching)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = notebook.cells[1].outputs
    shown = [output for output in outputs if output.output_type == "display_data"]
    printed = [output.text.strip() for output in outputs if output.output_type == "stream"]
    assert sorted(printed, reverse=True) == printed_while_running
    assert len(shown) == 1
    assert set(shown[0].data) == {"image/svg+xml", "text/html", "text/plain"}
    assert "<b>Finished</b> · step 40 of 40 (100 %)" in shown[0].data["text/html"]
    assert 'stroke="var(--wb-blue,#0072B2)"' in shown[0].data["text/html"]
    assert outputs[-1].data["text/plain"] == "'succeeded'"


INTERRUPTED = """
def interrupted():
    yield next(iter(looks()))
    raise KeyboardInterrupt

job = watch(interrupted())
job.status
"""


def test_an_interrupt_in_a_notebook_leaves_one_line_and_the_job_as_it_stands(tmp_path):
    headless = "os.environ['WORKBENCH_HEADLESS'] = '0'"
    cells = [nbformat.v4.new_code_cell(f"{LOOKS}\n{headless}"), nbformat.v4.new_code_cell(INTERRUPTED)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown, given = notebook.cells[1].outputs
    assert shown.data["text/plain"].startswith("No longer watched; the job goes on.")
    assert given.data["text/plain"] == "'running'"


def event(at: int, message: str, **data: object) -> FineTuningJobEvent:
    return FineTuningJobEvent.model_construct(
        id=f"e{at}", created_at=at, message=message, type="message", data=data or None
    )


def test_above_the_curve_stands_how_far_it_is_how_fast_and_each_alert():
    events = (event(0, "Training started."), event(10, "Step 10: training loss=1", total_steps=60))
    events += (event(30, "Step 30: training loss=1", total_steps=60, trained_tokens=9000),)
    now = Progress(progress("paused", 30).job, trained(), events)
    window = _Window([], None, Look())
    page = str(window._bundle(now, window._plot(now), "", "<svg/>")["text/html"])
    assert "<b>Paused</b> · step 30 of 60 (50 %)" in page
    assert 'value="0.500" aria-label="share of the steps that are done"' in page
    assert "<li>" not in page  # that it is paused is said already
    ended = Progress(progress("succeeded", 30, fine_tuned_model="nano.ft-1").job, trained(), events)
    page = str(window._bundle(ended, window._plot(ended), "", "<svg/>")["text/html"])
    assert "<li>✓ Done: the model is nano.ft-1 (step 30)</li>" in page


def test_what_the_service_says_is_text_and_never_markup():
    why = Error.model_construct(code="x", message="<script>alert(1)</script>", param=None)
    now = progress("failed", 0, error=why)
    window = _Window([], None, Look())
    page = str(window._bundle(now, window._plot(now), "", "")["text/html"])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


class Steering(Following):
    """What was asked for, in place of a service."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def choices(self, job: FineTuningJob) -> Choices:
        now = [("pause", True), ("resume", False), ("cancel", True)]
        return Choices(job, tuple(JobAction(verb, can, "when it is paused", "nothing") for verb, can in now))

    def change(self, job: FineTuningJob, verb: Verb) -> FineTuningJob:
        self.asked.append(verb)
        return job


def test_the_buttons_say_what_each_costs_and_cancelling_is_asked_twice(capsys):
    steering = Steering()
    buttons = _Buttons(steering)
    buttons.show(progress("running", 15).job)
    assert {verb: button.disabled for verb, button in buttons._buttons.items()} == {
        "pause": False,
        "resume": True,
        "cancel": False,
    }
    assert buttons._costs["pause"].value == "<span>costs nothing</span>"
    assert buttons._costs["resume"].value == "<span>possible when it is paused</span>"
    buttons._buttons["pause"].click()
    buttons._buttons["cancel"].click()
    assert steering.asked == ["pause"]
    assert buttons._buttons["cancel"].description == "Cancel for good?"
    buttons._buttons["cancel"].click()
    assert steering.asked == ["pause"]  # the second half of a double click is no answer
    buttons._asked_at -= 1
    buttons._buttons["cancel"].click()
    assert steering.asked == ["pause", "cancel"]


class Asked:
    """Checkpoints that answer what a test gives, by name."""

    def __init__(self, **answers: str) -> None:
        self.checkpoints = KeptCheckpoint(
            tuple(
                FineTuningJobCheckpoint.model_construct(
                    step_number=int(name[1:]), fine_tuned_model_checkpoint=name
                )
                for name in answers
            )
        )
        app = Starlette(routes=[Route("/openai/v1/chat/completions", self.answer, methods=["POST"])])
        self.client = OpenAI(
            base_url="http://127.0.0.1:8123/openai/v1/",
            api_key="key",
            http_client=TestClient(app),
            max_retries=0,
        )
        self.answers = answers

    async def answer(self, request: Request) -> JSONResponse:
        said = {"role": "assistant", "content": self.answers[(await request.json())["model"]]}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
        return JSONResponse(body | {"choices": [choice], "usage": usage})


def test_each_checkpoint_answers_the_first_held_out_questions_and_is_graded(home):
    row = ({"role": "user", "content": "<b>2 + 2?"}, {"role": "assistant", "content": "4"})
    held_out = Dataset("sums", tuple(Example(row, f"sums.csv:{line}") for line in range(2, 9)))
    service = Asked(m10="5", m20="4")
    found = checkpoint_answers(service.client, service.checkpoints, held_out.take(1), grader("exact"))
    assert found.verdict == "1 held-out question; right: 0% at step 10, 100% at step 20"
    ((_, columns, rows),) = found.tables()
    assert columns == ("question", "expected", "step 10", "step 20")
    assert rows == [("<b>2 + 2?", "4", "✗ 5", "✓ 4")]
    assert "<b>2" not in found._repr_html_()
