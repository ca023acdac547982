"""Tables: safe, whole, and readable for those who listen to them."""

import pandas

from workbench.display import Listing, table


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
