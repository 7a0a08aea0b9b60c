"""What thousands of runs cost on a cluster: `python benchmarks/clusters.py`.

Measures the plan and the dry run of the budget `standard` from ever more seeds. From the measured costs of
runs and of a job's start it reckons the jobs, their core-hours, and how long they take so many at a time. It
writes `build/benchmarks/clusters.md`.
"""

import argparse
import heapq
import itertools
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "benchmarks")]

from growth import lay, measure  # noqa: E402

from gon.claims.params import REFERENCE  # noqa: E402
from gon.claims.study import load_study  # noqa: E402
from gon.cluster import SHARING, Jobs  # noqa: E402
from gon.plan import Costs  # noqa: E402
from gon.runs.store import RunStore  # noqa: E402

SEEDS = (3, 29, 286, 2857)
AT_A_TIME = (200, 1000)


def jobs_of(seeds: int, budget: str) -> tuple[int, list[float]]:
    """Number of runs, and the seconds of training of each of their jobs, without the job's start."""
    plan = load_study(budget, [f"seeds={seeds}"]).plan()
    costs, jobs = Costs([RunStore(REFERENCE)]), Jobs(plan)
    seconds = {run.spec.digest: run.epochs * costs.seconds_per_epoch(run.spec) for run in plan}
    short = [digest for digest in seconds if jobs.group(digest)]
    shared = [short[i : i + SHARING] for i in range(0, len(short), SHARING)]
    alone = [[digest] for digest in seconds if not jobs.group(digest)]
    return len(plan), [sum(seconds[digest] for digest in job) for job in itertools.chain(alone, shared)]


def hours(jobs: list[float], at_a_time: int, start: float) -> float:
    """From the first job's start to the last one's end, the longest first; the scheduler takes no time."""
    ends = [0.0] * at_a_time
    for seconds in sorted(jobs, reverse=True):
        heapq.heappush(ends, heapq.heappop(ends) + start + seconds)
    return max(ends) / 3600


def main() -> int:
    """Measure, reckon and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--largest", type=int, default=max(SEEDS), help="most seeds that are measured")
    parser.add_argument(
        "--start", type=float, default=20, help="seconds from a job's start to its first step (default: 20)"
    )
    options = parser.parse_args()
    lines = [
        "| budget | runs | plan, s | dry run, s | dry run, MiB | jobs | core-hours "
        + "".join(f"| hours, {n} at a time " for n in AT_A_TIME)
        + "|",
        "|---" * (7 + len(AT_A_TIME)) + "|",
    ]
    with tempfile.TemporaryDirectory(prefix="gon-clusters-") as folder:
        root = Path(folder)
        lay(root, runs=1)  # a copy of the project
        for budget, seeds in itertools.product(("quick", "standard"), SEEDS):
            runs, jobs = jobs_of(seeds, budget)
            row = [budget, str(runs), "", "", ""]
            if budget == "standard" and seeds <= options.largest:
                words = ("--budget", budget, "--set", f"seeds={seeds}")
                plan = measure(root, "-m", "gon.cli", "plan", *words)
                dry = measure(root, "-m", "gon.cli", "run", *words, "--", "--dry-run")
                row[2:] = [f"{plan['seconds']:.1f}", f"{dry['seconds']:.1f}", f"{dry['together_mib']:.0f}"]
            work = sum(jobs) + options.start * len(jobs)
            row += [str(len(jobs)), f"{work / 3600:.0f}"]
            row += [f"{hours(jobs, n, options.start):.1f}" for n in AT_A_TIME]
            lines.append(f"| {' | '.join(row)} |")
            print(lines[-1], flush=True)
    output = PROJECT / "build" / "benchmarks" / "clusters.md"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
