"""Whether a server renders BFCL's prompts exactly as we do, token id by token id. Prints and stores JSON.

python benchmarks/prompt_agreement.py http://127.0.0.1:8000/v1 MODEL [--limit 5] [--conversations DIR]

MODEL is the config name of the model that is served (`embedded`, a Hugging Face id, a folder). The server must be
vLLM's: `/tokenize` is its own. The first prompt of each entry is compared; with `--conversations`, also every later one
in the dialogues of an evaluation's folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from fission_grpo.chat import Message, ToolSpec
from fission_grpo.evaluation.bfcl import play as bfcl
from fission_grpo.evaluation.bfcl.client import Servers
from fission_grpo.evaluation.endpoint import EndpointSettings, connect, served_prompt_ids
from fission_grpo.evaluation.environment import BFCL, python_of
from fission_grpo.evaluation.results import read_episodes
from fission_grpo.policy.load import ModelSettings, load_template


def prompts(entries: list[dict[str, Any]], episodes: dict[str, Any]) -> Iterator[tuple[list[Message], list[ToolSpec]]]:
    """The first prompt of every entry, and those of the turns that its episode holds, as long as the tools stay."""
    for entry in entries:
        tools = bfcl._specs(entry["function"])
        yield entry["question"][0], tools
        messages = episodes[entry["id"]].messages if entry["id"] in episodes else []
        spoken = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        for i in spoken[1:] if not entry.get("missed_function") else []:
            yield messages[:i], tools


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("--limit", type=int, default=5, help="entries of each category")
    parser.add_argument("--conversations", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "prompts.json")
    options = parser.parse_args()
    endpoint = connect(options.url, None, EndpointSettings())
    template = load_template(ModelSettings(name=options.model))
    episodes = {e.task: e for e in read_episodes(options.conversations)} if options.conversations else {}
    with Servers(python_of(BFCL)) as servers:
        entries = [entry for name in bfcl.CATEGORIES for entry in islice(servers.load(name), options.limit)]
    pairs = [
        (template.encode(messages, tools), served_prompt_ids(endpoint, messages, tools))
        for messages, tools in prompts(entries, episodes)
    ]
    equal = sum(ours == theirs for ours, theirs in pairs)
    lengths = sorted(len(ours) for ours, _ in pairs)
    result = {"entries": len(entries), "prompts": len(pairs), "equal": equal, "tokens": [lengths[0], lengths[-1]]}
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
