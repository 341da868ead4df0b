"""The same sampling work through vLLM, for `benchmarks/step.py`'s last line. Runs in vLLM's own environment.

python benchmarks/vllm_sampling.py MODEL_FOLDER [--out benchmarks/results/vllm_sampling.json]

4 contexts of 512 tokens, 8 rollouts of 64 forced new tokens each, bf16; the median of three calls after one to warm up.
`fission-grpo model fetch` prints the embedded model's folder. vLLM's CPU build may leave a core to its front end:
`VLLM_CPU_OMP_THREADS_BIND=0-1` gives it both of two. Prefix caching is left on, as vLLM has it by default, but
every call has new contexts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path
from statistics import median

import vllm

CONTEXTS, TOKENS, GROUP, NEW_TOKENS, STEPS = 4, 512, 8, 64, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of the embedded model")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "vllm_sampling.json")
    parser.add_argument("--enforce-eager", action="store_true", help="without compilation")
    options = parser.parse_args()
    engine = vllm.LLM(
        options.model, dtype="bfloat16", max_model_len=2048, max_num_seqs=64, enforce_eager=options.enforce_eager
    )
    wanted = vllm.SamplingParams(
        n=GROUP, temperature=1.0, max_tokens=NEW_TOKENS, min_tokens=NEW_TOKENS, ignore_eos=True, logprobs=0
    )
    rng, seconds = random.Random(0), []  # noqa: S311
    for _ in range(STEPS + 1):
        prompts = [{"prompt_token_ids": [rng.randrange(1000, 40_000) for _ in range(TOKENS)]} for _ in range(CONTEXTS)]
        start = time.perf_counter()
        answers = engine.generate(prompts, wanted, use_tqdm=False)
        seconds.append(time.perf_counter() - start)
        if any(len(one.token_ids) != NEW_TOKENS for answer in answers for one in answer.outputs):
            raise RuntimeError("vLLM did not generate the tokens it was forced to")
    middle = median(seconds[1:])
    rate = CONTEXTS * GROUP * NEW_TOKENS / middle
    result = {
        "seconds": middle,
        "tokens_per_second": rate,
        "vllm": vllm.__version__,
        "eager": options.enforce_eager,
        "binding": os.environ.get("VLLM_CPU_OMP_THREADS_BIND"),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
