"""What is wrong with a grader, told with its place before an answer is paid for.

Required fields are those of ``openai.types.graders``. A grader inside a multi grader is held to the same,
under its own path: ``grader.graders.close.operation``.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from workbench.dataset.templates import texts as texts_with_templates
from workbench.dataset.templates import value_at
from workbench.errors import DataError
from workbench.evaluation.graders.filling import known_places, misplaced, unfilled
from workbench.evaluation.graders.formula import FormulaError, formula
from workbench.evaluation.graders.judges import numbers, text_of, texts
from workbench.evaluation.graders.sandbox import load_problem
from workbench.evaluation.graders.similarity import METRICS

Grader: TypeAlias = Mapping[str, object]
"""OpenAI's grader JSON, for example ``{"type": "string_check", "name": …, …}``."""

OPERATIONS = ("eq", "ne", "like", "ilike")
ROLES = ("system", "developer", "user", "assistant")
# The texts that each kind needs besides "type".
_TEXTS: Mapping[str, tuple[str, ...]] = {
    "string_check": ("name", "input", "reference", "operation"),
    "text_similarity": ("name", "input", "reference", "evaluation_metric"),
    "python": ("name", "source"),
    "score_model": ("name", "model"),
    "label_model": ("name", "model"),
    "multi": ("name", "calculate_output"),
}
TYPES = tuple(_TEXTS)


class BadGraderError(DataError):
    """A grader that cannot grade; ``path`` is its place: ``grader.graders.close.operation``."""

    def __init__(self, path: str, finding: str) -> None:
        """``finding`` goes on from the path: ``is 'equals'; use eq, ne, like, ilike``."""
        super().__init__(f"{path} {finding}.")
        self.path = path


def check_grader(grader: Grader, items: Iterable[Mapping[str, object]] = ()) -> None:
    """Tell me what is wrong with my grader, and with the items it will read, before anything is paid.

    Python sources are loaded once, in a sandbox. Raises ``DataError`` with the path of the finding
    (``grader.operation``), or with the template that an item cannot fill.
    """
    check_shape(grader)
    for path, inner in _with_inner(grader):
        if inner["type"] == "python":
            problem = load_problem(str(inner["source"]))
            if problem:
                raise BadGraderError(f"{path}.source", f"does not load: {problem}")
    every = {place for _, text in texts_with_templates(grader) for place in known_places(text)}
    needed = sorted(place for place in every if place.path[0] == "item")
    for item in items:
        for shown, path_in_item in needed:
            if value_at(path_in_item, {"item": item}) is None:
                raise DataError(f"grader {grader['name']!r}: {unfilled(shown, item)}.")


def check_shape(grader: Grader, path: str = "grader") -> None:
    """The same without loading any source: fields, kinds, templates, formula."""
    if not isinstance(grader, Mapping):
        raise BadGraderError(
            path,
            f"is a mapping in OpenAI's JSON, not {type(grader).__name__}; "
            f'take a ready-made one with grader("exact"), or write {{"type": "string_check", …}}',
        )
    kind = grader.get("type")
    if kind == "endpoint":
        raise BadGraderError(
            f"{path}.type", "is 'endpoint', which only Azure can call; write its rule as a python grader here"
        )
    if not isinstance(kind, str) or kind not in _TEXTS:
        raise BadGraderError(f"{path}.type", f"is {kind!r}; there are {', '.join(TYPES)}")
    for field in _TEXTS[kind]:
        value = grader.get(field)
        if not isinstance(value, str) or not value.strip():
            finding = "is missing" if field not in grader else f"is {value!r}"
            raise BadGraderError(f"{path}.{field}", f"{finding}; a {kind} grader needs a text there")
    _threshold(grader, path)
    _CHECKS.get(kind, _nothing_more)(grader, path)
    for place_of_text, text in texts_with_templates(grader, path):
        for place in known_places(text):
            wrong = misplaced(place)
            if wrong:
                raise BadGraderError(place_of_text, f"has the template {wrong}")


def _with_inner(grader: Grader) -> Iterable[tuple[str, Grader]]:
    yield "grader", grader
    inner = grader.get("graders")
    if grader["type"] == "multi" and isinstance(inner, Mapping):
        yield from ((f"grader.graders.{name}", one) for name, one in inner.items())


def _threshold(grader: Grader, path: str) -> None:
    value = grader.get("pass_threshold")
    if value is not None and not _is_number(value):
        raise BadGraderError(f"{path}.pass_threshold", f"is {value!r}; it is the lowest score that passes")


def _nothing_more(grader: Grader, path: str) -> None:
    """A kind whose texts are all there is."""


def _string_check(grader: Grader, path: str) -> None:
    if grader["operation"] not in OPERATIONS:
        raise BadGraderError(f"{path}.operation", f"is {grader['operation']!r}; use {', '.join(OPERATIONS)}")


def _text_similarity(grader: Grader, path: str) -> None:
    metric = grader["evaluation_metric"]
    if metric == "cosine":
        raise BadGraderError(
            f"{path}.evaluation_metric",
            "is 'cosine', which compares embeddings of a model that only the service has (and it takes "
            "it for evals only); use rouge_l or fuzzy_match, or a score_model grader for the meaning",
        )
    if metric not in METRICS:
        raise BadGraderError(f"{path}.evaluation_metric", f"is {metric!r}; use {', '.join(METRICS)}")


def _judge(grader: Grader, path: str) -> None:
    messages = grader.get("input")
    if not isinstance(messages, list | tuple) or not messages:
        raise BadGraderError(f"{path}.input", "is the list of messages to the judge, at least one")
    for number, message in enumerate(messages):
        place = f"{path}.input[{number}]"
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            raise BadGraderError(f"{place}.role", f"is one of {', '.join(ROLES)}")
        if text_of(message.get("content")) is None:
            raise BadGraderError(
                f"{place}.content", "is a text or a list of text parts; judges here read text only"
            )
    sampling = grader.get("sampling_params")
    if sampling is not None and not isinstance(sampling, Mapping):
        raise BadGraderError(f"{path}.sampling_params", 'is an object such as {"temperature": 0}')


def _score_model(grader: Grader, path: str) -> None:
    _judge(grader, path)
    value = grader.get("range")
    if value is None:
        return
    ends = numbers(value)
    if not isinstance(value, list | tuple) or len(value) != 2 or len(ends) != 2 or not ends[0] < ends[1]:
        raise BadGraderError(f"{path}.range", f"is {value!r}; write [lowest, highest]")


def _label_model(grader: Grader, path: str) -> None:
    _judge(grader, path)
    labels, passing = texts(grader.get("labels")), texts(grader.get("passing_labels"))
    if len({label.strip().casefold() for label in labels}) < max(2, len(labels)) or not all(
        map(str.strip, labels)
    ):
        raise BadGraderError(
            f"{path}.labels", "is a list of two or more texts that differ by more than capitals"
        )
    strange = sorted(set(passing) - set(labels))
    if not passing or strange:
        finding = f"has {strange[0]!r}, which is no label" if strange else "is empty"
        raise BadGraderError(
            f"{path}.passing_labels", f"{finding}; name those of {', '.join(labels)} that pass"
        )


def _multi(grader: Grader, path: str) -> None:
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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_CHECKS: Mapping[str, Callable[[Grader, str], None]] = {
    "string_check": _string_check,
    "text_similarity": _text_similarity,
    "score_model": _score_model,
    "label_model": _label_model,
    "multi": _multi,
}
