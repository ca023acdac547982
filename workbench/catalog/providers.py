"""The services we know, and what differs between them: a table, not a hierarchy.

``connect`` makes a client for one of them, and the client carries its provider (``provider_of``), so that
a gateway or a custom domain works like the provider's own address. How to get a client is ``connect``'s
business, how much a provider takes that of ``limits``; what they have in common is OpenAI's API.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.catalog import limits
from workbench.errors import SetupError
from workbench.settings import setting

if TYPE_CHECKING:
    from openai import OpenAI
    from openai._models import FinalRequestOptions

_Client = TypeVar("_Client", bound="OpenAI")

_ANSWERED = ("/chat/completions", "/responses")  # where the model of a request is one that answers


@dataclass(frozen=True)
class Provider:
    """A service: where it lives, and what it wants done its own way."""

    name: str
    hosts: tuple[str, ...]  # its own; a leading dot: every host that ends so
    base_model: str | None  # what notebooks tune by default: one that any customer can train today
    key_setting: str  # the environment variable with the key
    address_setting: str | None = None  # the environment variable with the address
    address: str | None = None  # of its v1 API, where nobody gives one
    runs_here: bool = False  # the local service: found or started, and nothing is billed
    azure: bool = False  # the portal's addresses, Entra sign-in, the dated API; a tuned token costs a base's
    training_type: str | None = None  # sent as trainingType, a field only Azure has
    deploy_before_use: bool = False
    grades_while_training: bool = False  # takes a grader in a supervised job and reports held-out accuracy
    tells_lessons: bool = False  # tells of each training example what the model made of it

    @property
    def limits(self) -> limits.Limits:
        """How much it takes."""
        return limits.of_provider(self.name)


PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            name="local",
            hosts=("localhost",),
            base_model="SmolLM2-135M-Instruct",  # "nano" rehearses in seconds
            key_setting="WORKBENCH_LOCAL_KEY",
            runs_here=True,
            grades_while_training=True,
            tells_lessons=True,
        ),
        Provider(
            name="azure",
            hosts=(".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"),
            base_model="gpt-oss-20b",  # gpt-4.1 and -4o are closed to new customers
            key_setting="AZURE_OPENAI_API_KEY",
            address_setting="AZURE_OPENAI_ENDPOINT",
            azure=True,
            # Leaving it out gives misleading refusals, and open-weight models need this one.
            training_type="globalStandard",
            deploy_before_use=True,
        ),
        Provider(
            name="openai",
            hosts=("api.openai.com", ".api.openai.com"),
            base_model=None,  # fine-tuning is closed to new customers since 2026-05-07
            key_setting="OPENAI_API_KEY",
            address="https://api.openai.com/v1/",
        ),
    )
}
"""The services by name; one that is added here is one that ``connect`` reaches."""


def provider(name: str) -> Provider:
    """Which service is called ``name``?"""
    if name not in PROVIDERS:
        raise SetupError(f"There is no provider '{name}'; choose {_either(PROVIDERS)}.")
    return PROVIDERS[name]


def provider_of(client: "OpenAI") -> Provider:
    """Which service does this client talk to?

    ``connect`` wrote on the client. One that somebody made by hand is known only where it goes to a
    provider's own host; else ``SetupError`` says how to tell.
    """
    known: Provider | None = vars(client).get("workbench_provider")
    if known is not None:
        return known
    host = client.base_url.host
    known = owner_of(host)
    if known is None:
        raise SetupError(
            f"Which provider answers at {host} cannot be seen from its address; tell the client once: "
            f"connect({_either(dict.fromkeys(map(repr, PROVIDERS)))}, client=client)."
        )
    return known


def runs_here(name: str | None) -> bool:
    """Is this the name of a service on this machine, where nothing is billed?"""
    known = PROVIDERS.get(name or "")
    return known is not None and known.runs_here


def carrying(
    client: _Client,
    provider: Provider,
    *,
    management: object = None,
    deployments: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> _Client:
    """The same client, which from now on carries its provider, as every copy of it does.

    With it go the client of Azure's control plane that somebody made for it, and the ``deployments`` by the
    models that they serve: a question to such a model is sent to its deployment. ``notes``: what ``connect``
    corrected in the address that it was given.
    """
    notes = notes or notes_of(client)

    def copy(**options: Any) -> _Client:
        made = type(client).copy(client, **options)
        return carrying(made, provider, management=management, deployments=deployments, notes=notes)

    def prepare(options: "FinalRequestOptions") -> "FinalRequestOptions":
        options = type(client)._prepare_options(client, options)
        asked = options.json_data
        if options.url in _ANSWERED and isinstance(asked, Mapping) and deployments:
            options.json_data = {**asked, "model": deployments.get(str(asked.get("model")), asked["model"])}
        return options

    # The client's class gives no place for it, and a copy (with_options) is a new client.
    vars(client).update(workbench_provider=provider, workbench_notes=notes, copy=copy, with_options=copy)
    vars(client).update({"workbench_management": management} if management else {})
    vars(client).update({"_prepare_options": prepare} if deployments else {})  # the client's hook for this
    return client


def notes_of(client: "OpenAI") -> tuple[str, ...]:
    """What ``connect`` corrected in the address that it was given."""
    found: tuple[str, ...] = vars(client).get("workbench_notes", ())
    return found


def owner_of(host: str) -> Provider | None:
    """The provider that has this host as its own; ``None``: a gateway, a custom domain, or anybody's."""
    for known in PROVIDERS.values():
        if any(host == name or (name.startswith(".") and host.endswith(name)) for name in known.hosts):
            return known
    return PROVIDERS["local"] if _is_loopback(host) else None


def default_model(provider_name: str) -> str:
    """The base model that notebooks tune at this service; ``WORKBENCH_MODEL`` wins.

    ``SetupError`` where a new customer can train none there.
    """
    name = setting("WORKBENCH_MODEL") or provider(provider_name).base_model
    if name is None:
        raise SetupError(
            f"No model at {provider_name} can be trained by every customer today, so there is no default. "
            f"'python -m workbench models --service {provider_name}' lists them: name one as MODEL or in "
            "WORKBENCH_MODEL (gpt-4.1-mini-2025-04-14 if your organisation used a tuned model in the last "
            "60 days, gpt-6-luna to measure prompts only), or connect to azure or local."
        )
    return name


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _either(names: Mapping[str, object]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
