"""Connecting to a service (the local one, Azure, OpenAI) and to Azure's control plane.

What comes back is ``openai``'s own client, whichever service it is. Keys come
from the environment or ``.env``, are never an argument and never printed. A
connection that does not work is one sentence that names what is missing.
"""

import logging
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from workbench import catalog
from workbench.catalog.providers import Provider, carrying, default_model, owner_of, provider_of
from workbench.catalog.service_errors import CONTROL, SCOPES, explanation, without_ids
from workbench.display import Facts, folded_table
from workbench.errors import SetupError
from workbench.settings import VERSION, home, setting

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.identity import DefaultAzureCredential
    from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
    from openai import OpenAI

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
    if api_version and not re.fullmatch(r"\d{4}-\d\d-\d\d(-preview)?|v1|preview", api_version):
        raise SetupError(
            f"'{api_version}' is no version of Azure's API: leave OPENAI_API_VERSION empty for v1, or give a "
            "date such as 2025-04-01-preview."
        )
    address = azure_address(known, given)
    key = setting(known.key_setting)
    token = _entra_token(known) if key is None else None
    made: OpenAI
    if api_version and api_version[0].isdigit():
        made = AzureOpenAI(
            azure_endpoint=address.resource,
            api_key=key,
            azure_ad_token_provider=token,
            api_version=api_version,
            timeout=timeout,
        )
        if "project" in address.kind:
            note = "the dated API knows resources only, so the project is left out"
            address = address._replace(notes=(*address.notes, note))
    else:
        made = OpenAI(
            base_url=address.v1,
            api_key=token or key,
            default_query={"api-version": api_version} if api_version else None,  # "preview" or "v1"
            timeout=timeout,
        )
    return carrying(made, known, notes=address.notes)


class AzureAddress(NamedTuple):
    """What an address that somebody copied means: both APIs, what it is, and what was corrected in it."""

    resource: str
    """Where the dated API is, without its path."""
    v1: str
    kind: str
    """``resource``, ``Foundry resource``, ``project`` or ``gateway``, with names."""
    notes: tuple[str, ...] = ()


_KINDS = {
    "openai.azure.com": "Azure OpenAI resource",
    "services.ai.azure.com": "Foundry resource",
    "cognitiveservices.azure.com": "resource",
}
_NO_RESOURCES = ("ai.azure.com", "oai.azure.com", "portal.azure.com", "management.azure.com")


def azure_address(known: Provider, endpoint: str) -> AzureAddress:
    """Read an address that the portal or a gateway shows; ``SetupError`` for one that is no resource's."""
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        host = parts.hostname or ""
    except ValueError:
        host = ""
    owner = owner_of(host)
    # This machine is let through: the local service speaks Azure's dialect, to rehearse.
    known_elsewhere = owner is not None and owner != known and not owner.runs_here
    is_a_name_alone = owner is None and not re.search("[.:]", endpoint.split("//")[-1].split("/")[0])
    no_resource = known_elsewhere or is_a_name_alone or not re.fullmatch(r"[\w.:-]+", host)
    if no_resource or host in _NO_RESOURCES:
        kind = "the portal's own address, and" if host in _NO_RESOURCES else ""
        raise SetupError(
            " ".join(
                f"'{endpoint}' is {kind} no Azure resource's address; copy the one the portal shows, "
                f"{_SUCH_AS}.".split()
            )
        )
    path = parts.path.rstrip("/")
    found = re.search(r"/api/projects/([^/]+)", path)
    project = found.group() if found else ""
    if owner != known:
        resource = f"{parts.scheme}://{parts.netloc}{_before_the_api(path)}"
        if owner is None and path.endswith("/v1"):  # a gateway may have a path of its own for v1
            return AzureAddress(resource, f"{parts.scheme}://{parts.netloc}{path}/", f"gateway {host}")
        kind = "this machine" if owner else f"gateway {host}"
        return AzureAddress(resource, _v1(resource + project), kind)
    name, _, domain = host.partition(".")
    notes = []
    if found and domain in _KINDS and domain != "services.ai.azure.com":
        notes.append(f"a project's address is that of its Foundry resource, {name}.services.ai.azure.com")
        parts, domain = parts._replace(netloc=f"{name}.services.ai.azure.com"), "services.ai.azure.com"
    if parts.scheme != "https":
        notes.append("http is read as https")
    beyond = path.removeprefix(project).removeprefix("/openai").removeprefix("/v1")
    if beyond:
        notes.append(f"{beyond} is the path of a call and is left out")
    if "api-version" in parts.query:
        notes.append("the api-version in it does not count; set OPENAI_API_VERSION to use the dated API")
    kind = f"{_KINDS.get(domain, 'resource')} {name}"
    kind = f"project {found.group(1)} of {kind}" if found else kind
    resource = f"https://{parts.netloc}"
    return AzureAddress(resource, _v1(resource + project), kind, tuple(notes))


def _before_the_api(path: str) -> str:
    """What a gateway puts in front of Azure's own paths."""
    return re.split(r"/api/projects/|/openai(?:/|$)|/v1$", path, maxsplit=1)[0]


def token_scope() -> str:
    """What a token is asked for: ``AZURE_OPENAI_TOKEN_SCOPE``, else the first that Azure's documents give."""
    scope = setting("AZURE_OPENAI_TOKEN_SCOPE") or SCOPES[0]
    if not re.fullmatch(r"https://\S+/\.default", scope):
        raise SetupError(
            f"AZURE_OPENAI_TOKEN_SCOPE is '{scope}'; Azure's documents give {' and '.join(SCOPES)}."
        )
    return scope


def sign_in() -> "DefaultAzureCredential":
    """The sign-in of ``az login``, the environment or the machine; ``AZURE_TOKEN_CREDENTIALS`` names one."""
    from azure.identity import DefaultAzureCredential

    # It logs a page for what we say in a sentence; a user's own logging still gets it.
    logging.getLogger("azure.identity").addHandler(logging.NullHandler())
    try:
        return DefaultAzureCredential()
    except ValueError as error:  # a name that is none; the message lists those there are
        raise SetupError(f"{str(error).rstrip('.')}; correct it in .env, or leave it empty.") from None


def _entra_token(known: Provider) -> Callable[[], str]:
    """Sign in as ``az login``, the environment or the machine allows; fails here, not in a later call."""
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import get_bearer_token_provider

    token = get_bearer_token_provider(sign_in(), token_scope())
    try:
        token()
    except ClientAuthenticationError as error:
        advice = f"Set {known.key_setting} in .env, or sign in with 'az login' (see .env.example)."
        raise SetupError(" ".join(filter(None, (advice, sign_in_reason(str(error)))))) from None
    return token


def sign_in_reason(message: str) -> str:
    """What ``azure-identity`` says went wrong, without the ways to sign in that are simply not set up.

    Of a way that ``AZURE_TOKEN_CREDENTIALS`` names, everything; empty where no way was set up.
    """
    tried = [line.strip() for line in message.splitlines() if line.startswith("\t")] or [message]
    named = (setting("AZURE_TOKEN_CREDENTIALS") or "").lower().endswith("credential")
    went_wrong = [line for line in tried if named or re.search(r"error|AADSTS|failed", line, re.IGNORECASE)]
    return f"It said: {without_ids(' '.join(went_wrong))[:400]}" if went_wrong else ""


def _v1(url: str) -> str:
    """Complete an address to that of its v1 API."""
    return re.sub(r"(/openai)?(/v1)?/*$", "/openai/v1/", url, count=1)


# The control plane: another address, another token, where deployments are made. It takes no key on Azure; the
# local service, which emulates it, takes its own.

_ARM = "https://management.azure.com"
_LOGS = ("azure.core.pipeline.policies.http_logging_policy", "urllib3.connectionpool")  # of each address
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


def _no_ids(record: logging.LogRecord) -> bool:
    """Take the ids of subscriptions and tenants out of a line of the log."""
    record.msg, record.args = without_ids(record.getMessage()), ()
    return True


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
    for name in _LOGS:
        logging.getLogger(name).addFilter(_no_ids)
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
    polling: dict[str, Any] = {"polling_interval": _POLL_SECONDS[rehearsed], "connection_timeout": 20}
    if rehearsed:  # a token would be refused over plain http, so it goes through a key's policy of azure-core
        signed_in = where.azure and setting(where.key_setting) is None
        key = AzureKeyCredential(_entra_token(where)() if signed_in else client.api_key)
        policy = AzureKeyCredentialPolicy(key, "Authorization", prefix="Bearer")
        options = {"authentication_policy": policy, **polling}
        return CognitiveServicesManagementClient(key, subscription, base_url=address, **options)  # type: ignore[arg-type]
    options = {"credential_scopes": [f"{address.rstrip('/')}/.default"], **polling}
    return CognitiveServicesManagementClient(sign_in(), subscription, base_url=address, **options)


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
        raise SetupError(f"Azure's control plane cannot be reached: {without_ids(str(error))}") from None
    except HttpResponseError as error:  # the cause is left out: its traceback holds addresses with ids
        if error.response is None and isinstance(error, ClientAuthenticationError):
            advice = "Azure's control plane takes no key: sign in with 'az login' (see .env.example)."
            raise SetupError(" ".join(filter(None, (advice, sign_in_reason(str(error)))))) from None
        raise SetupError(_explained(error)) from None


def _explained(error: "HttpResponseError") -> str:
    code = (error.error.code if error.error else None) or ""
    said = without_ids((error.error.message if error.error else None) or error.message or "no message")
    head = " ".join(filter(None, (str(error.status_code or ""), code)))
    means = explanation(f"{head}: {said}", CONTROL) or "try again later"
    return f"The control plane refused ({head}): {means}. It said: {said}"


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


def about(words: Mapping[str, tuple[str, ...]] | None = None) -> About:
    """What runs here: versions, platform, cores, where everything is kept, and the words of the API."""
    found = versions("openai", "torch", "transformers", "pandas")
    return About(found, platform.platform(), _cores(), str(home()), words or {})


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python, of the workbench and of these packages."""
    found = {"python": platform.python_version(), "workbench": VERSION}
    return found | {package: _version(package) for package in packages}


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


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cores() -> int:
    """The cores this process may use; a container or ``taskset`` may allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
