"""What a refusal means: every documented message, code and status has its cause and its way out."""

import pytest

from workbench.catalog.service_errors import (
    CONTROL,
    DATA,
    KNOWN_ERRORS,
    explanation,
    hint,
    hinted,
    known_error,
    without_ids,
)

QUOTA = (
    "This operation require 120 new capacity in quota Tokens Per Minute (thousands) - X, which is bigger "
    "than the current available capacity 0."
)
RAI = (
    "The provided training data failed RAI checks for harm types: [violence]. Please fix the data and try "
    "again."
)
UNSAFE = (
    "This model is unable to be deployed. Model evaluation identified that this fine tuned model scores "
    "above acceptable thresholds for [Violence, Self Harm]. Please review your training data set and "
    "resubmit the job."
)

# Each error that Azure's documents or issues give: as it comes, where, the cause, the way out.
TABLE = [
    # messages of jobs and files
    (
        "400 invalid_n_examples: Training file has 7 example(s), but must have at least 10 examples",
        DATA, "so few examples", "50 to 100 begin to show anything",
    ),
    (
        "400 invalidPayload: The specified base model does not support fine-tuning",
        DATA, "trainingType is not (this request: none;", "give the base model with its version",
    ),
    (
        "400 invalidPayload: Qwen3-32B does not support fine-tuning with Standard TrainingType",
        DATA, "training_type='globalStandard' only", "set it",
    ),
    (f"contentFilter: {RAI}", DATA, "data full of personal details", "check(dataset, only=('privacy',))"),
    (
        f"400 unexpectedEntityState: {UNSAFE}",
        CONTROL, "is billed, and did not pass", "an earlier checkpoint",
    ),
    (UNSAFE, DATA, "did not pass the safety evaluation", "add refusals of the named harms"),
    (
        "Validation of jsonl file failed: No valid json line found in file. Each line's json may only",
        DATA, "one of the old prompt/completion models", "check(dataset) names the lines",
    ),
    ("400 BadRequest: api-version 2024-10-21 is not allowed", DATA, "are mixed", "leave OPENAI_API_VERSION"),
    ("404 404: API version not supported", DATA, "the dated API and the v1 API", "OPENAI_API_VERSION"),
    ("410 Gone: The model has been retired.", DATA, "the model is retired", "workbench models"),
    ("410 Gone", CONTROL, "the model is retired", "lists what can be trained today"),
    ("grader failed: invalid_variable_error", DATA, "names a field that some line", "names the lines"),
    # codes
    ("409 conflict: Busy.", DATA, "something else is being done", "nothing is started twice"),
    ("400 invalidPayload: 'n_epochs' is not valid.", DATA, "a field of the request", "the preflight shows"),
    ("403 forbidden: No.", DATA, "the role is missing", "az login"),
    ("404 notFound: The resource is not found.", DATA, "known only to the resource", "AZURE_OPENAI_ENDPOINT"),
    ("400 unexpectedEntityState: Not now.", DATA, "in a state that does not allow", "jobs list"),
    ("409 itemDoesAlreadyExist: There.", DATA, "one of this name already", "give another name"),
    ("503 serviceUnavailable: Later.", DATA, "overloaded", "wait some minutes"),
    ("500 internalFailure: Oh.", DATA, "a file of more than 150 MB", "uploads such a file in parts"),
    (
        "400 quotaExceeded: 20 jobs are queued.",
        DATA, "3 running jobs (5 in the developer", "wait until a job",
    ),
    ("400 quotaExceeded: 10 deployments.", CONTROL, "ten deployments of tuned models", "workbench cleanup"),
    ("400 jsonlValidationFailed: Line 3.", DATA, "another encoding", "check(dataset) names the lines"),
    (
        "400 fileImportFailed: Not readable.",
        DATA, "could not read the file at the address", "upload the file",
    ),
    ("429 tooManyRequests: Slow down.", DATA, "more often than its quota", "wait a minute"),
    ("401 unauthorized: Access denied.", DATA, "not that of this resource", "https://ai.azure.com/.default"),
    ("400 contentFilter: Filtered.", DATA, "the content filter stopped", "look at that row"),
    # deployments and the control plane
    (
        "409 RequestConflict: Another operation is being performed.",
        CONTROL, "of this name is there", "wait, or",
    ),
    ("403 AuthorizationFailed: No.", CONTROL, "you may train but not deploy", "the role Foundry Owner"),
    (
        f"429 InsufficientQuota: {QUOTA}",
        CONTROL, "the quota of this region and SKU", "less capacity (1 is about",
    ),
    (
        f"400 InsufficientQuota: {QUOTA}",
        DATA, "the quota of this region and SKU", "take another SKU or region",
    ),
    ("429 TooManyRequests: No.", CONTROL, "the control plane was asked too often", "wait a minute"),
    (
        "400 DeploymentModelNotSupported: The model 'Format: OpenAI, Name: x, Version: 1, Source: ' of "
        "account deployment is not supported.",
        CONTROL, "the name, the format or the region is wrong", "Mistral AI, Meta or Alibaba",
    ),
    ("500: no message", CONTROL, "a wrong format of the model", "Microsoft, Mistral AI"),
    ("503 DeploymentNotReady: Not yet.", DATA, "reported as ready before it is", "try again in some minutes"),
    ("500 x: Failed to load LoRA", DATA, "reported as ready before it is", "a capacity of 100 or more"),
    ("404 DeploymentNotFound: No such.", DATA, "only through a deployment", "07_deploy makes one"),
    (
        "400 InvalidResourceProperties: The sku is not supported.",
        CONTROL, "cannot be deployed as this SKU", "plan",
    ),
    ("404 SubscriptionNotFound: No such.", CONTROL, "it is not there", "check AZURE_SUBSCRIPTION_ID"),
    # signing in
    (
        "401 ExpiredAuthenticationToken: The access token expiry is earlier.",
        CONTROL, "has run out", "az login",
    ),
    ("401 Unauthorized: The token has expired.", DATA, "has run out or was revoked", "connect again"),
    ("401 AuthenticationFailed: No.", CONTROL, "the control plane takes no key", "az login"),
    (
        "401 PermissionDenied: The principal lacks the required data action",
        DATA, "to train takes the role Foundry User", "sign in again",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("refusal", "plane", "cause", "way_out"), TABLE, ids=[row[0][:40] for row in TABLE])
def test_every_documented_error_has_its_cause_and_its_way_out(refusal, plane, cause, way_out):
    known = known_error(refusal, plane)
    assert cause in explanation(refusal, plane)
    assert way_out in known.way_out
    assert "{" not in explanation(refusal, plane)


def test_no_row_of_the_table_is_without_a_documented_error():
    met = [known_error(refusal, plane) for refusal, plane, _, _ in TABLE]
    assert [known.pattern for known in KNOWN_ERRORS if known not in met] == []


def test_a_hint_names_the_training_type_of_the_request():
    found = hint("The specified base model does not support fine-tuning", training_type="Standard")
    assert found.startswith("Hint: often the model is fine and trainingType is not (this request: Standard;")


@pytest.mark.parametrize(
    "message",
    [
        "The resource is not found.",
        "Line 3 of the training file is no JSON.",
        "The job was cancelled by the user.",
        "Step 410: the loss became nan.",
        "suffix: use 1 to 40 letters",
        "Two rows are in conflict, and access is not forbidden.",
    ],
)
def test_a_message_that_says_it_all_gets_none(message):
    assert hint(message) is None
    assert hinted(message) == message


def test_a_hint_keeps_the_message():
    assert hinted("DeploymentNotReady").startswith("DeploymentNotReady Hint: the deployment is reported as ")


def test_ids_tokens_and_secrets_are_taken_out_of_a_text():
    said = (
        "'/Subscriptions/my-sub/resourceGroups/rg' of 0b1f6471-1bf0-4dda-aec3-cb9272f09590\n with "
        "eyJ0eXA.eyJl.c2ln and the key k3y-of-mine"
    )
    assert without_ids(said, "k3y-of-mine", None) == (
        "'/subscriptions/…/resourceGroups/rg' of … with … and the key …"
    )
