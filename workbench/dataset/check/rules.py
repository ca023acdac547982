"""The rules of the three formats, for one line at a time.

``Rules("sft").findings(value)`` tells everything that is the matter with a
line, whatever JSON it holds. Most lines of most files are plain and right, and
``plain`` says so in about a microsecond.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from workbench.catalog.limits import in_words, of_provider
from workbench.dataset.check.messages import (
    conversation,
    ends_with_an_answer,
    images,
    is_simple,
    messages_in,
    unknown_keys,
)
from workbench.dataset.check.methods import (
    OF_THE_FORMAT,
    Reads,
    grader_findings,
    nameable,
    normalised,
    preference,
    reinforcement,
)
from workbench.dataset.check.row import Finding
from workbench.dataset.check.tools import calls, pairing, tools_of
from workbench.dataset.dataset import JSON, OUTPUTS
from workbench.errors import DataError

METHODS = ("sft", "dpo", "rft")

_MOST = of_provider("azure")

EXPLAINED: Mapping[str, str] = MappingProxyType(
    {
        "messages": "A line has a list of messages, and each of them is an object.",
        "role": "Each message says who speaks: system, developer, user, assistant or tool.",
        "content": "What is said is a text or a list of parts that this role may send.",
        "empty": "Every message says something; only a call or a refusal stands in for an answer's text.",
        "weight": "Only assistant messages have a weight, 0 or 1, and not all of them 0.",
        "order": "User and assistant take turns.",
        "user": "Somebody asks: there is a user message.",
        "last": "A supervised example ends with the assistant's answer.",
        "system_place": "System and developer messages stand first.",
        "name": "A name is a short text without spaces.",
        "tools": "Declared functions have a name of their own and a valid JSON Schema.",
        "tool_call": "A call has an id of its own, the type 'function' and the name of a declared tool.",
        "tool_pairing": "Each call is answered once, before anybody else speaks.",
        "arguments": "A call's arguments are a JSON object in a text, and keep to the tool's schema.",
        "legacy": "functions, function_call and the role function are the old form of tools.",
        "image": f"Only users send images: {_MOST.max_images} in an example, "
        f"{in_words(_MOST.max_image_bytes or 0)} each, JPEG, PNG or WEBP in RGB or RGBA.",
        "unknown_key": "A key that nobody reads is a slip, or belongs elsewhere.",
        "input": "A preference pair has its prompt in input, which ends before the answer.",
        "outputs": "Both outputs are lists of assistant (and tool) messages.",
        "identical": "The two outputs of a pair differ.",
        "last_user": "A prompt for reinforcement ends with the user's message.",
        "template": "Every place that the grader reads is filled in every line.",
        "reference": "A prompt for reinforcement carries what its grader compares with, under a plain name.",
        "missing_field": "What nearly all prompts carry is what a grader reads; a row without it is lost.",
        "response_format": "A response format is a JSON Schema, named and wrapped.",
        "too_few": f"A job needs {_MOST.min_examples} examples at least, and for reinforcement "
        f"{_MOST.min_examples} for validation.",
        "few": "50 good examples are a start; hundreds teach well.",
        "size": f"A file can be uploaded in one piece below {in_words(_MOST.max_file_bytes or 0)}, "
        f"and safely below {in_words(_MOST.max_safe_file_bytes or 0)}.",
        "no_validation": "A reinforcement job needs a validation file.",
        "images": f"At most {_MOST.max_examples_with_images:,} examples with images train, "
        "and the service leaves some out unsaid.",
    }
)
_SUPERVISED = ("messages", "tools", "parallel_tool_calls", "functions", "function_call")


class Rules:
    """The rules of one method, for one model and one grader."""

    def __init__(
        self, method: str, grader: Mapping[str, JSON] | None = None, vision: bool | None = None
    ) -> None:
        """``vision``: whether the model learns from images; ``None`` where that is not known."""
        if method not in METHODS:
            raise DataError(f"There is no method {method!r}; choose {', '.join(METHODS)}.")
        self.method = method
        self.grader = grader
        self.vision = vision
        self._reads = Reads(grader) if grader is not None and method == "rft" else None

    def findings(self, value: Mapping[str, JSON]) -> list[Finding]:
        """All that is the matter with one line; it never raises, whatever the line holds."""
        if self.method == "dpo":
            return list(preference(value))
        if self.method == "rft":
            return list(reinforcement(value, self._reads, self.vision))
        return list(_supervised(value, self.vision))

    def of_the_grader(self) -> list[Finding]:
        """What is the matter with the grader itself, to be told once and not at every line."""
        return grader_findings(self.grader) if self.grader is not None and self.method == "rft" else []

    def plain(self, value: Mapping[str, JSON]) -> bool:
        """Whether the line is a simple one with nothing to find; ``False`` means: ask ``findings``."""
        if self.method == "sft":
            return len(value) == 1 and _turns(value.get("messages"), "assistant")
        if self.method == "dpo":
            return len(value) == 3 and _plain_pair(value)
        return _turns(value.get("messages"), "user") and self._plain_references(value)

    def _plain_references(self, value: Mapping[str, JSON]) -> bool:
        keys = self._reads.keys if self._reads is not None else frozenset[str]()
        if keys is None or len(value) == 1:
            return False
        for key, content in value.items():
            if key != "messages" and (key in OF_THE_FORMAT or not nameable(key)):
                return False
            if key in keys and (content is None or (isinstance(content, str) and not content.strip())):
                return False
        return value.keys() >= keys


def _supervised(value: Mapping[str, JSON], vision: bool | None) -> Iterator[Finding]:
    messages = value.get("messages")
    tools = tools_of(value, "")
    yield from messages_in(value, "messages")
    if "messages" in value:  # else it is another format, and that is what is told
        yield from unknown_keys(value, _SUPERVISED, "")
    yield from tools.findings
    if isinstance(messages, list | tuple) and messages:
        yield from conversation(messages, "messages")
        yield from ends_with_an_answer(messages, "messages")
        yield from calls(messages, "messages", tools)
        yield from pairing(messages, "messages", {})
        yield from images(messages, "messages", vision)


def _turns(messages: JSON, last: str) -> bool:
    """At most one system message, then user and assistant in turn, each with a text and nothing else."""
    if type(messages) is not list and type(messages) is not tuple:
        return False
    before = ""
    for message in messages:
        if not is_simple(message):
            return False
        role = message["role"]
        if role == "assistant":
            if before != "user":
                return False
        elif role == "user":
            if before == "user":
                return False
        elif before:
            return False
        before = role
    return before == last


def _plain_pair(value: Mapping[str, JSON]) -> bool:
    given = value.get("input")
    if type(given) is not dict or len(given) != 1 or not _turns(given.get("messages"), "user"):
        return False
    said = []
    for key in OUTPUTS:
        output = value.get(key)
        if type(output) is not list and type(output) is not tuple:
            return False
        if len(output) != 1 or not is_simple(output[0]) or output[0]["role"] != "assistant":
            return False
        said.append(output[0]["content"])
    return normalised(said[0]) != normalised(said[1])
