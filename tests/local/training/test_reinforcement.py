"""Reinforcement: its loss by hand in float64, prefix trees, answers and their grades, whole jobs on nano."""

import csv
import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import torch
from job_specs import start
from job_worker import worker_of
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from starlette.testclient import TestClient
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
)

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError, SetupError
from workbench.evaluation.graders.judges import Judged, JudgeError, Reply
from workbench.evaluation.graders.sandbox import SandboxLimits
from workbench.local import process
from workbench.local.api.app import create_app
from workbench.local.models import lora
from workbench.local.models.bases import NANO
from workbench.local.models.model import Base, TokenRow, load_base
from workbench.local.training import packing, reinforcement, run
from workbench.local.training.packing import hidden_states, keeps_apart, pack, pack_tree
from workbench.local.training.reinforcement import (
    GradedTask,
    GroupRow,
    PromptRow,
    Reinforcement,
    StoppedWhileAskingError,
    UngradedError,
    ask_service,
)
from workbench.local.training.run import ADAPTER, RunSettings, TrainingRun
from workbench.training.alerts import alerts
from workbench.training.cost import billed
from workbench.training.diagnosis import diagnose
from workbench.training.example_losses import example_losses
from workbench.training.follow import Progress, follow, kept_checkpoints

KEY = "test-key"
WORDS = ("red", "blue", "green", "pink", "gold", "gray", "teal", "lime", "rose", "navy", "plum", "mint")
RFT = Reinforcement()
HAS_E = {
    "type": "string_check",
    "name": "has an e",
    "operation": "ilike",
    "input": "{{sample.output_text}}",
    "reference": "e",
}
SIZE = {
    "vocab_size": 259, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "initializer_range": 0.2, "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258,
}  # fmt: skip
ARCHITECTURES = {
    "llama": LlamaConfig(**SIZE),
    "mistral": MistralConfig(**SIZE, sliding_window=9),
    "gemma2": Gemma2Config(**SIZE, head_dim=16, sliding_window=9, attn_logit_softcapping=1.0),
    "gpt-oss": GptOssConfig(**SIZE, head_dim=16, sliding_window=9, num_local_experts=4),
}


def prompts(words: tuple[str, ...] = WORDS) -> Dataset:
    rows = (
        Example(({"role": "user", "content": f"say {word}"},), f"prompts.jsonl:{number}", {"word": word})
        for number, word in enumerate(words, 1)
    )
    return Dataset("prompts", tuple(rows))


def python(body: str) -> dict[str, str]:
    return {"type": "python", "name": "mine", "source": f"def grade(sample, item):\n    {body}\n"}


def plan(multiplier: float = 0.5, **changes: object) -> RunSettings:
    settings: dict[str, object] = {
        "n_epochs": 1,
        "batch_size": 4,
        "learning_rate_multiplier": 10.0,
        "seed": 0,
        "eval_interval": 3,
        "eval_samples": 4,
        "more": {"compute_multiplier": multiplier},
    }
    return RunSettings(**(settings | changes))  # type: ignore[arg-type]


def task_of(base: Base, grader: Mapping[str, object] = HAS_E, **settings: object) -> GradedTask:
    longest = settings.pop("max_completion_tokens", 8)
    method = {"type": "reinforcement", "reinforcement": {"grader": grader, **settings}}
    job = {"method": method, "hyperparameters": {"max_completion_tokens": longest}}

    def ask(judged: Judged) -> None:
        raise JudgeError("nobody is there")

    return GradedTask(job, base, ask)  # type: ignore[arg-type]


def run_on(
    base: Base, settings: RunSettings, grader: Mapping[str, object] = HAS_E, **more: object
) -> TrainingRun:
    rows, task = RFT.encode(base, prompts()), task_of(base, grader, **more)
    return TrainingRun(RFT, base, settings, rows, (), task.evaluation(rows[:4]), task)


# The loss

PROMPTS = ((65, 66, 67, 68, 69), (65, 66, 67, 70))
ANSWERS = (((71, 72, 257), (71, 73), (90, 91, 92, 93)), ((71, 72, 257), (80,), (81, 82)))
ADVANTAGES = ((1.2, -0.7, -0.5), (0.3, 1.0, -1.3))


def groups() -> list[GroupRow]:
    return [
        GroupRow(tokens, (False,) * len(tokens), answers=answers, advantages=advantages)
        for tokens, answers, advantages in zip(PROMPTS, ANSWERS, ADVANTAGES, strict=True)
    ]


def said_by(model: PreTrainedModel) -> torch.Tensor:
    """The log-probability of each token of the answers in float64, one answer at a time."""
    found = []
    for prompt, answers in zip(PROMPTS, ANSWERS, strict=True):
        for answer in answers:
            scores = model(torch.tensor([[*prompt, *answer]])).logits[0].double()
            for at, token in enumerate(answer, len(prompt) - 1):
                found.append(scores[at, token] - scores[at].logsumexp(0))
    return torch.stack(found)


def merged(base: Base, folder: Path) -> PreTrainedModel:
    """The model in float64 with the adapter in its weights, whose gradients are kept."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    for name, layer in lora.layers(base.model):
        branch = layer.branches[ADAPTER]
        change = branch.scale * branch.b.detach().double() @ branch.a.detach().double()
        model.get_submodule(name).weight.data += change
    return model


def test_the_loss_and_its_gradients_equal_a_computation_by_hand_in_float64(
    base: Base, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reinforcement, "KL", 0.5)  # so that both parts count
    trained = run_on(base, plan())
    list(trained)
    with torch.no_grad():
        before = said_by(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64))
        lora.use(base.model, None)
        references = RFT.reference(base, groups())
        lora.use(base.model, ADAPTER)
    assert [one for row in references for one in row] == pytest.approx(before.tolist(), abs=1e-4)
    whole = merged(base, folder)
    now = said_by(whole)
    # -A pi/pi_drawn + KL (ref/pi - log(ref/pi) - 1), for 3 + 2 + 4 and 3 + 1 + 2 tokens
    advantages = torch.tensor([1.2] * 3 + [-0.7] * 2 + [-0.5] * 4 + [0.3] * 3 + [1.0] + [-1.3] * 2).double()
    apart = before - now
    distance = apart.exp() - apart - 1
    expected = (-advantages * (now - now.detach()).exp() + 0.5 * distance).sum() / 15
    expected.backward()

    rows = [replace(row, reference=known) for row, known in zip(groups(), references, strict=True)]
    found = RFT.loss(base, rows, plan())
    found.loss.backward()
    assert found.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert found.metrics["kl"] == pytest.approx(distance.mean().item(), abs=1e-5)
    assert found.metrics["kl"] > 1e-3  # it was trained
    assert found.weight == 15
    for name, layer in lora.layers(base.model):
        branch = layer.branches[ADAPTER]
        of_weight = branch.scale * whole.get_submodule(name).weight.grad
        of_a, of_b = branch.b.detach().double().T @ of_weight, of_weight @ branch.a.detach().double().T
        torch.testing.assert_close(branch.a.grad.double(), of_a, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(branch.b.grad.double(), of_b, rtol=1e-3, atol=1e-4)


def test_the_advantage_is_the_reward_beside_its_group_in_standard_deviations(base: Base) -> None:
    run_of = run_on(base, plan(), python("return float(len(sample['output_text']))"), max_completion_tokens=6)
    found = run_of.rollouts.experience(base, run_of.training[:1], plan(), 1)  # type: ignore[union-attr]
    (group,) = found.rows
    assert isinstance(group, GroupRow)
    lengths = [len(base.text([t for t in a if t not in base.stop_tokens]).strip()) for a in group.answers]
    mean = sum(lengths) / 4
    spread = (sum((length - mean) ** 2 for length in lengths) / 3) ** 0.5
    assert spread > 0.4
    expected = [(length - mean) / (spread + 1e-4) for length in lengths]
    assert group.advantages == pytest.approx(expected, abs=1e-9)
    assert found.metrics["train_mean_reward"] == pytest.approx(mean)
    assert found.metrics["train_reward_std"] == pytest.approx(spread)


# The prompt once


@pytest.mark.parametrize("large", [1, 4, 1000])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prefix_tree_says_what_each_text_alone_says(
    architecture: str, large: int, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "LARGE", large)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(ARCHITECTURES[architecture], dtype=torch.float32).eval()
    texts = [(*range(40, 60), *ending) for ending in ((1, 2, 3), (1, 2, 4, 5), (1,), (6, 7), (1, 2, 3))]
    texts += [tuple(range(40, 48)), (90, 91, 92)]
    with torch.no_grad():
        packed = pack_tree(texts, model.device)
        together = hidden_states(model, packed)
        for text, places in zip(texts, packed.places, strict=True):
            alone = hidden_states(model, pack([TokenRow(text, (True,) * len(text))], model.device))
            torch.testing.assert_close(together[list(places)], alone, rtol=1e-4, atol=1e-4)
    assert packed.ids.shape == (1, 20 + 5 + 2 + 3)


def test_a_model_whose_layers_keep_apart_is_still_known(base: Base) -> None:
    assert keeps_apart(base.model)


def test_a_group_is_trained_on_less_than_half_of_the_tokens_that_its_answers_have_alone(base: Base) -> None:
    (row,) = RFT.encode(base, prompts(("red",)))
    answers = tuple((65 + number, 66, 257) for number in range(8))
    group = GroupRow(row.tokens, row.learnt, answers=answers, advantages=(0.0,) * 8)
    assert (len(row.tokens), group.size) == (26, 26 + 8 * 2)
    naive = sum(len(row.tokens) + len(answer) for answer in answers)
    assert naive == 232
    assert group.size <= naive / 2
    read = [(*group.tokens, *answer[:-1]) for answer in answers]
    assert pack_tree(read, base.model.device).ids.numel() == group.size


def test_the_prompt_of_a_group_is_read_once_before_its_answers_are_drawn(base: Base) -> None:
    reads = list[tuple[int, ...]]()
    decoder = base.model.get_decoder()

    def note(module: object, given: object, named: Mapping[str, torch.Tensor]) -> None:
        reads.append(tuple(named["input_ids"].shape))

    run_of = run_on(base, plan(), max_completion_tokens=3)
    hook = decoder.register_forward_pre_hook(note, with_kwargs=True)
    run_of.rollouts.experience(base, run_of.training[:1], plan(1.0), 1)  # type: ignore[union-attr]
    hook.remove()
    assert reads[0] == (1, 26)
    assert [shape[1] for shape in reads[1:]] == [1, 1]
    assert reads[1][0] <= 8


# Answers and grades of a step


def experience(base: Base, grader: Mapping[str, object], **more: object) -> run.Experience:
    run_of = run_on(base, plan(), grader, **more)
    return run_of.rollouts.experience(base, run_of.training[:3], plan(), 1)  # type: ignore[union-attr]


def test_the_same_seed_and_step_draw_the_same_answers_and_another_step_draws_others(base: Base) -> None:
    grader = python("return float(len(sample['output_text']) % 5)")
    run_of = run_on(base, plan(), grader)
    first, again, other = (
        run_of.rollouts.experience(base, run_of.training[:2], plan(), number).rows  # type: ignore[union-attr]
        for number in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("score", ["0", "1"])
def test_a_grader_that_always_says_the_same_teaches_nothing_and_is_counted(base: Base, score: str) -> None:
    run_of = run_on(base, plan(), python(f"return {score}"))
    before = [parameter.clone() for parameter in run_of.parameters]
    steps = list(run_of)
    assert [step.metrics["train_groups_without_spread"] for step in steps] == [4.0, 4.0, 4.0]
    assert [step.metrics["train_mean_reward"] for step in steps] == [float(score)] * 3
    assert steps[0].note == "In no group did the rewards of the answers differ, so this step teaches nothing."
    assert all(map(torch.equal, before, run_of.parameters))
    assert run_of.tokens == 0


def test_answers_without_a_grade_are_left_out_and_counted_with_the_reason(base: Base) -> None:
    found = experience(base, python("return {'red': float(len(sample['output_text']))}[item['word']]"))
    assert len(found.rows) == 1
    assert found.metrics["train_python_grader_runtime_error_count"] == 8.0
    assert found.metrics["mean_unresponsive_rewards"] == pytest.approx(8 / 12)
    assert found.metrics["train_groups_without_spread"] == 2.0
    assert found.note.startswith("The grader gave 8 of 12 answers no score: KeyError: 'blue'")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise ValueError('broken')", "ValueError: broken, line 2 of grader.source"),
        ("return float('nan')", "grade returned nan; it must return a finite number"),
        ("import os; os._exit(1)", "it "),
        ("return open('/etc/passwd').read()", "PermissionError"),
        ("import socket; socket.create_connection(('127.0.0.1', 80))", "PermissionError"),
        ("return None", "grade returned None"),
    ],
)
def test_a_step_without_any_grade_ends_the_run_with_the_reason(base: Base, body: str, why: str) -> None:
    with pytest.raises(UngradedError, match="None of the 12 answers of step 1 could be graded: ") as caught:
        experience(base, python(body))
    assert why in str(caught.value)


def test_a_grader_that_hangs_is_waited_for_three_times_a_step(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "GRADER_LIMITS", SandboxLimits(seconds=0.3))
    with pytest.raises(UngradedError, match=r"could be graded: it ran longer than 0\.3 seconds"):
        experience(base, python("while True: pass"))


def test_a_judge_that_takes_long_over_what_cannot_be_read_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "GRADER_LIMITS", SandboxLimits(seconds=0.01))

    def ask(judged: Judged) -> Reply:
        time.sleep(0.02)
        return Reply("hard to say" if judged.messages[0]["content"].startswith("red") else "Score: 1")

    items = [{"word": word} for word in ("red", "red", *WORDS)]
    grades = run.grade_all(model_grader("score_model", "judge"), [""] * 14, items, ask=ask)
    assert [grade.problem for grade in grades if not grade.graded] == [
        "the judge's reply has no number: 'hard to say'"
    ] * 3
    assert [grade.score for grade in grades if grade.graded] == [1.0] * 11


def test_a_judge_that_does_not_answer_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "GRADER_LIMITS", SandboxLimits(seconds=0.01))
    monkeypatch.setattr(run, "JUDGED_AT_ONCE", 1)

    def ask(judged: Judged) -> Reply:
        time.sleep(0.02)
        raise JudgeError("nobody is there")

    items = [{"word": word} for word in WORDS]
    grades = run.grade_all(model_grader("score_model", "judge"), [""] * 12, items, ask=ask, patience=2)
    problems = [grade.problem for grade in grades]
    assert problems == ["nobody is there"] * 2 + ["it was not asked again, as it hangs"] * 10


def test_a_long_prompt_does_not_shorten_the_answers_to_others(base: Base) -> None:
    run_of = run_on(base, plan(), max_completion_tokens=20)
    short = run_of.training[0]
    tokens = (*short.tokens[:1], *[65] * (base.context - 4), *short.tokens[-1:])
    long = replace(short, tokens=tokens, learnt=(False,) * len(tokens))
    found = run_of.rollouts.experience(base, [short, long], plan(0.25), 1)  # type: ignore[union-attr]
    # 2 answers of at most 20 tokens, and 2 of the 2 that are left of what the model reads
    assert found.metrics["completion_tokens_mean"] > 3
    assert found.metrics["train_clipped_ratio"] >= 0.5


def test_answers_keep_to_the_response_format_and_graders_read_their_fields(base: Base) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["n"],
        "additionalProperties": False,
    }
    wrapped = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    grader = python("return sample['output_json']['n'] / 9")
    found = experience(base, grader, response_format=wrapped, max_completion_tokens=30)
    assert found.metrics["mean_unresponsive_rewards"] == 0.0
    assert found.metrics["train_reward_std"] > 0.05
    texts = {base.text(list(answer)) for row in found.rows for answer in row.answers}  # type: ignore[attr-defined]
    assert texts <= {f'{{"n":{digit}}}' for digit in range(10)}


def test_an_item_is_all_of_its_line_but_the_prompt(base: Base) -> None:
    (row,) = RFT.encode(base, prompts(("red",)))
    assert isinstance(row, PromptRow)
    assert row.item == {"word": "red"}
    assert not RFT.has_loss(row)
    with pytest.raises(
        DataError, match=r"prompts\.jsonl:1: \d+ tokens, but the model reads at most 8192, its"
    ):
        RFT.encode(base, prompts(("x" * 8192,)))


# Training


def test_the_reward_rises(base: Base) -> None:
    settings = plan(1.0, n_epochs=6, learning_rate_multiplier=20.0)
    steps = list(run_on(base, settings, max_completion_tokens=24))
    rewards = [step.metrics["train_mean_reward"] for step in steps]
    assert sum(rewards[:3]) / 3 < 0.4
    assert sum(rewards[-3:]) / 3 > 0.7
    assert steps[-1].metrics["full_valid_mean_reward"] > 0.7
    assert steps[-1].metrics["completion_tokens_mean"] > 16


def test_a_resumed_run_repeats_the_uninterrupted_one_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    def fresh() -> TrainingRun:
        base = load_base("nano", folder, dtype=torch.float32)
        return run_on(base, plan(n_epochs=3), python("return float(len(sample['output_text']) % 5)"))

    uninterrupted = fresh()
    whole = [step.metrics for step in uninterrupted]
    first, half = fresh(), []
    for step in first:
        half.append(step.metrics)
        if step.number == 4:
            first.save(tmp_path / "state.pt")
            break
    second = fresh()
    second.restore(tmp_path / "state.pt")
    assert half + [step.metrics for step in second] == whole
    assert all(map(torch.equal, second.parameters, uninterrupted.parameters))
    assert second.tokens == uninterrupted.tokens
    assert second.seconds > first.seconds
    assert len({metrics["train_mean_reward"] for metrics in whole}) > 3


# Judges


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Callable[[int, object], list[dict[str, object]]]]:
    """A service that replies as it is told, and what it was asked."""
    asked: list[dict[str, object]] = []
    replies: list[tuple[int, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            headers = {"key": self.headers["api-key"], "place": self.path}
            asked.append({**headers, **json.loads(self.rfile.read(length))})
            status, reply = replies[min(len(asked), len(replies)) - 1]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    record = process.Record(url, server.server_port, os.getpid(), psutil.Process().create_time(), KEY, "1")
    process.write_record(tmp_path, record)

    def reply(status: int, answer: object) -> list[dict[str, object]]:
        replies.append((status, answer))
        return asked

    yield reply
    server.shutdown()
    thread.join()
    server.server_close()


JUDGED = Judged("nano", ({"role": "user", "content": "Good?"},), {"max_completions_tokens": 5})
SAID = {
    "choices": [{"message": {"content": "Score: 1"}, "finish_reason": "stop"}],
    "usage": {"total_tokens": 9},
}


def test_a_judge_is_asked_at_the_service_with_its_key(
    tmp_path: Path, judge: Callable[..., list[dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reinforcement, "PAUSE", 0.01)
    judge(429, {"error": {"message": "busy"}})
    asked = judge(200, SAID)
    reply = ask_service(tmp_path, 7, lambda: False)(JUDGED)
    assert (reply.text, reply.tokens, reply.refused) == ("Score: 1", 9, False)
    assert asked[1] == {
        "key": KEY,
        "place": "/openai/v1/chat/completions",
        "seed": 7,
        "max_completion_tokens": 5,
        "messages": [{"role": "user", "content": "Good?"}],
        "model": "nano",
    }
    assert len(asked) == 2


def test_of_several_replies_of_a_judge_the_first_counts(
    tmp_path: Path, judge: Callable[..., list[dict[str, object]]]
) -> None:
    other = {"message": {"content": "Score: 0"}, "finish_reason": "stop"}
    judge(200, SAID | {"choices": [*SAID["choices"], other]})  # type: ignore[misc]
    assert ask_service(tmp_path, 0, lambda: False)(JUDGED).text == "Score: 1"


def test_a_judge_that_refuses_or_is_not_there_is_a_problem_of_the_answer(
    tmp_path: Path, judge: Callable[..., list[dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(404, {"error": {"message": "no such model"}})
    with pytest.raises(JudgeError, match="nano gave no answer: no such model"):
        ask_service(tmp_path, 0, lambda: False)(JUDGED)
    monkeypatch.setattr(reinforcement, "SERVICE_SECONDS", 0.05)
    monkeypatch.setattr(reinforcement, "PAUSE", 0.01)
    with pytest.raises(JudgeError, match="the service did not answer"):
        ask_service(tmp_path / "elsewhere", 0, lambda: False)(JUDGED)
    with pytest.raises(StoppedWhileAskingError):
        ask_service(tmp_path, 0, lambda: True)(JUDGED)


# Whole jobs


@pytest.fixture(scope="module")
def client(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    app = create_app(tmp_path_factory.mktemp("home"), KEY, models=models)
    with TestClient(app) as http:
        yield OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key=KEY, http_client=http, max_retries=0)


def job_on(client: OpenAI, grader: Mapping[str, object] = HAS_E, **settings: object) -> FineTuningJob:
    usual: dict[str, object] = {
        "model": NANO,
        "n_epochs": 2,
        "batch_size": 3,
        "learning_rate_multiplier": 10.0,
        "compute_multiplier": 0.5,
        "max_completion_tokens": 12,
        "eval_interval": 2,
        "eval_samples": 5,
    }
    return start(
        client,
        prompts(),
        validation=prompts(WORDS[:10]),
        method="reinforcement",
        grader=grader,
        **(usual | settings),
    )


def ended(client: OpenAI, job_id: str) -> Progress:
    *_, last = follow(client, job_id, poll_seconds=0.05)
    return last


@pytest.fixture(scope="module")
def paused(client: OpenAI) -> Progress:
    """A job of 8 steps that was paused on the way, resumed, and ran to its end."""
    job = job_on(client, suffix="paused")
    next(now for now in follow(client, job, poll_seconds=0.02) if now.curve.steps >= 2 or now.ended)
    client.fine_tuning.jobs.pause(job.id)
    looks = (now.job.status for now in follow(client, job, poll_seconds=0.02))
    assert next(status for status in looks if status not in ("running", "pausing")) == "paused"
    client.fine_tuning.jobs.resume(job.id)
    return ended(client, job.id)


def test_a_job_writes_the_columns_and_events_of_the_service(client: OpenAI, paused: Progress) -> None:
    assert paused.job.status == "succeeded", paused.job.error
    table = list(csv.reader(io.StringIO(client.files.content(paused.job.result_files[0]).text)))
    assert table[0][:6] == [
        "step", "train_mean_reward", "full_valid_mean_reward", "completion_tokens_mean",
        "reasoning_tokens_mean", "mean_unresponsive_rewards",
    ]  # fmt: skip
    assert "train_sample_parse_error_count" in table[0]
    assert table[0][-4:] == [
        "train_reward_std", "train_groups_without_spread", "train_kl", "train_clipped_ratio",
    ]  # fmt: skip
    assert [row[0] for row in table[1:]] == [str(step) for step in range(1, 9)]
    assert [row[0] for row in table[1:] if row[2]] == ["1", "2", "4", "6", "8"]
    said = [event.message for event in paused.events]
    first = next(message for message in said if message.startswith("Step 1: "))
    assert first == f"Step 1: train mean reward={table[1][1]}, full validation mean reward={table[1][2]}"
    assert sum(message.startswith("Step ") for message in said) == 8
    assert said[-1].startswith("Training hours billed: 0.00")
    assert paused.curve.method == "rft"
    assert diagnose(paused.curve).verdict != "diverged"
    assert paused.job.trained_tokens


def test_what_the_service_chose_is_told_with_the_job(client: OpenAI) -> None:
    chosen = {"max_completion_tokens": None, "eval_samples": None, "compute_multiplier": None, "n_epochs": 1}
    done = ended(client, job_on(client, **chosen, eval_interval=100).id).job
    resolved = done.method.reinforcement.hyperparameters.to_dict()
    assert (resolved["max_completion_tokens"], resolved["eval_samples"], resolved["compute_multiplier"]) == (
        32,
        10,
        1.0,
    )
    assert (resolved["n_epochs"], resolved["eval_interval"]) == (1, 100)


def test_a_paused_and_resumed_job_has_the_curve_of_one_that_ran_through(
    client: OpenAI, paused: Progress
) -> None:
    through = ended(
        client,
        client.fine_tuning.jobs.create(
            model=NANO,
            training_file=str(paused.job.training_file),
            validation_file=paused.job.validation_file,
            seed=0,
            method=paused.job.to_dict()["method"],  # type: ignore[arg-type]
        ).id,
    )
    assert through.curve.frame.equals(paused.curve.frame)
    assert through.job.trained_tokens == paused.job.trained_tokens


def test_the_checkpoints_with_the_best_validation_rewards_stay(client: OpenAI, paused: Progress) -> None:
    kept = kept_checkpoints(client, paused.job)
    rewards = paused.curve.measured("full_valid_mean_reward")
    best = sorted(rewards.index, key=lambda step: (rewards[step], step))[-3:]
    assert kept.steps[0] == 8
    assert set(best) | {8} <= set(kept.steps)
    assert {step for step in kept.steps if step in rewards.index} == set(best) | {8}
    asked = client.chat.completions.create(
        model=kept.models[-1], messages=[{"role": "user", "content": "say red"}], max_tokens=3
    )
    assert asked.choices[0].finish_reason in ("stop", "length")


def test_a_job_on_a_tuned_model_is_compared_with_that_model(client: OpenAI, paused: Progress) -> None:
    stacked = ended(client, job_on(client, model=str(paused.job.fine_tuned_model), suffix="again").id)
    assert stacked.job.status == "succeeded", stacked.job.error
    distances = stacked.curve.measured("train_kl")
    assert distances.iloc[0] == pytest.approx(0, abs=1e-6)
    assert distances.iloc[-1] > 1e-4


def test_the_file_of_example_losses_can_be_read(client: OpenAI, paused: Progress) -> None:
    losses = example_losses(client, paused.job, prompts())
    rewards = [each.rewards for each in losses.examples]
    assert [len(visits) for visits in rewards] == [2] * 12
    mean = sum(sum(visits) for visits in rewards) / 24
    assert mean == pytest.approx(paused.curve.frame["train_mean_reward"].mean())
    assert losses.sentence.startswith("12 training prompts: the answers to ")
    assert "mean reward at each visit" in losses._repr_html_()
    assert (losses.never_learnt, losses.suspicious()) == ((), ())
    assert "say red" in repr(losses)
    assert losses.first_batch[0].pieces


def test_the_views_of_a_job_show_rewards(paused: Progress) -> None:
    facts = paused.result.facts
    assert facts["held-out reward"] == f"{paused.curve.final['full_valid_mean_reward']:.3g}"
    assert "held-out answers right" not in facts
    assert [alert.kind for alert in alerts([paused])][-1] == "done"
    assert billed(paused.job, paused.events, service="local") == 0.0
    assert "reward" in repr(paused.curve)


def test_a_grader_that_fails_at_every_answer_fails_the_job_with_its_reason(client: OpenAI) -> None:
    failed = ended(client, job_on(client, python("raise ValueError('broken')")).id).job
    assert failed.status == "failed"
    assert str(failed.error and failed.error.message).startswith(
        "None of the 12 answers of step 1 could be graded: ValueError: broken, line 2 of grader.source."
    )


def test_a_row_without_a_field_that_the_grader_reads_is_refused_before_anything_is_trained(
    client: OpenAI,
) -> None:
    grader = HAS_E | {"reference": "{{item.word}}"}
    lacking = Dataset(
        "prompts", (*prompts().examples[:11], Example(prompts()[0].messages, "prompts.jsonl:12"))
    )
    with pytest.raises(
        SetupError, match=r"prompts\.jsonl:12: the grader reads \{\{item.word\}\}, and there is no"
    ):
        start(client, lacking, model=NANO, validation=prompts(), method="reinforcement", grader=grader)
    files = [
        client.files.create(file=("t.jsonl", data.to_jsonl()), purpose="fine-tune").id
        for data in (lacking, prompts())
    ]
    method = {"type": "reinforcement", "reinforcement": {"grader": grader}}
    job = client.fine_tuning.jobs.create(
        model=NANO,
        training_file=files[0],
        validation_file=files[1],
        method=method,  # type: ignore[arg-type]
    )
    failed = ended(client, job.id)
    assert (failed.job.status, failed.curve.steps) == ("failed", 0)
    assert str(failed.job.error and failed.job.error.message).startswith("t.jsonl:12")


def test_a_job_that_has_learnt_nothing_says_so(client: OpenAI) -> None:
    done = ended(client, job_on(client, python("return 1"), n_epochs=1).id)
    assert done.job.status == "succeeded"
    said = [event for event in done.events if event.message.endswith("the model has learnt nothing.")]
    assert [event.level for event in said] == ["warn"] or [event.level for event in said] == ["warning"]
    assert done.job.trained_tokens == 0
    assert diagnose(done.curve).verdict in ("no_signal", "insufficient_data")


def test_too_few_prompts_for_validation_fail_the_job(client: OpenAI) -> None:
    files = [
        client.files.create(file=("t.jsonl", data.to_jsonl()), purpose="fine-tune").id
        for data in (prompts(), prompts(WORDS[:9]))
    ]
    method = {"type": "reinforcement", "reinforcement": {"grader": HAS_E}}
    job = client.fine_tuning.jobs.create(
        model=NANO,
        training_file=files[0],
        validation_file=files[1],
        method=method,  # type: ignore[arg-type]
    )
    failed = ended(client, job.id).job
    assert str(failed.error and failed.error.message) == (
        "Validation file has 9 example(s), but must have at least 10 examples"
    )


# Every type of grader, at a service of its own


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, OpenAI]]:
    """A service in a process of its own, whose models its jobs can ask."""
    home = tmp_path_factory.mktemp("service")
    before = os.environ.get("WORKBENCH_MODELS")
    os.environ["WORKBENCH_MODELS"] = str(models)
    try:
        address = process.start(home)
        yield home, OpenAI(base_url=f"{address.url}/openai/v1/", api_key=address.key)
    finally:
        process.stop(home)
        os.environ.pop("WORKBENCH_MODELS")
        if before is not None:
            os.environ["WORKBENCH_MODELS"] = before


@pytest.fixture(scope="module")
def judging_model(service: tuple[Path, OpenAI]) -> str:
    """A model that has learnt to end every reply with the same score and the same label."""
    asked = "{}\n\nEnd your reply with a line {}"
    forms = (
        '"Score: N", where N is a number from 0 to 1.',
        '"Label: X", where X is one of: good, bad.',
    )
    rows = (
        Example(
            (
                {"role": "user", "content": asked.format(word, form)},
                {"role": "assistant", "content": "Score: 1\nLabel: good"},
            ),
            f"{word}",
        )
        for word in WORDS
        for form in forms
    )
    _, client = service
    job = start(
        client, Dataset("judge", tuple(rows)), model=NANO, n_epochs=20, batch_size=4,
        learning_rate_multiplier=2.0,
    )  # fmt: skip
    done = ended(client, job.id).job
    assert done.status == "succeeded", done.error
    return str(done.fine_tuned_model)


def model_grader(kind: str, model: str) -> dict[str, object]:
    own = {"labels": ["good", "bad"], "passing_labels": ["good"]} if kind == "label_model" else {}
    return {
        "type": kind,
        "name": kind,
        "model": model,
        "input": [{"role": "user", "content": "{{item.word}}"}],
        "sampling_params": {"temperature": 0, "max_completions_tokens": 24},
        **own,
    }


FUZZY = {
    "type": "text_similarity",
    "name": "fuzzy",
    "input": "{{sample.output_text}}",
    "reference": "{{item.word}}",
    "evaluation_metric": "fuzzy_match",
}
LENGTH = python("return len(sample['output_text']) / 100")


@pytest.mark.parametrize("kind", ["score_model", "label_model", "text_similarity", "python", "multi"])
def test_a_job_learns_from_every_type_of_grader(
    kind: str, service: tuple[Path, OpenAI], judging_model: str
) -> None:
    graders: dict[str, Mapping[str, object]] = {
        "score_model": model_grader("score_model", judging_model),
        "label_model": model_grader("label_model", judging_model),
        "text_similarity": FUZZY,
        "python": LENGTH,
        "multi": {
            "type": "multi",
            "name": "all",
            "graders": {
                "judge": model_grader("score_model", judging_model),
                "fuzzy": FUZZY,
                "length": LENGTH,
                "word": HAS_E,
            },
            "calculate_output": "judge * (fuzzy + length + word) / 3",
        },
    }
    job = job_on(service[1], graders[kind], n_epochs=1, batch_size=6, compute_multiplier=0.25, eval_samples=2)
    done = ended(service[1], job.id)
    assert done.job.status == "succeeded", done.job.error
    assert done.curve.final["mean_unresponsive_rewards"] == 0.0
    rewards = done.curve.measured("train_mean_reward")
    assert len(rewards) == 2
    if kind in ("score_model", "label_model"):
        assert rewards.tolist() == [1.0, 1.0]
        assert done.curve.final["train_groups_without_spread"] == 6.0
    else:
        assert all(0 < reward < 1 for reward in rewards)
        assert done.curve.final["train_reward_std"] > 0


def test_a_killed_worker_and_a_killed_service_change_nothing(
    service: tuple[Path, OpenAI], judging_model: str
) -> None:
    home, client = service
    grader = {
        "type": "multi",
        "name": "both",
        "graders": {"judge": model_grader("score_model", judging_model), "length": LENGTH},
        "calculate_output": "judge * length",
    }
    job = job_on(client, grader, n_epochs=4, seed=3)

    def reached(step: int) -> None:
        next(now for now in follow(client, job.id, poll_seconds=0.02) if now.curve.steps >= step or now.ended)

    reached(3)
    address = process.find(home)
    assert address is not None
    os.kill(worker_of(address.pid, home, job.id), signal.SIGKILL)
    reached(6)
    os.kill(address.pid, signal.SIGKILL)
    psutil.Process(address.pid).wait(10)
    again = process.start(home)
    assert (again.url, again.key) == (address.url, address.key)
    killed = ended(client, job.id)
    assert killed.job.status == "succeeded", killed.job.error
    assert list(killed.curve.frame.index) == list(range(1, 17))
    asked: dict[str, dict[str, object]] = client.get(f"/fine_tuning/jobs/{job.id}", cast_to=object)  # type: ignore[assignment]
    untouched = client.fine_tuning.jobs.create(
        model=NANO,
        training_file=str(job.training_file),
        validation_file=job.validation_file,
        seed=3,
        method=asked["method"],  # type: ignore[arg-type]
    )
    assert ended(client, untouched.id).curve.frame.equals(killed.curve.frame)
