"""A training run: its folder, its two evaluations, and how it resumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from fission_grpo.chat import Decision, Task, ToolCall
from fission_grpo.config import Config, dump_config
from fission_grpo.data import replay_calls
from fission_grpo.data.modules import register
from fission_grpo.data.sources import evaluation_tasks, training_decisions
from fission_grpo.domains import DOMAINS, ToolError
from fission_grpo.errors import UserError
from fission_grpo.evaluate import Player, play_all, say
from fission_grpo.evaluation import tasks as domain_tasks
from fission_grpo.evaluation.agent import PolicyAgent
from fission_grpo.evaluation.recovery import recovery_table
from fission_grpo.evaluation.results import Results, read_summary, write_whole
from fission_grpo.feedback import Source, diagnose, execution_feedback, format_feedback, rules_feedback
from fission_grpo.policy import Policy, checkpoint
from fission_grpo.trainer import Explored, Trainer


class RunError(UserError, ValueError):
    """A run folder cannot be used as asked."""


class RunFolder:
    """`runs/<name>/`: config, metrics, rollouts, checkpoints, evaluations, summary."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics, self.summary = path / "metrics.jsonl", path / "summary.json"
        self.rollouts, self.checkpoints, self.eval = path / "rollouts", path / "checkpoints", path / "eval"

    @classmethod
    def of(cls, config: Config) -> RunFolder:
        """The config's folder, existing or not. Raises RunError where it holds a run of another config."""
        folder = cls(Path(config.runs) / config.name)
        file = folder.path / "config.yaml"
        if file.exists():
            held = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            differing = _differences(held, config.model_dump(mode="json"))
            if differing:
                raise RunError(
                    f"{folder.path} holds a run of another config ({', '.join(differing[:3])} differ): "
                    "set another `name`, or delete the folder"
                )
        return folder

    def create(self, config: Config) -> None:
        """Makes the folders and writes the config."""
        for needed in (self.rollouts, self.checkpoints, self.eval):
            needed.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "config.yaml", dump_config(config))

    def log(self, metrics: dict[str, Any], groups: Sequence[Explored]) -> None:
        """Appends one update's metrics, and writes all its rollouts."""
        lines = "".join(json.dumps(_record(group), ensure_ascii=False) + "\n" for group in groups)
        self._rollouts_of(metrics["update"]).write_text(lines, encoding="utf-8")
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    def rewind(self, updates: int) -> None:
        """Forgets what was logged after `updates`: a resumed run does those again."""
        if self.metrics.exists():
            kept = [
                line for line in self.metrics.read_text(encoding="utf-8").splitlines() if _update_of(line) <= updates
            ]
            write_whole(self.metrics, "".join(line + "\n" for line in kept))
        for file in self.rollouts.glob("update-*.jsonl"):
            if file > self._rollouts_of(updates):
                file.unlink()

    def prune(self, keep: int) -> None:
        """Deletes all but the newest `keep` checkpoints."""
        for old in sorted(self.checkpoints.glob("step-*"))[:-keep]:
            shutil.rmtree(old)

    def _rollouts_of(self, update: int) -> Path:
        return self.rollouts / f"update-{update:06d}.jsonl"


def train(config: Config, console: Console) -> dict[str, Any] | None:
    """Runs, resumes or (where it is finished) merely reports a training run; returns its summary.

    None where SIGINT stopped it: the same call goes on from there.
    """
    folder = RunFolder.of(config)
    if folder.summary.exists():
        say(console)(f"{folder.path} is finished; delete it to run again")
        return _report(folder, console)
    register(config.modules)
    decisions, tasks = training_decisions(config.data), evaluation_tasks(config.tasks)
    policy = Policy.load(config.model, config.sampling, trainable=True, seed=config.seed)
    if policy.accelerator.num_processes > 1:
        raise RunError("training on several processes is not supported yet: start one")
    policy.learn(config.optimizer, config.objective, config.training.updates)
    trainer = _trainer(config, policy, decisions, folder, console)
    folder.create(config)  # only now: what failed before has left nothing behind
    _resume(trainer, policy, folder, console)
    if not (folder.eval / "before" / "summary.json").exists():
        _evaluate(policy, tasks, config, folder.eval / "before", console)
    trainer.run()
    if trainer.stopping:
        say(console)(f"stopped after update {trainer.updates.total()}; the same command resumes")
        return None
    _evaluate(policy, tasks, config, folder.eval / "after", console)
    checkpoint.save_model(folder.path / "model", policy.model, base=config.model.name)
    summary = {
        "updates_standard": trainer.updates["standard"],
        "updates_fission": trainer.updates["fission"],
        "before": _headline(folder.eval / "before"),
        "after": _headline(folder.eval / "after"),
        "skipped_decisions": len(trainer.skipped),
        "wall_seconds": round(trainer.state()["seconds"], 1),
    }
    write_whole(folder.summary, json.dumps(summary, indent=2) + "\n")
    return _report(folder, console)


def feedback_sources(names: Sequence[str]) -> dict[str, Source]:
    """The named sources of feedback, in that order."""
    known: dict[str, Source] = {
        "format": format_feedback,
        "execution": execution_feedback(_real_errors),
        "rules": rules_feedback,
    }
    return {name: known[name] for name in names}


def _real_errors(decision: Decision, calls: Sequence[ToolCall]) -> list[str | None]:
    """What the decision's domain says to each call, in the state its dialogue has reached."""
    if decision.initial_state is None or decision.domain not in DOMAINS:
        return [None] * len(calls)
    domain = replay_calls(decision.domain, decision.initial_state, decision.messages)
    errors: list[str | None] = []
    for call in calls:
        try:
            domain.call(call)
            errors.append(None)
        except ToolError as error:
            errors.append(str(error))
    return errors


def _trainer(
    config: Config, policy: Policy, decisions: Sequence[Decision], folder: RunFolder, console: Console
) -> Trainer:
    sources = feedback_sources(config.feedback.sources)

    def on_update(metrics: dict[str, Any], groups: list[Explored]) -> None:
        folder.log(metrics, groups)
        say(console)(_line(metrics, config.training.updates))

    def save() -> None:
        policy.save(folder.checkpoints / f"step-{trainer.updates.total():06d}", trainer.state())
        folder.prune(config.training.keep_checkpoints)

    trainer = Trainer(
        policy,
        decisions,
        lambda failure: diagnose(failure, sources),
        training=config.training,
        fission=config.fission,
        reward=config.reward,
        seed=config.seed,
        on_update=on_update,
        save=save,
    )
    if trainer.skipped:
        named = ", ".join(trainer.skipped[:5])
        say(console)(f"skipped {len(trainer.skipped)} decisions longer than sampling.max_context_tokens: {named}")
    return trainer


def _resume(trainer: Trainer, policy: Policy, folder: RunFolder, console: Console) -> None:
    """Goes on from the newest checkpoint, or from the start."""
    newest = checkpoint.latest(folder.checkpoints)
    if newest is not None:
        trainer.load_state(policy.restore(newest))
        say(console)(f"resuming from {newest}")
    folder.rewind(trainer.updates.total())


def _evaluate(policy: Policy, tasks: Sequence[Task], config: Config, folder: Path, console: Console) -> None:
    """Plays the tasks; one that was interrupted goes on."""
    agent = PolicyAgent(policy, config.evaluation)
    plays = domain_tasks.plays(tasks, DOMAINS, config.evaluation.max_steps)
    who = Player(folder.name, agent, {}, batch_size=config.evaluation.batch_size)
    summary = play_all(plays, who, Results(folder, {"source": "domains", "when": folder.name}), console)
    say(console)(f"{folder.name}: {summary.success.count} of {summary.tasks} tasks succeed")


def _report(folder: RunFolder, console: Console) -> dict[str, Any]:
    before, after = (read_summary(folder.eval / when) for when in ("before", "after"))
    console.print(recovery_table({"before": before, "after": after}))
    say(console)(f"run: {folder.path}   rollouts: fission-grpo inspect {folder.path}")
    summary: dict[str, Any] = json.loads(folder.summary.read_text(encoding="utf-8"))
    return summary


def _headline(folder: Path) -> dict[str, Any]:
    summary = read_summary(folder)
    rates = {name: getattr(summary, name).value for name in ("success", "one_shot", "recovery")}
    return {**rates, "tasks": summary.tasks}


def _record(group: Explored) -> dict[str, Any]:
    """One group as a line of the rollouts file."""
    context = group.context
    rollouts = []
    for index, one in enumerate(group.scored):
        sample, feedback = group.samples.get(index), group.feedback.get(index)
        rollouts.append(
            {
                "text": one.rollout.text,
                "tokens": len(one.rollout.ids),
                "finished": one.rollout.finished,
                **{part: round(getattr(one.reward, part), 4) for part in ("total", "fmt", "corr", "length")},
                "advantage": round(group.advantages[index], 4),
                "format_errors": [error.kind for error in one.reward.format_errors],
                "error": group.errors[index],
                "feedback": feedback
                and {"text": feedback.text, "source": feedback.source, "refused": feedback.refused},
                "corrective_sample": sample and sample.key,
            }
        )
    return {
        "decision": context.decision.id,
        "kind": context.decision.kind,
        "corrective_sample": context.key or None,
        "trail": [asdict(attempt) for attempt in context.trail],
        "request": next((m["content"] for m in reversed(context.decision.messages) if m["role"] == "user"), ""),
        "target": [call.to_openai()["function"] for call in context.decision.calls],
        "rollouts": rollouts,
    }


def _line(metrics: dict[str, Any], updates: int) -> str:
    """One update on one line of the terminal."""
    seconds = sum(value for key, value in metrics.items() if key.startswith("seconds/"))
    recovery = "" if metrics["recovery"] is None else f"  recovered {metrics['recovery']:4.0%}"
    return (
        f"{metrics['update']:4d}/{updates} {metrics['stage']:8s} reward {metrics['reward/total']:.2f}"
        f"  errors {metrics['errors']:4.0%}  buffer {metrics['buffer/size']:3d}  {seconds:5.1f} s{recovery}"
    )


FREE_TO_CHANGE = (
    "sampling.max_rows",
    "training.save_every",
    "training.keep_checkpoints",
    "evaluation.batch_size",
)
"""Keys that a resumed run may set anew: they change how it runs, not what comes out."""


def _differences(a: Any, b: Any, at: str = "") -> list[str]:
    """Dotted keys in which two JSON trees differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
        return [found for key in keys for found in _differences(a.get(key), b.get(key), f"{at}.{key}".lstrip("."))]
    return [] if a == b or at in FREE_TO_CHANGE else [at]


def _update_of(line: str) -> float:
    """The update a metrics line belongs to; a half-written line belongs to none that is kept."""
    try:
        return int(json.loads(line)["update"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
