"""Parsing and reward on one core, over rollouts that are right, wrong, malformed and prose. Prints and stores JSON.

python benchmarks/reward.py [--out benchmarks/results/reward.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from fission_grpo.chat import Decision, Rollout
from fission_grpo.data.sources import DataSettings, training_decisions
from fission_grpo.reward import RewardSettings, score
from fission_grpo.toolcall import Toolbox, render

REPEATS = 5


def rollouts(decision: Decision, other: Decision) -> Iterator[Rollout]:
    """Eight answers to one decision: what it should be and seven ways to fail."""
    right, wrong = render(decision.calls), render(other.calls)
    texts = [
        right,
        wrong,
        right + wrong,
        right.replace('"arguments"', '"parameters"'),
        right[: len(right) * 2 // 3],
        right.replace("1", "7").replace("a", "e"),
        "I think that " + right,
        "I am sorry, I cannot help with that. " * 5,
    ]
    return (Rollout(text, (1,) * 60, (-0.5,) * 60) for text in texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "reward.json")
    options = parser.parse_args()
    decisions = [decision for decision in training_decisions(DataSettings()) if decision.calls]
    pairs = list(zip(decisions, [*decisions[1:], decisions[0]], strict=True))
    groups = [(decision, list(rollouts(decision, other))) for decision, other in pairs]
    settings, rates = RewardSettings(), []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        for decision, group in groups:
            toolbox = Toolbox(decision.tools)
            for rollout in group:
                score(rollout, decision, toolbox, reference_length=50, progress=0.5, settings=settings)
        rates.append(sum(len(group) for _, group in groups) / (time.perf_counter() - start))
    result = {
        "rollouts_per_second": round(median(rates[1:])),
        "rollouts": sum(len(group) for _, group in groups),
        "machine": {"python": platform.python_version(), "platform": platform.machine()},
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
