"""Sampling and update on a GPU, for the shapes of Qwen3 with random weights. Prints a table and stores JSON.

python benchmarks/gpu.py [--models 0.6B 1.7B 8B] [--contexts 2048 12800] [--out benchmarks/results/gpu.json]
python benchmarks/gpu.py --models tiny --contexts 96 --new-tokens 8 --steps 1    # anywhere, to see that it runs

One context of P tokens, G = 8 rollouts of N tokens, bf16 with gradient checkpointing: a LoRA of rank 16, and `full`
(all parameters in fp32 under autocast, Adafactor); β = 0, no reference model. `unshared` computes its rows in one batch
and its LM head in one piece. `sampled/s` are new tokens of the bf16 model, the time of the context included. MFU counts
the operations the shared update needs, without what the checkpointing computes again, against a square bf16 matrix
product timed in the same run. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table

GROUP = 8
SHAPES = {  # hidden, intermediate, layers, heads, key/value heads
    "tiny": (64, 128, 2, 4, 2),
    "0.6B": (1024, 3072, 28, 16, 8),
    "1.7B": (2048, 6144, 28, 16, 8),
    "8B": (4096, 12288, 36, 32, 8),
}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def network(name: str) -> Any:
    """A random model of the shape, with the shared-prefix attention."""
    from fission_grpo.policy.attention import NAME

    hidden, intermediate, layers, heads, kv_heads = SHAPES[name]
    config = transformers.Qwen3Config(
        vocab_size=512 if name == "tiny" else 151_936,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden // heads if name == "tiny" else 128,
        max_position_embeddings=40_960,
        tie_word_embeddings=name != "8B",
    )
    with DEVICE:
        return transformers.AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, attn_implementation=NAME
        ).eval()


def operations(config: Any, tokens: int, new_tokens: int, trained: str) -> float:
    """Floating-point operations of one shared update: forward, and backward without the frozen weights' gradients."""
    heads = config.num_attention_heads * config.head_dim
    kv_heads = config.num_key_value_heads * config.head_dim
    hidden, layers = config.hidden_size, config.num_hidden_layers
    weights = layers * hidden * (2 * heads + 2 * kv_heads + 3 * config.intermediate_size)
    row, spoken = tokens + GROUP * new_tokens, GROUP * new_tokens
    linear = 2 * (weights * row + config.vocab_size * hidden * spoken)
    pairs = tokens**2 / 2 + spoken * tokens + spoken * new_tokens / 2
    attention = 4 * layers * heads * pairs
    return linear * (3 if trained == "full" else 2) + attention * 3


def prepared(name: str, trained: str) -> tuple[Any, Any]:
    """The model with what is trained of it, and its optimiser."""
    from fission_grpo.policy.load import LoraSettings, add_lora
    from fission_grpo.policy.update import OptimizerSettings, optimizer

    model = network(name).requires_grad_(False)
    model = model.float().requires_grad_(True) if trained == "full" else add_lora(model, LoraSettings())
    settings = OptimizerSettings(lr=1e-6, name="adafactor" if trained == "full" else "adamw")
    return model, optimizer(model, settings)


def update(name: str, tokens: int, new_tokens: int, steps: int, trained: str, how: str) -> dict[str, float]:
    """Median seconds of an update, its tokens per second, model operations per second and peak memory."""
    from accelerate import Accelerator
    from peft.helpers import disable_input_dtype_casting

    from fission_grpo.chat import Rollout
    from fission_grpo.objective import ObjectiveSettings
    from fission_grpo.policy.logprobs import response_logprobs
    from fission_grpo.policy.sample import SamplingSettings
    from fission_grpo.policy.unshared import response_logprobs_unshared
    from fission_grpo.policy.update import Group, backward

    model, stepper = prepared(name, trained)
    base = model if trained == "full" else model.get_base_model()
    base.gradient_checkpointing_enable()
    model.train()
    rollouts = [Rollout("", ids(base, new_tokens, seed), (-3.0,) * new_tokens) for seed in range(GROUP)]
    group = Group(ids(base, tokens, GROUP), rollouts, [1.0, -1.0] * (GROUP // 2))

    def one() -> None:
        stepper.zero_grad()
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16), disable_input_dtype_casting(model):
            backward(
                base,
                [group],
                ObjectiveSettings(beta=0.0),
                SamplingSettings(temperature=1.0, top_k=0, max_new_tokens=new_tokens),
                Accelerator(),
                reference=nullcontext,
                logprobs=response_logprobs if how == "shared" else response_logprobs_unshared,
                max_tokens=1,
            )
        stepper.step()

    seconds = timed(one, steps)
    peak = torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else 0.0
    done = operations(base.config, tokens, new_tokens, trained) / seconds / 1e12
    return {
        "seconds": seconds,
        "tokens_per_second": GROUP * new_tokens / seconds,
        "teraflops": done,
        "memory_gib": peak,
    }


def sampling(name: str, tokens: int, new_tokens: int, steps: int, *_: str) -> dict[str, float]:
    """Median seconds of sampling one group, and its new tokens per second."""
    from fission_grpo.policy.sample import SamplingSettings, sample

    model = network(name)
    settings = SamplingSettings(temperature=1.0, top_k=0, max_new_tokens=new_tokens)
    generator = torch.Generator(DEVICE).manual_seed(0)
    context = ids(model, tokens, 0)
    seconds = timed(lambda: sample(model, [context], GROUP, settings, eos=frozenset(), generator=generator), steps)
    return {"seconds": seconds, "tokens_per_second": GROUP * new_tokens / seconds}


def matmul() -> dict[str, float]:
    """What a square bf16 product reaches here: the peak that MFU is of."""
    size = 8192 if DEVICE.type == "cuda" else 256
    a, b = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return {"teraflops": 2 * size**3 / timed(lambda: a @ b, 50) / 1e12}


def ids(model: Any, count: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(model.config.vocab_size, (count,), generator=generator).tolist())


def timed(action: Callable[[], Any], steps: int) -> float:
    """Median seconds, after one run to warm up."""
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        action()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


MEASUREMENTS: dict[str, Callable[..., dict[str, float]]] = {"update": update, "sampling": sampling}


def apart(*arguments: object) -> dict[str, float] | None:
    """One measurement in a process of its own; None where memory did not suffice."""
    command = [sys.executable, __file__, "--measure", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    if done.returncode and "OutOfMemoryError" in done.stderr:
        return None
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", choices=SHAPES, nargs="+", default=["0.6B", "1.7B", "8B"])
    parser.add_argument("--contexts", type=int, nargs="+", default=[2048, 12_800], help="context lengths P")
    parser.add_argument("--new-tokens", type=int, default=512, help="N")
    parser.add_argument("--steps", type=int, default=3, help="steps of which the median is taken")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        warnings.filterwarnings("ignore")
        kind, name, tokens, new_tokens, steps, *rest = options.measure
        print(json.dumps(MEASUREMENTS[kind](name, int(tokens), int(new_tokens), int(steps), *rest)))
        return
    peak = matmul()
    found: list[dict[str, Any]] = []
    for name in options.models:
        for tokens in options.contexts:
            shape = (name, tokens, options.new_tokens, options.steps)
            entry: dict[str, Any] = {"model": name, "context": tokens, "sampling": apart("sampling", *shape)}
            for trained in ("lora", "full"):
                for how in ("shared", "unshared"):
                    entry[f"{trained} {how}"] = apart("update", *shape, trained, how)
            found.append(entry)
            print(json.dumps(entry), flush=True)
    Console().print(report(found, peak["teraflops"]))
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU"
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    result = {"device": device, "versions": versions, "matmul": peak, "new_tokens": options.new_tokens, "found": found}
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def report(found: list[dict[str, Any]], peak: float) -> Table:
    table = Table(title=f"G = {GROUP}; MFU of {peak:.0f} TFLOP/s")
    for column in (
        "model",
        "P",
        "trained",
        "update s",
        "unshared s",
        "ratio",
        "MFU",
        "GiB",
        "unshared GiB",
        "sampled/s",
    ):
        table.add_column(column, justify="right")
    for entry in found:
        for trained in ("lora", "full"):
            shared, plain = entry[f"{trained} shared"], entry[f"{trained} unshared"]
            cells = [entry["model"], f"{entry['context']:,}", trained]
            cells += [
                f"{shared['seconds']:.2f}" if shared else "no memory",
                f"{plain['seconds']:.2f}" if plain else "no memory",
                f"{plain['seconds'] / shared['seconds']:.1f}" if shared and plain else "",
                f"{shared['teraflops'] / peak:.0%}" if shared else "",
                f"{shared['memory_gib']:.0f}" if shared else "",
                f"{plain['memory_gib']:.0f}" if plain else "",
                f"{entry['sampling']['tokens_per_second']:.0f}" if entry["sampling"] else "no memory",
            ]
            table.add_row(*cells)
    return table


if __name__ == "__main__":
    main()
