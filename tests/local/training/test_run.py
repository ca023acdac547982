"""The engine against independent implementations, on the nano model in float32."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.graders.sandbox import SandboxLimits
from workbench.local.models import lora
from workbench.local.models.model import (
    Base,
    TokenRow,
    encode,
    encode_dataset,
    encode_prompt,
    load_base,
    logits,
)
from workbench.local.training import run
from workbench.local.training.packing import IGNORED, hidden_states, pack
from workbench.local.training.run import (
    ADAPTER,
    InTrainingEvaluation,
    RunSettings,
    TrainingRun,
    batches,
    schedule_share,
)
from workbench.local.training.supervised import Supervised, learnt_loss

WORDS = ("red", "blue", "green", "pink", "gold", "gray", "teal", "lime", "rose", "navy", "plum", "mint")


def conversation(word: str) -> list[dict[str, object]]:
    return [
        {"role": "system", "content": "Shout."},
        {"role": "user", "content": f"say {word}"},
        {"role": "assistant", "content": word.upper()},
    ]


def rows_of(base: Base) -> list[TokenRow]:
    return [encode(base.tokenizer, conversation(word)) for word in WORDS]


def plan(**changes: object) -> RunSettings:
    settings: dict[str, object] = {
        "n_epochs": 2,
        "batch_size": 4,
        "learning_rate_multiplier": 1.0,
        "seed": 0,
        "eval_interval": 3,
        "eval_samples": 0,
    }
    return RunSettings(**(settings | changes))  # type: ignore[arg-type]


def learnt_text(base: Base, messages: list[dict[str, object]]) -> str:
    row = encode(base.tokenizer, messages)
    return base.tokenizer.decode(
        [token for token, learnt in zip(row.tokens, row.learnt, strict=True) if learnt]
    )


# What is learnt


def test_only_the_answer_and_its_end_are_learnt(base: Base) -> None:
    assert learnt_text(base, conversation("red")) == "RED<|im_end|>"


def test_every_assistant_turn_is_learnt_but_one_of_weight_zero(base: Base) -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "not this", "weight": 0},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "this"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "and this", "weight": 1},
    ]
    assert learnt_text(base, messages) == "this<|im_end|>and this<|im_end|>"


def test_a_prompt_is_the_start_of_the_conversation_it_asks_to_continue(base: Base) -> None:
    messages = conversation("blue")
    prompt = encode_prompt(base.tokenizer, messages[:-1])
    assert encode(base.tokenizer, messages).tokens[: len(prompt)] == tuple(prompt)


def test_a_line_of_conversations_teaches_no_prompt_and_no_neighbour() -> None:
    packed = pack(
        [TokenRow((5, 6, 7), (False, True, True)), TokenRow((8, 9), (True, True))], torch.device("cpu")
    )
    assert packed.ids.tolist() == [[5, 6, 7, 8, 9]]
    assert packed.targets.tolist() == [6, 7, IGNORED, 9, IGNORED]
    assert packed.layout.positions.tolist() == [[0, 1, 2, 0, 1]]
    assert packed.layout.owners.tolist() == [0, 0, 0, 1, 1]


def test_conversations_in_one_line_are_read_as_each_is_alone(base: Base) -> None:
    rows = rows_of(base)[:3]
    with torch.no_grad():
        together = hidden_states(base.model, pack(rows, base.model.device))
        alone = [hidden_states(base.model, pack([row], base.model.device)) for row in rows]
        plain = [base.model.get_decoder()(torch.tensor([row.tokens])).last_hidden_state[0] for row in rows]
    torch.testing.assert_close(together, torch.cat(alone))
    torch.testing.assert_close(together, torch.cat(plain))


def test_a_conversation_the_template_cannot_write_is_named_by_its_line(base: Base) -> None:
    call = {"role": "assistant", "tool_calls": [{"id": "call_1"}]}
    data = Dataset("x", (Example(({"role": "user", "content": "hi"}, call), "x.jsonl:7"),))
    with pytest.raises(DataError, match=r"x\.jsonl:7: this model's chat template cannot write"):
        encode_dataset(base.tokenizer, data, 100)


def test_a_conversation_longer_than_the_context_is_named_by_its_line(base: Base) -> None:
    data = Dataset("x", (Example(tuple(conversation("red")), "x.jsonl:3"),))
    with pytest.raises(DataError, match=r"x\.jsonl:3: \d+ tokens, but the model reads at most 10"):
        encode_dataset(base.tokenizer, data, 10)


def test_a_batch_from_which_nothing_is_learnt_changes_nothing(base: Base) -> None:
    run = TrainingRun(Supervised(), base, plan(n_epochs=1, batch_size=1), [TokenRow((5, 6, 7), (False,) * 3)])
    before = [parameter.clone() for parameter in run.parameters]
    assert [step.metrics["train_loss"] for step in run] == [0.0]
    assert all(torch.equal(*pair) for pair in zip(before, run.parameters, strict=True))


# The schedule


def test_every_epoch_takes_every_row_once() -> None:
    schedule = batches([10] * 11, plan(batch_size=4, n_epochs=3, seed=1))
    assert len(schedule) == 9  # ceil(11 * 3 / 4), as the service counts
    taken = sorted(row for batch in schedule for row in batch)
    assert taken == sorted([*range(11)] * 3)


def test_the_schedule_depends_on_the_seed_alone() -> None:
    lengths = list(range(40))
    assert batches(lengths, plan(batch_size=8, seed=3)) == batches(lengths, plan(batch_size=8, seed=3))
    assert batches(lengths, plan(batch_size=8, seed=3)) != batches(lengths, plan(batch_size=8, seed=4))


def test_the_learning_rate_warms_up_and_decays_linearly() -> None:
    assert schedule_share(1, 90, 6) == pytest.approx(1 / 6)
    assert schedule_share(6, 90, 6) == pytest.approx(1 - 0.95 * 5 / 90)
    assert schedule_share(90, 90, 6) == pytest.approx(0.05 + 0.95 / 90)


# Against PEFT, TRL and transformers


def read(base: Base, word: int) -> torch.Tensor:
    """What the decoder makes of one conversation."""
    return hidden_states(base.model, pack([rows_of(base)[word]], base.model.device))


def trained(base: Base, **changes: object) -> TrainingRun:
    run = TrainingRun(Supervised(), base, plan(**changes), rows_of(base))
    list(run)
    return run


@pytest.mark.filterwarnings("ignore")  # PEFT uses what transformers deprecates
def test_a_saved_adapter_means_the_same_to_peft(base: Base, folder: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    trained(base)
    lora.save_adapter(base.model, ADAPTER, tmp_path, base_model="nano")
    ids = torch.tensor([rows_of(base)[0].tokens])
    with torch.no_grad():
        ours = logits(base.model, read(base, 0))[None]
        plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        untouched = plain(ids).logits
        theirs = PeftModel.from_pretrained(plain, tmp_path)(ids).logits
    torch.testing.assert_close(ours, theirs)
    assert (ours - untouched).abs().max() > 0.01


def test_a_loaded_adapter_answers_like_the_one_that_was_saved(
    base: Base, folder: Path, tmp_path: Path
) -> None:
    trained(base)
    lora.save_adapter(base.model, ADAPTER, tmp_path, base_model="nano")
    other = load_base("nano", folder, dtype=torch.float32)
    lora.load_adapter(other.model, "tuned", tmp_path)
    with torch.no_grad():
        lora.use(other.model, "tuned")
        torch.testing.assert_close(read(other, 3), read(base, 3))
        lora.use(other.model, None)
        lora.use(base.model, None)
        torch.testing.assert_close(read(other, 3), read(base, 3), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore")  # TRL's and accelerate's own deprecations
def test_the_loss_and_its_gradients_equal_trl(base: Base, folder: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from peft import PeftModel
    from trl import SFTConfig, SFTTrainer

    trained(base)
    lora.save_adapter(base.model, ADAPTER, tmp_path / "adapter", base_model="nano")
    rows = rows_of(base)[:4]
    examples = [
        {
            "input_ids": list(row.tokens),
            "labels": [
                token if learnt else -100 for token, learnt in zip(row.tokens, row.learnt, strict=True)
            ],
        }
        for row in rows
    ]
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    trainer = SFTTrainer(
        model=PeftModel.from_pretrained(plain, tmp_path / "adapter", is_trainable=True),
        args=SFTConfig(
            output_dir=str(tmp_path), per_device_train_batch_size=4, use_cpu=True, bf16=False, report_to=[]
        ),
        train_dataset=Dataset.from_list(examples),
        processing_class=base.tokenizer,
    )
    batch = trainer.data_collator(examples)
    theirs = trainer.compute_loss(trainer.model, batch)
    theirs.backward()
    ours = learnt_loss(base, rows)
    ours.loss.backward()

    torch.testing.assert_close(ours.loss, theirs)
    assert ours.weight == int((batch["labels"] != -100).sum())
    assert 0 <= ours.metrics["mean_token_accuracy"] <= 1
    their_parameters = dict(trainer.model.named_parameters())
    for name, layer in lora.layers(base.model):
        branch = layer.branches[ADAPTER]
        for factor, gradient in (("A", branch.a.grad), ("B", branch.b.grad)):
            theirs = their_parameters[f"base_model.model.{name}.lora_{factor}.default.weight"].grad
            torch.testing.assert_close(gradient, theirs)


# Training


def test_training_learns_to_answer(base: Base) -> None:
    run = TrainingRun(
        Supervised(), base, plan(n_epochs=50, learning_rate_multiplier=3.0), rows_of(base), rows_of(base)[:4]
    )
    steps = list(run)
    assert steps[0].metrics["train_loss"] > 5
    assert steps[-1].metrics["train_loss"] < 0.5 * steps[0].metrics["train_loss"]
    assert [step.number for step in steps if step.epoch] == list(range(3, 151, 3))


def test_a_resumed_run_repeats_the_uninterrupted_one_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    def fresh() -> TrainingRun:
        base = load_base("nano", folder, dtype=torch.float32)
        return TrainingRun(Supervised(), base, plan(n_epochs=4), rows_of(base), rows_of(base)[:4])

    uninterrupted = fresh()
    whole = [step.metrics for step in uninterrupted]
    first = fresh()
    half = []
    for step in first:
        half.append(step.metrics)
        if step.number == 5:
            first.save(tmp_path / "state.pt")
            break
    second = fresh()
    second.restore(tmp_path / "state.pt")
    assert half + [step.metrics for step in second] == whole
    assert second.trace.visits == uninterrupted.trace.visits


def test_a_state_saved_by_an_earlier_version_is_gone_on_from(folder: Path, tmp_path: Path) -> None:
    def fresh() -> TrainingRun:
        base = load_base("nano", folder, dtype=torch.float32)
        return TrainingRun(Supervised(), base, plan(), rows_of(base))

    uninterrupted = fresh()
    whole = [step.metrics for step in uninterrupted]
    first = fresh()
    half = [step.metrics for _, step in zip(range(4), first, strict=False)]
    first.save(tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["tokens"], state["seconds"]
    torch.save(state, tmp_path / "state.pt")
    second = fresh()
    second.restore(tmp_path / "state.pt")
    assert half + [step.metrics for step in second] == whole
    assert second.tokens == sum(row.size for row in second.training) * 2 == uninterrupted.tokens


# Evaluation on the way


def evaluated(base: Base, body: str) -> tuple[float | None, str]:
    source = f"def grade(sample, item):\n    {body}\n"
    asked = tuple(tuple(encode_prompt(base.tokenizer, conversation(word)[:2])) for word in WORDS[:3])
    items = tuple({"question": f"say {word}", "answer": word.upper()} for word in WORDS[:3])
    mine = {"type": "python", "name": "mine", "source": source}
    return InTrainingEvaluation(asked, items, mine, max_tokens=2).score(base)


def test_a_grader_in_python_grades_on_the_way(base: Base) -> None:
    assert evaluated(base, "return item['answer'] == 'RED'") == (pytest.approx(1 / 3), "")


def test_answers_that_a_grader_fails_on_do_not_count(base: Base) -> None:
    score, note = evaluated(base, "return {'RED': 1}[item['answer']]")
    assert score == 1.0
    assert note.startswith("The grader gave 2 of 3 answers no score: KeyError: 'BLUE'")


def test_a_grader_that_hangs_is_not_waited_for_again(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "GRADER_LIMITS", SandboxLimits(seconds=0.5))
    assert evaluated(base, "while True: pass") == (
        None,
        "The grader gave 3 of 3 answers no score: it ran longer than 0.5 seconds",
    )
