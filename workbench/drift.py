"""Are new questions like known ones? Their words, lengths and languages, by permutation tests.

Whole groups of questions are dealt out anew, and what the real division shows is compared with that: exact if
groups are exchangeable. Apart because it is about texts alone: it asks no model and reads no project.
"""

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from workbench.dataset.check.texts import language_of

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Floats = NDArray[numpy.float64]

PERMUTATIONS = 1_999
MOST_QUESTIONS = 500  # of each side; more are sampled
FEWEST_QUESTIONS = 5  # new ones; fewer show nothing
_COLUMNS = 2**15  # of hashed features
_NEIGHBOURS = 64  # of each question; where none of them is known, it is as far as the last of them
_AT_ONCE = 20_000_000  # cells in memory
_MORE = 0.005  # a share that grew by less is not named
_SHOWN = 5  # new questions that are least like the old ones


@dataclass(frozen=True)
class Drift:
    """How new questions differ from known ones; the p-values are not corrected yet."""

    topics: float
    """p of how far new questions are from known ones, by their words and letter triples."""
    lengths: float
    """p of the Kolmogorov-Smirnov distance of their lengths in characters."""
    languages: float
    """p of the chi-squared distance of their languages."""
    known: tuple[float, ...]
    """How similar each known question is to the most similar other known one: cosine, 0 to 1."""
    new: tuple[float, ...]
    """How similar each new question is to the most similar known one."""
    far: tuple[tuple[str, str, float], ...]
    """New questions that are least like known ones, each with the most similar one and its similarity."""
    typical_lengths: tuple[float, float]
    """Characters of the median question: known, new."""
    added_languages: Mapping[str, float]
    """Languages of which the new questions have a larger share, with by how much."""


def drift(
    known: Sequence[str],
    new: Sequence[str],
    *,
    known_groups: Sequence[object] | None = None,
    new_groups: Sequence[object] | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Drift:
    """Compare the words, the lengths and the languages of two sets of questions.

    Topics: each question's similarity to the nearest known one, ranked, the strangest counting most (Savage
    1956, Annals of Mathematical Statistics 27:590), so that a topic of few questions is found. Groups are
    dealt out whole: a customer's questions, or equal ones (without groups), are no independent observations.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    sides, labels = list[list[str]](), list[tuple[int, object]]()
    for side, (texts, groups) in enumerate(((known, known_groups), (new, new_groups))):
        names = groups or [alike_in_form(text) for text in texts]
        kept = np.sort(random.permutation(len(texts))[:MOST_QUESTIONS])
        sides.append([texts[place] for place in kept])
        labels += [(side, names[place]) for place in kept]
    asked, of_known = [*sides[0], *sides[1]], len(sides[0])
    vectors = _vectors([alike_in_form(text) for text in asked])
    kernel = np.asarray((vectors @ vectors.T).todense())
    weights = dealt(labels, permutations, random)
    strange = _strangeness(np.where(_same_group(labels), -1.0, kernel), weights, random)
    lengths = np.array([len(text) for text in asked])
    order = np.argsort(lengths, kind="stable")
    last = np.append(np.diff(lengths[order]) > 0, True)  # of equal lengths, where distributions can be read
    distance = np.abs(weights[:, order].cumsum(axis=1)[:, last]).max(axis=1)
    languages, added = _languages(asked, labels, permutations, random)
    similar = kernel[:, :of_known].copy()
    similar[np.arange(of_known), np.arange(of_known)] = -1
    nearest, closest = similar.max(axis=1), similar.argmax(axis=1)
    far = of_known + np.argsort(nearest[of_known:])[:_SHOWN]
    return Drift(
        share_as_far(strange),
        share_as_far(distance),
        languages,
        tuple(nearest[:of_known].tolist()),
        tuple(nearest[of_known:].tolist()),
        tuple((asked[place], asked[closest[place]], float(nearest[place])) for place in far),
        (median(map(len, sides[0])), median(map(len, sides[1]))),
        added,
    )


def _same_group(labels: Sequence[tuple[int, object]]) -> "NDArray[numpy.bool_]":
    """A cell for each pair of places: do both belong to one group, or are they one?"""
    import numpy as np

    numbers: dict[tuple[int, object], int] = {}
    group = np.array([numbers.setdefault(label, len(numbers)) for label in labels])
    same: NDArray[np.bool_] = np.equal.outer(group, group)
    return same


def _strangeness(similar: "Floats", weights: "Floats", random: "numpy.random.Generator") -> "Floats":
    """Of each division, how much stranger the new side is: its mean exponential score less the known's."""
    import numpy as np

    size = len(similar)
    similar = similar + 1e-9 * random.random(similar.shape)  # ties fall by chance, not by place
    nearest = np.argsort(-similar, axis=1)[:, :_NEIGHBOURS]
    sorted_similar = np.take_along_axis(similar, nearest, axis=1)
    scores = -np.log(np.arange(1, size + 1) / size)
    found = []
    at_once = max(1, _AT_ONCE // nearest.size)
    for start in range(0, len(weights), at_once):
        some = weights[start : start + at_once]
        is_known = (some < 0)[:, nearest]
        is_known[:, :, -1] = True
        to_known = sorted_similar[np.arange(size), is_known.argmax(axis=2)]
        ranks = to_known.argsort(axis=1).argsort(axis=1)
        found.append((scores[ranks] * some).sum(axis=1))
    return np.concatenate(found)


def _languages(
    asked: Sequence[str],
    labels: Sequence[tuple[int, object]],
    permutations: int,
    random: "numpy.random.Generator",
) -> tuple[float, dict[str, float]]:
    """p of the shares of languages, and those of which new questions have more; unknown ones are left out."""
    import numpy as np

    known = [
        (language, label)
        for text, label in zip(asked, labels, strict=True)
        if (language := language_of(text))
    ]
    if {side for _, (side, _) in known} != {0, 1}:
        return 1.0, {}
    names, places = np.unique([language for language, _ in known], return_inverse=True)
    shares = np.eye(len(names))[places]
    moved = dealt([label for _, label in known], permutations, random) @ shares
    p_value = share_as_far((moved**2 / shares.mean(axis=0)).sum(axis=1))
    more = zip(names, moved[0], strict=True)
    return p_value, {str(name): float(share) for name, share in more if share > _MORE}


def alike_in_form(text: str) -> str:
    """The text in lower case with every digit a 0: questions that differ by their numbers are equal."""
    return re.sub(r"\d", "0", " ".join(text.lower().split()))


def _vectors(texts: Sequence[str]) -> "csr_matrix":
    """A row a text, of length 1: words, pairs of words and letter triples, hashed and weighted by tf-idf."""
    import numpy as np
    from scipy.sparse import csr_matrix, diags_array

    rows, columns, values = list[int](), list[int](), list[float]()
    for row, text in enumerate(texts):
        words = re.findall(r"\w+", text)
        pairs = [f"{one} {other}" for one, other in pairwise(words)]
        triples = [text[place : place + 3] for place in range(len(text) - 2)]
        counts = Counter(
            zlib.crc32(each.encode("utf-8", "replace")) % _COLUMNS for each in (*words, *pairs, *triples)
        )
        rows += [row] * len(counts)
        columns += counts
        values += [1 + float(np.log(times)) for times in counts.values()]
    found = csr_matrix((values, (rows, columns)), shape=(len(texts), _COLUMNS))
    often = np.bincount(found.indices, minlength=_COLUMNS)
    weighted = found @ diags_array(np.log((1 + len(texts)) / (1 + often)) + 1)
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1))).ravel()
    return csr_matrix(diags_array(1 / np.maximum(norms, 1e-12)) @ weighted)


def dealt(
    labels: Sequence[tuple[int, object]], permutations: int, random: "numpy.random.Generator"
) -> "Floats":
    """A row a division: 1/new for what is dealt to the new side, -1/known else; the first is the real one."""
    import numpy as np

    groups = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    group = np.array([groups[label] for label in labels])
    is_new = np.array([side for side, _ in groups], dtype=bool)
    dealt = np.array([is_new, *(random.permutation(is_new) for _ in range(permutations))])[:, group]
    sizes = dealt.sum(axis=1, keepdims=True)
    weights: Floats = np.where(dealt, 1 / np.maximum(sizes, 1), -1 / np.maximum(dealt.shape[1] - sizes, 1))
    return weights


def share_as_far(statistics: "Floats") -> float:
    """The share of divisions as far as the real one, which is one of them (Phipson and Smyth 2010)."""
    return float((statistics >= statistics[0] - 1e-9).mean())
