"""The job of an evaluation: who plays, which source of tasks, and the folder that keeps what came of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fission_grpo import __version__
from fission_grpo.config import Config, load_config
from fission_grpo.data.modules import register
from fission_grpo.data.sources import evaluation_tasks
from fission_grpo.domains import DOMAINS
from fission_grpo.errors import UserError
from fission_grpo.evaluation import tasks, tau
from fission_grpo.evaluation.agent import PolicyAgent
from fission_grpo.evaluation.bfcl import play as bfcl
from fission_grpo.evaluation.bfcl.client import Servers
from fission_grpo.evaluation.compare import compare, difference_table, draw
from fission_grpo.evaluation.endpoint import EndpointAgent, connect
from fission_grpo.evaluation.environment import BFCL, TAU2, python_of
from fission_grpo.evaluation.episode import Agent, Play
from fission_grpo.evaluation.recovery import Summary, category_table, recovery_table
from fission_grpo.evaluation.results import Key, Results, evaluate, read_episodes, write_whole
from fission_grpo.evaluation.scripted import SPOILED, Replay, ReplayWithErrors, Stuck
from fission_grpo.evaluation.tau2 import play as tau2
from fission_grpo.evaluation.tau2.client import Simulators

Rendering = Literal["native", "ours"]


class EvaluateError(UserError, ValueError):
    """An evaluation cannot be started as asked."""


@dataclass(frozen=True)
class Player:
    """Who takes the assistant's part."""

    name: str
    """For tables and folders."""
    agent: Agent
    asked: Mapping[str, Any]
    """What identifies it: results of another player are never mixed in."""
    batch_size: int = 1
    workers: int = 1

    @property
    def scripted(self) -> bool:
        """Whether it has no model, so that it needs the reference and, where users are played, a scripted one."""
        return isinstance(self.agent, Replay)


def player(
    model: str | None, config: Config, *, base_url: str | None = None, rendering: Rendering = "native", workers: int = 4
) -> Player:
    """The player that `model` names.

    `replay`, `replay-with-errors[:KIND]` or `stuck` (without a model); a URL, or a name served at `base_url`; a run's
    folder (its newest checkpoint); a PEFT adapter's folder; a Hugging Face id or local folder; None: the config's
    model. `workers` is for players that take each episode on its own; a policy takes `evaluation.batch_size` together.
    """
    if model and model.split(":")[0] in _SCRIPTED and not base_url:
        return Player(model, _scripted(*model.split(":")), {"agent": model}, workers=workers)
    if model and re.match("https?://", model):
        model, base_url = None, model
    if base_url:
        return _served(model, base_url, config, rendering, workers)
    return _policy(model, config)


_SCRIPTED = {"replay": Replay, "replay-with-errors": ReplayWithErrors, "stuck": Stuck}


def _scripted(name: str, *kinds: str) -> Agent:
    known = list(SPOILED) if name == "replay-with-errors" else []
    if len(kinds) > 1 or set(kinds) - set(known):
        raise EvaluateError(f"'{name}' has no kind '{':'.join(kinds)}'; kinds: {', '.join(known) or 'none'}")
    agent: Agent = _SCRIPTED[name](*kinds)
    return agent


def _served(name: str | None, base_url: str, config: Config, rendering: Rendering, workers: int) -> Player:
    endpoint = connect(base_url, name, config.endpoint)
    template = None
    if rendering == "ours":
        from fission_grpo.policy.load import load_template  # torch loads only where it is needed

        template = load_template(config.model)
    asked = {"endpoint": endpoint.url, "model": endpoint.name, "rendering": rendering}
    of_request = config.endpoint.model_dump(mode="json", include={"body", "error_role"})
    settings = {"evaluation": _that_matters(config), "endpoint": of_request}
    return Player(
        endpoint.name, EndpointAgent(endpoint, config.evaluation, template), {**asked, **settings}, workers=workers
    )


def _policy(model: str | None, config: Config) -> Player:
    from fission_grpo.policy import Policy, checkpoint
    from fission_grpo.policy.load import adapter_base

    folder, run = Path(model or "."), None
    if model and (folder / "checkpoints").is_dir():
        run = checkpoint.latest(folder / "checkpoints")
        if run is None:
            raise EvaluateError(f"{folder} holds no checkpoint")
        settings = load_config(Config, folder / "config.yaml").model
    elif model and (base := adapter_base(folder)):
        settings = config.model.model_copy(update={"name": base, "adapters": (*config.model.adapters, model)})
    else:
        settings = config.model.model_copy(update={"name": model, "adapters": ()}) if model else config.model
    policy = Policy.load(settings, config.sampling, trainable=run is not None)
    if run:
        checkpoint.load_weights(run, policy.model)
    asked = {
        "model": settings.model_dump(mode="json"),
        "checkpoint": run and run.name,
        "evaluation": _that_matters(config),
        "max_context_tokens": config.sampling.max_context_tokens,
    }
    name = model or "-".join((settings.name, *settings.adapters))
    return Player(name, PolicyAgent(policy, config.evaluation), asked, batch_size=config.evaluation.batch_size)


def _that_matters(config: Config) -> dict[str, Any]:
    """The settings of an evaluation that change what comes out."""
    return config.evaluation.model_dump(mode="json", exclude={"batch_size"})


def on_domains(who: Player, config: Config, out: Path | None, console: Console) -> Summary:
    """`fission-grpo eval domains`: the config's tasks of executable domains."""
    register(config.modules)
    plays = tasks.plays(evaluation_tasks(config.tasks), DOMAINS, config.evaluation.max_steps)
    asked = {"source": "domains", "tasks": config.tasks.model_dump(mode="json", exclude={"tasks"})}
    return _report(plays, who, asked, out, console)


def on_bfcl(who: Player, categories: Sequence[str], limit: int | None, out: Path | None, console: Console) -> Summary:
    """`fission-grpo eval bfcl`: BFCL v4's multi-turn categories."""
    named = [name if name.startswith("multi_turn_") else f"multi_turn_{name}" for name in categories]
    if unknown := set(named) - set(bfcl.CATEGORIES):
        raise EvaluateError(f"no category '{sorted(unknown)[0]}'; there are {', '.join(bfcl.CATEGORIES)}")
    with Servers(python_of(BFCL, say(console))) as servers:
        plays = bfcl.plays(servers, named or bfcl.CATEGORIES, limit)
        return _report(plays, who, {"source": "bfcl", "package": BFCL.package}, out, console)


def on_tau2(
    who: Player,
    domain: str,
    user: tau2.UserModel | None,
    *,
    limit: int | None,
    trials: int,
    out: Path | None,
    console: Console,
) -> Summary:
    """`fission-grpo eval tau2`: a domain of TAU2."""
    with Simulators(python_of(TAU2, say(console))) as simulators:
        plays = tau2.plays(simulators, domain, user, limit=limit, trials=trials)
        asked = {"source": f"tau2-{domain}", "package": TAU2.package, "user": user and user.model}
        return _report(plays, who, asked, out, console)


def on_tau(
    who: Player,
    domain: str,
    user: tau2.UserModel | None,
    *,
    limit: int | None,
    trials: int,
    out: Path | None,
    console: Console,
) -> Summary:
    """`fission-grpo eval tau`: a domain of TAU-Bench, where it is installed."""
    plays = tau.plays(domain, user, limit=limit, trials=trials)
    return _report(plays, who, {"source": f"tau-{domain}", "user": user and user.model}, out, console)


def user_model(who: Player, name: str | None, base_url: str | None, config: Config) -> tau2.UserModel | None:
    """Who plays the user: the model `name` at `base_url`; a script, None, where the player is one.

    Raises EvaluateError where an address is missing, and EndpointError where the endpoint cannot be used.
    """
    if who.scripted:
        return None
    if base_url is None:
        raise EvaluateError("a model needs a user to talk to: --user NAME --user-url http://…/v1")
    endpoint, key = connect(base_url, name, config.endpoint), os.environ.get("OPENAI_API_KEY") or "none"
    timeout, retries = config.endpoint.timeout, config.endpoint.retries
    return tau2.UserModel(endpoint.name, endpoint.url, key, timeout=timeout, retries=retries)


def compare_folders(folders: Sequence[Path], figure: Path | None, out: Path | None, console: Console) -> None:
    """`fission-grpo eval compare`: several results of one source, less the first."""
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    comparison = compare({name: read_episodes(folder) for name, folder in zip(names, folders, strict=True)})
    console.print(recovery_table(comparison.summaries))
    if comparison.differences:
        console.print(difference_table(comparison))
    if out:
        write_whole(out, json.dumps(comparison.to_json(), indent=2) + "\n")
    if figure:
        draw(comparison.summaries, figure)
        say(console)(f"figure: {figure}")


def play_all(plays: Mapping[Key, Callable[[], Play]], who: Player, results: Results, console: Console) -> Summary:
    """Plays what `results` does not hold yet, under a progress bar."""
    with _bar(console, "evaluate", len(plays)) as advance:
        return evaluate(plays, who.agent, results, batch_size=who.batch_size, workers=who.workers, advance=advance)


def _report(
    plays: Mapping[Key, Callable[[], Play]], who: Player, asked: Mapping[str, Any], out: Path | None, console: Console
) -> Summary:
    folder = out or Path("evaluations") / asked["source"] / re.sub(r"[^\w.-]+", "-", who.name).strip("-.")
    results = Results(folder, {**asked, **who.asked, "fission_grpo": __version__})
    summary = play_all(plays, who, results, console)
    if len(summary.by_category) > 1:
        console.print(category_table(summary))
    console.print(recovery_table({who.name: summary}))
    say(console)(f"results: {folder}")
    return summary


def say(console: Console) -> Callable[[str], None]:
    """Prints a line whole: a path that is wrapped cannot be copied."""
    return lambda text: console.print(text, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _bar(console: Console, label: str, total: int) -> Iterator[Any]:
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(label, total=total)
        yield lambda: progress.advance(bar)
