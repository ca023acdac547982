"""Text similarity: how alike two texts are, by the measures that the service names.

The service documents names and packages, not settings; ours are the packages' defaults. All give 0 to 1,
and all cut a text into words, so they say little about languages written without spaces.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

LONGEST = 200_000  # characters
MOST_PAIRS = 16_000_000  # of words, one from each text: 128 MB and some seconds for ROUGE-L
ROUGE = ("rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l")
COMPARE_ALL = ("meteor", "rouge_l")  # each word with each


class TooLongError(ValueError):
    """Two texts whose comparison would take minutes, or all the memory."""


def similarity(metric: str, text: str, reference: str) -> float:
    """How alike they are by one of ``METRICS``: 0 is not at all, 1 is the same; raises ``TooLongError``."""
    _check_length(metric, text, reference)
    if not text.split() or not reference.split():
        return float(text.split() == reference.split())  # not every package takes an empty text
    return min(max(METRICS[metric](text, reference), 0.0), 1.0)


def _check_length(metric: str, text: str, reference: str) -> None:
    if max(len(text), len(reference)) > LONGEST:
        raise TooLongError(f"{metric} compares texts of at most {LONGEST:,} characters")
    if metric in COMPARE_ALL and len(text.split()) * len(reference.split()) > MOST_PAIRS:
        raise TooLongError(f"{metric} compares texts of at most {MOST_PAIRS:,} pairs of words")


def _fuzzy_match(text: str, reference: str) -> float:
    """The share of letters that need no insertion or deletion: RapidFuzz's ``fuzz.ratio``."""
    from rapidfuzz import fuzz

    return fuzz.ratio(text, reference) / 100


def _bleu(text: str, reference: str) -> float:
    """Sentence BLEU with SacreBLEU's tokenizer and exponential smoothing (Post, 2018)."""
    from sacrebleu import sentence_bleu

    return float(sentence_bleu(text, [reference]).score) / 100


def _gleu(text: str, reference: str) -> float:
    """The smaller of precision and recall over 1- to 4-grams (Wu and others, 2016), words as they stand."""
    from nltk.translate.gleu_score import sentence_gleu  # type: ignore[import-untyped]

    return float(sentence_gleu([reference.split()], text.split()))


def _meteor(text: str, reference: str) -> float:
    """METEOR (Banerjee and Lavie, 2005) by equal words and equal Porter stems.

    Its third step, synonyms from WordNet, is left out: that is a corpus to be downloaded. Where an answer
    uses other words for the same, the service's number may be higher.
    """
    from nltk.translate.meteor_score import single_meteor_score  # type: ignore[import-untyped]

    return float(single_meteor_score(reference.split(), text.split(), wordnet=_NoSynonyms()))


def _rouge(metric: str) -> Callable[[str, str], float]:
    def f_measure(text: str, reference: str) -> float:
        name = metric.replace("_l", "L").replace("_", "")
        return float(_scorer(name).score(reference, text)[name].fmeasure)

    return f_measure


@lru_cache(maxsize=8)
def _scorer(name: str):  # type: ignore[no-untyped-def]
    """Google's rouge-score, F1, without stemming; it keeps only letters a to z and digits."""
    from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]

    return RougeScorer([name])


class _NoSynonyms:
    """A WordNet in which no word has a synonym."""

    def synsets(self, word: str) -> Sequence[object]:
        """Nothing, for any word."""
        return ()


METRICS: Mapping[str, Callable[[str, str], float]] = {
    "fuzzy_match": _fuzzy_match,
    "bleu": _bleu,
    "gleu": _gleu,
    "meteor": _meteor,
    **{metric: _rouge(metric) for metric in ROUGE},
}
