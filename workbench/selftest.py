"""Is everything here? What the service, and this machine, say for themselves.

A connection that does not work is told in one sentence that names what is
missing; nothing here raises because a service fails, and no key is shown.
"""

import json
import os
import platform
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from workbench.catalog.providers import Provider, default_model, provider_of
from workbench.dataset import chat_template
from workbench.display import table
from workbench.settings import VERSION, home

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError, OpenAI

_PATIENCE_SECONDS = 20.0


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
        said = f"<p role='status'>{escape(repr(self))}</p>"
        return said + table("What the service says", ("fact", "value"), self.facts.items())


@dataclass(frozen=True)
class About:
    """The machine and the versions that a result came from."""

    versions: Mapping[str, str]
    platform: str
    cores: int
    home: str
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The public API by subject."""

    def __repr__(self) -> str:
        """One fact a line, and one subject of the public API a line."""
        lines = {**self._facts, **{group: ", ".join(words) for group, words in self.words.items()}}
        return "\n".join(f"{name}: {value}" for name, value in lines.items())

    def _repr_html_(self) -> str:
        words = [(group, ", ".join(words)) for group, words in self.words.items()]
        listed = table("What import workbench as wb gives", ("subject", "words"), words) if words else ""
        folded = f"<details><summary>The words of the workbench</summary>{listed}</details>" if words else ""
        return table("What is at work here", ("fact", "value"), self._facts.items()) + folded

    @property
    def _facts(self) -> dict[str, str | int]:
        return {**self.versions, "platform": self.platform, "cores": self.cores, "home": self.home}


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
    models = _count_models(answer.content)
    if models is None:
        return SelfTest(False, f"{host} does not answer as a model service; check the address.", facts)
    facts["models"] = models
    counted = "1 model" if models == 1 else f"{models} models"
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
    said = " ".join(error.message.split())[:300].replace(client.api_key or "\0", "…")
    if "api-version" in said.lower() or "api version" in said.lower():
        return f"{host} does not take this api-version; unset OPENAI_API_VERSION to use v1. It said: {said}"
    match error.status_code:
        case 401 if where.runs_here:
            return f"The local service at {host} refuses the key; connect('local') reads its present one."
        case 401:
            return f"{host} refuses the key or sign-in; check {where.key_setting} in .env."
        case 403:
            role = " (on Azure, fine-tuning needs the role Foundry User)" if where.azure else ""
            return f"{host} knows you but does not let you in{role}. It said: {said}"
        case 404:
            return f"{host} has no such API at {client.base_url.path}; check the endpoint. It said: {said}"
        case status:
            return f"{host} answers with status {status}; try again later. It said: {said}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _sign_in_errors() -> tuple[type[Exception], ...]:
    """What a token that can no longer be had raises; an empty tuple where nobody signs in so."""
    azure = sys.modules.get("azure.core.exceptions")
    return (azure.ClientAuthenticationError,) if azure else ()


def _count_models(content: bytes) -> int | None:
    try:
        return len(json.loads(content)["data"])
    except (ValueError, TypeError, KeyError):
        return None


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cores() -> int:
    """The cores this process may use; a container or ``taskset`` may allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
