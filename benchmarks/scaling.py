"""How a step grows with the context and with the group, shared and unshared. Stores JSON and draws it.

python benchmarks/scaling.py [--out benchmarks/results/scaling.json]

SmolLM2-135M in bf16 with a LoRA of rank 16, N = 64 forced new tokens: sampling and update of one context of P tokens,
over P with G = 8 and over G with P = 1,024. Every point is one step in a process of its own, after
one to warm up. The unshared
way decodes with transformers' cache, which copies all keys at every token.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
from step import GROUP, NEW_TOKENS, step

CONTEXTS, GROUPS, CONTEXT = (256, 512, 1024, 2048), (2, 4, 8, 16), 1024
WAYS = {"shared": "each context once", "unshared": "each context G times"}
STEPS = 1


def point(tokens: int, group: int, how: str) -> float:
    """Seconds of a step, from a process of its own."""
    command = [sys.executable, __file__, "--measure", str(tokens), str(group), how]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return float(done.stdout.splitlines()[-1])


def draw(found: dict[str, dict[str, list[list[float]]]], file: Path) -> None:
    """One panel for P, one for G."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, (panel, curves) in zip(axes, found.items(), strict=True):
        for how, points in curves.items():
            axis.plot(*zip(*points, strict=True), marker="o", label=WAYS[how])
        axis.set(xlabel=panel, ylim=(0, None), xlim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds per step")
    axes[0].legend(frameon=False)
    figure.suptitle(f"One context, N = {NEW_TOKENS}, SmolLM2-135M on 2 CPU cores")
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scaling.json")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        warnings.filterwarnings("ignore")
        tokens, group, how = options.measure
        print(step(int(tokens), STEPS, int(group), how)["seconds"])
        return
    found = {
        f"context length P (G = {GROUP})": {how: [[p, point(p, GROUP, how)] for p in CONTEXTS] for how in WAYS},
        f"group size G (P = {CONTEXT:,})": {how: [[g, point(CONTEXT, g, how)] for g in GROUPS] for how in WAYS},
    }
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    draw(found, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
