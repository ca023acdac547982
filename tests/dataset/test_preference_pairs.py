import pytest

from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.preference_pairs import (
    Scored,
    bias,
    likeness,
    pairs_from_ratings,
    pairs_from_samples,
)
from workbench.dataset.read import read
from workbench.errors import DataError

PROMPT = ({"role": "system", "content": "S"}, {"role": "user", "content": "q"})


def scored(answer: str, score: float, origin: str = "s:1", prompt: tuple = PROMPT) -> Scored:
    return Scored(prompt, answer, score, origin)


def answers(dataset: Dataset) -> list[tuple[str, str]]:
    return [(e.answer, e.more["non_preferred_output"][0]["content"]) for e in dataset]


def pair(question: str, better: str, worse: str, origin: str = "a:1", **metadata: object) -> Example:
    more = {
        "preferred_output": [{"role": "assistant", "content": better}],
        "non_preferred_output": [{"role": "assistant", "content": worse}],
    }
    return Example(({"role": "user", "content": question},), origin, more, metadata)


def test_the_best_sample_is_paired_with_the_worst():
    samples = [scored("ok", 0.5, "s:1"), scored("bad", 0.1, "s:2"), scored("good", 0.9, "s:3")]
    (made,) = pairs_from_samples(samples, name="samples")
    assert (made.method, made.messages, made.origin) == ("dpo", PROMPT, "s:3")
    assert made.wire == {
        "input": {"messages": PROMPT},
        "preferred_output": [{"role": "assistant", "content": "good"}],
        "non_preferred_output": [{"role": "assistant", "content": "bad"}],
    }
    assert made.metadata == {
        "rejected_origin": "s:2",
        "preferred_score": 0.9,
        "rejected_score": 0.1,
        "preferred_first": False,
    }


def test_more_pairs_a_prompt_are_the_next_widest():
    samples = [scored("a", 1), scored("b", 2), scored("c", 4), scored("d", 8)]
    assert answers(pairs_from_samples(samples, name="s", pairs_per_prompt=2)) == [("d", "a"), ("d", "b")]
    every = answers(pairs_from_samples(samples, name="s", pairs_per_prompt=None))
    assert every == [("d", "a"), ("d", "b"), ("d", "c"), ("c", "a"), ("c", "b"), ("b", "a")]
    wide = answers(pairs_from_samples(samples, name="s", margin=4, pairs_per_prompt=None))
    assert wide == [("d", "a"), ("d", "b"), ("d", "c")]


def test_ties_and_equal_answers_give_no_pair_and_it_is_told():
    other = ({"role": "user", "content": "r"},)
    third = ({"role": "user", "content": "s"},)
    samples = [
        scored("a", 1),
        scored("b", 1),
        scored("same", 1, prompt=other),
        scored("same", 2, prompt=other),
        scored("yes", 2, prompt=third),
        scored("no", 1, prompt=third),
    ]
    made = pairs_from_samples(samples, name="s")
    assert answers(made) == [("yes", "no")]
    assert made.notes == ("2 prompts gave no pair: one answer only, ties, or too close",)


def test_prompts_are_not_mixed():
    other = ({"role": "user", "content": "r"},)
    samples = [scored("a", 1), scored("b", 2, prompt=other), scored("c", 3), scored("d", 4, prompt=other)]
    assert answers(pairs_from_samples(samples, name="s")) == [("c", "a"), ("d", "b")]


@pytest.mark.parametrize(
    ("samples", "margin", "message"),
    [
        (
            [scored("a", 1), scored("b", 1.5)],
            1,
            "s gives no pair: none of 1 prompt has two different answers with scores 1 or more apart; "
            "sample more answers.",
        ),
        (
            [],
            0,
            "s gives no pair: none of 0 prompts has two different answers with scores that differ; "
            "sample more answers.",
        ),
        ([scored("a", float("nan"), "s:7")], 0, "s:7: the score is nan; it should be a number."),
        ([scored("a", float("inf"), "s:7")], 0, "s:7: the score is inf; it should be a number."),
        ([], -1, "margin is -1; give how far apart two scores must be at least, such as 1."),
        ([], float("nan"), "margin is nan; give how far apart two scores must be at least, such as 1."),
    ],
)
def test_samples_that_give_no_pairs_say_why(samples, margin, message):
    with pytest.raises(DataError) as caught:
        pairs_from_samples(samples, name="s", margin=margin)
    assert str(caught.value) == message


def test_a_table_of_ratings_becomes_pairs(tmp_path):
    path = tmp_path / "ratings.csv"
    rows = ["question,answer,stars,customer", "q,good,5,x", "q,bad,1,y", "q,unrated,,z", "r,alone,3,x"]
    path.write_text("\n".join(rows), encoding="utf-8")
    rated = read(path, question="question", answer="answer", system="S")
    made = pairs_from_ratings(rated, "stars", margin=2)
    assert (answers(made), made[0].origin, made[0].question) == ([("good", "bad")], "ratings.csv:2", "q")
    assert made[0].metadata == {
        "customer": "x",
        "rejected_origin": "ratings.csv:3",
        "preferred_score": 5.0,
        "rejected_score": 1.0,
        "preferred_first": True,
    }
    assert made.name == "ratings.csv (pairs)"
    assert made.notes == (
        "1 row without a stars left out",
        "1 prompt gave no pair: one answer only, ties, or too close",
    )


@pytest.mark.parametrize("rating", ["five", True, [5], "nan"])
def test_a_rating_must_be_a_number(rating):
    row = Example((*PROMPT, {"role": "assistant", "content": "a"}), "a.jsonl:3", {}, {"stars": rating})
    with pytest.raises(DataError, match=r"a.jsonl:3: the (stars|score) is .+; it should be a number"):
        pairs_from_ratings(Dataset("a", (row,)), "stars")


def test_an_unknown_rating_is_answered_with_the_columns_there_are():
    row = Example((*PROMPT, {"role": "assistant", "content": "a"}), "a.jsonl:3", {}, {"stars": 1})
    with pytest.raises(DataError, match=r"a has no column 'score' to go by; it has stars, answer"):
        pairs_from_ratings(Dataset("a", (row,)), "score")


# Bias


def test_a_preference_for_length_is_found():
    pairs = [pair(f"q{n}", "a longer answer", "short") for n in range(14)]
    pairs += [pair(f"r{n}", "short", "a longer answer") for n in range(2)]
    found = bias(Dataset("pairs", tuple(pairs)))
    assert (found.longer, found.shorter, found.share_longer) == (14, 2, 0.875)
    assert found.p_longer == pytest.approx(137 / 65536)  # (C(16,14) + C(16,15) + C(16,16)) / 2**16
    assert found.is_long


@pytest.mark.parametrize(("longer", "shorter"), [(8, 2), (60, 40), (0, 0)])
def test_few_pairs_or_a_small_share_are_no_preference_for_length(longer, shorter):
    # 8 of 10: p = 0.055; 60 of 100: p = 0.028, and below 65 %.
    pairs = [pair(f"q{n}", "long", "s") for n in range(longer)]
    pairs += [pair(f"r{n}", "s", "long") for n in range(shorter)] + [pair("same", "ab", "cd")]
    assert not bias(Dataset("pairs", tuple(pairs))).is_long


def test_pairs_that_contradict_each_other_are_named():
    pairs = (
        pair("q", "a", "b", "f:1"),
        pair("q", "b", "a", "f:2"),
        pair("r", "b", "a", "f:3"),
        pair("q", "a", "b", "f:4"),
        pair("s", "c", "c", "f:5"),
        pair("s", "c", "c", "f:6"),
    )
    assert bias(Dataset("pairs", pairs)).reversed_origins == (("f:1", "f:2"), ("f:2", "f:4"))


def test_a_preference_for_the_first_place_is_found_where_the_place_is_known():
    known = [pair(f"q{n}", "a", "b", preferred_first=True) for n in range(8)]
    found = bias(Dataset("pairs", (*known, pair("r", "a", "b"))))
    assert (found.first, found.placed, found.share_first) == (8, 8, 1.0)
    assert found.p_first == pytest.approx(2 / 2**8)
    assert found.is_placed
    assert not bias(Dataset("pairs", tuple(known[:7]))).is_placed
    assert bias(Dataset("pairs", (pair("r", "a", "b"),))).share_first is None


def test_bias_looks_at_pairs_only():
    chat = Example((*PROMPT, {"role": "assistant", "content": "a"}), "a.jsonl:3")
    with pytest.raises(DataError, match=r"a.jsonl:3 is no preference pair; bias looks at pairs only"):
        bias(Dataset("a", (pair("q", "a", "b"), chat)))


def test_bias_prints_itself(unstyled):
    pairs = [pair(f"q{n}", "a longer answer", "short", preferred_first=n % 2 == 0) for n in range(8)]
    found = bias(Dataset("<b>", (*pairs, pair("q0", "short", "a longer answer", "f:9"))))
    assert repr(found) == (
        "<b>: preferred is longer 89%, p = 0.02 (no finding); "
        "reversed elsewhere 1 pair (decide which one is right); "
        "preferred stood first 50%, p = 1 (no finding)"
    )
    html = unstyled(found._repr_html_())
    assert "<caption>&lt;b&gt;: 9 pairs</caption>" in html
    assert '<th scope="row">reversed elsewhere</th><td>1 pair</td><td>decide which one is right</td>' in html


# Plausibility


def both(own: str, *, better: str = "we are happy to help you", worse: str = "read the manual") -> object:
    pairs = Dataset("pairs", tuple(pair(f"q{n}", better, worse, f"a:{n}") for n in range(3)))
    return likeness("m", pairs, [own] * 3)


def test_answers_that_the_model_could_give_are_plausible():
    found = both("we are able to read the manual for you")
    # Longest common subsequences: "we are to you" of 6 and 9 words, "read the manual" of 3 and 9.
    assert found.preferred[0] == pytest.approx(2 * 4 / (6 + 9))
    assert found.rejected[0] == pytest.approx(2 * 3 / (3 + 9))
    assert found.verdict == (
        "m's own answers to 3 questions are like the preferred ones by 0.53 and like the rejected ones by "
        "0.50 (median of ROUGE-L): both answers are plausible."
    )


@pytest.mark.parametrize(
    ("own", "finding"),
    [
        ("something else altogether", "the model says something else than either answer"),
        ("we are happy to help you", "the model says what is preferred already, so there is little to learn"),
        ("we are happy", "the rejected answers are none that the model would give"),
    ],
)
def test_what_is_implausible_is_said_with_the_way_out(own: str, finding: str):
    assert both(own).finding.startswith(finding)
    assert finding in both(own)._repr_html_()


def test_every_pair_needs_an_answer_of_the_model():
    with pytest.raises(DataError, match="1 pair and 0 answers; give one each"):
        likeness("m", Dataset("pairs", (pair("q", "a", "b"),)), [])


def test_how_much_longer_each_preferred_answer_is_is_kept():
    found = bias(Dataset("pairs", (pair("q", "abc", "d"), pair("r", "a", "bcde"), pair("s", "ab", "cd"))))
    assert found.differences == (2, -3, 0)
