"""What rehearsal keeps and costs on SmolLM2: share mixed in against probes and task.

    python tests/benchmarks/rehearsal.py --share 0.2 --seed 0     about 16 minutes of one core
    python tests/benchmarks/rehearsal.py --again                  asks the kept models the probes again

The sample's clean pairs, split as 03_build_data splits them (358 to learn from), plus the share of the
base model's own answers; three epochs in batches of 8; then the 120 test questions and the probes.
Each run is kept under ``rehearsal/`` in the workbench's home, one JSON line in ``runs.jsonl``.
"""

import argparse
import json
import resource
from pathlib import Path

from workbench import jsonl_log
from workbench.connect import connect
from workbench.evaluation import probes, rehearsal
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompts import Prompt
from workbench.local.models.bases import SMOLLM2
from workbench.settings import home
from workbench.task import read_task, sample_task
from workbench.training.follow import follow
from workbench.training.preflight import launch
from workbench.training.spec import JobSpec


def run(share: float, seed: int, rate: float, model: str) -> dict[str, object]:
    """Train with this share and judge the model; everything that was asked before comes from the cache."""
    folder = home() / "rehearsal"
    folder.mkdir(parents=True, exist_ok=True)
    cache = folder / "answers.jsonl"
    file = sample_task("gql")
    assert file is not None
    task = read_task(file)
    client = connect("local")
    test, asked = task.read_test(), probes.read_probes()
    training, _ = task.read_prompt_examples().split(held_out=0.15, seed=seed)
    rows = 0
    if share:
        never = {"never": (test, asked), "seed": seed, "cache": cache}
        made = rehearsal.rehearse(client, model, training, share, **never)
        print(made, flush=True)
        training, rows = made.mixed_into(training), len(made.rows)
    suffix = f"share-{round(100 * share)}-rate-{round(100 * rate)}-{seed}"
    chosen = {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": rate}
    spec = JobSpec(training, model, hyperparameters=chosen, seed=seed, suffix=suffix)
    *_, done = follow(client, launch(client, spec))
    tuned = str(done.job.fine_tuned_model)
    scored = evaluate(client, tuned, test, grader(task.grader), prompt=Prompt("short"), cache=cache)
    before = probes.probe(client, model, asked, cache=cache)
    after = probes.probe(client, tuned, asked, cache=cache)
    found = probes.forgotten(before, after)
    sides = {name: each.comparison for name, each in found.categories.items()}
    return {
        "share": share,
        "seed": seed,
        "rate": rate,
        "rows": rows,
        "model": tuned,
        "seconds": round(done.result.training_seconds),
        "task": scored.correct,
        "test": len(scored.items),
        "probes": found.whole.comparison.items,
        "base": found.whole.comparison.base.correct,
        "kept": after.correct,
        "lost": found.whole.comparison.broken,
        "gained": found.whole.comparison.fixed,
        "by category": {name: [each.base.correct, each.tuned.correct] for name, each in sides.items()},
        "verdict": found.verdict,
    }


def main() -> None:
    """One run, or the probes again for all that were run."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--share", type=float, default=0.2)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--rate", type=float, default=1.0, help="the learning rate's multiplier")
    asked.add_argument("--model", default=SMOLLM2)
    asked.add_argument("--again", action="store_true")
    given = asked.parse_args()
    log = home() / "rehearsal" / "runs.jsonl"
    wanted = [(given.share, given.seed, given.rate)]
    if given.again:
        runs = jsonl_log.objects(log)
        wanted = list(dict.fromkeys((run["share"], run["seed"], run["rate"]) for run in runs))
    for share, seed, rate in wanted:
        line = json.dumps(run(share, seed, rate, given.model))
        print(line, flush=True)
        jsonl_log.append(Path(log), line.encode())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"CPU seconds of this process's children: {used.ru_utime:.0f}")


if __name__ == "__main__":
    main()
