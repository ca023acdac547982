"""Text similarity: the numbers of the measures' definitions, counted by hand."""

import pytest

from workbench.evaluation.graders.grader_types import METRICS, similarity

SAID, WANTED = "the cat sat on the mat", "the cat is on the mat"  # one of six words differs

# n-grams in common: 5 of 6 words, 3 of 5 pairs, 1 of 4 triples, 0 of 3 quadruples.
BY_HAND = {
    # 42 letters and spaces, "s" in common inside the word that differs: 2 * 20 / (22 + 21).
    "fuzzy_match": 40 / 43,
    # No quadruple: SacreBLEU's first smoothing counts a half of one.
    "bleu": (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** (1 / 4),
    "gleu": 9 / 18,
    # F = 5/6, in two chunks: 1 - 0.5 * (2/5) ** 3.
    "meteor": 5 / 6 * (1 - 0.5 * (2 / 5) ** 3),
    "rouge_1": 5 / 6,
    "rouge_2": 3 / 5,
    "rouge_3": 1 / 4,
    "rouge_4": 0.0,
    "rouge_5": 0.0,
    "rouge_l": 5 / 6,
}


@pytest.mark.parametrize("metric", BY_HAND)
def test_a_measure_gives_what_is_counted_by_hand(metric):
    assert similarity(metric, SAID, WANTED) == pytest.approx(BY_HAND[metric])


@pytest.mark.parametrize("metric", METRICS)
def test_the_same_text_is_alike_and_nothing_is_not(metric):
    assert similarity(metric, "one two three four five six", "one two three four five six") == pytest.approx(
        1.0,
        abs=0.01,  # METEOR takes off a little for the one chunk
    )
    assert similarity(metric, "", "one two") == 0.0
    assert similarity(metric, "one two", " \n") == 0.0
    assert similarity(metric, "", " ") == 1.0
    assert similarity(metric, "xyz", "one two") < 0.3


def test_meteor_finds_the_same_stem_and_no_synonym():
    assert similarity("meteor", "cats", "cat") == 0.5  # one chunk of one word costs half
    assert similarity("meteor", "feline", "cat") == 0.0


def test_no_measure_fails_on_odd_text():
    for metric in METRICS:
        for text in ("\ud83d", "\0", "猫が座った", "(" * 1000, "a " * 2000):
            assert 0.0 <= similarity(metric, text, "the cat") <= 1.0
