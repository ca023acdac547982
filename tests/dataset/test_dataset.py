import json
from collections import Counter

import pytest
from pyarrow import parquet

from workbench import settings
from workbench.dataset.check.duplicates import families
from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.read import read
from workbench.errors import DataError


def chat(question: str, answer: str, origin: str = "faq.csv:2", system: str | None = None) -> Example:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return Example(tuple(messages), origin)


def pair() -> Example:
    outputs = {
        "preferred_output": [{"role": "assistant", "content": "yes"}],
        "non_preferred_output": [{"role": "assistant", "content": "no"}],
    }
    return Example(({"role": "user", "content": "q"},), "a.jsonl:1", {"tools": [], **outputs}, {"who": "me"})


def numbered(n: int) -> Dataset:
    return Dataset("faq.csv", tuple(chat(f"q{i}", f"a{i}", f"faq.csv:{i + 2}") for i in range(n)))


def test_the_question_is_what_the_user_said_last():
    example = Example(
        (
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "reply"},
            {"role": "user", "content": "second"},
            {"role": "assistant", "content": "answer"},
        ),
        "a.jsonl:1",
    )
    assert (example.question, example.answer, len(example.prompt)) == ("second", "answer", 3)


def test_the_text_of_content_parts_is_put_together():
    parts = [{"type": "text", "text": "one"}, {"type": "image_url"}, {"type": "text", "text": "two"}]
    assert Example(({"role": "user", "content": parts},), "a.jsonl:1").question == "one\ntwo"


def test_an_example_without_messages_has_empty_words():
    assert (Example((), "x").question, Example((), "x").answer, Example((), "x").prompt) == ("", "", ())


@pytest.mark.parametrize("message", [None, 5, "hi", {"role": ["user"]}, {"content": [None, {"text": 3}]}])
def test_what_is_no_message_has_no_words_and_is_uploaded_for_a_check_to_find(message):
    example = Example((message,), "x")
    assert (example.method, example.question, example.answer) == ("sft", "", "")
    assert json.loads(Dataset("a", (example,)).to_jsonl()) == {"messages": [message]}
    assert example._repr_html_().startswith("<table ")


def test_the_uploaded_file_is_one_conversation_a_line():
    assert (
        Dataset("faq.csv", (chat("Où?", 'Say "ici".\n'),)).to_jsonl()
        == (
            '{"messages": [{"role": "user", "content": "Où?"}, '
            '{"role": "assistant", "content": "Say \\"ici\\".\\n"}]}\n'
        ).encode()
    )


def test_weights_and_tools_are_uploaded_as_they_are():
    example = Example(
        ({"role": "assistant", "content": "a", "weight": 0},), "a.jsonl:1", {"parallel_tool_calls": False}
    )
    assert Dataset("a.jsonl", (example,)).to_jsonl() == (
        b'{"messages": [{"role": "assistant", "content": "a", "weight": 0}], "parallel_tool_calls": false}\n'
    )


def test_half_a_surrogate_pair_is_escaped():
    assert b'"\\ud800"' in Dataset("a", (chat("\ud800", "a"),)).to_jsonl()


def test_an_empty_dataset_is_an_empty_file():
    assert Dataset("a", ()).to_jsonl() == b""


def test_the_hash_is_that_of_the_file():
    # printf '' | sha256sum
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Dataset("a", ()).sha256 == empty


def test_the_hash_does_not_depend_on_where_examples_came_from():
    assert Dataset("a", (chat("q", "a", "x:1"),)).sha256 == Dataset("b", (chat("q", "a", "y:2"),)).sha256


def test_a_dataset_is_a_sequence():
    dataset = numbered(3)
    assert (len(dataset), dataset[1].question, dataset[-1].answer) == (3, "q1", "a2")
    assert [example.question for example in dataset[1:]] == ["q1", "q2"]
    assert dataset[0] in dataset


def test_take_gives_the_first_ones():
    assert [example.question for example in numbered(5).take(2)] == ["q0", "q1"]
    assert (len(numbered(5).take(9)), len(numbered(5).take(-1))) == (5, 0)


def test_without_leaves_out_the_named_places():
    left = numbered(4).without({"faq.csv:3", "faq.csv:5", "other.csv:2"})
    assert [example.origin for example in left] == ["faq.csv:2", "faq.csv:4"]


def test_a_split_is_the_same_for_the_same_seed_only():
    first, again, other = (numbered(100).split(0.15, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.held_out != other.held_out


def test_a_split_keeps_every_example_once_and_in_order():
    training, held_out = numbered(100).split(held_out=0.15)
    assert (len(training), len(held_out)) == (85, 15)
    together = sorted([*training, *held_out], key=lambda example: int(example.question[1:]))
    assert tuple(together) == numbered(100).examples
    assert list(training) == sorted(training, key=lambda example: int(example.question[1:]))


def test_a_split_keeps_the_same_prompt_on_one_side():
    dataset = Dataset("a", tuple(chat(f"q{i % 20}", f"a{i}") for i in range(60)))
    for seed in range(10):
        training, held_out = dataset.split(0.2, seed)
        assert {e.question for e in training}.isdisjoint({e.question for e in held_out})
        assert len(held_out) == 12


def test_a_split_never_empties_a_side():
    for share in (0.001, 0.5, 0.999):
        training, held_out = numbered(3).split(share)
        assert len(training) >= 1
        assert len(held_out) >= 1
    many = Dataset("a", (*(chat("same", f"a{i}") for i in range(9)), chat("other", "a")))
    assert [len(side) for side in many.split(0.15)] == [9, 1]


def test_a_split_names_its_sides():
    assert [side.name for side in numbered(10).split()] == ["faq.csv (training)", "faq.csv (held out)"]


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_must_be_a_share(share):
    with pytest.raises(DataError, match=r"give a share between 0 and 1, such as 0.15"):
        numbered(10).split(share)


def test_one_prompt_cannot_be_split():
    with pytest.raises(DataError, match=r"faq.csv has 1 different prompt; a split needs two at least"):
        numbered(1).split()


def test_a_dataset_prints_its_name_and_size():
    assert repr(numbered(1200)) == "Dataset('faq.csv', 1200 examples)"


def test_a_dataset_shows_its_first_examples_as_an_accessible_table(unstyled):
    html = unstyled(numbered(1200)._repr_html_())
    assert "<caption>faq.csv: 1,200 examples, the first 10</caption>" in html
    assert '<th scope="col">question</th>' in html
    assert '<th scope="row">faq.csv:2</th><td>q0</td><td>a0</td>' in html
    assert "q10" not in html


def test_markup_in_training_data_is_shown_and_not_run():
    example = chat("<script>alert(1)</script>", "a & b", "<b>.csv:2", system="<i>")
    for html in (Dataset("<u>", (example,))._repr_html_(), example._repr_html_()):
        assert "&lt;script&gt;" in html
        assert not any(tag in html for tag in ("<script", "<b>", "<u>", "<i>"))


def test_a_long_text_is_cut_where_it_is_shown():
    html = Dataset("a", (chat("x" * 10_000, "\ud800"),))._repr_html_()
    assert "x" * 300 + "…" in html
    assert html.encode() == html.encode("utf-8", "strict")


def test_metadata_is_shown_and_never_uploaded(unstyled):
    example = Example(chat("q", "a").messages, "faq.csv:2", {}, {"customer": "<x>", "n": 7})
    assert b"customer" not in Dataset("faq.csv", (example,)).to_jsonl()
    html = unstyled(Dataset("faq.csv", (example, chat("r", "b")))._repr_html_())
    assert '<th scope="col">customer</th><th scope="col">n</th>' in html
    assert '<th scope="row">faq.csv:2</th><td>q</td><td>a</td><td>&lt;x&gt;</td><td>7</td>' in html
    assert '<th scope="row">faq.csv:2</th><td>r</td><td>b</td><td></td><td></td>' in html


def test_notes_are_shown_below_the_table():
    assert (
        Dataset("a", (chat("q", "a"),), ("guessed: <b>",))._repr_html_().endswith("<p>guessed: &lt;b&gt;</p>")
    )


def test_a_part_of_a_dataset_keeps_its_notes():
    dataset = Dataset("a", numbered(4).examples, ("guessed",))
    parts = (dataset[1:], dataset.take(2), dataset.without({"faq.csv:2"}))
    assert [(len(part), part.notes) for part in parts] == [
        (3, ("guessed",)),
        (2, ("guessed",)),
        (3, ("guessed",)),
    ]


def test_a_pair_shows_both_answers(unstyled):
    html = unstyled(Dataset("a", (pair(),))._repr_html_())
    assert '<th scope="col">answer</th><th scope="col">not preferred</th>' in html
    assert "<td>q</td><td>yes</td><td>no</td>" in html
    assert '<th scope="row">not preferred</th><td>no</td>' in unstyled(pair()._repr_html_())


def test_a_column_has_one_value_an_example():
    rows = (
        Example(chat("q", "a").messages, "a:1", {"topic": 1}, {"who": "me"}),
        Example(chat("r", "b").messages, "a:2", {}, {"topic": 2}),
    )
    dataset = Dataset("a", rows)
    assert [dataset.column(name) for name in ("topic", "who", "answer")] == [(1, 2), ("me", None), ("a", "b")]
    with pytest.raises(DataError, match=r"a has no column 'team' to go by; it has who, topic, answer"):
        dataset.column("team")


def test_a_parquet_file_can_be_read_again(tmp_path):
    reinforced = Example(({"role": "user", "content": "\ud800"},), "a.jsonl:2", {"gold": [1, None]})
    dataset = Dataset("a", (pair(), reinforced, chat("Où?", "là", system="S")))
    again = read(dataset.to_parquet(tmp_path / "a.parquet"))
    assert (again.examples, again.sha256) == (dataset.examples, dataset.sha256)
    assert read(tmp_path / "a.parquet", system="T")[1].messages[0] == {"role": "system", "content": "T"}


def test_a_parquet_file_has_four_columns_of_text(tmp_path):
    table = parquet.read_table(Dataset("a", (pair(),)).to_parquet(tmp_path / "a.parquet"))
    assert table.to_pylist() == [
        {
            "origin": "a.jsonl:1",
            "messages": '[{"role": "user", "content": "q"}]',
            "more": '{"tools": [], "preferred_output": [{"role": "assistant", "content": "yes"}], '
            '"non_preferred_output": [{"role": "assistant", "content": "no"}]}',
            "metadata": '{"who": "me"}',
        }
    ]


def test_an_empty_dataset_is_a_parquet_file_without_rows(tmp_path):
    assert parquet.read_table(Dataset("a", ()).to_parquet(tmp_path / "a.parquet")).num_rows == 0


# Splitting.


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
