"""Where what is fetched or built once is kept: the embedded model, the benchmarks' environments."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$FISSION_GRPO_CACHE` or `~/.cache/fission-grpo`."""
    return Path(os.environ.get("FISSION_GRPO_CACHE") or Path.home() / ".cache" / "fission-grpo")
