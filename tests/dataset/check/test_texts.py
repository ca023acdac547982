import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.dataset.check.counts import unusual
from workbench.dataset.check.methods import CheckTask
from workbench.dataset.check.row import Row
from workbench.dataset.check.rules import Phase
from workbench.dataset.check.sources import DatasetSource
from workbench.dataset.check.texts import is_broken, is_refusal, opening
from workbench.dataset.dataset import Dataset, Example

Found = tuple[str, str, str, str, list[int]]


def chat(answer: str, question: str = "q", system: str = "") -> dict[str, object]:
    first = [{"role": "system", "content": system}] if system else []
    return {
        "messages": [*first, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    }


def pair(preferred: str, rejected: str) -> dict[str, object]:
    said = [[{"role": "assistant", "content": text}] for text in (preferred, rejected)]
    asked = {"messages": [{"role": "user", "content": "q"}]}
    return {"input": asked, "preferred_output": said[0], "non_preferred_output": said[1]}


def found(*values: dict[str, object], method: str = "sft", cut: int = 1_000) -> list[Found]:
    rows = [Row(number, value) for number, value in enumerate(values)]  # type: ignore[arg-type]
    whole = Phase("texts", CheckTask(method))
    whole.add(rows[:cut])
    for start in range(cut, len(rows), cut):
        later = Phase("texts", CheckTask(method))
        later.add(rows[start : start + cut])
        whole.merge(pickle.loads(pickle.dumps(later)))
    examples = (Example(tuple(value.get("messages", ())), f"faq:{n}") for n, value in enumerate(values))  # type: ignore[call-overload]
    source = DatasetSource(Dataset("faq", tuple(examples)))
    return [(f.level, f.rule, f.path, f.message, list(numbers)) for f, numbers in whole.found(source)]


def answers(*said: str) -> list[Found]:
    return found(*map(chat, said))


def different(size: int) -> list[str]:
    """Answers of two words that no rule has anything against."""
    return [f"item {number}" for number in range(size)]


def test_nothing_is_said_about_nothing():
    assert found() == []
    assert answers(*different(60)) == []


def test_several_system_messages_are_a_warning_about_the_file():
    ((level, rule, path, message, rows),) = found(
        *(chat(f"a {n}", system="Be brief.") for n in range(3)), chat("b", system="Be long."), chat("c")
    )
    assert (level, rule, path, rows) == ("warning", "system", "messages[0]", [])
    assert message == (
        "3 different system messages (no message counts as one); "
        "the most frequent stands in 3 of 5 examples, faq:3 has another"
    )


def test_one_system_message_is_as_it_should_be():
    assert found(*(chat(f"a {n}", system="Be brief.") for n in range(9))) == []


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I cannot assist with this request.",
        "Unfortunately, I am unable to provide medical advice.",
        "I cannot answer this question.",
        "As an AI language model, I don't have opinions.",
        "Es tut mir leid, aber ich kann diese Frage nicht beantworten.",
        "Dabei kann ich leider nicht helfen. Ich kann dir dabei nicht helfen.",
        "Désolé, je ne peux pas vous aider.",
        "Lo siento, no puedo ayudarte con eso.",
        "Mi dispiace, ma non posso aiutarti.",
        "Desculpe, não posso ajudar com isso.",
        "Het spijt me, ik kan daar niet bij helpen.",
        "很抱歉，我无法回答这个问题。",
        "申し訳ありませんが、お答えできません。",
    ],
)
def test_a_refusal_is_known_in_several_languages(answer):
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry to hear that! You can return it within 30 days.",
        "Sorry for the wait. Your order cannot be cancelled once it has left, but you can send it back.",
        "I can't help but admire the question: the answer is 4.",
        "You cannot answer this in one word.",
        "Unfortunately the train was late.",
        "Leider regnet es morgen, nimm einen Schirm mit.",
        "Désolé pour le retard, voici la facture.",
        "The user said: I'm sorry, but I can't help.",
    ],
)
def test_an_apology_or_a_limit_is_no_refusal(answer):
    assert not is_refusal(answer)


def test_refusals_are_listed_and_many_are_a_warning():
    refusals = [f"I'm sorry, but I can't help with {n}." for n in range(3)]
    assert answers(*refusals, *different(57)) == [
        ("info", "refusal", "", "the answer is a refusal", [0, 1, 2]),
    ]
    assert answers(*refusals, *different(56))[1] == (
        "warning",
        "refusal",
        "",
        "5 % of 59 answers are refusals",
        [],
    )


def test_answers_that_begin_alike_are_boilerplate():
    alike = [f"Thank you for contacting us about case {n}. We have closed it today." for n in range(13)]
    assert answers(*alike, *different(47)) == [
        (
            "warning",
            "boilerplate",
            "",
            "22 % of 60 answers begin with “thank you for contacting”, as faq:0 does",
            [],
        )
    ]
    assert answers(*alike[:12], *different(48)) == []  # 20 % is the limit


@pytest.mark.parametrize(
    "answer",
    [
        "SELECT name FROM customers WHERE vip AND city. x",
        "customers ~ vip = yes -> name, year up spend take 1",
        '{"intent": "refund", "order": "an order of yesterday."}',
        "import numpy as np\nprint(np.zeros(3))  # shows zeros",
        "Thank you for that.",
        "shipped to the customer on the next working day",
    ],
)
def test_queries_code_and_labels_have_no_opening(answer):
    assert opening(answer) == ""


def test_an_answer_about_itself_is_boilerplate():
    assert answers("As an AI language model I like it.") == [
        (
            "warning",
            "boilerplate",
            "messages[1].content",
            "the answer speaks of itself as a language model",
            [0],
        )
    ]
    assert answers("An AI is a language model or more.") == []


@pytest.mark.parametrize(("answer", "end"), [(" yes", "starts"), ("yes\n", "ends"), ("\tyes ", "starts")])
def test_white_space_at_the_ends_of_an_answer_is_a_warning(answer, end):
    message = f"the answer {end} with white space"
    assert answers(answer) == [("warning", "whitespace", "messages[1].content", message, [0])]


def test_white_space_within_an_answer_or_around_a_question_is_nobodys_business():
    assert found(chat("yes\n\nno", question=" q ")) == []


def test_earlier_answers_are_looked_at_and_rejected_ones_are_not():
    (first,) = found({"messages": [{"role": "assistant", "content": "a "}, *chat("b")["messages"]]})  # type: ignore[misc]
    assert first[2] == "messages[0].content"
    assert found(pair("a", "b "), method="dpo") == []


def test_a_far_longer_answer_is_listed_and_a_rather_long_one_is_not():
    usual = [f"{n} " + "x" * (100 + n) for n in range(40)]
    assert answers(*usual, "y" * 350) == []
    assert answers(*usual, "y" * 1_000) == [
        (
            "info",
            "length_outlier",
            "",
            "the answer is far longer than usual (the median is 123 characters)",
            [40],
        )
    ]


def test_a_second_kind_of_text_has_no_outliers():
    usual, long = [f"{n} " + "x" * (100 + n) for n in range(190)], ["y" * 4_000 + str(n) for n in range(10)]
    assert [rule for _, rule, *_ in answers(*usual, *long)] == []
    assert answers(*usual, *long[:1])[0][:2] == ("info", "length_outlier")


def test_a_far_shorter_prompt_is_worth_knowing():
    rows = [chat(f"item {n}", question="y" * (300 + n)) for n in range(40)]
    ((level, rule, _, message, numbers),) = found(*rows, chat("item 40", question="y"))
    assert (level, rule, numbers) == ("info", "length_outlier", [40])
    assert message == "the prompt is far shorter than usual (the median is 319 characters)"


def test_labels_of_different_lengths_are_not_unusual():
    assert unusual(np.array([3] * 99 + [11])).tolist() == [0] * 100


def test_where_most_lengths_are_equal_the_mean_deviation_stands_in():
    assert unusual(np.array([200] * 99 + [900])).tolist() == [0] * 99 + [1]


def test_an_ordinary_skewed_file_has_hardly_any_outlier():
    lengths = np.array([round(random.Random(n).lognormvariate(6, 1)) for n in range(5_000)])
    assert np.count_nonzero(unusual(lengths)) < 10


def test_longer_answers_preferred_too_often_are_a_bias():
    pairs = [pair("long " * 5, "short")] * 65 + [pair("short", "long " * 5)] * 35
    assert found(*pairs, method="dpo")[-1] == (
        "warning",
        "length_bias",
        "",
        "the preferred answer is the longer one in 65 % of 100 pairs, so the model may learn to be long",
        [],
    )


def test_a_few_longer_answers_or_a_small_majority_are_chance():
    def rules(*pairs: dict[str, object]) -> set[str]:
        return {rule for _, rule, *_ in found(*pairs, method="dpo")}

    longer, shorter = pair("long " * 5, "short"), pair("short", "long " * 5)
    assert "length_bias" not in rules(*[longer] * 64, *[shorter] * 36)
    assert "length_bias" not in rules(*[longer] * 6)  # p = 1/64


def test_answers_that_differ_in_a_few_letters_are_named_and_many_of_them_are_a_warning():
    near = pair("the parcel will arrive on Monday at noon", "the parcel will arrive on Tuesday at noon")
    far = pair("the parcel will arrive on Monday at noon", "no")
    (alike,) = [each for each in found(near, *[far] * 9, method="dpo") if each[1] == "alike"]
    assert alike == (
        "info",
        "alike",
        "",
        "the two answers differ in a few letters, as in 10 % of 10 pairs, so both may become less likely",
        [0],
    )
    (alike,) = [each for each in found(*[near] * 2, *[far] * 8, method="dpo") if each[1] == "alike"]
    assert (alike[0], alike[4]) == ("warning", [0, 1])
    same, empty = pair("yes", "yes"), pair("", "yes")
    assert "alike" not in {rule for _, rule, *_ in found(far, same, empty, method="dpo")}


def test_unequal_classes_are_a_warning_with_their_shares():
    assert answers(*["yes"] * 110, *["no"] * 10) == [
        ("warning", "balance", "", "92 % of 120 answers are 'yes', 8 % are 'no' (2 classes)", [])
    ]
    assert answers(*["yes"] * 100, *["no"] * 20) == []


def test_a_class_with_few_examples_is_listed():
    small, lopsided = answers(*["good"] * 50, *["bad"] * 50, *["god"] * 2)
    assert small == ("warning", "balance", "", "only 2 examples of the class 'god'", [100, 101])
    assert lopsided[3] == "49 % of 102 answers are 'bad', 2 % are 'god' (3 classes)"


def test_one_answer_for_everything_is_a_warning():
    assert answers(*["yes"] * 30)[0][3] == "all 30 answers are 'yes'"


def test_answers_in_words_are_no_classes():
    long = "Yes, " + "because it was said so before, " * 3 + "of course"
    assert "balance" not in [rule for _, rule, *_ in answers(*["yes"] * 110, long)]


@pytest.mark.parametrize("text", ["schÃ¶n und grÃ¼n", "donâ€™t worry", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "20Â°C today"])
def test_mojibake_is_found(text):
    assert is_broken(text)
    assert [rule for _, rule, *_ in answers(text)] == ["mojibake"]


@pytest.mark.parametrize(
    "text",
    [
        "schön und grün",
        "don’t worry",
        "привет",
        "20 °C",
        "SÃO PAULO",
        "passé\xa0!",
        "â l’été, «là»",
        "日本語",
    ],
)
def test_letters_of_other_languages_are_not_broken(text):
    assert answers(text) == []


def test_a_lost_character_is_named():
    assert answers("sch\ufffdn") == [
        (
            "warning",
            "mojibake",
            "messages[1].content",
            "a character was lost when the file was decoded (U+FFFD stands in its place)",
            [0],
        )
    ]


@pytest.mark.parametrize("cut", [1, 7, 50])
def test_the_cut_does_not_matter(cut):
    random.seed(0)
    said = ["yes ", "I'm sorry, but I can't help with that.", "schÃ¶n", "x" * 4_000]
    said += [f"Thank you for contacting us about {n}. It is closed." for n in range(30)] + different(30)
    rows = [chat(text, system=f"s{n % 3}") for n, text in enumerate(said)]
    random.shuffle(rows)
    assert found(*rows, cut=cut) == found(*rows)
    labels = [chat(random.choice(["a", "b", "b", "b"])) for _ in range(200)] + [chat("c")]
    assert found(*labels, cut=cut) == found(*labels)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=30), st.sampled_from(["sft", "dpo", "rft"]))
@settings(deadline=None, max_examples=50)
def test_no_text_makes_it_raise(said, method):
    levels = {level for level, *_ in found(*(chat(*two) for two in said), method=method)}
    assert levels <= {"warning", "info"}
