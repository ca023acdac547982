"""Tables: safe, whole, and readable for those who listen to them."""

import pandas
import plotly.graph_objects as go

from workbench.display import PLOTLY, Chart, Facts, Listing, table


def test_every_cell_is_escaped_and_the_first_is_the_row_header(unstyled) -> None:
    assert unstyled(table("<c>", ("a", "b"), [("<x>", "y & z")])) == (
        "<table><caption>&lt;c&gt;</caption>"
        '<thead><tr><th scope="col">a</th><th scope="col">b</th></tr></thead>'
        '<tbody><tr><th scope="row">&lt;x&gt;</th><td>y &amp; z</td></tr></tbody></table>'
    )


def test_a_long_cell_is_cut_and_says_so() -> None:
    assert "x" * 300 + "…<" in table("c", ("a",), [("x" * 301,)])


def test_a_listing_shows_the_rows_of_a_dataframe_as_text(unstyled) -> None:
    shown = Listing("wrong", pandas.DataFrame({"question": ["q"], "answer": ["a -> b"]}))
    assert '<th scope="row">q</th><td>a -&gt; b</td>' in unstyled(shown._repr_html_())
    assert repr(shown).splitlines()[0] == "wrong"
    assert "a -> b" in repr(shown)


class Weather(Facts):
    caption = "Weather & wind"
    facts = {"sky": "grey", "wind": "<3"}  # noqa: RUF012 - never changed


def test_facts_are_a_line_each_as_text_and_a_row_each_in_a_notebook(unstyled) -> None:
    assert repr(Weather()) == "sky: grey\nwind: <3"
    html = unstyled(Weather()._repr_html_())
    assert "<caption>Weather &amp; wind</caption>" in html
    assert '<th scope="row">wind</th><td>&lt;3</td>' in html


class Dots(Chart):
    figure = go.Figure(go.Scatter(y=[3, 4]))

    def drawing(self) -> dict[str, object]:
        return {"text/plain": "3, 4"}


def test_a_chart_is_interactive_and_shows_the_same_without_plotly() -> None:
    shown = Dots()._repr_mimebundle_()
    assert shown["text/plain"] == "3, 4"
    assert shown[PLOTLY]["data"][0]["y"] == [3, 4]
