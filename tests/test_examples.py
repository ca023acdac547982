import json

import pytest
from pyarrow import parquet

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
    assert example._repr_html_().startswith("<table>")


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
