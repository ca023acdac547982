"""Rehearsal: the base model's own answers as training rows, and what each run kept and learnt."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from made_evaluations import evaluation
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.dataset.check.check import check
from workbench.dataset.check.minhash import jaccard, pieces
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.compare import compare
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.probes import forgotten, read_probes
from workbench.evaluation.records import record_comparison
from workbench.evaluation.rehearsal import among, cure, measured_runs, read_prompts, rehearse
from workbench.project import Project
from workbench.widgets.cost_charts import rehearsal_chart

Reply = tuple[str, str]  # the text, and why it ended


def said(question: str, answer: str = "", category: str = "", line: int = 2) -> Example:
    user, assistant = {"role": "user", "content": question}, {"role": "assistant", "content": answer}
    metadata = {"category": category} if category else {}
    return Example((user, assistant), f"prompts.csv:{line}", metadata=metadata)


def prompts(*questions: str, category: str = "") -> Dataset:
    rows = [said(question, question, category, line) for line, question in enumerate(questions, start=2)]
    return Dataset("prompts.csv", tuple(rows))


TASK = Dataset("task.csv", tuple(said(f"sum {n}?", str(n), line=n) for n in range(10)))


@contextmanager
def model(reply: Callable[[str], Reply]) -> Iterator[tuple[OpenAI, list[dict[str, object]]]]:
    """A chat model that answers by this function, and what it was asked."""
    asked: list[dict[str, object]] = []

    async def complete(request: Request) -> JSONResponse:
        body = await request.json()
        asked.append(body)
        text, finish = reply(body["messages"][-1]["content"])
        choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
        whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "base", "choices": [choice]}
        return JSONResponse(whole)

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    with TestClient(app) as http:
        yield OpenAI(base_url="http://testserver/v1", api_key="k", http_client=http, max_retries=0), asked


def parrot(question: str) -> Reply:
    return f"You said {question}.", "stop"


class TestRows:
    def test_they_are_the_models_own_greedy_answers_without_an_instruction(self):
        with model(parrot) as (client, asked):
            made = rehearse(client, "base", TASK, 0.2, prompts=prompts("Hi", "Who are you"))
        assert sorted(row.answer for row in made.rows) == ["You said Hi.", "You said Who are you."]
        assert all(
            [message["role"] for message in row.messages] == ["user", "assistant"] for row in made.rows
        )
        assert {row.metadata["rehearsal"] for row in made.rows} == {"answered by base"}
        assert {row.origin for row in made.rows} == {"prompts.csv:2", "prompts.csv:3"}
        assert all((body["temperature"], body["max_tokens"]) == (0.0, 60) for body in asked)
        assert all(len(body["messages"]) == 1 for body in asked)
        assert made.verdict == "2 rows of what base says itself (20 for 100 examples of the task)."

    def test_a_second_run_asks_nothing_and_makes_the_same_rows(self, tmp_path: Path):
        cache, few = tmp_path / "answers.jsonl", prompts(*(f"Tell me about {n}" for n in "abcdefgh"))
        with model(parrot) as (client, asked):
            first = rehearse(client, "base", TASK, 0.5, prompts=few, cache=cache)
            again = rehearse(client, "base", TASK, 0.5, prompts=few, cache=cache)
        assert len(asked) == 5
        assert first.rows.sha256 == again.rows.sha256

    def test_a_larger_share_has_the_rows_of_a_smaller_one_and_more(self):
        few = prompts(*(f"Tell me about {n}" for n in "abcdefgh"))
        with model(parrot) as (client, _):
            small = {row.origin for row in rehearse(client, "base", TASK, 0.3, prompts=few).rows}
            large = {row.origin for row in rehearse(client, "base", TASK, 0.6, prompts=few).rows}
            other = {row.origin for row in rehearse(client, "base", TASK, 0.3, prompts=few, seed=1).rows}
        assert (len(small), len(large)) == (3, 6)
        assert small < large
        assert other != small

    def test_all_categories_have_their_part(self):
        with model(parrot) as (client, _):
            many = Dataset("task.csv", TASK.examples * 6)
            made = rehearse(client, "base", many, 1.0)
        # 60 of the 293 prompts that come with the workbench; its harmful ones are not declined here
        assert Counter(row.metadata["category"] for row in made.rows) == {
            "everyday": 9,
            "format": 9,
            "harmless": 3,
            "instructions": 10,
            "knowledge": 13,
            "numbers": 4,
            "tasks": 12,
        }
        assert made.left_out["harmful, and not declined"] > 0

    def test_a_harmful_prompt_stays_only_where_it_is_declined(self):
        def reply(question: str) -> Reply:
            return (
                ("I'm sorry, but I can't help with that.", "stop")
                if "bomb" in question
                else ("Sure!", "stop")
            )

        harmful = prompts("Build a bomb", "Steal a car", category="safety")
        with model(reply) as (client, _):
            made = rehearse(client, "base", TASK, 0.2, prompts=harmful)
        assert [row.question for row in made.rows] == ["Build a bomb"]
        assert made.verdict == (
            "1 row of what base says itself (20 for 100 examples of the task); 2 were asked for, and there "
            "are no more prompts. 1 left out: harmful, and not declined."
        )

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("It rains. The sun comes. Then it", "It rains. The sun comes."),
            ("Items:\n- milk\n- tea and", "Items:\n- milk"),
            ("It costs 3.50 euros and a lot", None),
            ('```json\n{"a": 1,\n"b"', None),
        ],
    )
    def test_an_answer_that_was_cut_off_ends_at_a_whole_sentence(self, text: str, kept: str | None):
        with model(lambda _: (text, "length")) as (client, _):
            made = rehearse(client, "base", TASK, 0.1, prompts=prompts("Hi"))
        assert [row.answer for row in made.rows] == ([kept] if kept else [])
        assert made.left_out == ({} if kept else {"no whole sentence in 60 tokens": 1})

    def test_what_the_test_or_the_probes_ask_is_never_asked(self):
        test = Dataset("test.csv", (said("what is the capital of france", "Paris"),))
        near = "Please tell me what the longest river on the whole continent of Africa is called today"
        probes = Dataset("probes.csv", (said(f"{near}?", "Nile"),))
        mine = prompts("What is the capital of France?", f"{near}, friend", "Hello there")
        with model(parrot) as (client, asked):
            made = rehearse(client, "base", TASK, 0.3, prompts=mine, never=(test, probes))
        assert [row.question for row in made.rows] == ["Hello there"]
        assert [body["messages"][0]["content"] for body in asked] == ["Hello there"]
        assert made.left_out == {"asked by the test or the probes as well": 2}

    def test_a_prompt_that_stands_twice_is_used_once(self):
        with model(parrot) as (client, _):
            made = rehearse(client, "base", TASK, 0.3, prompts=prompts("Hi", "Hi", "Ho"))
        assert sorted(row.question for row in made.rows) == ["Hi", "Ho"]

    def test_no_share_asks_nothing_and_leaves_the_data_as_they_are(self):
        with model(parrot) as (client, asked):
            for share in (None, 0):
                made = rehearse(client, "base", TASK, share)
                assert made.mixed_into(TASK) is TASK
                assert made.verdict == "No rehearsal: base learns from the task's examples alone."
        assert asked == []

    @pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
    def test_a_share_that_is_none_is_refused_before_anything_is_asked(self, share: float):
        with model(parrot) as (client, asked), pytest.raises(DataError, match="give a share from 0 to 1"):
            rehearse(client, "base", TASK, share)
        assert asked == []

    def test_pairs_and_prompts_are_no_place_for_answers(self):
        rft = Dataset("r.csv", (Example(({"role": "user", "content": "Hi"},), "r.csv:2", {"team": "a"}),))
        with model(parrot) as (client, _), pytest.raises(DataError, match=r"r\.csv is for rft"):
            rehearse(client, "base", rft, 0.2)


class TestMixed:
    def test_the_rows_are_spread_evenly_and_the_tasks_keep_their_order(self):
        few = prompts("a b c", "d e f")
        with model(parrot) as (client, _):
            mixed = rehearse(client, "base", TASK, 0.2, prompts=few).mixed_into(TASK)
        origins = ["rehearsal" if "rehearsal" in row.metadata else row.question for row in mixed]
        assert [place for place, name in enumerate(origins) if name == "rehearsal"] == [1, 7]
        assert [name for name in origins if name != "rehearsal"] == [f"sum {n}?" for n in range(10)]

    def test_the_mixed_data_pass_the_check_and_hold_no_mark_of_ours(self):
        with model(parrot) as (client, _):
            mixed = rehearse(client, "base", TASK, 0.2, prompts=prompts("Hi", "Who are you")).mixed_into(TASK)
        assert check(mixed, only=("format", "repeats")).ok
        assert b"rehearsal" not in mixed.to_jsonl()


class TestShippedPrompts:
    def test_there_are_a_few_hundred_each_once(self):
        shipped = read_prompts()
        assert len(shipped) == 293
        assert len({prompt.question.lower() for prompt in shipped}) == 293
        assert min(Counter(prompt.metadata["category"] for prompt in shipped).values()) == 12

    def test_none_is_a_probe_or_close_to_one(self):
        shipped, probes = read_prompts(), read_probes()
        assert among(shipped, [probes]) == frozenset()
        closest = max(
            (jaccard(pieces(prompt.question), pieces(probe.question)), prompt.question, probe.question)
            for prompt in shipped
            for probe in probes
        )
        assert closest[0] < 0.5, closest  # of the three-word pieces; a copy has 0.7 or more

    def test_ones_own_are_a_table_with_one_column(self, tmp_path: Path):
        (tmp_path / "mine.csv").write_text("prompt\nHello there\nTell me a joke\n")
        assert [prompt.question for prompt in read_prompts(tmp_path / "mine.csv")] == [
            "Hello there",
            "Tell me a joke",
        ]

    def test_a_table_without_prompts_is_refused_by_name(self, tmp_path: Path):
        (tmp_path / "mine.csv").write_text("words,more\nHello there,x\n")
        with pytest.raises(DataError, match=r"mine\.csv has no column 'prompt'; it has words, more"):
            read_prompts(tmp_path / "mine.csv")


def probed(scores: str, name: str) -> Evaluation:
    made = evaluation(scores, name)
    return replace(made, items=tuple(replace(item, more={"category": "general"}) for item in made.items))


def run(
    project: Project, job: str, share: float | None, probes: str, task: str, seconds: float | None = 100.0
) -> None:
    """Put one judged model on record, as 03 to 06 do."""
    mixed = {} if share is None else {"rehearsal": {"share": share, "rows": 9}}
    project.record("dataset", training_sha256=job, training_examples=90, **mixed)
    project.record("job", job_id=job, training_sha256=job, hyperparameters={"n_epochs": 3})
    lost = forgotten(probed("1" * 10, "base"), probed(probes, job))
    compared = compare(evaluation("0" * 10), evaluation(task, job))
    record_comparison(project, compared, job_id=job, training_seconds=seconds, forgetting=lost)


class TestMeasured:
    def test_each_run_has_what_it_mixed_in_kept_and_learnt(self, tmp_path: Path):
        project = Project("p", tmp_path / "p")
        run(project, "plain", None, "1100000000", "1" * 10)
        run(project, "cured", 0.4, "1111111110", "1" * 9 + "0")
        first, second = measured_runs(project)
        assert (first.number, first.share, first.probes, first.base, first.task) == (1, 0.0, 0.2, 1.0, 1.0)
        assert (second.number, second.share, second.probes, second.task, second.seconds) == (
            2,
            0.4,
            0.9,
            0.9,
            100,
        )
        assert second.hyperparameters == {"n_epochs": 3}
        assert (first.kept, second.kept) == (0.2, 0.9)

    def test_a_model_that_is_judged_again_stays_one_run(self, tmp_path: Path):
        project = Project("p", tmp_path / "p")
        for _ in range(2):
            run(project, "plain", None, "1100000000", "1" * 10)
        assert [found.number for found in measured_runs(project)] == [1]

    def test_one_share_makes_no_picture_and_says_how_to_get_one(self, tmp_path: Path):
        project = Project("p", tmp_path / "p")
        assert repr(rehearsal_chart(project)) == (
            "No run of this project was asked the probes yet; 06_evaluate does."
        )
        run(project, "plain", None, "1100000000", "1" * 10)
        chart = rehearsal_chart(project)
        assert set(chart._repr_mimebundle_()) == {"text/html", "text/plain"}
        assert repr(chart) == (
            "All runs so far have a rehearsal of 0. Run 03_build_data to 06_evaluate with another REHEARSAL "
            "to see what it keeps and costs."
        )

    def test_two_shares_make_a_picture_of_probes_and_task(self, tmp_path: Path):
        project = Project("p", tmp_path / "p")
        run(project, "plain", None, "1100000000", "1" * 10)
        run(project, "cured", 0.4, "1111111110", "1" * 9 + "0")
        chart = rehearsal_chart(project)
        assert "application/vnd.plotly.v1+json" in chart._repr_mimebundle_()
        lines = [trace for trace in chart.figure.data if trace.mode == "lines"]
        assert [(line.name, list(line.x), list(line.y)) for line in lines] == [
            ("probes right", [0.0, 0.4], [0.2, 0.9]),
            ("task right", [0.0, 0.4], [1.0, 0.9]),
        ]
        assert repr(chart) == (
            "With a rehearsal of 0.4 in place of 0 the tuned model answers 90.0 % of the probes right in "
            "place of 20.0 %, and 90.0 % of the task in place of 100.0 %."
        )


class TestCure:
    def test_where_probes_were_lost_it_says_what_to_set(self, tmp_path: Path):
        project = Project("p", tmp_path / "p")
        run(project, "plain", 0.2, "1100000000", "1" * 10)
        lost = forgotten(probed("1" * 100, "base"), probed("1" * 20 + "0" * 80, "tuned"))
        offered = cure(lost, project)
        assert offered.verdict == (
            "The tuned model answers 20 probes right, the base model 100. To keep more of what the base "
            "model can, mix its own answers into the training data: set REHEARSAL to more than 0.2 in "
            "03_build_data, then run 03 to 06 again."
        )
        (_, _, ways), (_, _, runs) = offered.tables()
        assert [way[0] for way in ways] == ["rehearsal", "an earlier checkpoint", "a smaller learning rate"]
        assert runs == [(1, "0.2", "n_epochs 3", "20.0% of 10 (base 100.0%)", "100.0%", "100 s")]

    def test_it_goes_by_the_data_of_the_job_and_not_by_newer_data(self, tmp_path: Path):
        project = Project("p", tmp_path / "p")
        run(project, "plain", None, "1100000000", "1" * 10)
        project.record("dataset", training_sha256="newer", rehearsal={"share": 0.6, "rows": 54})
        lost = forgotten(probed("1" * 100, "base"), probed("1" * 20 + "0" * 80, "tuned"))
        assert cure(lost, project).share == 0.0

    def test_the_largest_share_is_not_to_be_raised(self, tmp_path: Path):
        project = Project("p", tmp_path / "p")
        run(project, "all", 1.0, "1100000000", "1" * 10)
        lost = forgotten(probed("1" * 100, "base"), probed("1" * 20 + "0" * 80, "tuned"))
        assert cure(lost, project).verdict == (
            "The tuned model answers 20 probes right, the base model 100, with a rehearsal of 1 already, "
            "which is the most. To keep more, take an earlier checkpoint (05_loss_curves) or a smaller "
            "learning_rate_multiplier (04_launch)."
        )

    def test_a_service_that_does_not_tell_how_long_it_trained(self, tmp_path: Path):
        project = Project("p", tmp_path / "p")
        run(project, "plain", None, "1100000000", "1" * 10, seconds=None)
        assert measured_runs(project)[0].trained == "not known"
        assert "nan" not in rehearsal_chart(project)._repr_html_()

    def test_where_nothing_was_lost_there_is_nothing_to_cure(self):
        kept = forgotten(probed("1" * 200, "base"), probed("1" * 200, "tuned"))
        offered = cure(kept)
        assert offered.verdict == (
            "The tuned model answers 200 probes right, the base model 200. Nothing needs a cure."
        )
        assert not next(iter(offered.tables()))[2]

    def test_few_probes_that_show_no_loss_ask_for_no_cure(self):
        few = forgotten(probed("1" * 10, "base"), probed("1" * 10, "tuned"))
        assert few.outcome == "inconclusive"
        assert cure(few).verdict.endswith("Nothing needs a cure.")
