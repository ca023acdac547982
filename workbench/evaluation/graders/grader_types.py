"""The table of grader types: for each its fields, how it grades, and what it needs for that.

``TYPES`` is the one place that lists them. Evaluation, the check of training data, jobs and the local service
read it, so a new type is one entry here. Which fields are required is said by ``openai.types.graders``. Types
that ask a model grade in ``judges``.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from workbench.evaluation.graders.formula import FormulaError, formula
from workbench.evaluation.graders.grades import (
    NO_ERRORS,
    AnswerToGrade,
    BadGraderError,
    Grade,
    Grader,
    NoScoreError,
    UnansweredError,
    item_reads,
    misplaced,
    places,
    together,
    ungraded,
)
from workbench.evaluation.graders.judges import (
    Ask,
    check_endpoint,
    check_label_model,
    check_score_model,
    label_by_model,
    range_of,
    score_by_endpoint,
    score_by_model,
)
from workbench.evaluation.graders.sandbox import SandboxLimits, run_python

Need: TypeAlias = Literal["nothing", "sandbox", "model", "address"]
"""What grading waits for: only this processor, a process for foreign code, a model's reply, an address's."""


class Resources(NamedTuple):
    """What grading one answer may use."""

    ask: Ask | None
    limits: SandboxLimits


@dataclass(frozen=True)
class GraderType:
    """One type of grader."""

    words: str
    """What it does: "compares two texts"."""
    texts: tuple[str, ...] = ("name",)
    """Required fields beside ``type`` that hold a text, not an empty one."""
    choices: Mapping[str, tuple[str, ...]] | None = None
    """The values that fields may have, where there are few."""
    more: tuple[str, ...] = ()
    """Its other fields, required or not; ``check`` says what they hold."""
    templates: tuple[str, ...] = ("input", "reference")
    """Fields with templates: a text, or messages."""
    check: Callable[[Grader, str], None] = lambda grader, path: None
    """Raises ``BadGraderError`` for what ``texts`` and ``choices`` cannot say."""
    grade: Callable[[Grader, AnswerToGrade, Resources], Grade] | None = None
    """Grades one answer; may raise what ``grade_answer`` understands."""
    needs: Need = "nothing"
    range: Callable[[Grader], tuple[float, float]] = lambda grader: (0.0, 1.0)
    """Its lowest and highest score."""


def type_of(grader: Grader) -> GraderType:
    """The entry of this grader's type; an empty one for an unknown type."""
    return TYPES.get(str(grader.get("type")), _UNKNOWN)


def with_inner(grader: Grader, path: str = "grader") -> Iterator[tuple[str, Grader]]:
    """The grader and those inside it, each with its path; of broken ones those that are objects."""
    waiting = [(path, grader)]
    while waiting:  # however deep somebody nests them
        here, one = waiting.pop()
        yield here, one
        inner = one.get("graders")
        found = inner.items() if isinstance(inner, Mapping) else ()
        named = [(f"{here}.graders.{name}", each) for name, each in found if isinstance(each, Mapping)]
        waiting += reversed(named)


def needs(grader: Grader) -> frozenset[Need]:
    """What grading by it waits for; nothing is known of broken parts."""
    return frozenset(type_of(one).needs for _, one in with_inner(grader))


def models_asked(grader: Grader) -> Iterator[tuple[str, str]]:
    """The models that it asks, each with the path of its name."""
    for path, one in with_inner(grader):
        if type_of(one).needs == "model":
            yield f"{path}.model", str(one["model"])


def python_sources(grader: Grader, path: str = "grader") -> Iterator[tuple[str, str]]:
    """The Python sources of a grader and of those in it, each with its path."""
    for place, one in with_inner(grader, path):
        source = one.get("source")
        if type_of(one).needs == "sandbox" and isinstance(source, str):
            yield f"{place}.source", source


def template_texts(grader: Grader, path: str = "grader") -> Iterator[tuple[str, str]]:
    """The texts that may hold templates, of a grader and of those in it, each with its path."""
    for place, one in with_inner(grader, path):
        for name in type_of(one).templates:
            yield from _texts_in(one.get(name), f"{place}.{name}")


def _texts_in(value: object, path: str) -> Iterator[tuple[str, str]]:
    """A text; or those of messages to a model, whose content is a text, a part or a list of parts."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name in ("content", "text"):
            yield from _texts_in(value.get(name), f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            if isinstance(each, Mapping):
                yield from _texts_in(each, f"{path}[{number}]")


def item_fields(grader: Grader) -> frozenset[tuple[str, ...]]:
    """The places of an item that the templates of a grader name: ``{("meta", "answer")}``."""
    every = (place for _, text in template_texts(grader) for place in places(text))
    return frozenset(place.path[1:] for place in every if place.path[:1] == ("item",))


def check_shape(grader: Grader, path: str = "grader") -> None:
    """Raise ``BadGraderError`` for wrong fields, types, templates or formulas; no source is loaded."""
    if not isinstance(grader, Mapping):
        raise BadGraderError(
            path,
            f"is a mapping in OpenAI's JSON, not {type(grader).__name__}; "
            f'take a ready-made one with grader("exact"), or write {{"type": "string_check", …}}',
        )
    kind = grader.get("type")
    known = TYPES.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise BadGraderError(f"{path}.type", f"is {kind!r}; there are {', '.join(TYPES)}")
    for field in known.texts:
        value = grader.get(field)
        if not isinstance(value, str) or not value.strip():
            finding = "is missing" if field not in grader else f"is {value!r}"
            raise BadGraderError(f"{path}.{field}", f"{finding}; a {kind} grader needs a text there")
    threshold = grader.get("pass_threshold")
    if threshold is not None and not _is_number(threshold):
        raise BadGraderError(
            f"{path}.pass_threshold", f"is {threshold!r}; it is the lowest score that passes"
        )
    known.check(grader, path)
    for field, values in (known.choices or {}).items():
        if grader[field] not in values:
            raise BadGraderError(f"{path}.{field}", f"is {grader[field]!r}; use {', '.join(values)}")
    for place_of_text, text in template_texts(grader, path):
        for place in places(text):
            wrong = misplaced(place)
            if wrong:
                raise BadGraderError(place_of_text, f"has the template {wrong}")


_ITEM_IN_TRAINING = frozenset({("question",), ("answer",)})


def check_in_training(grader: Grader) -> None:
    """The same for a grader of held-out answers in a local supervised job, which asks no model."""
    for path, one in with_inner(grader):
        if type_of(one).needs == "model":
            here = [name for name, each in TYPES.items() if each.needs != "model"]
            raise BadGraderError(
                f"{path}.type",
                f"is {one['type']!r}, which asks a model, and local training asks none; "
                f"use {', '.join(here)}, or grade afterwards",
            )
    check_shape(grader)
    reads = item_fields(grader).union(*(item_reads(source) for _, source in python_sources(grader)))
    for read in sorted(reads - _ITEM_IN_TRAINING):
        finding = f"reads item.{'.'.join(read)}, and an item has question and answer while a model trains"
        raise BadGraderError("grader", f"{finding}; name one of these, or grade afterwards")
    for path, one in with_inner(grader):
        known = type_of(one)
        for field in one:
            if field not in ("type", "pass_threshold", *known.texts, *known.more):
                finding = f"is no field of a {one['type']} grader; leave it out"
                raise BadGraderError(f"{path}.{field}", finding)


def grade_answer(grader: Grader, answer: AnswerToGrade, using: Resources) -> Grade:
    """Grade one answer by a grader whose shape was checked; what keeps it from a score is in the grade."""
    kind = type_of(grader)
    assert kind.grade is not None
    try:
        return kind.grade(grader, answer, using)
    except NoScoreError as error:
        return ungraded(str(error), *error.flags)
    except UnansweredError as error:
        return Grade(kind.range(grader)[0], str(error), errors={**NO_ERRORS, "sample_parse_error": True})


# Texts that are compared. "like" and "ilike" ask whether the input contains the reference.

_OPERATIONS: Mapping[str, tuple[Callable[[str, str], bool], str, str]] = {
    "eq": (lambda text, reference: text == reference, "{0} is {1}", "{0} is not {1}"),
    "ne": (lambda text, reference: text != reference, "{0} is not {1}", "{0} is {1}"),
    "like": (lambda text, reference: reference in text, "{1} is in {0}", "{1} is not in {0}"),
    "ilike": (
        lambda text, reference: reference.casefold() in text.casefold(),
        "{1} is in {0}",
        "{1} is not in {0}",
    ),
}
_SHOWN = 80  # characters of a text in a reason


def _string_check(grader: Grader, answer: AnswerToGrade, using: Resources) -> Grade:
    text, reference = answer.fill(str(grader["input"])), answer.fill(str(grader["reference"]))
    holds, yes, no = _OPERATIONS[str(grader["operation"])]
    right = holds(text, reference)
    return Grade(float(right), (yes if right else no).format(_short(text), _short(reference)))


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


# Text similarity, by the measures that the service names. It documents names and packages, not settings; ours
# are the packages' defaults. All give 0 to 1, and all cut a text into words, so they say little about
# languages written without spaces.

_LONGEST = 200_000  # characters
_MOST_PAIRS = 16_000_000  # of words, one from each text: 128 MB and some seconds for ROUGE-L
_ROUGE = ("rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l")
_COMPARE_ALL = ("meteor", "rouge_l")  # each word with each


def similarity(metric: str, text: str, reference: str) -> float:
    """How alike they are by one of ``METRICS``: 0 is not at all, 1 is the same; raises ``NoScoreError``."""
    if max(len(text), len(reference)) > _LONGEST:
        raise NoScoreError(f"{metric} compares texts of at most {_LONGEST:,} characters")
    words, wanted = text.split(), reference.split()
    if metric in _COMPARE_ALL and len(words) * len(wanted) > _MOST_PAIRS:
        raise NoScoreError(f"{metric} compares texts of at most {_MOST_PAIRS:,} pairs of words")
    if not words or not wanted:
        return float(words == wanted)  # not every package takes an empty text
    return min(max(METRICS[metric](text, reference), 0.0), 1.0)


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
    **{metric: _rouge(metric) for metric in _ROUGE},
}


def _check_text_similarity(grader: Grader, path: str) -> None:
    if grader["evaluation_metric"] == "cosine":
        raise BadGraderError(
            f"{path}.evaluation_metric",
            "is 'cosine', which compares embeddings of a model that only the service has (and it takes "
            "it for evals only); use rouge_l or fuzzy_match, or a score_model grader for the meaning",
        )


def _text_similarity(grader: Grader, answer: AnswerToGrade, using: Resources) -> Grade:
    text, reference = answer.fill(str(grader["input"])), answer.fill(str(grader["reference"]))
    metric = str(grader["evaluation_metric"])
    score = similarity(metric, text, reference)
    return Grade(score, f"{metric} of {_short(text)} and {_short(reference)} is {score:.2f}")


# Foreign code.


def _python(grader: Grader, answer: AnswerToGrade, using: Resources) -> Grade:
    ran = run_python(str(grader["source"]), answer.output_text, answer.item, using.limits)
    if not ran.problem:
        return Grade(ran.score, ran.reason or f"{grader['name']} gave {ran.score:g}")
    if ran.kind == "code":
        return ungraded(
            ran.problem, "python_grader_runtime_error", python_grader_runtime_error_details=ran.problem
        )
    return ungraded(ran.problem, "python_grader_server_error", python_grader_server_error_type=ran.kind)


# Several graders and a formula.


def _check_multi(grader: Grader, path: str) -> None:
    inner = grader.get("graders")
    if not isinstance(inner, Mapping) or not inner:
        raise BadGraderError(f"{path}.graders", "is an object of graders by name, at least one")
    for name, one in inner.items():
        if not (isinstance(name, str) and name.isascii() and name.isidentifier()):
            raise BadGraderError(
                f"{path}.graders", f"has the name {name!r}; a formula can only name letters, digits and _"
            )
        if isinstance(one, Mapping) and one.get("type") == "multi":
            raise BadGraderError(f"{path}.graders.{name}", "is a multi grader; there is none inside another")
        check_shape(one, f"{path}.graders.{name}")
    try:
        unknown = sorted(formula(str(grader["calculate_output"])).names - inner.keys())
    except FormulaError as error:
        raise BadGraderError(f"{path}.calculate_output", str(error)) from None
    if unknown:
        raise BadGraderError(
            f"{path}.calculate_output", f"names {unknown[0]!r}; the graders are {', '.join(map(str, inner))}"
        )


def _multi(grader: Grader, answer: AnswerToGrade, using: Resources) -> Grade:
    inner = grader["graders"]
    assert isinstance(inner, Mapping)
    grades = {str(name): grade_answer(one, answer, using) for name, one in inner.items()}
    tokens: Counter[str] = Counter()
    for one in grades.values():
        tokens.update(one.tokens)
    whole = _calculated(str(grader["calculate_output"]), grades)
    return replace(
        whole,
        sub_scores={name: one.score for name, one in grades.items()},
        tokens=dict(tokens),
        errors=together([*grades.values(), whole]),
        model=next((one.model for one in grades.values() if one.model), None),
    )


def _calculated(text: str, grades: Mapping[str, Grade]) -> Grade:
    """What the formula gives; nothing when one of the graders gave nothing."""
    failed = [f"{name}: {one.problem}" for name, one in grades.items() if not one.graded]
    if failed:
        return ungraded("; ".join(failed))
    values = ", ".join(f"{name} = {one.score:g}" for name, one in grades.items())
    try:
        score = formula(text).value({name: one.score for name, one in grades.items()})
    except FormulaError as error:
        return ungraded(f"the formula {text} {error}, with {values}", "formula_parse_error")
    reasons = "; ".join(f"{name}: {one.reason}" for name, one in grades.items())
    return Grade(score, f"{text} = {score:g}, with {values} ({reasons})")


TYPES: dict[str, GraderType] = {
    "string_check": GraderType(
        "compares two texts character by character",
        texts=("name", "input", "reference", "operation"),
        choices={"operation": tuple(_OPERATIONS)},
        grade=_string_check,
    ),
    "text_similarity": GraderType(
        "measures how alike two texts are",
        texts=("name", "input", "reference", "evaluation_metric"),
        choices={"evaluation_metric": tuple(METRICS)},
        check=_check_text_similarity,
        grade=_text_similarity,
    ),
    "python": GraderType(
        "runs your Python function",
        texts=("name", "source"),
        more=("image_tag",),
        templates=(),
        grade=_python,
        needs="sandbox",
    ),
    "score_model": GraderType(
        "asks a model for a score",
        texts=("name", "model"),
        more=("input", "range", "sampling_params"),
        check=check_score_model,
        grade=lambda grader, answer, using: score_by_model(grader, answer, using.ask),
        needs="model",
        range=range_of,
    ),
    "label_model": GraderType(
        "asks a model for a label",
        texts=("name", "model"),
        more=("input", "labels", "passing_labels", "sampling_params"),
        check=check_label_model,
        grade=lambda grader, answer, using: label_by_model(grader, answer, using.ask),
        needs="model",
    ),
    "multi": GraderType(
        "combines other graders by a formula",
        texts=("name", "calculate_output"),
        more=("graders",),
        templates=(),
        check=_check_multi,
        grade=_multi,
    ),
    "endpoint": GraderType(
        "asks an address of yours",
        texts=("name", "url"),
        more=("headers", "rate_limit"),
        templates=(),
        check=check_endpoint,
        grade=lambda grader, answer, using: score_by_endpoint(grader, answer, using.limits.seconds),
        needs="address",
    ),
}
_UNKNOWN = GraderType("is unknown")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
