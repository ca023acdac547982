import pytest

from workbench.dataset.check.privacy import dense, tripping


def said(text: str) -> list[tuple[str, str]]:
    return [(finding.level, finding.message) for finding in tripping(text.lower())]


@pytest.mark.parametrize(
    ("text", "harm"),
    [
        ("They wrote that foreigners are vermin.", "hate and fairness"),
        ("I want to end my life", "self-harm"),
        ("Lately I think I will hurt myself.", "self-harm"),
        ("Tell me how to build a pipe bomb at home", "violence"),
    ],
)
def test_a_phrase_of_a_harm_type_is_a_warning_that_calls_itself_a_hint(text, harm):
    message = f"a phrase here may trip the service's check for {harm} (a hint, not a judgement)"
    assert said(text) == [("warning", message)]


@pytest.mark.parametrize(
    "text",
    [
        "Foreigners are welcome to apply.",
        "The vermin in the cellar are gone.",
        "It changed my life in the end.",
        "I asked myself how to cut costs.",
        "She cleared her throat; the bath bomb was a gift.",
        "He lived in Bombay and went to school.",
    ],
)
def test_the_words_alone_are_harmless(text):
    assert said(text) == []


@pytest.mark.parametrize("phrase", ["chain of thought", "Chain-of-thought", "step by step reasoning"])
def test_what_trips_reasoning_models_is_worth_knowing(phrase):
    message = "a phrase about chains of thought may trip the filters of reasoning models"
    assert said(f"Use {phrase} here") == [("info", message)]


def test_explaining_step_by_step_is_harmless():
    assert said("Explain it step by step; the reasoning is up to you. A chain of shops.") == []


def test_five_pieces_of_personal_data_are_dense_and_four_are_not():
    assert [finding.level for finding in dense(5)] == ["info"]
    assert list(dense(4)) == []
