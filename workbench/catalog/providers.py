"""The services we know, and what differs between them: a table, not a hierarchy.

Which service a client talks to is read from its address. How to get a client
is said in ``connect``; what the services have in common is OpenAI's API.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import MappingProxyType
from urllib.parse import urlsplit

from workbench.errors import SetupError
from workbench.settings import setting


@dataclass(frozen=True)
class Provider:
    """A service: where it lives, and what it wants done its own way."""

    name: str
    hosts: tuple[str, ...]  # a leading dot: every host that ends so
    base_model: str  # what notebooks tune unless told otherwise
    training_type: str | None = None  # sent as trainingType, a field only Azure has
    deploy_before_use: bool = False
    grades_while_training: bool = False  # takes a grader in a supervised job and reports held-out accuracy
    tells_lessons: bool = False  # tells of each training example what the model made of it


PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            Provider(
                name="local",
                hosts=("localhost",),
                base_model="SmolLM2-135M-Instruct",  # "nano" rehearses in seconds
                grades_while_training=True,
                tells_lessons=True,
            ),
            Provider(
                name="azure",
                hosts=(".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"),
                base_model="gpt-4.1-mini-2025-04-14",
                # Leaving it out gives misleading refusals, and open-weight models need this one.
                training_type="globalStandard",
                deploy_before_use=True,
            ),
            Provider(
                name="openai",
                hosts=("api.openai.com", ".api.openai.com"),
                base_model="gpt-4.1-mini-2025-04-14",
            ),
        )
    }
)


def provider(name: str) -> Provider:
    """Which service is called ``name``?"""
    if name not in PROVIDERS:
        raise SetupError(f"There is no provider '{name}'; choose {_either(PROVIDERS)}.")
    return PROVIDERS[name]


def provider_at(base_url: str) -> Provider:
    """Which service answers at ``base_url``? Told by its host."""
    host = urlsplit(base_url).hostname or ""
    for known in PROVIDERS.values():
        if any(host == name or (name.startswith(".") and host.endswith(name)) for name in known.hosts):
            return known
    if _is_loopback(host):
        return PROVIDERS["local"]
    raise SetupError(
        f"{host or base_url} is no service we know; expected this machine (127.0.0.1), "
        "Azure (such as my-resource.openai.azure.com) or api.openai.com."
    )


def default_model(provider_name: str) -> str:
    """The base model that notebooks tune at this service; ``WORKBENCH_MODEL`` wins."""
    return setting("WORKBENCH_MODEL") or provider(provider_name).base_model


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _either(names: Mapping[str, object]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
