"""Does the connection work? In a sentence (``self_test``), or part by part (``check_connection``).

Only lists are read: nothing here costs or changes anything. What a service says is kept, without keys,
tokens and ids; what it means and the way out stand beside it.
"""

import base64
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from html import escape
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypeVar

from workbench import catalog
from workbench.catalog.limits import of_provider
from workbench.catalog.models import Model, base_name
from workbench.catalog.providers import Provider, notes_of, owner_of, provider_of
from workbench.catalog.refresh import Listed, listed_by
from workbench.catalog.service_errors import explanation, without_ids
from workbench.connect import (
    Resource,
    azure_address,
    control_plane,
    control_plane_errors,
    sign_in_reason,
    token_scope,
    versions,
)
from workbench.display import HtmlCell, columns, safe, table
from workbench.errors import SetupError
from workbench.settings import setting

if TYPE_CHECKING:
    from azure.mgmt.cognitiveservices.models import Deployment
    from openai import APIConnectionError, APIStatusError, OpenAI

_NAMED = 4  # models; more are only counted
_LISTED = 8  # models or quotas in a part
_PATIENCE_SECONDS = 20.0  # for one answer
_SHORTEST_SECRET = 6  # characters; a shorter one would be found in any word


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


def self_test(client: "OpenAI") -> SelfTest:
    """Is the service there, and does it know us? Asks for its models, which costs nothing."""
    where, host = provider_of(client), _host(client)
    facts: dict[str, str | int] = {"provider": where.name, "endpoint": host}
    started = time.perf_counter()
    try:
        with _client_errors(client):
            # Once more where it was refused: a single 429 or 500 says little about a connection.
            patient = _patient(client).with_options(max_retries=1)
            names = _models_in(patient.models.with_raw_response.list().content)
    except SetupError as error:
        return SelfTest(False, str(error), facts)
    facts["latency_ms"] = round((time.perf_counter() - started) * 1000)
    if names is None:
        return SelfTest(False, f"{host} does not answer as a model service; check the address.", facts)
    facts["models"] = len(names)
    counted = "1 model" if len(names) == 1 else f"{len(names)} models"
    counted += f" ({', '.join(names)})" if 0 < len(names) <= _NAMED else ""
    return SelfTest(True, f"Connected to {where.name} at {host}: {counted}, {facts['latency_ms']} ms.", facts)


# Part by part

State: TypeAlias = Literal["works", "look", "fails", "unknown", "not needed"]
_MARKS: Mapping[State, str] = {"works": "✓", "look": "!", "fails": "✗", "unknown": "?", "not needed": "–"}


class ConnectionPart(NamedTuple):
    """One part of a connection, and whether it works; ``look`` is what works and should be looked at."""

    name: str
    state: State
    sentence: str


@dataclass(frozen=True)
class ConnectionReport:
    """What of a connection works and what does not, with the service's own words and the way out."""

    provider: str
    endpoint: str
    parts: tuple[ConnectionPart, ...]
    trainable: tuple[str, ...] = ()
    """Models that can be trained here today, by what the service and the catalogue say."""

    @property
    def ok(self) -> bool:
        """Whether nothing fails."""
        return all(part.state != "fails" for part in self.parts)

    @property
    def verdict(self) -> str:
        """In a sentence."""
        failing = [part.name.lower() for part in self.parts if part.state == "fails"]
        look = [part.name.lower() for part in self.parts if part.state == "look"]
        says = f"does not work: {', '.join(failing)}" if failing else "nothing fails"
        says += f"; to be looked at: {', '.join(look)}" if look else ""
        return f"{self.provider} at {self.endpoint}: {says}."

    @property
    def facts(self) -> dict[str, object]:
        """As plain JSON."""
        parts = [part._asdict() for part in self.parts]
        return {
            "provider": self.provider,
            "endpoint": self.endpoint,
            "ok": self.ok,
            "parts": parts,
            "trainable": list(self.trainable),
        }

    def __repr__(self) -> str:
        """One line for each part, with a mark."""
        rows = [(f"{_MARKS[part.state]} {part.name}", part.sentence) for part in self.parts]
        return columns((self.verdict, ""), []) + "\n" + columns(rows[0], rows[1:])

    def _repr_html_(self) -> str:
        rows = [
            # A cell of its own: a plain one would cut what the service said.
            (part.name, f"{_MARKS[part.state]} {part.state}", HtmlCell(safe(part.sentence), part.sentence))
            for part in self.parts
        ]
        return table(self.verdict, ("part", "state", "what it says"), rows)


def check_connection(client: "OpenAI") -> ConnectionReport:
    """Check every part of a connection by reading lists; never raises for one that does not work.

    Address, sign-in, models, files and jobs; at Azure the control plane too: resource and region, roles,
    deployments and quotas; then which models this customer can train here today, and versions.
    """
    check = _Check(client)
    parts = tuple(check.parts())
    return ConnectionReport(check.where.name, check.host, parts, check.trainable)


_Found = TypeVar("_Found")


class _Impossible(Exception):  # noqa: N818 - an answer, not an error
    """A part was not asked, and why."""


@dataclass
class _Check:
    """One check under way: what a part finds, the later ones use."""

    client: "OpenAI"
    resource: Resource | None = None
    deployed: "tuple[Deployment, ...] | None" = None
    listed: tuple[Listed, ...] | None = None
    trainable: tuple[str, ...] = ()
    where: Provider = field(init=False)
    host: str = field(init=False)
    asked: "OpenAI" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.where, self.host = provider_of(self.client), _host(self.client)
        self.asked = _patient(self.client)

    def parts(self) -> Iterator[ConnectionPart]:
        of_the_control_plane = ("Control plane", "Roles", "Deployments", "Quota")
        for name, look in {
            "Address": self.address,
            "Sign-in": self.signed_in,
            "Models": self.models,
            "Files": self.files,
            "Training jobs": self.jobs,
            "Control plane": self.control_plane,
            "Roles": self.roles,
            "Deployments": self.deployments,
            "Quota": self.quota,
            "Models to train": self.models_to_train,
            "Versions": _versions,
        }.items():
            if name in of_the_control_plane and not (self.where.azure or self.where.runs_here):
                says = f"{self.where.name} has none: a tuned model answers by its name"
                yield ConnectionPart(name, "not needed", says)
            else:
                yield self.part(name, look)

    def part(self, name: str, look: Callable[[], tuple[State, str]]) -> ConnectionPart:
        state: State
        try:
            with _client_errors(self.client):
                state, sentence = look()
        except SetupError as error:
            state, sentence = "fails", str(error)
        except _Impossible as why:
            state, sentence = "unknown", f"not known: {why}"
        return ConnectionPart(name, state, without_ids(sentence, *_secrets(self.client)))

    def address(self) -> tuple[State, str]:
        dated = self.client.default_query.get("api-version")
        api = f"the dated API {dated}" if str(dated)[:1].isdigit() else "the v1 API"
        said = f"{self.host}, {api}"
        if owner_of(str(self.client.base_url.host)) == self.where and self.where.azure:
            said += f" of {azure_address(self.where, str(self.client.base_url)).kind}"
        elif self.where.azure:
            said += ", not an address of Azure's own: a gateway, or a rehearsal"
        notes = notes_of(self.client)
        return ("look", f"{said}; corrected: {'; '.join(notes)}") if notes else ("works", said)

    def signed_in(self) -> tuple[State, str]:
        token = _token_of(self.client)
        if token is None:
            name = self.where.key_setting
            return "works", f"the key in {name}" if self.client.api_key == setting(
                name
            ) else "the client's key"
        return "works", f"signed in to Entra ID for {token_scope()}{_validity(token())}"

    def models(self) -> tuple[State, str]:
        if _models_in(self.asked.models.with_raw_response.list().content) is None:
            return "fails", f"{self.host} does not answer as a model service; check the address."
        self.listed = tuple(listed_by(self.asked))
        return "works", f"{len(self.listed)} base model{'s' * (len(self.listed) != 1)} listed"

    def files(self) -> tuple[State, str]:
        _needed(self.listed, "the service does not answer")
        self.asked.files.list(purpose="fine-tune", limit=1)
        return "works", "training files can be listed"

    def jobs(self) -> tuple[State, str]:
        _needed(self.listed, "the service does not answer")
        self.asked.fine_tuning.jobs.list(limit=1)
        more = "; whether you may start one, see Roles" if self.where.azure else ""
        return "works", f"training jobs can be listed{more}"

    def control_plane(self) -> tuple[State, str]:
        owner = owner_of(str(self.client.base_url.host))
        if owner is not None and owner.runs_here:  # both planes are one service
            _needed(self.listed, "the service does not answer")
        self.resource = control_plane(self.client)
        found = self.resource
        return "works", f"resource {found.account} in the region {found.region}, group {found.group}"

    def roles(self) -> tuple[State, str]:
        with control_plane_errors():
            sets = _permissions(_needed(self.resource, "the resource was not found"))
        has_key = _token_of(self.client) is None  # which opens all of the data plane
        train = has_key or any(each.allow(_TRAIN, data=True) for each in sets)
        deploy = any(each.allow(_DEPLOY) for each in sets)
        if train and deploy:
            return "works", "you may train and deploy"
        able = "train but not deploy" if train else "deploy but not train" if deploy else "read only"
        role = "Foundry Owner, or any with " + _DEPLOY if not deploy else "Foundry User"
        return "fails", f"you may {able}: ask for the role {role}, then sign in again with 'az login'"

    def deployments(self) -> tuple[State, str]:
        resource = _needed(self.resource, "the resource was not found")
        with control_plane_errors():
            self.deployed = tuple(resource.management.deployments.list(**resource.place))
        most = of_provider("azure").max_tuned_deployments
        tuned = sum(base_name(name) != name for name, _ in map(_model_of, self.deployed))
        full = most is not None and tuned >= most
        return (
            "look" if full else "works"
        ), f"{len(self.deployed)}, of tuned models {tuned} of at most {most}"

    def quota(self) -> tuple[State, str]:
        resource = _needed(self.resource, "the resource was not found")
        with control_plane_errors():
            usages = list(resource.management.usages.list(resource.region))
        granted = [each for each in usages if each.limit]
        spent = [each for each in granted if (each.current_value or 0) >= (each.limit or 0)]
        names = [(each.name.value if each.name else None) or "one without a name" for each in spent]
        said = f"{len(granted)} quotas granted in {resource.region}"
        return (
            ("look", f"{said}; used up: {_shortened(names)}") if spent else ("works", f"{said}, none used up")
        )

    def models_to_train(self) -> tuple[State, str]:
        listed = _needed(self.listed, "the service does not list its models")
        deployed = None if self.deployed is None else [_model_of(each) for each in self.deployed]
        region = self.resource.region if self.resource else None
        found = models_to_train(
            catalog.models(), listed, where=self.where, on=date.today(), region=region, deployed=deployed
        )
        self.trainable = found.yes
        said = [", ".join(found.yes) or "none for certain"]
        said += [f"perhaps ({why}): {_shortened(names)}" for why, names in found.perhaps.items()]
        return ("works" if found.yes else "look"), "; ".join(said)


def _needed(found: _Found | None, otherwise: str) -> _Found:
    if found is None:
        raise _Impossible(otherwise)
    return found


def _versions() -> tuple[State, str]:
    found = versions("openai", "azure-identity", "azure-core", "azure-mgmt-cognitiveservices")
    return "works", ", ".join(f"{name} {version}" for name, version in found.items())


# Which models can be trained


class ModelsToTrain(NamedTuple):
    """Models by whether they can be trained: certainly, or perhaps, by the reason of the doubt."""

    yes: tuple[str, ...]
    perhaps: Mapping[str, tuple[str, ...]]


def models_to_train(
    known: Iterable[Model],
    listed: Sequence[Listed],
    *,
    where: Provider,
    on: date,
    region: str | None = None,
    deployed: Sequence[tuple[str, str]] | None = None,
) -> ModelsToTrain:
    """Which models can this customer train at ``where`` on that day?

    ``listed``: what the service lists. ``deployed``: models and versions that the resource has deployed now,
    which makes an existing customer of them; whether one was deployed before, nothing tells.
    """
    by_name, known = {each.name.lower(): each for each in listed}, tuple(known)
    there_are = [region for model in known for place in model.regions if region and place.has(region)]
    yes, perhaps, seen = list[str](), dict[str, list[str]](), set[str]()
    for model in known:
        names = {name.lower() for name in (model.name, f"{model.name}-{model.version}", *model.aliases)}
        offered = next((by_name[name] for name in names if name in by_name), None)
        if where.name not in model.services or (where.runs_here and offered is None):
            continue
        seen |= names
        has_it = any({base_name(name), f"{name}-{version}"} & names for name, version in deployed or ())
        can = model.trainable(on, existing_customer=has_it or None, service=where.name)
        places = [place for place in model.regions if place.use == "training"]
        elsewhere = region in there_are and bool(places) and not any(place.has(region) for place in places)
        denied = offered is not None and offered.fine_tune is False and not model.open_weights
        if can is False or denied:
            continue
        life = model.life(where.name)
        if elsewhere:
            why = f"not in {region} by the catalogue"
        elif offered is None:
            why = "not in the service's list"
        elif can:
            yes.append(model.name)
            continue
        elif life and life.training == "invitation":
            why = "by invitation"
        elif model.trainable(on, service=where.name):
            why = "if this subscription deployed it before"
        else:
            why = "sources disagree or do not tell"
        perhaps.setdefault(why, []).append(model.name)
    yes += [each.name for each in listed if each.fine_tune and each.name.lower() not in seen]
    return ModelsToTrain(tuple(yes), {why: tuple(names) for why, names in perhaps.items()})


# Roles: what the caller may do with the resource. Microsoft Learn, GetAzurePermissionsForResources
# (Microsoft.Authorization/permissions, api-version 2022-04-01).

_DEPLOY = "Microsoft.CognitiveServices/accounts/deployments/write"
_TRAIN = "Microsoft.CognitiveServices/accounts/OpenAI/fine-tunes/write"


class _PermissionSet(NamedTuple):
    """What one role assignment gives, in patterns with ``*``."""

    actions: Sequence[str]
    not_actions: Sequence[str]
    data_actions: Sequence[str]
    not_data_actions: Sequence[str]

    def allow(self, action: str, *, data: bool = False) -> bool:
        given = self.data_actions if data else self.actions
        withheld = self.not_data_actions if data else self.not_actions
        return _matches(action, given) and not _matches(action, withheld)


def _matches(action: str, patterns: Sequence[str]) -> bool:
    as_regex = (".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    return any(re.fullmatch(pattern, action, re.IGNORECASE) for pattern in as_regex)


def _permissions(resource: Resource) -> list[_PermissionSet]:
    from azure.core.rest import HttpRequest

    place = (
        f"/subscriptions/{resource.management._config.subscription_id}/resourceGroups/{resource.group}/providers"
        f"/Microsoft.CognitiveServices/accounts/{resource.account}/providers/Microsoft.Authorization/permissions"
    )
    request = HttpRequest("GET", place, params={"api-version": "2022-04-01"})
    answer = resource.management._send_request(request)  # the SDK's own way to what it has no method for
    if answer.status_code != 200:
        raise _Impossible(f"the control plane does not say what you may do ({answer.status_code})")
    fields = ("actions", "notActions", "dataActions", "notDataActions")
    return [_PermissionSet(*(each.get(name) or () for name in fields)) for each in answer.json()["value"]]


# What an error of the client says, in our words


@contextmanager
def _client_errors(client: "OpenAI") -> Iterator[None]:
    """Give what the client raises as a ``SetupError``: the cause, the way out, and the service's words."""
    import openai

    where, host = provider_of(client), _host(client)
    try:
        yield
    except openai.APIConnectionError as error:
        raise SetupError(_unreachable(error, where, host)) from None
    except openai.APIStatusError as error:
        raise SetupError(_refused(error, client, where, host)) from None
    except _sign_in_errors() as error:
        reason = sign_in_reason(str(error)) or "It said: no way to sign in is set up."
        raise SetupError(f"Signing in to Azure failed; run 'az login' again. {reason}") from None


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
    status, said = error.status_code, without_ids(error.message, *_secrets(client))[:500]
    if where.azure:
        means = explanation(f"{status} {error.code}: {said}") or "try again later"
        return f"{host} refused ({status}): {means}. It said: {said}"
    match status:
        case 401 if where.runs_here:
            return f"The local service at {host} refuses the key; connect('local') reads its present one."
        case 401:
            return f"{host} refuses the key; check {where.key_setting} in .env. It said: {said}"
        case 403:
            return f"{host} knows you but does not let you in. It said: {said}"
        case 404:
            return f"{host} has no such API at {client.base_url.path}; check the endpoint. It said: {said}"
        case _:
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


def _models_in(content: bytes) -> list[str] | None:
    """The names of the models that a service lists; ``None`` for what is no such list."""
    try:
        return [str(each["id"]) for each in json.loads(content)["data"]]
    except (ValueError, TypeError, KeyError):
        return None


def _host(client: "OpenAI") -> str:
    return client.base_url.netloc.decode()


def _patient(client: "OpenAI") -> "OpenAI":
    """The same client that waits for one answer as long as a check may take."""
    return client.with_options(max_retries=0, timeout=_PATIENCE_SECONDS)


def _secrets(client: "OpenAI") -> list[str]:
    """What must not be shown although a service may repeat it."""
    kept = (client.api_key, setting(provider_of(client).key_setting), setting("AZURE_SUBSCRIPTION_ID"))
    return [each for each in kept if each and len(each) >= _SHORTEST_SECRET]


def _token_of(client: "OpenAI") -> Callable[[], str] | None:
    """What gives the client its token; ``None``: it has a key. Its classes keep it in either of these."""
    own = vars(client)
    found: Callable[[], str] | None = own.get("_api_key_provider") or own.get("_azure_ad_token_provider")
    return found


def _validity(token: str) -> str:
    """Until when a token holds, where it says so itself."""
    try:
        payload = token.split(".")[1]
        ends = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
        until = datetime.fromtimestamp(ends, UTC)
    except (IndexError, ValueError, KeyError, TypeError):
        return ""
    return f"; the token holds until {until:%Y-%m-%d %H:%M} UTC and is renewed before"


def _model_of(deployment: "Deployment") -> tuple[str, str]:
    model = deployment.properties.model if deployment.properties else None
    return ((model.name if model else None) or "").lower(), (model.version if model else None) or ""


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
