"""What is mostly behind a message that misleads; a message that says it all stays alone."""

import pytest

from workbench.training.jobs import hint, hinted


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            "The specified base model does not support fine-tuning",
            "trainingType is not (this request: Standard",
        ),
        (
            "The model does not support fine-tuning with Standard TrainingType",
            "open-weight models are trained with training_type='globalStandard' only",
        ),
        ("api-version 2024-10-21 is not allowed", "the dated API and the v1 API are mixed"),
        ("API version not supported", "the dated API and the v1 API are mixed"),
        ("Validation of jsonl file failed: No valid json line found in file.", "prompt/completion"),
        (
            "The provided training data failed RAI checks for harm types: [violence]. Please fix the data.",
            "data full of personal details",
        ),
        (
            "This model is unable to be deployed. Model evaluation identified that this fine tuned model "
            "scores above acceptable thresholds for [Violence].",
            "take an earlier checkpoint",
        ),
        ("Training file has 7 example(s), but must have at least 10 examples", "50 to 100"),
        ("grader failed: invalid_variable_error", "names a field that some line does not have"),
        (
            "InsufficientQuota: This operation require 120 new capacity in quota Tokens Per Minute "
            "(thousands) - X, which is bigger than the current available capacity 0",
            "capacity (1 is about one request a minute)",
        ),
        ("DeploymentNotReady", "reported as ready before it is"),
        ("DeploymentModelNotSupported: The model 'Format: OpenAI' is not supported.", "its provider"),
        ("Failed to load LoRA", "capacity of 100"),
        ("Error code: 410 - Gone", "the model is retired"),
        ("Internal server error", "more than 150 MB"),
    ],
)
def test_a_message_that_misleads_gets_its_likely_cause(message, cause):
    found = hint(message, training_type="Standard")
    assert found.startswith("Hint: ")
    assert cause in found


@pytest.mark.parametrize(
    "message",
    [
        "The resource is not found.",
        "Line 3 of the training file is no JSON.",
        "The job was cancelled by the user.",
        "Step 410: the loss became nan.",
        "suffix: use 1 to 40 letters",
    ],
)
def test_a_message_that_says_it_all_gets_none(message):
    assert hint(message) is None
    assert hinted(message) == message


def test_a_hint_keeps_the_message():
    assert hinted("DeploymentNotReady").startswith("DeploymentNotReady Hint: the deployment is ")
