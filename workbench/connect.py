"""Connecting to a service (the local one, Azure, OpenAI) and to Azure's control plane; does it work?

What comes back is ``openai``'s own client, whichever service it is. Keys come
from the environment or ``.env``, are never an argument and never printed. A
connection that does not work is one sentence that names what is missing.
"""

import json
import logging
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from workbench import catalog
from workbench.catalog.providers import Provider, carrying, default_model, owner_of, provider_of
from workbench.display import Facts, folded_table
from workbench.errors import SetupError
from workbench.settings import VERSION, home, setting

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
    from openai import APIConnectionError, APIStatusError, OpenAI

_NAMED = 4  # models; more are only counted
_PATIENCE_SECONDS = 20.0  # of a self-test

_SUCH_AS = "such as https://my-resource.openai.azure.com"


def connect(
    provider: str | None = None,
    *,
    endpoint: str | None = None,
    api_version: str | None = None,
    timeout: float = 600.0,
    client: "OpenAI | None" = None,
    management: "CognitiveServicesManagementClient | None" = None,
) -> "OpenAI":
    """Connect to ``"local"``, ``"azure"`` or ``"openai"``; ``None`` asks ``WORKBENCH_PROVIDER``, else local.

    The local service is found, or started. Azure takes any address its portal shows, and that of a gateway
    or a custom domain in front of it, from ``endpoint`` or ``AZURE_OPENAI_ENDPOINT``; an ``api_version``
    such as ``2025-04-01-preview`` (or ``OPENAI_API_VERSION``) chooses the dated API in place of v1.
    ``timeout`` is in seconds and holds for each request. The client knows its provider ever after.

    ``client``: one that you made yourself, with headers or certificates of your own; it is given back and
    knows that it talks to this provider. The other settings are then its own. ``management``: the same for
    the control plane, where deployments are made.
    """
    if client is not None:
        named = catalog.provider(provider) if provider else catalog.provider_of(client)
        return carrying(client, named, management=management)
    known = catalog.provider(provider or setting("WORKBENCH_PROVIDER") or "local")
    if known.runs_here:
        made = _connect_local(known, endpoint, timeout)
    elif known.azure:
        made = _connect_azure(known, endpoint, api_version or setting("OPENAI_API_VERSION"), timeout)
    else:
        made = _connect_v1(known, endpoint, timeout)
    return carrying(made, known, management=management)


def _connect_local(known: Provider, endpoint: str | None, timeout: float) -> "OpenAI":
    import weakref

    import httpx2
    from openai import DEFAULT_CONNECTION_LIMITS, DefaultHttpxClient, OpenAI

    if endpoint:
        url, key = endpoint, setting(known.key_setting)
        if key is None:
            raise SetupError(f"Set {known.key_setting} in .env to the key of the service at that address.")
    else:
        from workbench.local import process

        address = process.find(home()) or process.start(home())
        url, key = address.url, address.key
    # Straight to this machine: a company's proxy from the environment must not come between.
    transport = httpx2.HTTPTransport(trust_env=False, limits=DEFAULT_CONNECTION_LIMITS)
    http = DefaultHttpxClient(transport=transport)
    weakref.finalize(http, transport.close)
    return OpenAI(base_url=_v1(url), api_key=key, timeout=timeout, http_client=http)


def _connect_v1(known: Provider, endpoint: str | None, timeout: float) -> "OpenAI":
    from openai import OpenAI

    address = endpoint or (setting(known.address_setting) if known.address_setting else None) or known.address
    if address is None:
        raise SetupError(f"Where is {known.name}? Give connect(endpoint=…), the address of its v1 API.")
    key = setting(known.key_setting)
    if key is None:
        raise SetupError(f"Set {known.key_setting} in .env (see .env.example).")
    return OpenAI(base_url=address, api_key=key, timeout=timeout)


def _connect_azure(
    known: Provider, endpoint: str | None, api_version: str | None, timeout: float
) -> "OpenAI":
    from openai import AzureOpenAI, OpenAI

    given = endpoint or (setting(known.address_setting) if known.address_setting else None)
    if given is None:
        raise SetupError(f"Set {known.address_setting} in .env to your resource's address, {_SUCH_AS}.")
    resource, v1 = _azure_address(known, given)
    key = setting(known.key_setting)
    sign_in = _entra_token(known) if key is None else None
    if api_version and re.match(r"\d{4}-\d\d-\d\d", api_version):
        # The dated API knows resources only, so a project's path is left out.
        return AzureOpenAI(
            azure_endpoint=resource,
            api_key=key,
            azure_ad_token_provider=sign_in,
            api_version=api_version,
            timeout=timeout,
        )
    return OpenAI(
        base_url=v1,
        api_key=sign_in or key,
        default_query={"api-version": api_version} if api_version else None,  # "preview" or "v1"
        timeout=timeout,
    )


def _azure_address(known: Provider, endpoint: str) -> tuple[str, str]:
    """Where the dated API is, and where v1: read from an address that the portal or a gateway shows."""
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        host = parts.hostname or ""
    except ValueError:
        host = ""
    owner = owner_of(host)
    # This machine is let through: the local service speaks Azure's dialect, to rehearse.
    known_elsewhere = owner is not None and owner != known and not owner.runs_here
    is_a_name_alone = owner is None and not re.search("[.:]", endpoint.split("//")[-1].split("/")[0])
    if known_elsewhere or is_a_name_alone or not re.fullmatch(r"[\w.:-]+", host):
        raise SetupError(
            f"'{endpoint}' is no Azure resource's address; copy the one the portal shows, {_SUCH_AS}."
        )
    path = parts.path.rstrip("/")
    project = re.search(r"/api/projects/[^/]+", path)
    scheme, before = ("https", "") if owner == known else (parts.scheme, _before_the_api(path))
    resource = f"{scheme}://{parts.netloc}{before}"
    if owner is None and path.endswith("/v1"):  # a gateway may have a path of its own for v1
        return resource, f"{scheme}://{parts.netloc}{path}/"
    return resource, _v1(resource + (project.group() if project else ""))


def _before_the_api(path: str) -> str:
    """What a gateway puts in front of Azure's own paths."""
    return re.split(r"/api/projects/|/openai(?:/|$)|/v1$", path, maxsplit=1)[0]


def _entra_token(known: Provider) -> Callable[[], str]:
    """Sign in as ``az login``, the environment or the machine allows; fails here, not in a later call."""
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import DefaultAzureCredential, get_bearer_token_provider

    # It logs a page for what we say in a sentence; a user's own logging still gets it.
    logging.getLogger("azure.identity").addHandler(logging.NullHandler())
    scope = setting("AZURE_OPENAI_TOKEN_SCOPE") or "https://cognitiveservices.azure.com/.default"
    token = get_bearer_token_provider(DefaultAzureCredential(), scope)
    try:
        token()
    except ClientAuthenticationError as error:
        raise SetupError(
            f"Set {known.key_setting} in .env, or sign in with 'az login' (see .env.example)."
        ) from error
    return token


def _v1(url: str) -> str:
    """Complete an address to that of its v1 API."""
    return re.sub(r"(/openai)?(/v1)?/*$", "/openai/v1/", url, count=1)


# The control plane: another address, another token, where deployments are made. It takes no key on Azure; the
# local service, which emulates it, takes its own.

_ARM = "https://management.azure.com"
_POLL_SECONDS = {True: 1, False: 10}  # between two questions of the SDK's own polling; here, and on Azure


@dataclass(frozen=True)
class Resource:
    """The resource that a client talks to, as the control plane knows it."""

    management: "CognitiveServicesManagementClient" = field(repr=False)
    group: str
    account: str
    region: str

    @property
    def place(self) -> dict[str, str]:
        """Its resource group and account, as the SDK's calls want them."""
        return {"resource_group_name": self.group, "account_name": self.account}


def control_plane(client: "OpenAI") -> Resource:
    """Find the resource of this client in the subscription ``AZURE_SUBSCRIPTION_ID``.

    Its account is the one whose endpoint the client has, else the one of its name; ``AZURE_OPENAI_RESOURCE``
    names it where a gateway stands in front. ``SetupError`` where there is none, and where nobody signed in.
    """
    known: Resource | None = vars(client).get("workbench_resource")
    if known is not None:
        return known
    where = provider_of(client)
    if not (where.runs_here or where.azure):
        raise SetupError(f"At {where.name} a tuned model answers by its name; nothing is deployed there.")
    management = vars(client).get("workbench_management") or _management(client, where)
    host = str(client.base_url.host)
    wanted = {host.partition(".")[0].lower(), (setting("AZURE_OPENAI_RESOURCE") or "").lower()} - {""}
    with control_plane_errors():
        accounts = list(management.accounts.list())
    for account in accounts:
        of = account.properties
        addresses = [of.endpoint or "", *(of.endpoints or {}).values()] if of else []
        if account.name.lower() in wanted or host in [urlsplit(each).hostname for each in addresses]:
            group = re.split("/resourceGroups/", account.id, flags=re.IGNORECASE)[1].split("/")[0]
            found = Resource(management, group, account.name, account.location)
            vars(client)["workbench_resource"] = found
            return found
    names = ", ".join(account.name for account in accounts) or "none that you may see"
    raise SetupError(
        f"No resource of the subscription has the endpoint {host} (it has {names}); name yours in "
        "AZURE_OPENAI_RESOURCE, or correct AZURE_SUBSCRIPTION_ID, in .env."
    )


def _management(client: "OpenAI", where: Provider) -> "CognitiveServicesManagementClient":
    from azure.core.credentials import AzureKeyCredential
    from azure.core.pipeline.policies import AzureKeyCredentialPolicy
    from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient

    owner, url = owner_of(str(client.base_url.host)), client.base_url
    rehearsed = owner is not None and owner.runs_here
    here = f"{url.scheme}://{url.netloc.decode()}"
    address = setting("AZURE_MANAGEMENT_ENDPOINT") or (here if rehearsed else _ARM)
    subscription = setting("AZURE_SUBSCRIPTION_ID") or ("local" if rehearsed else None)
    if subscription is None:
        raise SetupError(
            "Set AZURE_SUBSCRIPTION_ID in .env: deployments are made through Azure's control plane, which "
            "asks for the subscription (the portal shows its ID on the page of your resource)."
        )
    polling: dict[str, Any] = {"polling_interval": _POLL_SECONDS[rehearsed]}
    if rehearsed:  # a token would be refused over plain http, so its key goes through a policy of azure-core
        key = AzureKeyCredential(client.api_key)
        policy = AzureKeyCredentialPolicy(key, "Authorization", prefix="Bearer")
        options = {"authentication_policy": policy, **polling}
        return CognitiveServicesManagementClient(key, subscription, base_url=address, **options)  # type: ignore[arg-type]
    from azure.identity import DefaultAzureCredential

    logging.getLogger("azure.identity").addHandler(logging.NullHandler())
    scopes = [f"{address.rstrip('/')}/.default"]
    credential = DefaultAzureCredential()
    options = {"credential_scopes": scopes, **polling}
    return CognitiveServicesManagementClient(credential, subscription, base_url=address, **options)


class _Refused(NamedTuple):
    pattern: str
    """Of the status, the code and the message of a refusal; upper and lower case are the same."""
    means: str


# What is behind a refusal of the control plane. Microsoft Learn, "Deploy a fine-tuned model" (2026-10-07) and
# roles (2026-10-05); microsoft/GitHub-Copilot-for-Azure (2026-08-20).
_REFUSED = (
    _Refused(
        r"^403|AuthorizationFailed|does not have authorization",
        "you may train but not deploy: ask for the role Foundry Owner, or any with "
        "Microsoft.CognitiveServices/accounts/deployments/write, then sign in again with 'az login'",
    ),
    _Refused(
        r"unable to be deployed|Model evaluation identified",
        "the model did not pass the safety evaluation: deploy an earlier checkpoint, or add refusals of the "
        "named harms to the data",
    ),
    _Refused(
        r"quotaExceeded|the most there may be",
        "a resource takes ten deployments of tuned models: remove one that nobody needs ('python -m "
        "workbench cleanup' lists yours)",
    ),
    _Refused(
        r"InsufficientQuota|available capacity",
        "the quota of this region and SKU is used up: ask for less capacity, take another SKU or region, or "
        "remove a deployment that nobody needs",
    ),
    _Refused(r"^429", "the control plane was asked too often: wait a minute and try again"),
    _Refused(
        r"^410|retired|ModelDeprecated",
        "the model is retired: 'python -m workbench models' lists what can be trained today",
    ),
    _Refused(
        "DeploymentModelNotSupported",
        "the name, the format or the region is wrong: the format is OpenAI, for open-weight models "
        "Microsoft, Mistral AI, Meta or Alibaba, and the region must support fine-tuning",
    ),
    _Refused(
        r"sku.*(not supported|invalid)|InvalidResourceProperties|InvalidSku",
        "this model cannot be deployed as this SKU: the plan lists those it can be",
    ),
    _Refused(
        r"^409",
        "a deployment of this name is there already, or something is being done to it: wait, or replace",
    ),
    _Refused(
        r"^404|SubscriptionNotFound|ResourceGroupNotFound",
        "it is not there: check AZURE_SUBSCRIPTION_ID and AZURE_OPENAI_RESOURCE in .env",
    ),
    _Refused(r"^401|expired", "sign in again with 'az login'; the control plane takes no key"),
    _Refused(
        r"^500",
        "Azure answers so to a wrong format of the model: OpenAI for its own, for open-weight models "
        "Microsoft, Mistral AI, Meta or Alibaba",
    ),
)


@contextmanager
def control_plane_errors() -> Iterator[None]:
    """Give a refusal of the control plane as a ``SetupError``: its text without ids, and the way out."""
    from azure.core.exceptions import (
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )

    try:
        yield
    except (ServiceRequestError, ServiceResponseError) as error:
        raise SetupError(f"Azure's control plane cannot be reached: {_without_ids(str(error))}") from None
    except HttpResponseError as error:  # the cause is left out: its traceback holds addresses with ids
        if error.response is None and isinstance(error, ClientAuthenticationError):
            raise SetupError(
                "Azure's control plane takes no key: sign in with 'az login' (see .env.example)."
            ) from None
        raise SetupError(_explained(error)) from None


def _explained(error: "HttpResponseError") -> str:
    code = (error.error.code if error.error else None) or ""
    said = _without_ids((error.error.message if error.error else None) or error.message or "no message")
    whole = f"{error.status_code or ''} {code} {said}"
    found = (each.means for each in _REFUSED if re.search(each.pattern, whole, re.IGNORECASE | re.DOTALL))
    means = next(found, "try again later")
    head = " ".join(filter(None, (str(error.status_code or ""), code)))
    return f"The control plane refused ({head}): {means}. It said: {said}"


def _without_ids(text: str) -> str:
    """The text of a service without the ids of subscriptions, tenants and people."""
    text = re.sub(r"/subscriptions/[^/\s'\"]+", "/subscriptions/…", text)
    return " ".join(re.sub(r"\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "…", text).split())


# The self-test: is the service there, and does it know us?


@dataclass(frozen=True)
class SelfTest:
    """Does the connection work? If not, the sentence says what is missing."""

    ok: bool
    sentence: str
    facts: Mapping[str, str | int]

    def __repr__(self) -> str:
        """The sentence, and a mark."""
        return f"{'✓' if self.ok else '✗'} {self.sentence}"

    def _repr_html_(self) -> str:
        return f"<p class='mathjax_ignore' role='status'>{escape(repr(self))}</p>"


@dataclass(frozen=True, repr=False)
class About(Facts):
    """The machine and the versions that a result came from."""

    caption = "What is at work here"
    versions: Mapping[str, str]
    platform: str
    cores: int
    home: str
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The public API by subject."""

    @property
    def facts(self) -> dict[str, str | int]:
        """The versions, then the machine."""
        return {**self.versions, "platform": self.platform, "cores": self.cores, "home": self.home}

    def __repr__(self) -> str:
        """One fact a line, and one subject of the public API a line."""
        words = (f"{group}: {', '.join(words)}" for group, words in self.words.items())
        return "\n".join([super().__repr__(), *words])

    @property
    def line(self) -> str:
        """All of it in a line."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{versions}; {self.cores} cores of {self.platform}; everything is kept in {self.home}"

    def _repr_html_(self) -> str:
        words = [(group, ", ".join(words)) for group, words in self.words.items()]
        line = f'<p class="mathjax_ignore">{escape(self.line)}</p>'
        gives = (
            folded_table("What import workbench as wb gives", ("subject", "words"), words) if words else ""
        )
        return line + gives


def self_test(client: "OpenAI") -> SelfTest:
    """Is the service there, and does it know us? Asks for its models, which costs nothing."""
    import openai

    where = provider_of(client)
    host = client.base_url.netloc.decode()
    facts: dict[str, str | int] = {"provider": where.name, "endpoint": host}
    asked = client.with_options(max_retries=0, timeout=_PATIENCE_SECONDS)
    started = time.perf_counter()
    try:
        answer = asked.models.with_raw_response.list()
    except openai.APIConnectionError as error:
        return SelfTest(False, _unreachable(error, where, host), facts)
    except openai.APIStatusError as error:
        return SelfTest(False, _refused(error, client, where, host), facts)
    except _sign_in_errors() as error:
        reason = str(error).strip().partition("\n")[0]
        return SelfTest(False, f"Signing in to Azure failed; run 'az login' again. It said: {reason}", facts)
    facts["latency_ms"] = round((time.perf_counter() - started) * 1000)
    names = _models_in(answer.content)
    if names is None:
        return SelfTest(False, f"{host} does not answer as a model service; check the address.", facts)
    facts["models"] = len(names)
    counted = "1 model" if len(names) == 1 else f"{len(names)} models"
    counted += f" ({', '.join(names)})" if 0 < len(names) <= _NAMED else ""
    return SelfTest(True, f"Connected to {where.name} at {host}: {counted}, {facts['latency_ms']} ms.", facts)


def about(words: Mapping[str, tuple[str, ...]] | None = None) -> About:
    """What runs here: versions, platform, cores, where everything is kept, and the words of the API."""
    versions = {"python": platform.python_version(), "workbench": VERSION}
    versions |= {package: _version(package) for package in ("openai", "torch", "transformers", "pandas")}
    return About(versions, platform.platform(), _cores(), str(home()), words or {})


def base_model(client: "OpenAI", model: str | None = None) -> str:
    """The base model by name; ``None`` takes ``WORKBENCH_MODEL``, else the service's default."""
    return model or default_model(provider_of(client).name)


def fetch_tokenizer(client: "OpenAI", model: str) -> None:
    """See that the tokenizer of a local model is on this machine, as far as that is up to us.

    The local service fetches a model when it is first asked something, and its tokenizer comes with it. A
    cloud's tokenizers come with packages, so nothing is asked there, and nothing is billed.
    """
    from workbench.dataset import chat_template

    if provider_of(client).runs_here and not chat_template.is_here(model):
        client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=1
        )


def _unreachable(error: "APIConnectionError", where: Provider, host: str) -> str:
    """Say why no answer came: the name, the port, or the time."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return f"{host} did not answer within {_PATIENCE_SECONDS:.0f} s; check network, firewall and proxy."
    causes = tuple(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return f"The name {host} is not known; check the spelling of the endpoint, and the network."
    if where.runs_here:
        return f"The local service is not running at {host}; connect('local') starts it."
    return f"{host} cannot be reached ({causes[-1] or error}); check network, firewall and proxy."


def _refused(error: "APIStatusError", client: "OpenAI", where: Provider, host: str) -> str:
    """Say what the service did not like."""
    message = " ".join(error.message.split())[:300].replace(client.api_key or "\0", "…")
    if "api-version" in message.lower() or "api version" in message.lower():
        return (
            f"{host} does not take this api-version; unset OPENAI_API_VERSION to use v1. It said: {message}"
        )
    match error.status_code:
        case 401 if where.runs_here:
            return f"The local service at {host} refuses the key; connect('local') reads its present one."
        case 401:
            return f"{host} refuses the key or sign-in; check {where.key_setting} in .env."
        case 403:
            role = " (on Azure, fine-tuning needs the role Foundry User)" if where.azure else ""
            return f"{host} knows you but does not let you in{role}. It said: {message}"
        case 404:
            return f"{host} has no such API at {client.base_url.path}; check the endpoint. It said: {message}"
        case status:
            return f"{host} answers with status {status}; try again later. It said: {message}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _sign_in_errors() -> tuple[type[Exception], ...]:
    """What a token that can no longer be had raises; an empty tuple where nobody signs in so."""
    azure = sys.modules.get("azure.core.exceptions")
    return (azure.ClientAuthenticationError,) if azure else ()


def _models_in(content: bytes) -> list[str] | None:
    """The names of the models that a service lists; ``None`` for what is no such list."""
    try:
        return [str(each["id"]) for each in json.loads(content)["data"]]
    except (ValueError, TypeError, KeyError):
        return None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cores() -> int:
    """The cores this process may use; a container or ``taskset`` may allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
