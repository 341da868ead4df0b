"""`fission-grpo data errors`: a policy's real failures on training decisions, for an Error Simulator to learn from."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fission_grpo.chat import Decision, fingerprint
from fission_grpo.config import Config
from fission_grpo.data.modules import register
from fission_grpo.data.sources import training_decisions
from fission_grpo.errors import UserError, first_line
from fission_grpo.feedback import Failure, diagnose
from fission_grpo.fission import is_error
from fission_grpo.policy import Policy
from fission_grpo.reward import Scored, score
from fission_grpo.run import feedback_sources, write_whole
from fission_grpo.toolcall import Toolbox


class CorpusError(UserError):
    """A corpus cannot be continued. The message is one line."""


@dataclass
class _Corpus:
    """A folder of JSONL files, one per domain, and how far they go; whole batches or none."""

    folder: Path
    made_of: str
    """Fingerprint of the decisions and of all settings that shape the errors."""
    seen: int = 0
    """Decisions done."""
    lines: Counter[str] = field(default_factory=Counter)
    """Errors by domain."""

    @classmethod
    def open(cls, folder: Path, made_of: str, domains: set[str]) -> Self:
        """A new corpus, or the one in `folder` without what a killed run left half done.

        Raises CorpusError for a folder of another corpus, one that cannot be read, and a domain that is no file name.
        """
        if unsafe := sorted(name for name in domains if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name)):
            raise CorpusError(f"domain {unsafe[0]!r} cannot name a file: use letters, digits, '_', '-' and '.'")
        corpus = cls(folder, made_of)
        if (folder / "progress.json").exists():
            corpus._read()
        for domain in domains:
            file = folder / f"{domain}.jsonl"
            if file.exists():
                kept = file.read_text(encoding="utf-8").split("\n")[: corpus.lines[domain]]
                write_whole(file, "".join(line + "\n" for line in kept))
        return corpus

    def _read(self) -> None:
        file = self.folder / "progress.json"
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            made_of, self.seen, self.lines = known["made_of"], int(known["seen"]), Counter(known["lines"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{file}: damaged ({first_line(error)}); delete {self.folder} to begin anew") from error
        if made_of != self.made_of:
            raise CorpusError(f"{self.folder} holds errors over other decisions or settings: choose another folder")

    def add(self, decisions: int, errors: Sequence[dict[str, Any]]) -> None:
        """Adds the errors that a batch of decisions gave."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for error in errors:
            with (self.folder / f"{error['domain']}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(error, ensure_ascii=False) + "\n")
            self.lines[error["domain"]] += 1
        self.seen += decisions
        progress = {"made_of": self.made_of, "seen": self.seen, "lines": self.lines}
        write_whole(self.folder / "progress.json", json.dumps(progress))


def collect(config: Config, out: Path, count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Samples G rollouts for one training decision after another until `count` distinct errors are in `out`.

    Decisions are taken in the order of the data. The same call goes on where a stopped one left off. Returns counts.
    Raises CorpusError where `out` holds another corpus.
    """
    register(config.modules)
    decisions = training_decisions(config.data)
    corpus = _Corpus.open(out, _made_of(config, decisions), {decision.domain for decision in decisions})
    policy = Policy.load(config.model, config.sampling, trainable=False, seed=config.seed)
    size = config.training.batch_size
    while corpus.lines.total() < count and corpus.seen < len(decisions):
        batch = decisions[corpus.seen : corpus.seen + size]
        corpus.add(len(batch), list(_errors(config, policy, batch, counter=corpus.seen)))
        say(f"{corpus.seen} of {len(decisions)} decisions: {corpus.lines.total()} of {count} errors")
    return {"decisions": corpus.seen, "errors": corpus.lines.total(), "by_domain": dict(sorted(corpus.lines.items()))}


def _made_of(config: Config, decisions: Sequence[Decision]) -> str:
    shaping = config.model_dump(mode="json", include={"seed", "model", "sampling", "reward", "fission", "feedback"})
    sizes = [config.training.batch_size, config.training.group_size]
    return hashlib.sha256(json.dumps([fingerprint(decisions), shaping, sizes]).encode()).hexdigest()


def _errors(config: Config, policy: Policy, batch: Sequence[Decision], counter: int) -> Iterator[dict[str, Any]]:
    """The distinct errors (Eq. 4) of G rollouts for each decision, with the feedback that training would give."""
    limit = config.sampling.max_context_tokens
    encoded = [(decision, policy.encode(decision.messages, decision.tools)) for decision in batch]
    fitting = [(decision, ids) for decision, ids in encoded if len(ids) <= limit]
    if not fitting:
        return
    groups = policy.sample([ids for _, ids in fitting], config.training.group_size, counter=counter)
    sources = feedback_sources(config.feedback.sources)
    for (decision, _), rollouts in zip(fitting, groups, strict=True):
        toolbox = Toolbox(decision.tools)
        scored = [
            score(rollout, decision, toolbox, reference_length=None, progress=0.0, settings=config.reward)
            for rollout in rollouts
        ]
        failed = {_what(one): one for one in scored if is_error(one.reward, config.fission.delta)}
        for number, one in enumerate(failed.values()):
            failure = Failure(decision, one.rollout.text, one.turn, one.reward.format_errors)
            feedback = diagnose(failure, sources)
            yield {
                **json.loads(decision.to_line()),
                "id": f"{decision.id}#{number}",
                "failed": one.rollout.text,
                "failed_calls": [call.to_openai()["function"] for call in one.turn.calls],
                "format_errors": [error.kind for error in one.reward.format_errors],
                "correctness": round(one.reward.corr, 4),
                "feedback": feedback.text,
                "feedback_source": feedback.source,
            }


def _what(one: Scored) -> str:
    """What a failed turn did: its calls, or its text where they are not well-formed."""
    if one.reward.format_errors:
        return one.rollout.text
    return json.dumps([[call.name, call.arguments] for call in one.turn.calls], sort_keys=True)
