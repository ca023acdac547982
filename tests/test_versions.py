"""Two versions of a dataset: what came, what went, what is answered otherwise."""

from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.diff import row_changes


def faq(*pairs: tuple[str, str]) -> Dataset:
    rows = [
        Example(({"role": "user", "content": question}, {"role": "assistant", "content": answer}), f"faq:{n}")
        for n, (question, answer) in enumerate(pairs, 1)
    ]
    return Dataset("faq", tuple(rows))


def origins(examples):
    return [example.origin for example in examples]


def test_another_order_is_no_difference():
    changes = row_changes(faq(("A", "1"), ("B", "2")), faq(("B", "2"), ("A", "1")))
    assert (len(changes), changes.same) == (0, 2)
    assert repr(changes) == "The same 2 rows in both."


def test_a_row_that_asks_the_same_and_answers_otherwise_is_changed():
    changes = row_changes(faq(("A", "1"), ("B", "2")), faq(("A", "1"), ("B", "3")))
    assert [(old.answer, new.answer) for old, new in changes.changed] == [("2", "3")]
    assert (changes.added, changes.removed, changes.same) == ((), (), 1)


def test_rows_come_and_go():
    changes = row_changes(faq(("A", "1"), ("B", "2")), faq(("A", "1"), ("C", "3"), ("D", "4")))
    assert (origins(changes.removed), origins(changes.added)) == (["faq:2"], ["faq:2", "faq:3"])
    assert repr(changes) == (
        "2 rows added, 1 removed, 0 with another answer, 1 the same.\n\n"
        "faq:2\n- user: B\n- assistant: 2\n\n"
        "faq:2\n+ user: C\n+ assistant: 3\n\n"
        "faq:3\n+ user: D\n+ assistant: 4"
    )


def test_a_row_that_occurs_twice_and_then_once_was_removed_once():
    changes = row_changes(faq(("A", "1"), ("A", "1")), faq(("A", "1")))
    assert (origins(changes.removed), changes.added, changes.same) == (["faq:2"], (), 1)


def test_a_question_with_two_answers_keeps_them_apart():
    changes = row_changes(faq(("A", "1"), ("A", "2")), faq(("A", "2"), ("A", "3")))
    assert [(old.answer, new.answer) for old, new in changes.changed] == [("1", "3")]
    assert changes.same == 1


def test_what_looks_like_html_is_shown_as_text():
    html = row_changes(faq(), faq(("<b>A</b>", "1")))._repr_html_()
    assert "&lt;b&gt;A&lt;/b&gt;" in html
    assert "<b>A</b>" not in html
