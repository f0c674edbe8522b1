"""Submit a sweep to a Slurm cluster as a job array, and a last job that sees to its end.

    python scripts/slurm_sweep.py CONFIG --out DIR --parts 16 [--keep summary]
        [--partition P] [--minutes 60] [--cpus 8] [--gpus 0] [--memory-gb 16] [--logs DIR]
        [--local] [--wait]

Every task of the array runs `dpe sweep CONFIG --out DIR --part I/N`: its own share of the blocks,
written by itself into the one folder, which all tasks must see. A task that is killed or preempted
loses the block in flight at most; submitting the same line again goes on. The task that ends last
finishes the result; a last job computes what killed tasks have left, if they have. With --local the
tasks run on this machine by the same code. Needs the extra `slurm` (submitit).
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def task(arguments: list[str]) -> int:
    """One process of `dpe`, whose output goes to the job's log; an error if it fails."""
    command = [sys.executable, "-m", "dpe_jax.cli", "sweep", *arguments]
    print(" ".join(command), flush=True)
    status = subprocess.run(command, check=False).returncode
    if status:
        raise RuntimeError(f"dpe sweep ended with status {status}")
    return status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config")
    parser.add_argument("--out", required=True, help="folder of the result, seen by all tasks")
    parser.add_argument("--parts", type=int, required=True, help="tasks of the array")
    parser.add_argument("--keep", choices=("runs", "summary"), default="runs")
    parser.add_argument("--partition")
    parser.add_argument("--minutes", type=int, default=60, help="of each task")
    parser.add_argument("--cpus", type=int, default=1, help="processors of each task")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of each task")
    parser.add_argument("--memory-gb", type=float, default=8.0)
    parser.add_argument("--logs", help="folder of the tasks' logs (DIR-logs)")
    parser.add_argument("--local", action="store_true", help="run the tasks on this machine")
    parser.add_argument("--wait", action="store_true", help="until the result is finished")
    options = parser.parse_args()
    if options.parts < 1:
        parser.error(f"--parts = {options.parts}: expected a positive integer")
    return options


def main() -> int:
    """Submit, and wait if that is asked for."""
    import submitit

    options = _options()
    logs = Path(options.logs or f"{options.out}-logs")
    common = [options.config, "--out", options.out, "--keep", options.keep]
    arrays = [[*common, "--part", f"{i}/{options.parts}"] for i in range(options.parts)]
    executor = submitit.AutoExecutor(folder=logs, cluster="local" if options.local else None)
    resources: dict[str, Any] = {
        "timeout_min": options.minutes,
        "cpus_per_task": options.cpus,
        "mem_gb": options.memory_gb,
        "gpus_per_node": options.gpus,
        "name": "dpe-sweep",
    }
    if options.partition:
        resources["slurm_partition"] = options.partition
    executor.update_parameters(**resources)
    jobs = executor.map_array(task, arrays)
    print(f"submitted {len(jobs)} tasks: {', '.join(job.job_id for job in jobs)}", flush=True)
    last = [*common, "--resume"]
    if options.local:
        # There is no queue that would know of dependencies.
        _finished(jobs)
        executor.submit(task, last).result()
        return 0
    ids = ":".join(dict.fromkeys(job.job_id.split("_")[0] for job in jobs))
    executor.update_parameters(slurm_additional_parameters={"dependency": f"afterany:{ids}"})
    final = executor.submit(task, last)
    print(f"submitted the job that finishes the result: {final.job_id}")
    if options.wait:
        _finished([*jobs, final])
    return 0


def _finished(jobs: list[Any]) -> None:
    """Wait for tasks; one that fails ends the wait with its error."""
    waiting = list(jobs)
    while waiting:
        for job in [job for job in waiting if job.done()]:
            job.result()
            waiting.remove(job)
        time.sleep(0.2 if waiting else 0)


if __name__ == "__main__":
    sys.exit(main())
