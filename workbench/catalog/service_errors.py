"""What the refusals of a service mean: for each known message, code and status the cause and the way out.

The services' own text is always kept; what stands here is added to it. The messages and codes are those
documented for Azure or seen there; the local service gives its reasons itself.
"""

import re
from typing import NamedTuple

from workbench.catalog.limits import in_words, of_provider

DATA, CONTROL = "data", "control"
"""The two planes: files, jobs and answers; or deployments, quotas and roles (``management.azure.com``)."""


class KnownError(NamedTuple):
    """One refusal that is recognised: by its text wherever it comes from, or on one plane only."""

    pattern: str
    """Of ``status code: message``; upper and lower case are the same."""
    cause: str
    way_out: str
    plane: str | None = None
    """``None``: the same on both."""


def _status(number: int) -> str:
    return rf"^{number}\b|Error code: {number}\b"


def _code(word: str) -> str:
    """A code that is a plain word: only where the code stands, behind the status."""
    return rf"^\d{{3}} {word}\b"


_ROLES = "to train takes the role Foundry User, to deploy that of Foundry Owner"
_FORMATS = "OpenAI for its own models, Microsoft, Mistral AI, Meta or Alibaba for open weights"
SCOPES = ("https://cognitiveservices.azure.com/.default", "https://ai.azure.com/.default")
"""What a token is asked for; Azure's documents give both, and not which endpoint takes which."""

# The first that fits counts: texts before codes, codes before the bare status.
#
# Sources: Microsoft Learn, how-to pages of fine-tuning and roles (2026-10-05), "Deploy a fine-tuned model"
# (2026-10-07), quotas (2026-03-19); azure-rest-api-specs, AzureOpenAI authoring 2025-04-01-preview (the
# codes); microsoft/GitHub-Copilot-for-Azure (2026-08-20); and the issues named at the rows.
KNOWN_ERRORS = (
    KnownError(
        "does not support fine-tuning with Standard TrainingType",
        "open-weight models are trained with training_type='globalStandard' only (this request: {kind})",
        "set it, or leave it to the workbench, which sends it to Azure",
    ),
    # BerriAI/litellm 24687; MicrosoftDocs/azure-docs 116776
    KnownError(
        "does not support fine-tuning",
        "often the model is fine and trainingType is not (this request: {kind}; there are globalStandard, "
        "Standard and developerTier), or model is a deployment's name",
        "give the base model with its version, such as gpt-4.1-mini-2025-04-14",
    ),
    # openai-python 1836
    KnownError(
        r"api[- ]version\W.*(not (allowed|supported)|unsupported)|api version not supported",
        "the dated API and the v1 API are mixed",
        "leave OPENAI_API_VERSION empty for v1, or set it to a date such as 2025-04-01-preview",
    ),
    # MicrosoftDocs/azure-docs 108515, 110314
    KnownError(
        r"no valid json line|jsonlValidationFailed",
        "the model was taken for one of the old prompt/completion models, or a line has an empty prompt or "
        "another encoding",
        "check(dataset) names the lines",
    ),
    KnownError(
        r"failed RAI checks|harm types",
        "data full of personal details gives false hits for hate and fairness, and words such as 'step by "
        "step reasoning' trip the filters of reasoning models",
        "check(dataset, only=('privacy',)) shows the rows to look at, and redacting them often is enough. "
        "Azure checks the data before it trains, so nothing was trained and nothing is billed. You cannot "
        "set the thresholds; its page on safety evaluation names a form to ask for others",
    ),
    KnownError(
        r"unable to be deployed|Model evaluation identified",
        "the model was trained, is billed, and did not pass the safety evaluation, which asks it harmful "
        "questions",
        "deploy an earlier checkpoint, or add refusals of the named harms to the data",
    ),
    KnownError(
        r"at least \d+ examples|invalid_n_examples",
        "every service refuses a job with so few examples",
        "collect more; 50 to 100 begin to show anything",
    ),
    KnownError(
        r"invalid_variable|formula_parse|sample_parse|grader.*(template|variable|item\.)",
        "a template of the grader names a field that some line does not have",
        "check(dataset, grader=grader) names the lines",
    ),
    KnownError(
        r"DeploymentNotReady|Failed to load LoRA",
        "the deployment is reported as ready before it is",
        "try again in some minutes, for open-weight models with a capacity of 100 or more",
    ),
    KnownError(
        r"DeploymentNotFound",
        "a model answers at Azure only through a deployment, by the deployment's name",
        "07_deploy makes one and lists those there are; a new one takes some minutes to be known",
    ),
    KnownError(
        "DeploymentModelNotSupported",
        "the name, the format or the region is wrong",
        f"the format follows the model's provider ({_FORMATS}), and the region must support fine-tuning",
    ),
    KnownError(
        r"InsufficientQuota|available capacity",
        "the quota of this region and SKU is used up",
        "ask for less capacity (1 is about one request a minute), take another SKU or region, or remove a "
        "deployment that nobody needs",
    ),
    KnownError(
        r"quotaExceeded|the most there may be",
        "a resource takes ten deployments of tuned models",
        "remove one that nobody needs ('python -m workbench cleanup' lists yours)",
        CONTROL,
    ),
    KnownError(
        r"quotaExceeded|quota.*exceeded|exceeded.*quota",
        "a resource takes 3 running jobs (5 in the developer tier), 20 in the queue, 100 in all, and 100 "
        "files of 1 GB together",
        "wait until a job has ended, or delete jobs and files that nobody needs",
    ),
    KnownError(
        r"sku.*(not supported|invalid)|InvalidResourceProperties|InvalidSku",
        "this model cannot be deployed as this SKU",
        "the plan lists those it can be",
        CONTROL,
    ),
    KnownError(
        rf"{_status(410)}|\b410 Gone\b|has been retired|ModelDeprecated",
        "the model is retired",
        "'python -m workbench models' lists what can be trained today",
    ),
    KnownError(
        r"contentFilter|content_filter|content management policy",
        "the content filter stopped the question or the answer",
        "look at that row; the filter is a setting of the deployment, which a resource's owner can change",
    ),
    KnownError(
        r"fileImportFailed",
        "the service could not read the file at the address that it was given",
        "the address must be open to the service and not have run out; or upload the file",
    ),
    KnownError(
        r"ExpiredAuthenticationToken|InvalidAuthenticationToken|token.*(expired|expiry)|expired.*token",
        "the token of the sign-in has run out or was revoked",
        "sign in again with 'az login', then connect again, which asks for a new one",
    ),
    KnownError(
        rf"{_status(403)}|{_code('forbidden')}|AuthorizationFailed|PermissionDenied|not authorized"
        r"|does not have (access|authorization)|lacks the required data action",
        f"the role is missing, or the token is older than the role ({_ROLES})",
        "ask the resource's owner for it, then sign in again with 'az login'",
        DATA,
    ),
    KnownError(
        rf"{_status(401)}|{_code('unauthorized')}",
        "the control plane takes no key, and knows no such sign-in",
        "sign in again with 'az login'",
        CONTROL,
    ),
    KnownError(
        rf"{_status(401)}|{_code('unauthorized')}",
        "the key is not that of this resource, or the token was asked for another scope",
        "copy the key from the portal's page of this very resource; with a sign-in, try the other "
        f"AZURE_OPENAI_TOKEN_SCOPE ({' or '.join(SCOPES)})",
    ),
    KnownError(
        rf"{_status(403)}|AuthorizationFailed|does not have authorization",
        "you may train but not deploy",
        "ask for the role Foundry Owner, or any with Microsoft.CognitiveServices/accounts/deployments/write, "
        "then sign in again with 'az login'",
        CONTROL,
    ),
    KnownError(
        rf"{_status(409)}|{_code('conflict')}",
        "a deployment of this name is there already, or something is being done to it",
        "wait, or replace it",
        CONTROL,
    ),
    KnownError(
        r"itemDoesAlreadyExist",
        "there is one of this name already",
        "use that one, or give another name",
    ),
    KnownError(
        r"unexpectedEntityState",
        "it is in a state that does not allow this, as a job that has ended cannot be paused",
        "'python -m workbench jobs list' shows the states",
    ),
    KnownError(
        rf"{_status(409)}|{_code('conflict')}",
        "something else is being done to it",
        "wait until that has ended, then run the cell again; nothing is started twice",
    ),
    KnownError(
        rf"{_status(429)}|{_code('tooManyRequests')}",
        "the control plane was asked too often",
        "wait a minute and try again",
        CONTROL,
    ),
    KnownError(
        rf"{_status(429)}|{_code('tooManyRequests')}",
        "the service was asked more often than its quota allows",
        "wait a minute; for answers, give the deployment more capacity (1 is about one request a minute)",
    ),
    KnownError(
        rf"{_status(404)}|SubscriptionNotFound|ResourceGroupNotFound|ResourceNotFound",
        "it is not there",
        "check AZURE_SUBSCRIPTION_ID and AZURE_OPENAI_RESOURCE in .env",
        CONTROL,
    ),
    KnownError(
        rf"{_status(404)}|{_code('notFound')}",
        "files, jobs and models are known only to the resource (and project) in which they were made",
        "check that AZURE_OPENAI_ENDPOINT names that one",
    ),
    KnownError(
        _status(500),
        "Azure answers so to a wrong format of the model",
        f"it is {_FORMATS}",
        CONTROL,
    ),
    KnownError(
        rf"internal ?(server ?)?(error|failure)|unexpected error|status code 500|{_status(500)}",
        "a file of more than {safe} that was uploaded in one piece is accepted, and the job fails late",
        "upload it in parts, or make it smaller; a smaller one: try once more",
    ),
    KnownError(
        rf"serviceUnavailable|{_status(503)}",
        "the service is overloaded, or a part of it does not run",
        "wait some minutes and run the cell again; nothing is started twice",
    ),
    KnownError(
        r"invalidPayload|InvalidRequestContent",
        "a field of the request is not as this version of the API wants it",
        "the message names it; the preflight shows the request",
    ),
)


def known_error(text: str, plane: str = DATA) -> KnownError | None:
    """Recognise a refusal by ``status code: message``, or by its message alone; ``None``: not known."""
    for known in KNOWN_ERRORS:
        if known.plane in (None, plane) and re.search(known.pattern, text, re.IGNORECASE | re.DOTALL):
            return known
    return None


def explanation(text: str, plane: str = DATA, *, training_type: str | None = None) -> str | None:
    """Cause and way out of a refusal, in a sentence without its full stop; ``None``: not known."""
    known = known_error(text, plane)
    safe = in_words(of_provider("azure").max_safe_file_bytes or 0)
    return known and f"{known.cause}: {known.way_out}".format(kind=training_type or "none", safe=safe)


def hint(message: str, *, training_type: str | None = None) -> str | None:
    """What is mostly behind a message about data, jobs or answers; ``None`` where it says all."""
    found = explanation(message, training_type=training_type)
    return found and f"Hint: {found}."


def hinted(message: str) -> str:
    """The message, and the hint behind it where there is one."""
    return " ".join(filter(None, (message, hint(message))))


def without_ids(text: str, *secrets: str | None) -> str:
    """The text of a service in one line, without ``secrets`` and ids of subscriptions, tenants, people."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    text = re.sub(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*", "…", text)  # a token that a service repeats
    text = re.sub(r"/subscriptions/[^/\s'\"?]+", "/subscriptions/…", text, flags=re.IGNORECASE)
    return " ".join(re.sub(r"\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "…", text).split())
