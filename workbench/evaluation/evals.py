"""Evaluate on the service: the same evaluation, asked and graded by its Evals API.

The service asks its model, runs the grader and keeps everything for its portal;
what comes back is an ``Evaluation`` like any other, with the same items. An eval
and a run with the same content are found again, so that nothing is paid twice.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

from workbench.dataset.examples import Dataset
from workbench.errors import DataError, SetupError
from workbench.evaluation.asking.progress import progress_bar
from workbench.evaluation.asking.prompts import AS_TRAINED, Prompt
from workbench.evaluation.evals_body import ID, EvalBody, content_key, eval_body
from workbench.evaluation.evaluate import check_samples, check_scale, item_of, on_scale
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.graders import Grader, check_grader
from workbench.evaluation.items import Sample
from workbench.evaluation.questions import questions
from workbench.project import JSON

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.eval_create_params import DataSourceConfigCustom, TestingCriterion
    from openai.types.evals import (
        CreateEvalCompletionsRunDataSourceParam,
        RunCreateResponse,
        RunListResponse,
        RunRetrieveResponse,
    )
    from openai.types.evals.runs import OutputItemListResponse

    Run = RunCreateResponse | RunListResponse | RunRetrieveResponse

_CONTENT = "workbench_content"  # the metadata by which an eval or a run is found again
_PAGE = 100
_GOING = ("queued", "in_progress")


def evaluate_on_service(
    client: "OpenAI",
    model: str,
    dataset: Dataset,
    grader: Grader,
    *,
    prompt: Prompt = AS_TRAINED,
    samples: int = 1,
    max_tokens: int = 64,
    temperature: float = 0.0,
    cluster: str | None = None,
    poll_seconds: float = 2.0,
) -> Evaluation:
    """Let the service ask ``model`` (on Azure a deployment) every question of ``dataset`` and grade it.

    As ``evaluate``, but for this: the service grades answers as they come, with the white space around them,
    and it does not tell how long an answer took. The items are uploaded (question, answer, reference fields
    and messages, no metadata). Several ``samples`` are a run each, with a seed of its own.

    A run that has ended is not paid again; delete it to have it made anew. ``DataError`` for a grader that
    the API does not have, ``SetupError`` when the service gives a run up.
    """
    check_samples(samples, temperature)
    asked = questions(dataset, cluster)
    check_grader(grader)
    check_scale(grader)
    body = eval_body(dataset, asked, grader, prompt)
    check_grader(grader, body.items)
    seeds: list[int | None] = [None] if samples == 1 else list(range(samples))
    eval_id = _find_or_create_eval(client, body)
    runs = [
        _find_or_start_run(client, eval_id, body, model, _sampling(max_tokens, temperature, seed))
        for seed in seeds
    ]
    answered = [_answers(client, _wait(client, run, len(asked), poll_seconds)) for run in runs]
    nothing = Sample(
        "", math.nan, "", math.nan, 0, 0, "refused", problem="the service returned nothing for it"
    )
    items = (
        item_of(question, [answers.get(question.id, nothing) for answers in answered]) for question in asked
    )
    return Evaluation(model, prompt, json.loads(json.dumps(grader)), tuple(items), max_tokens, temperature)


def _sampling(max_tokens: int, temperature: float, seed: int | None) -> dict[str, JSON]:
    chosen: dict[str, JSON] = {"max_completion_tokens": max_tokens, "temperature": temperature}
    return chosen if seed is None else {**chosen, "seed": seed}


def _find_or_create_eval(client: "OpenAI", body: EvalBody) -> str:
    for known in client.evals.list(limit=_PAGE, order="desc"):
        if (known.metadata or {}).get(_CONTENT) == body.key:
            return known.id
    config = {"type": "custom", "item_schema": body.schema, "include_sample_schema": True}
    created = client.evals.create(
        name=body.name,
        data_source_config=cast("DataSourceConfigCustom", config),
        testing_criteria=[cast("TestingCriterion", body.criterion)],
        metadata={_CONTENT: body.key},
    )
    return created.id


def _find_or_start_run(
    client: "OpenAI", eval_id: str, body: EvalBody, model: str, sampling: Mapping[str, JSON]
) -> "Run":
    import openai

    key = body.run_key(model, sampling)
    found = _find_run(client, eval_id, key)
    if found is not None:
        return found
    source = {
        "type": "completions",
        "model": model,
        "source": {"type": "file_id", "id": _upload(client, body.file)},
        "input_messages": body.input_messages,
        "sampling_params": sampling,
    }
    # No retry by the client: the first try may have arrived although its answer did not.
    once = client.with_options(max_retries=0)
    try:
        return once.evals.runs.create(
            eval_id,
            data_source=cast("CreateEvalCompletionsRunDataSourceParam", source),
            name=f"{model}, {key[:8]}",
            metadata={_CONTENT: key},
        )
    except (openai.APIConnectionError, openai.InternalServerError):
        found = _find_run(client, eval_id, key)
        if found is None:
            raise
        return found


def _find_run(client: "OpenAI", eval_id: str, key: str) -> "Run | None":
    for run in client.evals.runs.list(eval_id, limit=_PAGE, order="desc"):
        if (run.metadata or {}).get(_CONTENT) == key and run.status in (*_GOING, "completed"):
            return run
    return None


def _upload(client: "OpenAI", content: bytes) -> str:
    """Upload the items, unless a file of the same content is there; wait until it can be used."""
    name = f"evals-{content_key(content.decode())[:16]}.jsonl"
    known = (file for file in client.files.list(purpose="evals") if file.filename == name)
    file = next((file for file in known if file.bytes == len(content) and file.status != "error"), None)
    if file is None:
        file = client.files.create(file=(name, content), purpose="evals")
    if file.status != "processed":
        file = client.files.wait_for_processing(file.id, poll_interval=1)
    if file.status != "processed":
        raise DataError(f"The service cannot use the items: {file.status_details or 'it gave no reason'}.")
    return file.id


def _wait(client: "OpenAI", run: "Run", total: int, poll_seconds: float) -> "Run":
    """The run when it has ended; an interrupt leaves it going on at the service."""
    looks = [run]

    def finished() -> Iterator[None]:
        """Once for each item, as the service counts it."""
        told = 0
        while True:
            counts = looks[-1].result_counts
            now = counts.passed + counts.failed + counts.errored if counts else 0
            yield from (None for _ in range(min(now, total) - told))
            told = max(told, min(now, total))
            if looks[-1].status not in _GOING:
                return
            time.sleep(poll_seconds)
            looks.append(client.evals.runs.retrieve(run.id, eval_id=run.eval_id))

    try:
        for _ in progress_bar(finished(), total, f"Run {run.id}"):
            pass
    except KeyboardInterrupt as error:
        error.add_note(
            f"Run {run.id} goes on at the service, and the same call takes it up again; to end it: "
            f"client.evals.runs.cancel({run.id!r}, eval_id={run.eval_id!r})."
        )
        raise
    ended = looks[-1]
    if ended.status != "completed":
        why = ended.error.message if ended.error else "it gave no reason"
        raise SetupError(f"The service ended run {ended.id} as {ended.status}: {why}")
    return ended


def _answers(client: "OpenAI", run: "Run") -> dict[str, Sample]:
    """What came out for each item, by its id."""
    pages = client.evals.runs.output_items.list(run.id, eval_id=run.eval_id, limit=_PAGE)
    found = {}
    for output in pages:
        item = output.datasource_item
        inner = item.get("item", item)  # some services give the whole line back
        if isinstance(inner, Mapping) and ID in inner:
            found[str(inner[ID])] = _sample(output)
    return found


def _sample(output: "OutputItemListResponse") -> Sample:
    """One answer with its score; what the service could not ask or grade is a problem."""
    sample, result = output.sample, next(iter(output.results or ()), None)
    if sample is None or sample.error or not sample.output:
        error = sample.error if sample else None
        told = f": {error.message} ({error.code})" if error else ""
        problem = f"the service got no answer{told}"
        return Sample("", math.nan, "", math.nan, 0, 0, "refused", problem=problem)
    beside = (result.model_extra or {}) if result else {}  # what a service tells beyond the type
    failed = beside.get("error")
    if isinstance(failed, Mapping):
        failed = failed.get("message")
    score = math.nan if result is None or result.score is None else float(result.score)
    score, problem = on_scale(score, f"the service could not grade it: {failed}" if failed else "")
    usage = sample.usage
    return Sample(
        answer=(sample.output[-1].content or "").strip(),
        score=score,
        reason=str(beside.get("reason") or ""),
        seconds=math.nan,
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        finish_reason=sample.finish_reason or "",
        cached_tokens=(usage.cached_tokens or 0) if usage else 0,
        problem=problem,
    )
