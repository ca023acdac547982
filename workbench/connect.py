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
from workbench.errors import SetupError
from workbench.settings import home, setting

if TYPE_CHECKING:
    from openai import OpenAI


def connect(
    provider: str | None = None,
    *,
    endpoint: str | None = None,
    api_version: str | None = None,
    timeout: float = 600.0,
) -> "OpenAI":
    """Connect to ``"local"``, ``"azure"`` or ``"openai"``; ``None`` asks ``WORKBENCH_PROVIDER``, else local.

    The local service is found, or started. Azure takes any address its portal
    shows, from ``endpoint`` or ``AZURE_OPENAI_ENDPOINT``; an ``api_version`` such
    as ``2025-04-01-preview`` (or ``OPENAI_API_VERSION``) chooses the dated API in
    place of v1. ``timeout`` is in seconds and holds for each request.
    """
    name = provider or setting("WORKBENCH_PROVIDER") or "local"
    match catalog.provider(name).name:
        case "azure":
            return _connect_azure(endpoint, api_version or setting("OPENAI_API_VERSION"), timeout)
        case "openai":
            return _connect_openai(endpoint, timeout)
        case _:
            return _connect_local(endpoint, timeout)


def _connect_local(endpoint: str | None, timeout: float) -> "OpenAI":
    import weakref

    import httpx2
    from openai import DEFAULT_CONNECTION_LIMITS, DefaultHttpxClient, OpenAI

    if endpoint:
        url, key = endpoint, setting("WORKBENCH_LOCAL_KEY")
        if key is None:
            raise SetupError("Set WORKBENCH_LOCAL_KEY in .env to the key of the service at that address.")
    else:
        from workbench.local import process

        address = process.find(home()) or process.start(home())
        url, key = address.url, address.key
    # Straight to this machine: a company's proxy from the environment must not come between.
    transport = httpx2.HTTPTransport(trust_env=False, limits=DEFAULT_CONNECTION_LIMITS)
    http = DefaultHttpxClient(transport=transport)
    weakref.finalize(http, transport.close)
    return OpenAI(base_url=_v1(url), api_key=key, timeout=timeout, http_client=http)


def _connect_openai(endpoint: str | None, timeout: float) -> "OpenAI":
    from openai import OpenAI

    key = setting("OPENAI_API_KEY")
    if key is None:
        raise SetupError("Set OPENAI_API_KEY in .env (see .env.example).")
    return OpenAI(base_url=endpoint or "https://api.openai.com/v1/", api_key=key, timeout=timeout)


def _connect_azure(endpoint: str | None, api_version: str | None, timeout: float) -> "OpenAI":
    from openai import AzureOpenAI, OpenAI

    resource, project = _azure_address(endpoint or setting("AZURE_OPENAI_ENDPOINT"))
    key = setting("AZURE_OPENAI_API_KEY")
    sign_in = _entra_token() if key is None else None
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
        base_url=_v1(resource + project),
        api_key=sign_in or key,
        default_query={"api-version": api_version} if api_version else None,  # "preview" or "v1"
        timeout=timeout,
    )


def _azure_address(endpoint: str | None) -> tuple[str, str]:
    """Take an address as the portal shows it apart: the resource, and the path of a project or nothing."""
    like = "such as https://my-resource.openai.azure.com"
    if endpoint is None:
        raise SetupError(f"Set AZURE_OPENAI_ENDPOINT in .env to your resource's address, {like}.")
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        known = catalog.provider_at(parts.geturl()).name
    except (ValueError, SetupError):
        known = None
    # This machine is let through: the local service speaks Azure's dialect, to rehearse.
    if known not in ("azure", "local"):
        raise SetupError(
            f"'{endpoint}' is no Azure resource's address; copy the one the portal shows, {like}."
        )
    project = re.match(r"/api/projects/[^/]+", parts.path)
    scheme = "https" if known == "azure" else parts.scheme
    return f"{scheme}://{parts.netloc}", project.group() if project else ""


def _entra_token() -> Callable[[], str]:
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
            "Set AZURE_OPENAI_API_KEY in .env, or sign in with 'az login' (see .env.example)."
        ) from error
    return token


def _v1(url: str) -> str:
    """Complete an address to that of its v1 API."""
    return re.sub(r"(/openai)?(/v1)?/*$", "/openai/v1/", url, count=1)
