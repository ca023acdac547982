"""The card from Python's side: a key does something, is answered, and can be taken back."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from workbench.errors import DataError
from workbench.widgets.card import Card


class Counter(Card):
    """A card that counts how often `+` was pressed."""

    script = "review.js"

    def __init__(self) -> None:
        self.count = 0
        super().__init__()

    def __repr__(self) -> str:
        return f"Counter: {self.count}"

    def _repr_html_(self) -> str:
        return f"<p>{self.count}</p>"

    def _do(self, content: Mapping[str, object]) -> str:
        if content["do"] != "+":
            raise DataError("There is only +.")
        before = self.count
        self.count += 1
        self._undone_by(lambda: setattr(self, "count", before))
        return "Counted."

    def _in_view(self) -> dict[str, object]:
        return {"at": 0, "count": self.count}


def press(card: Counter, action: str) -> dict[str, object]:
    card._handle_custom_msg({"do": action, "row": 0, "value": None}, [])
    return dict(card.row)


def test_a_key_is_answered_with_what_came_of_it():
    card = Counter()
    assert card.row == {"answers": 1, "said": "", "trouble": "", "at": 0, "count": 0}
    assert press(card, "+") == {"answers": 2, "said": "Counted.", "trouble": "", "at": 0, "count": 1}


def test_what_cannot_be_done_is_said_and_changes_nothing():
    shown = press(Counter(), "-")
    assert (shown["said"], shown["trouble"], shown["count"]) == ("", "Not saved. There is only +.", 0)


def test_undo_takes_back_change_by_change():
    card = Counter()
    press(card, "+")
    press(card, "+")
    assert (press(card, "undo")["count"], press(card, "undo")["count"]) == (1, 0)
    assert press(card, "undo")["said"] == "Nothing was changed here since this was opened."


def test_the_own_script_stands_behind_the_shared_one():
    shared, own = Counter._esm.index("function card("), Counter._esm.index("Review of training rows")
    assert shared < own


@pytest.mark.parametrize(("headless", "live"), [("1", False), ("", True)])
def test_headless_it_is_its_html(monkeypatch, headless, live):
    monkeypatch.setenv("WORKBENCH_HEADLESS", headless)
    data = Counter()._repr_mimebundle_()
    shown = data[0] if isinstance(data, tuple) else data
    assert shown["text/html"] == "<p>0</p>"
    assert ("application/vnd.jupyter.widget-view+json" in shown) is live


FIRST = {
    "project page": "wb.project_page(project)._repr_html_()",
    "columns": "wb.map_columns(project.task.examples, project)",
    "form": "wb.questionnaire(wb.situation({}))",
}


@pytest.mark.parametrize("shown", FIRST.values(), ids=FIRST)
def test_the_first_widget_of_a_kernel_takes_less_than_a_second_and_a_half(shown: str, tmp_path: Path):
    timed = "import time, IPython; began = time.process_time(); import workbench as wb\n"
    timed += f"project = wb.open_project('gql'); {shown}; print(time.process_time() - began)"
    environment = os.environ | {"WORKBENCH_HOME": str(tmp_path), "WORKBENCH_HEADLESS": ""}
    done = subprocess.run(
        [sys.executable, "-c", timed], env=environment, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1.5  # seconds of this process, whatever others do
