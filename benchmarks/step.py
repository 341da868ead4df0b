"""A training step, piece by piece, beside TRL's GRPOTrainer on identical contexts. Prints a table and stores JSON.

python benchmarks/step.py [--contexts 512 1024 2048] [--out benchmarks/results/step.json]

SmolLM2-135M in bf16 with a LoRA of rank 16, one context of P tokens, G = 8 rollouts of N = 64 forced new tokens. Every
measurement runs in a process of its own: one step to warm up, then the median of `--steps`. `unshared` is our own
update with every rollout's copy of the context, `memory` the peak above what the process held before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

GROUP, NEW_TOKENS = 8, 64
WORDS = "book the early train to Porto for two people and note which tickets are open before the store closes on Monday"
BATCH = 4
"""Contexts of the sampling measurement, 512 tokens each."""


def prompt(tokenizer: Any, tokens: int, seed: int = 0) -> str:
    """A text that is encoded into exactly so many tokens."""
    rng = random.Random(seed)  # noqa: S311
    words = " ".join(rng.choice(WORDS.split()) for _ in range(tokens))
    for length in range(tokens, tokens + 50):
        text = tokenizer.decode(tokenizer(words, add_special_tokens=False)["input_ids"][:length])
        if len(tokenizer(text, add_special_tokens=False)["input_ids"]) == tokens:
            return str(text)
    raise RuntimeError(f"no text of {tokens} tokens")


def policy(logprobs: str = "shared", lora: bool = True) -> Any:
    """The embedded model with a fresh LoRA, ready to learn, or without; never stops before N tokens."""
    from fission_grpo.objective import ObjectiveSettings
    from fission_grpo.policy import Policy
    from fission_grpo.policy.load import ModelSettings
    from fission_grpo.policy.sample import SamplingSettings
    from fission_grpo.policy.update import OptimizerSettings

    sampling = SamplingSettings(temperature=1.0, top_k=0, max_new_tokens=NEW_TOKENS)
    made = Policy.load(ModelSettings(), sampling, trainable=lora)
    made.eos = frozenset()
    if not lora:
        return made
    made.learn(OptimizerSettings(lr=1e-6), ObjectiveSettings(beta=0.0), updates=1000)
    made._shares = logprobs == "shared"
    return made


def contexts(made: Any, count: int, tokens: int) -> list[tuple[int, ...]]:
    tokenizer = made.template.tokenizer
    texts = (prompt(tokenizer, tokens, seed) for seed in range(count))
    return [tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]


def timed(action: Callable[[], Any], steps: int) -> float:
    """Median seconds, after one run to warm up."""
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def sampling(tokens: int, steps: int) -> dict[str, float]:
    """Rollouts of `BATCH` contexts together, with the LoRA that is trained and with the bare model."""
    rates = {}
    for name, made in (("tokens_per_second", policy()), ("tokens_per_second_without_lora", policy(lora=False))):
        batch = contexts(made, BATCH, tokens)
        rates[name] = BATCH * GROUP * NEW_TOKENS / timed(partial(made.sample, batch, GROUP, counter=0), steps)
    return rates


def step(tokens: int, steps: int, group: int = GROUP, logprobs: str = "shared") -> dict[str, float]:
    """Sampling and update of one context, as the trainer calls them."""
    from fission_grpo.policy.update import Group

    made = policy(logprobs)
    ids = contexts(made, 1, tokens)
    seconds: dict[str, list[float]] = {"sample": [], "update": []}

    def one() -> None:
        start = time.perf_counter()
        (rollouts,) = made.sample(ids, group, counter=0)
        sampled = time.perf_counter()
        made.update([Group(ids[0], rollouts, made.advantages(rewards(group)))])
        seconds["sample"].append(sampled - start)
        seconds["update"].append(time.perf_counter() - sampled)

    whole = timed(one, steps)
    return {"seconds": whole, **{name: median(values[1:]) for name, values in seconds.items()}}


def update(tokens: int, steps: int, logprobs: str) -> dict[str, float]:
    """The update alone, and how far it raises the memory of the process."""
    from fission_grpo.chat import Rollout
    from fission_grpo.policy.update import Group

    made = policy(logprobs)
    (ids,) = contexts(made, 1, tokens)
    spoken = contexts(made, GROUP, NEW_TOKENS)
    group = Group(ids, [Rollout("", one, (-3.0,) * NEW_TOKENS) for one in spoken], made.advantages(rewards(GROUP)))
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew
    made.update([group])
    peak = memory("VmHWM")
    return {"seconds": timed(lambda: made.update([group]), steps), "memory_gib": (peak - before) / 2**20}


def trl(tokens: int, steps: int) -> dict[str, float]:
    """TRL's own step on the same context: `generate`, rewards, update."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from fission_grpo.policy.embedded import model_dir

    tokenizer = AutoTokenizer.from_pretrained(model_dir())
    model = AutoModelForCausalLM.from_pretrained(model_dir(), dtype=torch.bfloat16)
    seconds: list[float] = []

    class Stopwatch(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.start)

    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            reward_funcs=lambda completions, **_: rewards(len(completions)),
            train_dataset=Dataset.from_dict({"prompt": [prompt(tokenizer, tokens)] * (steps + 1)}),
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Stopwatch()],
            args=GRPOConfig(
                output_dir=folder,
                use_cpu=True,
                max_steps=steps + 1,
                per_device_train_batch_size=2,  # all 8 at once need more than 24 GB at P = 2,048
                gradient_accumulation_steps=GROUP // 2,
                num_generations=GROUP,
                max_completion_length=NEW_TOKENS,
                generation_kwargs={"min_new_tokens": NEW_TOKENS},
                temperature=1.0,
                learning_rate=1e-6,
                beta=0.0,
                gradient_checkpointing=False,
                save_strategy="no",
                logging_steps=1,
                report_to="none",
                disable_tqdm=True,
            ),
        )
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "completions/mean_length" in entry]
    if any(entry["completions/mean_length"] != NEW_TOKENS for entry in logged):
        raise RuntimeError("TRL did not generate the tokens it was forced to")
    return {"seconds": median(seconds[1:])}


def rewards(count: int) -> list[float]:
    """As different as rewards are, and the same for everyone."""
    return [i / count for i in range(count)]


def memory(field: str) -> int:
    """A field of this process's memory in KiB, as Linux gives it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


MEASUREMENTS: dict[str, Callable[[int, int], dict[str, float]]] = {
    "step": step,
    "trl": trl,
    "update": lambda tokens, steps: update(tokens, steps, "shared"),
    "unshared update": lambda tokens, steps: update(tokens, steps, "unshared"),
    "sampling": sampling,
}


def apart(name: str, tokens: int, steps: int) -> dict[str, float]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, "--contexts", str(tokens), "--steps", str(steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return dict(json.loads(done.stdout.splitlines()[-1]))


def report(found: dict[int, dict[str, dict[str, float]]]) -> Table:
    table = Table(title=f"One context of P tokens, G = {GROUP}, N = {NEW_TOKENS}: seconds")
    for column in ("P", "step", "TRL's step", "ratio", "update", "unshared", "ratio", "limit", "GiB", "unshared GiB"):
        table.add_column(column, justify="right")
    for tokens, of in found.items():
        ours, theirs, shared, plain = (of[name] for name in ("step", "trl", "update", "unshared update"))
        limit = GROUP * (tokens + NEW_TOKENS) / (tokens + GROUP * NEW_TOKENS)
        numbers = (
            ours["seconds"], theirs["seconds"], theirs["seconds"] / ours["seconds"], shared["seconds"],
            plain["seconds"], plain["seconds"] / shared["seconds"], limit, shared["memory_gib"], plain["memory_gib"],
        )  # fmt: skip
        table.add_row(f"{tokens:,}", *(f"{number:.2f}" for number in numbers))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contexts", type=int, nargs="+", default=[512, 1024, 2048], help="context lengths P")
    parser.add_argument("--steps", type=int, default=3, help="steps of which the median is taken")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "step.json")
    parser.add_argument("--measure", choices=MEASUREMENTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        warnings.filterwarnings("ignore")
        print(json.dumps(MEASUREMENTS[options.measure](options.contexts[0], options.steps)))
        return
    sampled = apart("sampling", 512, options.steps)
    print(f"sampling {BATCH} × {GROUP} × {NEW_TOKENS}: {sampled}", flush=True)
    found: dict[int, dict[str, dict[str, float]]] = {}
    names = ("step", "update", "unshared update", "trl")
    for tokens in options.contexts:
        found[tokens] = {name: apart(name, tokens, options.steps) for name in names}
        Console().print(report(found))
    import torch
    import transformers
    import trl as library

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    machine = {"cpu": model, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "trl": library.__version__}
    result = {"machine": machine, "versions": versions, "contexts": found, "sampling": sampled}
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
