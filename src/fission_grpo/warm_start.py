"""`fission-grpo sft`: the adapter, with the config, data hash and metrics it was made with beside it."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from fission_grpo.chat import fingerprint
from fission_grpo.config import SftConfig, dump_config
from fission_grpo.data.modules import register
from fission_grpo.data.sources import training_decisions
from fission_grpo.policy.sft import train


def warm_start(config: SftConfig, out: Path) -> dict[str, Any]:
    """Trains and writes `out`: adapter, `sft.yaml` and `sft.json`. Returns what `sft.json` holds."""
    register(config.modules)
    decisions = training_decisions(config.data)
    start = time.perf_counter()
    metrics = train(config.model, decisions, config.sft, out, config.seed)
    record = {
        "command": shlex.join(["fission-grpo", *sys.argv[1:]]),
        "decisions": len(decisions),
        "data_sha256": fingerprint(decisions),
        "seconds": round(time.perf_counter() - start, 1),
        **metrics,
    }
    (out / "sft.yaml").write_text(dump_config(config), encoding="utf-8")
    (out / "sft.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record
