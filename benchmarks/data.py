"""Times of the data: building everything, loading it, one environment step; and its size. Prints and stores JSON.

python benchmarks/data.py [--out benchmarks/results/data.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from random import Random
from statistics import median

from fission_grpo.chat import ToolCall
from fission_grpo.data.check import random_call
from fission_grpo.data.sources import TaskSettings, evaluation_tasks
from fission_grpo.domains import DOMAINS, Domain, ToolError

LOADS = 5

LOADING = """
import time
start = time.perf_counter()
from fission_grpo.data.sources import DataSettings, TaskSettings, evaluation_tasks, training_decisions
imported = time.perf_counter()
training_decisions(DataSettings())
compact = time.perf_counter()
evaluation_tasks(TaskSettings(tasks=10_000))
print(imported - start, compact - imported, time.perf_counter() - compact)
"""


def build_seconds() -> float:
    """Wall time of `fission-grpo data build`, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, "-m", "fission_grpo.cli", "data", "build", "--out", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        return time.perf_counter() - start


def loading_seconds() -> dict[str, float]:
    """Medians over fresh processes: imports, the compact decisions, all test tasks."""
    runs = []
    for _ in range(LOADS):
        done = subprocess.run([sys.executable, "-c", LOADING], check=True, capture_output=True, text=True)  # noqa: S603
        runs.append([float(part) for part in done.stdout.split()])
    return dict(zip(("import", "compact decisions", "test tasks"), map(median, zip(*runs, strict=True)), strict=True))


def step_microseconds() -> dict[str, float]:
    """Median time of one call by domain, over the reference calls of the test tasks and as many random ones."""
    times: dict[str, list[float]] = {name: [] for name in DOMAINS}
    for task in evaluation_tasks(TaskSettings(tasks=10_000)):
        world = DOMAINS[task.domain].restore(task.initial_state)
        times[task.domain] += [_timed(world, call) for turn in task.turns for step in turn.calls for call in step]
    for name, domain in DOMAINS.items():
        rng, world = Random(0), domain.fresh(0)  # noqa: S311
        times[name] += [_timed(world, random_call(rng, world)) for _ in range(len(times[name]))]
    return {name: round(1e6 * median(of), 1) for name, of in times.items()}


def _timed(world: Domain, call: ToolCall) -> float:
    start = time.perf_counter()
    with suppress(ToolError):
        world.call(call)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/data.json"))
    out = parser.parse_args().out
    size = sum(Path(str(file)).stat().st_size for file in (files("fission_grpo") / "assets" / "data").iterdir())
    result = {
        "build_seconds": round(build_seconds(), 1),
        "loading_seconds": {name: round(value, 3) for name, value in loading_seconds().items()},
        "step_microseconds": step_microseconds(),
        "package_mib": round(size / 2**20, 2),
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "platform": platform.machine()},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
