"""What the BFCL harness costs: the ground truth of all 800 entries, replayed and checked. Prints and stores JSON.

python benchmarks/evaluation.py [--workers 2] [--out benchmarks/results/evaluation.json]

`seconds` is from the start to the last verdict, loading included; `overhead` is what the harness, the tools and the
checks take of each assistant turn, the agent's own time left out, in one worker's time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from fission_grpo.chat import Rollout
from fission_grpo.evaluation.bfcl import play as bfcl
from fission_grpo.evaluation.bfcl.client import Servers
from fission_grpo.evaluation.environment import BFCL, python_of
from fission_grpo.evaluation.episode import Conversation, run
from fission_grpo.evaluation.scripted import Replay


class Timed(Replay):
    """Notes how long it takes itself."""

    seconds = 0.0

    def act(self, conversations: Sequence[Conversation]) -> list[Rollout]:
        start = time.perf_counter()
        turns = super().act(conversations)
        self.seconds += time.perf_counter() - start
        return turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "evaluation.json")
    options = parser.parse_args()
    python, agent = python_of(BFCL), Timed()
    start = time.perf_counter()
    with Servers(python) as servers:
        plays = list(bfcl.plays(servers).values())
        loaded = time.perf_counter()
        episodes = run(plays, agent, batch_size=1, workers=options.workers)
        end = time.perf_counter()
    steps = sum(episode.steps for episode in episodes)
    result = {
        "entries": len(episodes),
        "passed": sum(episode.success for episode in episodes),
        "seconds": round(end - start, 1),
        "loading_seconds": round(loaded - start, 1),
        "assistant_turns": steps,
        "overhead_ms_per_turn": round(1e3 * ((end - loaded) * options.workers - agent.seconds) / steps, 2),
        "workers": options.workers,
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
