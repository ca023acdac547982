"""The payback chart: the numbers of the case, drawn and told."""

import pytest

from workbench.decide.payback import Case, Option, payback
from workbench.widgets.cost_charts import PaybackChart
from workbench.widgets.cost_charts import payback_chart as chart

BASE = Option("long <prompt>", 3000, 200, 0.40, 1.60)
TUNED = Option("tuned", 600, 200, 0.40, 1.60, training=6, hosting_per_hour=1.70, months_of_service=2.5)


@pytest.fixture
def shown() -> PaybackChart:
    return chart(payback(Case(BASE, (TUNED,), 500_000, horizon=3)))


def test_each_way_is_a_line_told_apart_without_colour(shown):
    lines = shown.figure.data
    assert [line.name for line in lines] == ["long &lt;prompt&gt;", "tuned"]
    assert len({line.line.dash for line in lines}) == len({line.marker.symbol for line in lines}) == 2
    assert list(lines[0].y) == pytest.approx([0, 760, 1520, 2280])


def test_what_is_paid_at_the_start_stands_at_month_0(shown):
    assert shown.figure.data[1].y[0] == TUNED.training + TUNED.labour


def test_the_day_on_which_a_model_is_switched_off_is_drawn_in(shown):
    (off,) = shown.figure.layout.shapes
    assert (off.x0, off.x1) == (2.5, 2.5)
    assert shown.figure.layout.annotations[0].text == "tuned: switched off"


def test_the_same_numbers_stand_in_a_table(shown, unstyled):
    html = unstyled(shown._repr_html_())
    assert '<th scope="col">long &lt;prompt&gt;</th>' in html
    assert '<th scope="row">1</th><td>$760.00</td><td>$1,527.00</td>' in html
    assert '<th scope="row">3</th><td>$2,280.00</td><td>$3,808.50 (switched off)</td>' in html


def test_where_there_are_no_pictures_it_is_text(shown):
    assert set(shown._repr_mimebundle_()) == {"application/vnd.plotly.v1+json", "text/html", "text/plain"}
    assert repr(shown).startswith("tuned ")
