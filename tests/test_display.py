"""Tables: safe, whole, and readable for those who listen to them."""

import plotly.graph_objects as go

from workbench.display import PLOTLY, Chart, Facts, Shown, bar, histogram, table


def test_every_cell_is_escaped_and_the_first_is_the_row_header(unstyled) -> None:
    assert unstyled(table("<c>", ("a", "b"), [("<x>", "y & z")])) == (
        "<table><caption>&lt;c&gt;</caption>"
        '<thead><tr><th scope="col">a</th><th scope="col">b</th></tr></thead>'
        '<tbody><tr><th scope="row">&lt;x&gt;</th><td>y &amp; z</td></tr></tbody></table>'
    )


def test_what_stands_between_two_dollar_signs_is_no_mathematics_to_jupyterlab() -> None:
    html = table("a $5 fee and a $10 fee", ("what",), [("$x$",)])
    assert html.startswith('<table class="mathjax_ignore">')
    assert '<caption style="text-align:left">a $5 fee and a $10 fee</caption>' in html


def test_a_long_cell_is_cut_and_says_so() -> None:
    assert "x" * 300 + "…<" in table("c", ("a",), [("x" * 301,)])
    assert "x" * 301 + "</caption>" in table("x" * 301, ("a",), [])  # a verdict with its way out


def test_a_column_of_numbers_stands_on_the_right_and_breaks_no_number() -> None:
    rows = [("a", "5.8 %", "2–15 %", "$1,200.00", "x"), ("b", "", "0–12 %", "−3", "4 %")]
    html = table("c", ("name", "score", "interval", "cost", "mixed"), rows)
    right = "text-align:right;vertical-align:top;white-space:nowrap"
    for cell in ("score</th>", "5.8 %</td>", "0–12 %</td>", "$1,200.00</td>", "−3</td>"):
        assert f'{right}">{cell}' in html
    assert f'{right}">4 %</td>' not in html  # beside text it is text


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


class Empty(Shown):
    """Nothing was found."""

    verdict = "Nothing <b>was</b> found."

    def tables(self):
        yield self.verdict, ("row", "finding"), []
        yield "also empty", ("row", "finding"), []


def test_without_rows_the_sentence_stands_alone_and_not_above_an_empty_table() -> None:
    assert Empty()._repr_html_() == '<p class="mathjax_ignore">Nothing &lt;b&gt;was&lt;/b&gt; found.</p>'


def test_a_bar_is_as_long_as_its_share_and_has_its_number_as_text() -> None:
    drawn = bar(0.25, "3 <rows>", "error")
    assert '<rect width="25.0%"' in drawn.html
    assert drawn.html.endswith("3 &lt;rows&gt;</span>")
    assert str(drawn) == "3 <rows>"
    assert '<rect width="100.0%"' in bar(7, "7").html
    assert "<svg" in table("c", ("a", "b"), [("x", drawn)])


def test_a_histogram_has_bins_of_round_width_and_one_for_what_is_far_out() -> None:
    assert [(name, str(cell)) for name, cell in histogram([0, 5, 9, 10, 35])] == [
        ("0 to 4", "1"),
        ("5 to 9", "2"),
        ("10 to 14", "1"),
        ("15 to 19", "0"),
        ("20 to 24", "0"),
        ("25 to 29", "0"),
        ("30 to 34", "0"),
        ("35 to 39", "1"),
    ]
    lengths = [(name, str(cell)) for name, cell in histogram([*range(100), 100_000])]
    assert [each for each in lengths if each[1] != "0"] == [
        *((f"{low} to {low + 19}", "20") for low in range(0, 100, 20)),
        ("160 or more", "1"),
    ]
    assert histogram([]) == []
