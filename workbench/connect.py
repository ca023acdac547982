"""Connecting to a service: the local one, Azure, or OpenAI.

What comes back is ``openai``'s own client, whichever service it is. Keys come
from the environment or ``.env``, are never an argument and never printed.
"""

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workbench import catalog
from workbench.catalog.providers import Provider, carrying, owner_of
from workbench.errors import SetupError
from workbench.settings import home, setting

if TYPE_CHECKING:
    from openai import OpenAI

_SUCH_AS = "such as https://my-resource.openai.azure.com"


def connect(
    provider: str | None = None,
    *,
    endpoint: str | None = None,
    api_version: str | None = None,
    timeout: float = 600.0,
    client: "OpenAI | None" = None,
) -> "OpenAI":
    """Connect to ``"local"``, ``"azure"`` or ``"openai"``; ``None`` asks ``WORKBENCH_PROVIDER``, else local.

    The local service is found, or started. Azure takes any address its portal shows, and that of a gateway
    or a custom domain in front of it, from ``endpoint`` or ``AZURE_OPENAI_ENDPOINT``; an ``api_version``
    such as ``2025-04-01-preview`` (or ``OPENAI_API_VERSION``) chooses the dated API in place of v1.
    ``timeout`` is in seconds and holds for each request. The client knows its provider ever after.

    ``client``: one that you made yourself, with headers or certificates of your own; it is given back and
    knows that it talks to this provider. The other settings are then its own.
    """
    if client is not None:
        return carrying(client, catalog.provider(provider) if provider else catalog.provider_of(client))
    known = catalog.provider(provider or setting("WORKBENCH_PROVIDER") or "local")
    if known.runs_here:
        made = _connect_local(known, endpoint, timeout)
    elif known.azure:
        made = _connect_azure(known, endpoint, api_version or setting("OPENAI_API_VERSION"), timeout)
    else:
        made = _connect_v1(known, endpoint, timeout)
    return carrying(made, known)


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
