"""What a deployment may be asked for: its name, the model, the kind and the size.

The rules are those of Azure's documents of October 2026; texts in single words of Azure are those
that its management API was seen to answer. What is not known of it is said in our own.
"""

import re
from typing import Annotated, Any

from pydantic import Field

from workbench.local.api.models import Model
from workbench.local.api.refusals import Refusal, invalid
from workbench.local.api.requests import Shape
from workbench.local.storage.deployments import DEVELOPER_SKU
from workbench.local.storage.rows import JSON

MOST_CAPACITY = 1_000_000
SKUS = ("Standard", "GlobalStandard", "DataZoneStandard", DEVELOPER_SKU, "ProvisionedManaged")
_SPOKEN = {sku.lower(): sku for sku in SKUS} | {"developer": DEVELOPER_SKU}
# Whose model: by the start of its name, what the management API calls them. The az command line says
# OpenAI-OSS for all but OpenAI's own, and "Ministral AI" was seen to work. This service's own small models
# stand in for OpenAI's.
_FORMATS = (
    (("gpt-oss",), ("Microsoft",)),
    (("ministral", "mistral"), ("Mistral AI", "Ministral AI")),
    (("llama", "meta-llama"), ("Meta",)),
    (("qwen",), ("Alibaba",)),
)
_ANY_OPEN = "OpenAI-OSS"


class Sku(Shape):
    """The kind of a deployment, and its size in thousands of tokens a minute."""

    name: str
    capacity: Annotated[int, Field(ge=1, le=MOST_CAPACITY)] = 1
    tier: str | None = None
    size: str | None = None
    family: str | None = None

    @property
    def spelt(self) -> str:
        """The kind as Azure spells it; raises ``Refusal`` when there is no such kind."""
        if self.name.lower() not in _SPOKEN:
            message = (
                f"The deployment sku name '{self.name[:80]}' is invalid. It is one of {', '.join(SKUS)}."
            )
            raise Refusal(400, "InvalidResourceProperties", message, "sku.name")
        return _SPOKEN[self.name.lower()]


class DeployedModel(Shape):
    """The model that is to answer."""

    name: str
    format: str
    version: str | None = None
    publisher: str | None = None
    source: str | None = None
    sourceAccount: str | None = None  # noqa: N815 (Azure's own name)

    def refusal(self, hint: str) -> Refusal:
        """Say that there is no such model, in Azure's words and then in ours."""
        message = (
            f"The model 'Format: {self.format[:80]}, Name: {self.name[:200]}, "
            f"Version: {(self.version or '')[:80]}, Source: {(self.source or '')[:200]}' "
            f"of account deployment is not supported. {hint}"
        )
        return Refusal(400, "DeploymentModelNotSupported", message, "properties.model")


class Properties(Shape):
    """What a deployment is beside its size; all but the model is repeated and changes nothing here."""

    model: DeployedModel
    raiPolicyName: str | None = None  # noqa: N815
    versionUpgradeOption: str | None = None  # noqa: N815
    dynamicThrottlingEnabled: bool | None = None  # noqa: N815
    spilloverDeploymentName: str | None = None  # noqa: N815
    parentDeploymentName: str | None = None  # noqa: N815
    capacitySettings: dict[str, Any] | None = None  # noqa: N815

    @property
    def repeated(self) -> dict[str, JSON]:
        """What is given back as it came."""
        given = self.model_dump(exclude={"model"}, exclude_none=True)
        source = self.model.model_dump(include={"source", "sourceAccount", "publisher"}, exclude_none=True)
        return given | ({"source": source} if source else {})


class DeploymentRequest(Shape):
    """A deployment as it is asked for."""

    sku: Sku
    properties: Properties
    tags: dict[str, str] = Field(default_factory=dict)


class DeploymentChange(Shape):
    """What may change afterwards."""

    sku: Sku | None = None
    tags: dict[str, str] | None = None


def check_name(name: str) -> None:
    """Raise ``Refusal`` for a name that a deployment cannot have."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):
        raise invalid(
            f"A deployment's name has 1 to 64 letters, digits and hyphens; {name[:80]!r} is none.", "name"
        )


def formats_of(base_model: str) -> tuple[str, ...]:
    """What ``model.format`` may say for models tuned from this one, the management API's own word first."""
    name = base_model.rpartition("/")[2].lower()
    for starts, formats in _FORMATS:
        if name.startswith(starts):
            return (*formats, _ANY_OPEN)
    return ("OpenAI",)


def check_model(asked: DeployedModel, found: Model | None, sku: str) -> Model:
    """The model, if it can be deployed so; raises ``Refusal`` in Azure's words."""
    if found is None:
        raise asked.refusal("This service has no such model; GET /openai/v1/models lists those it has.")
    formats = formats_of(found.base_model)
    if asked.format.lower() not in [word.lower() for word in formats]:
        raise asked.refusal(f"Its format is {formats[0]}.")
    if found.adapter is None:
        if sku == DEVELOPER_SKU:
            message = (
                f"The specified SKU '{sku}' of account deployment is not supported by the model "
                f"'{found.name}' version: '{asked.version or '1'}'. It is for tuned models."
            )
            raise Refusal(400, "InvalidResourceProperties", message, "sku.name")
    elif asked.version not in (None, "1"):
        raise asked.refusal("The version of a tuned model is 1.")
    return found
