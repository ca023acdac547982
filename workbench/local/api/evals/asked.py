"""What an eval and a run of it may be asked for; logs, images and sound are refused plainly."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic import model_validator as check_whole

from workbench.local.api.metadata import Metadata
from workbench.local.api.requests import Shape
from workbench.local.storage.rows import JSON

# What a run may say of the sampling; the rest of a chat completion is the eval's own business.
SAMPLING = (
    "max_completion_tokens",
    "reasoning_effort",
    "response_format",
    "seed",
    "temperature",
    "tools",
    "top_p",
)
TEXTS = ("input_text", "output_text", "text")


def _named(criteria: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names: set[str] = set()
    for grader in criteria:
        name = grader.get("name")
        if isinstance(name, str):  # what is wrong with another one is told when the grader is checked
            if name in names:
                raise ValueError(f"two criteria are called {name[:80]!r}; give each a name of its own")
            names.add(name)
    return criteria


def _custom_only(name: object) -> object:
    if name in ("logs", "stored_completions"):
        raise ValueError(f"the local service keeps no {name} to evaluate; use custom, and lines of a file")
    return name


def _text(content: object) -> object:
    """The text of a template; a list of texts is one text."""
    parts = content if isinstance(content, list) else [content]
    texts = []
    for part in parts:
        if isinstance(part, dict) and part.get("type") in TEXTS:
            part = part.get("text")
        if not isinstance(part, str):
            raise ValueError("a string, a text part or a list of them; images and sound are not read")
        texts.append(part)
    return "".join(texts)


class DataSourceConfig(Shape):
    """What every line is to look like."""

    type: Annotated[Literal["custom"], BeforeValidator(_custom_only)]
    item_schema: dict[str, Any]
    include_sample_schema: bool = False

    def shown(self) -> dict[str, JSON]:
        """The schema of whole lines, as the API repeats it."""
        parts: dict[str, JSON] = {"item": self.item_schema}
        if self.include_sample_schema:
            parts["sample"] = {"type": "object"}
        whole: dict[str, JSON] = {"type": "object", "properties": parts, "required": list(parts)}
        return {"type": "custom", "schema": whole}


class EvalRequest(Shape):
    """An eval as it is asked for."""

    name: str | None = None
    data_source_config: DataSourceConfig
    testing_criteria: Annotated[list[dict[str, Any]], Field(min_length=1), AfterValidator(_named)]
    metadata: Metadata | None = None


class EvalChange(Shape):
    """What may change in an eval."""

    name: str | None = None
    metadata: Metadata | None = None


class FileSource(Shape):
    """The lines of an uploaded file."""

    type: Literal["file_id"]
    id: str


class Line(Shape):
    """One line: what is asked about, and what somebody said to it already."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None


class ContentSource(Shape):
    """Lines sent with the request."""

    type: Literal["file_content"]
    content: Annotated[list[Line], Field(min_length=1)]


class TemplateMessage(Shape):
    """A message with places such as ``{{item.question}}`` in it."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text)]
    type: Literal["message"] | None = None


class Template(Shape):
    """The messages that are sent for every item."""

    type: Literal["template"]
    template: Annotated[list[TemplateMessage], Field(min_length=1)]


class ItemReference(Shape):
    """The place in every item where its messages stand: ``item.messages``."""

    type: Literal["item_reference"]
    item_reference: Annotated[str, Field(pattern=r"^item(\.\w+)+$")]


Source = Annotated[FileSource | ContentSource, Field(discriminator="type")]


class Answers(Shape):
    """Lines that have their answers already, in ``sample``."""

    type: Literal["jsonl"]
    source: Source


class Questions(Shape):
    """Lines to which a model or deployment is to answer."""

    type: Literal["completions"]
    source: Source
    model: str
    input_messages: Annotated[Template | ItemReference, Field(discriminator="type")]
    sampling_params: dict[str, Any] = Field(default_factory=dict)

    @check_whole(mode="after")
    def _sampling_known(self) -> Self:
        unknown = [name for name in self.sampling_params if name not in SAMPLING]
        if unknown:
            raise ValueError(f"sampling_params knows {', '.join(SAMPLING)}; not {unknown[0][:40]!r}")
        return self


class RunRequest(Shape):
    """A run as it is asked for."""

    name: str | None = None
    data_source: Annotated[Answers | Questions, Field(discriminator="type")]
    metadata: Metadata | None = None


def read_data_source(stored: Mapping[str, JSON]) -> Answers | Questions:
    """The data source of a run that was accepted before."""
    return (
        Questions.model_validate(stored)
        if stored["type"] == "completions"
        else Answers.model_validate(stored)
    )
