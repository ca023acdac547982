import pickle
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.dataset.check.check import check
from workbench.dataset.check.duplicates import Repeats, families
from workbench.dataset.check.minhash import jaccard, pieces
from workbench.dataset.check.row import Row
from workbench.dataset.check.rules import completed
from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.read import read
from workbench.settings import ROOT

PROMPT = (
    "My parcel with the blue garden chairs was promised for last Tuesday and has still not come, although "
    "the page says that it was handed over; please tell me where it is and when I can expect it"
)
ANSWER = "I am sorry that your chairs are late. They are in our depot in Leeds and will be with you tomorrow."


class Lines:
    """A source of lines in memory that counts how often one is read again."""

    name = "faq.jsonl"

    def __init__(self, values: Sequence[dict]) -> None:
        self.values = values
        self.read = 0

    def origin(self, number: int) -> str:
        return f"faq.jsonl:{number}"

    def row(self, number: int) -> Row:
        self.read += 1
        return Row(number, self.values[number - 1])

    def rows(self) -> list[Row]:
        return [Row(number, value) for number, value in enumerate(self.values, 1)]


def chat(asked: str, answer: str, system: str = "") -> dict:
    messages = [{"role": "system", "content": system}] if system else []
    return {
        "messages": [*messages, {"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    }


def pair(asked: str, preferred: str, rejected: str) -> dict:
    return {
        "input": {"messages": [{"role": "user", "content": asked}]},
        "preferred_output": [{"role": "assistant", "content": preferred}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
    }


def found(*values: dict, fill: int = 60) -> list[tuple[str, str, str, list[int]]]:
    """What is found in these lines, with enough others behind them."""
    lines = Lines([*values, *(chat(f"Question {n}?", f"Answer {n}.") for n in range(fill))])
    repeats = Repeats()
    repeats.add(lines.rows())
    return [(completed(f).level, f.rule, f.message, list(numbers)) for f, numbers in repeats.found(lines)]


def test_different_examples_are_fine():
    assert found() == []


def test_no_rows_are_fine():
    assert list(Repeats().found(Lines([]))) == []


def test_the_same_example_again():
    message = "the same example stands at faq.jsonl:1"
    again = [chat("Where is it?", "Here."), chat("where is IT", "here"), chat("Where is it?", "Here!")]
    assert found(*again) == [("warning", "duplicate", message, [2, 3])]


def test_a_query_with_another_operator_is_another_example():
    assert found(chat("Which cost less?", "price < 80"), chat("Which cost more?", "price > 80")) == []


def test_a_million_copies_are_one_finding():
    lines = Lines([chat(PROMPT, ANSWER)] * 1_000)
    repeats = Repeats()
    for row in range(0, 1_000, 100):
        repeats.add(lines.rows()[row : row + 100])
    ((finding, numbers),) = repeats.found(lines)
    assert (finding.message, len(numbers), lines.read) == ("the same example stands at faq.jsonl:1", 999, 0)


def test_the_same_under_another_system_message_is_worth_knowing():
    message = "the same as faq.jsonl:1 but for its system message or tools"
    values = (
        chat("Hi", "Hello", "Be brief."),
        chat("Hi", "Hello", "Be kind."),
        chat("Hi", "Hello", "Be brief"),
    )
    assert found(*values) == [
        ("warning", "duplicate", "the same example stands at faq.jsonl:1", [3]),
        ("info", "near_duplicate", message, [2]),
    ]


def test_nearly_the_same_prompt_with_the_same_answer():
    message = "at least 80 % the same as faq.jsonl:1, with the same answer"
    values = chat(PROMPT, ANSWER), chat(PROMPT.replace("Tuesday", "Friday"), ANSWER)
    assert found(*values) == [("warning", "near_duplicate", message, [2])]


def test_nearly_the_same_with_other_values_is_worth_knowing():
    message = "at least 80 % the same as faq.jsonl:1, with another answer"
    values = chat(PROMPT, ANSWER), chat(PROMPT.replace("blue", "red"), ANSWER.replace("Leeds", "York"))
    assert found(*values) == [("info", "near_duplicate", message, [2])]


def test_two_requests_that_share_half_their_words_are_two_requests():
    assert (
        found(chat(PROMPT, ANSWER), chat(PROMPT[: len(PROMPT) // 2] + " thank you very much", ANSWER)) == []
    )


def test_a_short_text_with_another_word_is_another_text():
    assert (
        found(
            chat("How many customers are there in Cairo?", "12"), chat("How many customers are there?", "12")
        )
        == []
    )


def test_a_long_shared_system_message_makes_nothing_close():
    system = PROMPT * 20
    assert found(*(chat(f"Is number {n} free?", f"Yes, {n} is.", system) for n in range(9)), fill=0) == []


def test_the_same_prompt_with_another_answer():
    values = chat("Open on Sunday?", "No."), chat("open on Sunday", "Yes."), chat("Open on Sunday?", "Never.")
    assert found(*values) == [
        ("warning", "contradiction", "the prompt of faq.jsonl:1 has 3 different answers", [1, 2, 3]),
        ("info", "contradiction", "1 of 61 prompts have different answers, in 3 of 63 rows (5 %)", []),
    ]


def test_contradictions_are_counted_by_prompts_and_by_rows_in_whatever_order():
    values = [chat("Sunday?", answer) for answer in ("Yes.", "No.", "No.", "No.")]
    values += [chat("Monday?", answer) for answer in ("Yes.", "No.")]
    for order in (values, values[::-1], values[3:] + values[:3], values[1::2] + values[::2]):
        sums = [text for _, rule, text, rows in found(*order) if rule == "contradiction" and not rows]
        assert sums == ["2 of 62 prompts have different answers, in 6 of 66 rows (9 %)"]
        named = [rows for _, rule, _, rows in found(*order) if rule == "contradiction" and rows]
        assert sorted(row for rows in named for row in rows) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "other",
    [chat("Open on Sunday?", "no"), chat("Open on Monday?", "Yes."), chat("Open on Sunday?", "Yes.", "Lie.")],
)
def test_no_contradiction(other):
    assert "contradiction" not in [rule for _, rule, _, _ in found(chat("Open on Sunday?", "No."), other)]


def test_many_contradictions_are_an_error():
    values = [chat("Open on Sunday?", f"Answer {n}.") for n in range(2)]
    rules = [(level, rule, numbers) for level, rule, _, numbers in found(*values, fill=37)]
    assert rules == [("warning", "contradiction", [1, 2]), ("error", "contradiction", [])]
    assert [level for level, *_ in found(*values, fill=38)] == ["warning", "info"]  # 5 % exactly


def test_other_pictures_are_other_prompts():
    def picture(url: str, answer: str) -> dict:
        part = {"type": "image_url", "image_url": {"url": url}}
        return chat([{"type": "text", "text": "What is it?"}, part], answer)

    assert (
        found(picture("https://a.example/1.png", "A cat."), picture("https://a.example/2.png", "A dog."))
        == []
    )
    twice = picture("https://a.example/1.png", "A cat."), picture("https://a.example/1.png", "A dog.")
    assert {rule for _, rule, _, _ in found(*twice)} == {"contradiction"}


def test_another_tool_is_another_answer():
    def call(name: str) -> dict:
        function = {"name": name, "arguments": '{"city": "Paris"}'}
        calls = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": function}]}
        return {"messages": [{"role": "user", "content": "Paris?"}, calls]}

    assert {rule for _, rule, _, _ in found(call("weather"), call("time"))} == {"contradiction"}
    assert [rule for _, rule, _, _ in found(call("time"), call("time"))] == ["duplicate"]


def test_another_reference_contradicts():
    def prompt(capital: str) -> dict:
        return {"messages": [{"role": "user", "content": "Capital?"}], "capital": capital}

    assert {rule for _, rule, _, _ in found(prompt("Rome"), prompt("Oslo"))} == {"contradiction"}


def test_a_reversed_pair():
    message = "faq.jsonl:1 prefers the answer that is rejected here"
    values = pair("Hi", "Hello", "Go away"), pair("hi", "Go away!", "Hello")
    assert found(*values) == [("error", "reversed", message, [2])]


@pytest.mark.parametrize(
    "other",
    [pair("Hi", "Hello", "What?"), pair("Ho", "Go away", "Hello"), pair("Hi", "Good day", "Hello")],
)
def test_other_pairs_are_not_reversed(other):
    assert found(pair("Hi", "Hello", "Go away"), other) == []


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "messages",
                        "input",
                        "role",
                        "content",
                        "tool_calls",
                        "tools",
                        "preferred_output",
                        "image_url",
                        "function",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_shape_of_line_is_looked_at(value):
    lines = Lines([{"messages": value}, {"input": value}, {"messages": [value]}, {"any": value}] * 2)
    repeats = Repeats("any")
    repeats.add(lines.rows())
    assert {finding.rule for finding, _ in repeats.found(lines)} <= {
        "duplicate",
        "contradiction",
        "reversed",
        "near_duplicate",
        "same_group",
    }


WORDS = [f"word{n}" for n in range(40)]
edited = st.lists(st.tuples(st.integers(0, 39), st.sampled_from(["x", "y"])), max_size=4).map(
    lambda edits: " ".join(dict(edits).get(at, word) for at, word in enumerate(WORDS))
)
lines_of_chats = st.lists(
    st.builds(chat, edited, st.sampled_from(["yes", "no", ANSWER])), min_size=1, max_size=12
)


@settings(deadline=None)
@given(lines_of_chats, st.lists(st.integers(0, 12), max_size=4))
def test_the_findings_do_not_depend_on_the_cut(values, cuts):
    lines = Lines(values)
    whole = Repeats()
    whole.add(lines.rows())
    together = Repeats()
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(values)], strict=True):
        part = Repeats()
        part.add(lines.rows()[begin:end])
        together.merge(pickle.loads(pickle.dumps(part)))
    assert list(together.found(lines)) == list(whole.found(lines))


@settings(deadline=None)
@given(st.lists(edited, max_size=12))
def test_families_are_truly_near_and_complete(texts):
    share = [[jaccard(pieces(one), pieces(other)) for other in texts] for one in texts]
    for family in families(texts):
        assert family == sorted(family)
        for member in family:  # nobody is in a family without a near one
            assert any(share[member][other] >= 0.7 for other in family if other != member)
    alone = set(range(len(texts))) - {member for family in families(texts) for member in family}
    # At 0.7 a signature overlooks three pairs in a thousand, and hypothesis would find them; at 0.9 none.
    assert all(share[one][other] < 0.9 for one in alone for other in range(len(texts)) if other != one)


def test_families_hold_equal_and_near_texts():
    texts = ["a b", PROMPT, "A  b!", "c", PROMPT.replace("blue", "red"), "", "", "a c"]
    assert families(texts) == [[0, 2], [1, 4]]


@pytest.mark.parametrize("shared", [0.5, 0.68, 0.95])
def test_a_thousand_rows_of_one_template_are_not_compared_each_with_each(shared):
    draw = random.Random(0)
    template = [f"word{n}" for n in range(100)]
    own = round(100 * (1 - shared) / shared / (1 if shared < 0.9 else 2))
    texts = (" ".join([*template, *(f"own{draw.random()}" for _ in range(own))]) for _ in range(1_000))
    lines = Lines([chat(text, "yes") for text in texts])
    repeats = Repeats()
    repeats.add(lines.rows())
    list(repeats.found(lines))
    assert lines.read <= 5 * len(lines.values)


def test_the_sample_project_repeats_nothing():
    data = ROOT / "data" / "gql"
    for name in ("pairs.csv", "test.csv"):
        dataset = read(data / name, question="question", answer="query", system="Always return GQL.")
        lines = Lines([example.wire for example in dataset])
        repeats = Repeats()
        repeats.add(lines.rows())
        assert list(repeats.found(lines)) == []
        assert families([example.question for example in dataset]) == []


@pytest.mark.parametrize(("group", "told"), [("customer", 0), ("custmoer", 1)])
def test_a_group_that_no_row_has_is_told(group: str, told: int):
    said = ({"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."})
    rows = Dataset("faq.csv", (Example(said, "faq.csv:2", metadata={"customer": "Contoso"}),))
    assert len(check(rows, group=group, only=("repeats",)).of("same_group")) == told
