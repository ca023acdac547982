from collections import Counter

import pytest

from workbench import settings
from workbench.dataset.check.duplicates import families
from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.read import read
from workbench.errors import DataError


def example(question: str, answer: str = "a", **metadata: object) -> Example:
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(messages, f"faq.csv:{question}", {}, metadata)


def customers(*sizes: int) -> Dataset:
    """Rows of as many customers as there are sizes, ``x0`` with the first many rows, and so on."""
    rows = [(n, row) for n, size in enumerate(sizes) for row in range(size)]
    return Dataset("faq.csv", tuple(example(f"q{n}-{row}", customer=f"x{n}") for n, row in rows))


def test_the_split_of_the_sample_data_stays_as_it_was():
    # Written down before groups and classes came: jobs that were started with these files find them again.
    pairs = read(
        settings.DATA / "gql" / "pairs.csv", question="question", answer="query", system="Always return GQL."
    )
    training, held_out = pairs.split(held_out=0.15, seed=0)
    assert (len(training), len(held_out)) == (358, 63)
    assert training.sha256 == "bc3b2869bf43c672c0797f3897f6a2a0a293fd78a779a44e23018d125285baa7"
    assert held_out.sha256 == "db88b692c88db4bcb57d6222c09d64542043ec004417c87b17329dea0494ac32"


def test_a_group_stays_on_one_side():
    dataset = customers(*[5] * 20)
    for seed in range(5):
        training, held_out = dataset.split(0.2, seed, group="customer")
        assert not {*training.column("customer")} & {*held_out.column("customer")}
        assert len(held_out) == 20


def test_groups_and_equal_prompts_that_touch_are_one_family():
    # x0 and x1 share a question, x1 and x2 another one: all three stay together.
    rows = [("a", "x0"), ("b", "x0"), ("b", "x1"), ("c", "x1"), ("c", "x2"), ("d", "x2")]
    rows += [(f"e{n}", f"y{n}") for n in range(6)]
    dataset = Dataset("faq.csv", tuple(example(question, customer=who) for question, who in rows))
    for seed in range(10):
        _, held_out = dataset.split(0.25, seed, group="customer")
        assert {*held_out.column("customer")} <= {f"y{n}" for n in range(6)}
        assert len(held_out) == 3


def test_rows_without_a_group_go_where_they_will():
    dataset = Dataset("faq.csv", tuple(example(f"q{n}", customer=None if n % 2 else "") for n in range(20)))
    training, held_out = dataset.split(0.25, group="customer")
    assert (len(training), len(held_out)) == (15, 5)


def test_a_group_may_be_a_field_beside_the_messages():
    rows = tuple(Example(example(f"q{n}").messages, "a", {"topic": n // 5}) for n in range(20))
    training, held_out = Dataset("a.jsonl", rows).split(0.25, group="topic")
    assert not {*training.column("topic")} & {*held_out.column("topic")}


def test_near_duplicates_that_are_named_stay_together():
    dataset = customers(*[1] * 20)
    for seed in range(10):
        _, held_out = dataset.split(0.2, seed, together=[[0, 1, 2], [2, 3], [4]])
        kept = {row.question for row in held_out} & {"q0-0", "q1-0", "q2-0", "q3-0"}
        assert len(kept) in (0, 4)


def test_the_families_of_near_duplicates_can_be_named_so():
    words = [f"alpha{n} beta{n} gamma{n} delta{n} epsilon{n} zeta{n} eta{n} theta{n}" for n in range(10)]
    texts = [*words, words[3] + "!"]
    dataset = Dataset("faq.csv", tuple(example(text) for text in texts))
    alike = families(texts)
    assert any({3, 10} <= {*family} for family in alike)
    for seed in range(5):
        training, _ = dataset.split(0.4, seed, together=alike)
        kept = [row.question for row in training]
        assert (texts[3] in kept) == (texts[10] in kept)


def test_every_class_keeps_its_share():
    labels = ["common"] * 70 + ["some"] * 20 + ["rare"] * 10
    dataset = Dataset("faq.csv", tuple(example(f"q{n}", label=label) for n, label in enumerate(labels)))
    for seed in range(5):
        training, held_out = dataset.split(0.2, seed, stratify="label")
        assert Counter(held_out.column("label")) == {"common": 14, "some": 4, "rare": 2}
        assert Counter(training.column("label")) == {"common": 56, "some": 16, "rare": 8}


def test_shares_that_are_no_whole_numbers_add_up():
    # 0.15 of 10, 11 and 12 rows is 1.5, 1.65 and 1.8; five rows are wanted in all.
    labels = ["a"] * 10 + ["b"] * 11 + ["c"] * 12
    dataset = Dataset("faq.csv", tuple(example(f"q{n}", label=label) for n, label in enumerate(labels)))
    _, held_out = dataset.split(0.15, stratify="label")
    assert Counter(held_out.column("label")) == {"a": 1, "b": 2, "c": 2}


def test_the_answer_itself_can_be_the_class():
    rows = tuple(example(f"q{n}", "yes" if n < 20 else "no") for n in range(40))
    _, held_out = Dataset("faq.csv", rows).split(0.25, stratify="answer")
    assert Counter(held_out.column("answer")) == {"yes": 5, "no": 5}


def test_rows_without_a_class_are_a_class():
    rows = tuple(example(f"q{n}", **({"label": "x"} if n < 20 else {})) for n in range(40))
    _, held_out = Dataset("faq.csv", rows).split(0.25, stratify="label")
    assert Counter(held_out.column("label")) == {"x": 5, None: 5}


def test_classes_keep_their_shares_as_well_as_whole_groups_allow():
    # Each customer has three rows of one class and one of the other: no single group fits exactly.
    rows = []
    for n in range(20):
        labels = ["a", "a", "a", "b"] if n % 2 else ["b", "b", "b", "a"]
        rows += [example(f"q{n}-{m}", customer=n, label=label) for m, label in enumerate(labels)]
    for seed in range(5):
        training, held_out = Dataset("faq.csv", tuple(rows)).split(
            0.2, seed, group="customer", stratify="label"
        )
        assert not {*training.column("customer")} & {*held_out.column("customer")}
        assert Counter(held_out.column("label")) == {"a": 8, "b": 8}


def test_with_classes_and_groups_neither_side_is_ever_empty():
    rows = [example("q0", customer=0, label="a"), example("q1", customer=1, label="b")]
    for share in (0.01, 0.5, 0.99):
        sides = Dataset("faq.csv", tuple(rows)).split(share, stratify="label")
        assert [len(side) for side in sides] == [1, 1]


def test_a_split_with_all_options_is_the_same_for_the_same_seed_only():
    dataset = customers(*[3] * 30)
    first, again, other = (dataset.split(0.2, seed, group="customer") for seed in (1, 1, 2))
    assert first == again
    assert first.held_out != other.held_out


@pytest.mark.parametrize("option", ["group", "stratify"])
def test_an_unknown_column_is_answered_with_those_there_are(option):
    with pytest.raises(DataError) as caught:
        customers(2, 2).split(**{option: "client"})
    assert str(caught.value) == "faq.csv has no column 'client' to go by; it has customer, answer."


def test_one_group_cannot_be_split():
    with pytest.raises(DataError, match=r"faq.csv has 1 independent group; a split needs two at least"):
        customers(9).split(group="customer")


def test_groups_that_are_all_too_large_say_what_would_fit():
    with pytest.raises(DataError) as caught:
        customers(40, 60).split(0.15, group="customer")
    assert str(caught.value) == (
        "faq.csv: the smallest of 2 groups has 40 of 100 examples, more than the 15 to put aside; "
        "give a held_out of 0.40 or more, or a finer group."
    )


def test_a_group_that_just_fits_is_put_aside():
    training, held_out = customers(15, 85).split(0.15, group="customer")
    assert (len(training), {*held_out.column("customer")}) == (85, {"x0"})


def test_the_sides_keep_metadata_and_notes():
    dataset = Dataset("faq.csv", customers(4, 4).examples, ("the question is guessed",))
    training, held_out = dataset.split(0.5, group="customer")
    assert training.notes == held_out.notes == ("the question is guessed",)
    assert len({row.metadata["customer"] for row in held_out}) == 1
