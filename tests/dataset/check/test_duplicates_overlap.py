import pytest

from workbench.dataset.check.duplicates import Repeats, overlap
from workbench.dataset.check.row import Row
from workbench.dataset.check.rules import completed
from workbench.dataset.check.sources import DatasetSource
from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.read import read
from workbench.settings import ROOT

PROMPT = (
    "My parcel with the blue garden chairs was promised for last Tuesday and has still not come, although "
    "the page says that it was handed over; please tell me where it is and when I can expect it"
)
NEAR = PROMPT.replace("last Tuesday", "Friday")
SHORT = "How many of the parcels were lost on the way to Oslo"
DATA = ROOT / "data" / "gql"


def chat(asked: str, answer: str, system: str = "", **metadata: str) -> Example:
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return Example(tuple(messages), "", metadata=metadata)


def dataset(name: str, *examples: Example) -> Dataset:
    placed = (Example(e.messages, f"{name}:{n}", e.more, e.metadata) for n, e in enumerate(examples, 1))
    return Dataset(name, tuple(placed))


def collected(source: DatasetSource, group: str | None = None) -> Repeats:
    repeats = Repeats(group)
    repeats.add([source.row(number) for number in range(len(source.dataset))])
    return repeats


def found(
    training: list[Example], other: list[Example], role: str = "test", group: str | None = None
) -> list[tuple[str, str, str, list[int]]]:
    here, there = DatasetSource(dataset("a.jsonl", *training)), DatasetSource(dataset("b.jsonl", *other))
    findings = overlap(collected(here, group), here, collected(there, group), there, role)
    return [(completed(f).level, f.rule, f.message, list(numbers)) for f, numbers in findings]


def test_the_same_prompt_is_an_error():
    message = "b.jsonl:2 asks the same, so its score would show memorisation"
    training = [
        chat("Who?", "Me."),
        chat("Where is it?", "Here.", "Be brief."),
        chat("WHERE is it", "There."),
    ]
    test = [chat("When?", "Now."), chat("Where is it?", "Here."), chat("where is it", "Here.")]
    assert found(training, test) == [("error", "overlap", message, [1, 2])]


def test_other_prompts_are_fine():
    assert found([chat("Where is it?", "Here.")], [chat("Where was it?", "Here.")]) == []


def test_nothing_overlaps_with_nothing():
    assert found([], [chat("Who?", "Me.")]) == found([chat("Who?", "Me.")], []) == []


def test_prompts_without_a_text_are_not_the_same():
    assert found([chat("", "Here.")], [chat("", "There.")]) == []


@pytest.mark.parametrize(
    ("role", "level", "then"),
    [
        ("validation", "error", "so the validation loss shows memorisation"),
        ("test", "error", "so its score would show memorisation"),
        ("few-shot", "info", "so shown with a question it adds nothing"),
        ("corpus", "warning", "so it is looked up, not known"),
    ],
)
def test_how_bad_it_is_depends_on_what_the_file_is_for(role, level, then):
    message = f"b.jsonl:1 asks the same, {then}"
    assert found([chat("Who?", "Me.")], [chat("Who?", "You.")], role) == [(level, "overlap", message, [0])]


def test_nearly_the_same_prompt_with_the_same_answer_is_an_error():
    message = "b.jsonl:1 is at least 80 % the same with the same answer, so its score would show memorisation"
    assert found([chat(PROMPT, "Tomorrow.")], [chat(NEAR, "tomorrow")]) == [
        ("error", "near_overlap", message, [0])
    ]


def test_nearly_the_same_prompt_with_another_answer_is_to_be_looked_at():
    message = "b.jsonl:1 is at least 80 % the same with another answer"
    assert found([chat(PROMPT, "Tomorrow.")], [chat(NEAR, "Never.")]) == [
        ("warning", "near_overlap", message, [0])
    ]
    assert found([chat(PROMPT, "Tomorrow.")], [chat(NEAR, "Never.")], "few-shot")[0][0] == "info"


def test_half_the_same_prompt_is_fine():
    assert found([chat(PROMPT, "Tomorrow.")], [chat(PROMPT[:90] + " or else", "Tomorrow.")]) == []


def test_a_short_prompt_with_another_value_is_another_question():
    there = SHORT.replace("Oslo", "Rome")
    assert found([chat(SHORT, "12")], [chat(there, "15")]) == []
    assert [rule for _, rule, _, _ in found([chat(SHORT, "12")], [chat(there, "12")])] == ["near_overlap"]


def test_the_closest_is_named():
    test = [chat(NEAR.replace("blue", "red"), "Tomorrow."), chat(NEAR, "Tomorrow.")]
    ((_, _, message, _),) = found([chat(PROMPT, "Tomorrow.")], test)
    assert message.startswith("b.jsonl:2 is at least 80 % the same")


def test_the_same_group_on_both_sides_is_an_error():
    training = [chat("a?", "1", customer="Ada"), chat("b?", "2", customer="Bob"), chat("c?", "3")]
    test = [chat("d?", "4"), chat("e?", "5", customer="Bob"), chat("f?", "6", customer="bob")]
    message = "the same customer is at b.jsonl:2, so its score would show memorisation"
    assert found(training, test, group="customer") == [("error", "same_group", message, [1])]
    assert found(training, test) == []


def test_a_group_can_stand_in_the_line():
    training, test = Repeats("user"), Repeats("user")
    training.add([Row(1, {"user": 7, "messages": []}), Row(2, {"user": 8, "messages": []})])
    test.add([Row(1, {"user": 8, "messages": []})])
    source = DatasetSource(dataset("b.jsonl", chat("", ""), chat("", "")))
    ((finding, numbers),) = overlap(training, source, test, source, "test")
    assert (finding.rule, numbers) == ("same_group", [2])


def test_an_example_that_stands_in_a_document_of_the_corpus():
    answer = "It is in our depot in Leeds."
    document = {"id": 7, "text": f"{PROMPT}?\n\n{answer}"}

    class Corpus(DatasetSource):
        def row(self, number: int) -> Row:
            return Row(number, document)

    here = DatasetSource(dataset("a.jsonl", chat(PROMPT, answer), chat("Who?", "Me.")))
    there = Corpus(dataset("corpus.jsonl", chat("", "")))
    ((finding, numbers),) = overlap(collected(here), here, collected(there), there, "corpus")
    assert (finding.level, finding.rule, numbers) == ("warning", "near_overlap", [0])
    assert finding.message == "corpus.jsonl:1 is at least 90 % the same, so it is looked up, not known"


def test_the_sample_project_does_not_leak():
    pairs, test = (
        DatasetSource(read(DATA / name, question="question", answer="query", system="Always return GQL."))
        for name in ("pairs.csv", "test.csv")
    )
    assert list(overlap(collected(pairs), pairs, collected(test), test, "test")) == []
