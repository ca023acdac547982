"""The whole road on SmolLM2 for several seeds: does fine-tuning help, and does it help every time?

    python tests/benchmarks/road.py            three seeds, about 20 minutes on two quiet cores

Each seed draws its own split, its own adapter and its own order of examples; the held-out test is
the same. Prints one line a seed, then whether the promise of the README holds.
"""

import json
import subprocess
import sys
from statistics import mean

SEEDS = (0, 1, 2)


def run(seed: int) -> dict[str, float]:
    """One run of all notebooks in a project of its own; the numbers of its summary."""
    command = [sys.executable, "-m", "workbench", "run", "--json"]
    command += ["-p", "PROJECT", f"road-seed-{seed}", "-p", "SEED", str(seed), "-p", "GRADER", "exact"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Run the seeds one after the other and judge the mean and the worst."""
    results = []
    for seed in SEEDS:
        result = run(seed)
        results.append(result)
        print(
            f"seed {seed}: base {result['base_score']:.1%} -> tuned {result['tuned_score']:.1%} "
            f"on {result['items']} items; training {result['training_seconds']:.0f} s",
            flush=True,
        )
    tuned = [result["tuned_score"] for result in results]
    base = max(result["base_score"] for result in results)
    print(f"mean tuned {mean(tuned):.1%}, worst {min(tuned):.1%}, best base {base:.1%}")
    if mean(tuned) < 0.85 or min(tuned) < 0.80 or base >= 0.15:
        sys.exit("The promise does not hold: mean at least 85 %, no seed under 80 %, base under 15 %.")


if __name__ == "__main__":
    main()
