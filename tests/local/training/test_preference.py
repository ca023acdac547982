"""Direct preference optimisation against computations by hand in float64 and against TRL, on nano."""

import math
from collections.abc import Callable
from itertools import compress
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.local.models import lora
from workbench.local.models.model import Base, TokenRow, encode_prompt, load_base
from workbench.local.training.preference import Preference
from workbench.local.training.run import ADAPTER, RunSettings, TrainingRun, TrainingStep, resolve
from workbench.local.training.supervised import Supervised, learnt_loss
from workbench.training.curve import Curve
from workbench.training.reward_rules import likelihood_displacement

WORDS = ("red", "blue", "green", "pink", "gold", "gray", "teal", "lime", "rose", "navy", "plum", "mint")
HELD_OUT = ("cyan", "jade", "sand", "ruby")
DPO = Preference()
LN2 = 0.6931471805599453
Change = Callable[[str], str]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def pairs(words: tuple[str, ...], preferred: Change = str.upper, rejected: Change = str.lower) -> Dataset:
    """Questions ``say red``, and what two functions make of the word."""
    examples = (
        Example(
            ({"role": "user", "content": f"say {word}"},),
            f"pairs.jsonl:{number}",
            {"preferred_output": said(preferred(word)), "non_preferred_output": said(rejected(word))},
        )
        for number, word in enumerate(words, 1)
    )
    return Dataset("pairs", tuple(examples))


def plan(beta: float = 0.1, l2: float = 0.0, likelihood: float = 0.0, **changes: object) -> RunSettings:
    settings: dict[str, object] = {
        "n_epochs": 2,
        "batch_size": 4,
        "learning_rate_multiplier": 1.0,
        "seed": 0,
        "eval_interval": 3,
        "eval_samples": 0,
        "more": {"beta": beta, "l2_multiplier": l2, "chosen_likelihood": likelihood},
    }
    return RunSettings(**(settings | changes))  # type: ignore[arg-type]


def run_on(base: Base, data: Dataset, settings: RunSettings, held_out: Dataset | None = None) -> TrainingRun:
    validation = DPO.encode(base, held_out) if held_out else []
    return TrainingRun(DPO, base, settings, DPO.encode(base, data), validation)


def tuned(base: Base, adapter: Path) -> None:
    """Teach the model to answer with the word and ``!`` or ``?``, and keep that as an adapter."""
    rows = (
        Example(({"role": "user", "content": f"say {word}"}, *said(word + end)), f"{word}{end}")
        for word in WORDS
        for end in "!?"
    )
    data = Supervised().encode(base, Dataset("words", tuple(rows)))
    list(TrainingRun(Supervised(), base, plan(n_epochs=40, learning_rate_multiplier=3.0), data))
    lora.save_adapter(base.model, ADAPTER, adapter, base_model="nano")


# The loss


def by_hand(model: PreTrainedModel, base: Base, question: str, answer: str) -> float:
    """The log-probability of an answer and the end of its turn in float64, one conversation at a time."""
    prompt = encode_prompt(base.tokenizer, [{"role": "user", "content": question}])
    answered = [*prompt, *base.tokenizer(f"{answer}<|im_end|>", add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        scores = model(torch.tensor([answered])).logits[0].double()
    return sum(
        float(scores[at - 1, answered[at]] - torch.logsumexp(scores[at - 1], -1))
        for at in range(len(prompt), len(answered))
    )


def merged(base: Base, folder: Path) -> PreTrainedModel:
    """The base model in float64 with the adapter added to its weights."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    for name, layer in lora.layers(base.model):
        branch = layer.branches[ADAPTER]
        change = branch.scale * branch.b.detach().double() @ branch.a.detach().double()
        model.get_submodule(name).weight.data += change
    return model


@pytest.mark.parametrize(("rows", "epochs"), [(128, 1), (300, 1), (64, 2), (12, 6)])
def test_unless_asked_for_more_16_steps_are_made_or_one_epoch(rows: int, epochs: int) -> None:
    job = {"method": {"type": "dpo", "dpo": {}}, "hyperparameters": {"n_epochs": -1}, "seed": 0}
    plan = resolve(job, rows, 0, auto_steps=Preference.auto_steps)  # type: ignore[arg-type]
    assert plan.n_epochs == epochs


def test_the_loss_and_all_columns_equal_a_computation_by_hand_in_float64(base: Base, folder: Path) -> None:
    run = run_on(base, pairs(WORDS), plan(learning_rate_multiplier=10.0))
    list(run)
    before = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    after = merged(base, folder)
    chosen, rejected, first, second = [], [], [], []
    for word in WORDS[:3]:
        question, answers = f"say {word}", (word.upper(), word)
        ours, theirs = (by_hand(after, base, question, answer) for answer in answers)
        known, other = (by_hand(before, base, question, answer) for answer in answers)
        chosen.append(0.3 * (ours - known))
        rejected.append(0.3 * (theirs - other))
        first.append(ours)
        second.append(theirs)
    margins = [good - bad for good, bad in zip(chosen, rejected, strict=True)]
    losses = [math.log1p(math.exp(-margin)) for margin in margins]

    found = DPO.loss(base, run.training[:3], plan(beta=0.3))
    assert found.loss.item() == pytest.approx(sum(losses) / 3, abs=1e-5)
    assert found.of_rows == pytest.approx(losses, abs=1e-5)
    assert found.weight == 3
    means = [sum(values) / 3 for values in (chosen, rejected, margins, first, second)]
    names = ("rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected")
    assert [found.metrics[name] for name in names] == pytest.approx(means, abs=1e-3)
    assert found.metrics["rewards/accuracies"] == 1.0
    assert margins[0] > 0.3  # it was trained, so that none of these is 0


@pytest.mark.filterwarnings("ignore")  # TRL's and accelerate's own deprecations
def test_the_loss_and_its_gradients_equal_trl(base: Base, folder: Path, tmp_path: Path) -> None:
    from datasets import Dataset as Rows
    from peft import PeftModel
    from trl import DPOConfig, DPOTrainer

    run = run_on(base, pairs(WORDS[:4]), plan())
    list(run)
    lora.save_adapter(base.model, ADAPTER, tmp_path / "adapter", base_model="nano")
    texts = [
        base.tokenizer.decode(encode_prompt(base.tokenizer, [{"role": "user", "content": f"say {word}"}]))
        for word in WORDS[:4]
    ]
    data = [
        {"prompt": text, "chosen": f"{word.upper()}<|im_end|>", "rejected": f"{word}<|im_end|>"}
        for text, word in zip(texts, WORDS, strict=False)
    ]
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    trainer = DPOTrainer(
        model=PeftModel.from_pretrained(plain, tmp_path / "adapter", is_trainable=True),
        ref_model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        args=DPOConfig(
            output_dir=str(tmp_path), per_device_train_batch_size=4, use_cpu=True, bf16=False, report_to=[],
            beta=0.1,
        ),
        train_dataset=Rows.from_list(data),
        processing_class=base.tokenizer,
    )  # fmt: skip
    trainer.model.train(False)
    theirs = trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader())))
    theirs.backward()
    ours = DPO.loss(base, run.training, plan())
    ours.loss.backward()
    torch.testing.assert_close(ours.loss, theirs, rtol=1e-4, atol=1e-5)
    parameters = dict(trainer.model.named_parameters())
    for name, layer in lora.layers(base.model):
        branch = layer.branches[ADAPTER]
        for factor, gradient in (("A", branch.a.grad), ("B", branch.b.grad)):
            other = parameters[f"base_model.model.{name}.lora_{factor}.default.weight"].grad
            torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-5)


def test_the_first_gradient_makes_the_preferred_answer_likelier_and_the_other_less_so(base: Base) -> None:
    run = run_on(base, pairs(WORDS[:1]), plan())
    list(run.measure_reference())
    (pair,) = run.training

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, run.parameters)])

    def downhill(row: TokenRow) -> torch.Tensor:
        return gradient(learnt_loss(base, [row]).loss) * sum(row.learnt)

    # At the start sigmoid(-margin) is a half: minus beta / 2 of the one answer, plus beta / 2 of the other.
    expected = 0.05 * (downhill(pair) - downhill(pair.rejected))  # type: ignore[attr-defined]
    torch.testing.assert_close(gradient(DPO.loss(base, [pair], plan()).loss), expected)


def test_the_likelihood_of_the_preferred_answers_counts_as_much_as_was_asked(base: Base) -> None:
    run = run_on(base, pairs(WORDS[:2]), plan())
    list(run.measure_reference())
    alone = learnt_loss(base, run.training).loss.item()
    found = DPO.loss(base, run.training, plan(likelihood=0.5))
    assert found.loss.item() == pytest.approx(LN2 + 0.5 * alone, abs=1e-5)
    assert found.of_rows == pytest.approx([LN2, LN2], abs=1e-5)


def test_l2_multiplier_is_the_weight_decay_of_the_adapter(base: Base, folder: Path) -> None:
    (first, *_) = run_on(base, pairs(WORDS[:4]), plan(n_epochs=1)).parameters
    start = first.detach().clone()
    norms = []
    for l2 in (0.0, 1.0):
        fresh = load_base("nano", folder, dtype=torch.float32)
        run = run_on(fresh, pairs(WORDS[:4]), plan(n_epochs=1, l2=l2))
        list(run)
        norms.append(run.parameters[0].detach())
    # One step at the full rate: AdamW takes rate * l2 of each weight besides what the gradient asks for.
    torch.testing.assert_close(norms[1] - norms[0], -5e-4 * start, rtol=1e-2, atol=1e-8)


# The rows


def test_only_the_answers_of_a_pair_are_learnt_and_its_prompt_counts_once(base: Base) -> None:
    messages = (
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "before"},
        {"role": "user", "content": "b"},
    )
    more = {
        "preferred_output": [{"role": "assistant", "content": "good", "weight": 0}],
        "non_preferred_output": said("bad"),
    }
    (row,) = DPO.encode(base, Dataset("x", (Example(messages, "x:1", more),)))
    sides = (row, row.rejected)  # type: ignore[attr-defined]
    texts = [base.tokenizer.decode(list(compress(side.tokens, side.learnt))) for side in sides]
    assert texts == ["good<|im_end|>", "bad<|im_end|>"]
    assert row.size == len(row.tokens) + 4


def test_a_pair_longer_than_the_context_is_named_by_its_line(base: Base) -> None:
    data = pairs((*WORDS, "x" * base.context))
    with pytest.raises(DataError, match=r"pairs\.jsonl:13: \d+ tokens, but the model reads at most"):
        DPO.encode(base, data)


def test_no_pairs_are_no_rows(base: Base) -> None:
    assert DPO.encode(base, Dataset("none", ())) == []


# Training


def test_a_preference_is_learnt_and_holds_for_words_that_were_not_trained_on(base: Base) -> None:
    settings = plan(n_epochs=10, learning_rate_multiplier=4.0)
    first, *_, last = run_on(base, pairs(WORDS), settings, pairs(HELD_OUT))
    assert first.metrics["train_loss"] == pytest.approx(LN2, abs=1e-6)
    assert first.metrics["train_rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert last.metrics["full_valid_loss"] < 0.6
    assert last.metrics["full_valid_rewards/margins"] > 0.2
    assert last.metrics["full_valid_rewards/accuracies"] == 1.0


def test_the_reference_of_a_tuned_model_is_that_model(base: Base, folder: Path, tmp_path: Path) -> None:
    tuned(base, tmp_path)
    again = load_base("nano", folder, dtype=torch.float32)
    run = run_on(again, pairs(WORDS), plan(n_epochs=1))
    lora.copy_adapter(again.model, ADAPTER, tmp_path)
    first, *_ = run
    assert first.metrics["train_loss"] == pytest.approx(LN2, abs=1e-5)
    assert run.training[0].reference == pytest.approx(
        tuple(by_hand(merged(base, folder), base, "say red", answer) for answer in ("RED", "red")), abs=1e-2
    )


def test_a_resumed_run_repeats_the_uninterrupted_one_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    def fresh() -> TrainingRun:
        base = load_base("nano", folder, dtype=torch.float32)
        return run_on(base, pairs(WORDS), plan(n_epochs=4, l2=0.1, likelihood=0.2), pairs(HELD_OUT))

    uninterrupted = fresh()
    whole = [step.metrics for step in uninterrupted]
    first, half = fresh(), []
    for step in first:
        half.append(step.metrics)
        if step.number == 5:
            first.save(tmp_path / "state.pt")
            break
    second = fresh()
    second.restore(tmp_path / "state.pt")
    assert list(second.measure_reference()) == []  # measured once, and kept
    assert half + [step.metrics for step in second] == whole
    assert second.trace.visits == uninterrupted.trace.visits
    assert all(map(torch.equal, second.parameters, uninterrupted.parameters))


# Likelihood displacement, in real runs


def curve_of(steps: list[TrainingStep]) -> Curve:
    rows = [
        {name.removeprefix("train_"): value for name, value in step.metrics.items()} | {"step": step.number}
        for step in steps
    ]
    return Curve(pd.DataFrame(rows).set_index("step").rename(columns={"loss": "train_loss"}))


def test_the_alarm_is_raised_where_the_preferred_answers_fall_with_the_rejected_ones(
    base: Base, folder: Path, tmp_path: Path
) -> None:
    tuned(base, tmp_path)
    data = pairs(WORDS, lambda word: f"{word}!", lambda word: f"{word}?")
    found = []
    for multiplier in (2.0, 10.0):
        again = load_base("nano", folder, dtype=torch.float32)
        run = run_on(again, data, plan(n_epochs=8, learning_rate_multiplier=multiplier))
        lora.copy_adapter(again.model, ADAPTER, tmp_path)
        found.append((likelihood_displacement(curve_of(steps := list(run))), steps[-1].metrics))
    (quiet, gentle), (evidence, bold) = found
    assert quiet is None
    assert gentle["train_rewards/chosen"] > 0
    assert gentle["train_rewards/margins"] > 0.2
    assert evidence is not None
    assert evidence.value > 1  # the log-probability fell to more than twice what it was
    assert "the log-probability of the preferred answers fell from -0." in evidence.sentence
    assert bold["train_rewards/chosen"] < -0.3
    assert bold["train_rewards/margins"] > 1
