"""Runs BFCL's package in a process apart: loads entries, executes calls on API instances, asks the package's checker.

    python server.py   reads one JSON request a line, writes one JSON answer a line

`BFCL_PROJECT_ROOT` must name a folder: the package makes folders in it. Only the standard library and `bfcl_eval` are
imported, so any Python that has the package can run this file. Every rollout is played in a fork of its own, which ends
with it: its instances, the package's globals and mpmath's precision go with it. Model text reaches the package only as
names that its classes have and as JSON values: calls go to the methods themselves, and the checker, which evaluates
strings, is given strings rendered from those values.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import json
import os
import resource
import sys
import traceback
from collections.abc import Callable
from typing import Any

MEMORY = 4 << 30
"""Most bytes of address space of a rollout (ours): a call that asks for more fails instead of the machine."""

CPU_SECONDS = 1200
"""Most seconds of computation of a rollout (ours), for the case that nobody is left to end it."""

Call = dict[str, Any]
"""{"name": str, "arguments": {name: JSON value}}."""


class Rollout:
    """One rollout of an entry: its API instances."""

    def __init__(self, entry: dict[str, Any]) -> None:
        from bfcl_eval.constants.executable_backend_config import CLASS_FILE_PATH_MAPPING, STATELESS_CLASSES

        self.entry = entry
        self.methods: dict[str, Any] = {}
        for name in entry["involved_classes"]:
            instance = getattr(importlib.import_module(CLASS_FILE_PATH_MAPPING[name]), name)()
            if name not in STATELESS_CLASSES:
                config = copy.deepcopy(entry["initial_config"].get(name, {}))
                instance._load_scenario(config, long_context="long_context" in entry["id"])
            self.methods.update((n, m) for n, m in inspect.getmembers(instance, inspect.ismethod) if n[0] != "_")

    def execute(self, call: Call) -> dict[str, Any]:
        """The text that the model is shown, the kind of error that it is or null, and whether it is a soft failure."""
        method, arguments = self.methods.get(call["name"]), call["arguments"]
        if method is None:
            return _error("unknown_tool", f"name '{call['name']}' is not defined")
        try:
            value = method(**arguments)
            text = _text(value)
        except Exception as error:  # whatever it is, the model is told
            return _error(_misuse(method, arguments) or "exception", str(error))
        soft = "_get_" not in call["name"] and _soft(value)  # to ask whether one is logged in achieves something
        return {"text": text, "kind": "tool_error" if _reports_error(value) else None, "soft": soft}

    def judge(self, turns: list[list[list[Call]]], truth: list[list[str]]) -> dict[str, Any]:
        """The package's verdict on the calls of every turn's steps, and the stricter one that also asks for silence."""
        from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_checker as checker

        spoken = [[[self._python(call) for call in step] for step in turn] for turn in turns]
        category = self.entry["id"].rsplit("_", 1)[0]
        valid = checker.multi_turn_checker(spoken, truth, self.entry, category, "rollout")
        silent = checker.multi_turn_irrelevance_checker(spoken, truth)
        return {
            "valid": valid["valid"],
            "strict": valid["valid"] and silent["valid"],
            "detail": valid.get("error_message") or silent.get("error_message") or "",
        }

    def _python(self, call: Call) -> str:
        """The call as the checker's `eval` takes it: nothing but a method's name, arguments' names and literals.

        A bracket in a string is escaped, before which the package's search for method names would find one.
        """
        named = all(name.isascii() and name.isidentifier() for name in call["arguments"])  # `eval` normalises others
        if call["name"] not in self.methods or not named:
            return "unknown()"  # an error for the checker too
        arguments = (f"{name}={value!r}".replace("(", r"\x28") for name, value in call["arguments"].items())
        return f"{call['name']}({', '.join(arguments)})"


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"text": f"Error during execution: {message}", "kind": kind, "soft": False}


def _misuse(method: Any, arguments: dict[str, Any]) -> str | None:
    """What is wrong with the arguments' names."""
    parameters = inspect.signature(method).parameters
    if arguments.keys() - parameters.keys():
        return "unknown_argument"
    needed = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    return "missing_argument" if needed - arguments.keys() else None


def _text(value: Any) -> str:
    """A result as the package words it."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value) if isinstance(value, dict) else str(value)
    except (TypeError, ValueError):
        return str(value)


def _reports_error(value: Any) -> bool:
    """`{"error": …}`, and the forms of two methods: `[{"error": …}]` and `["Error: …"]`."""
    values = value if isinstance(value, list) else [value]
    return any("error" in v if isinstance(v, dict) else str(v).startswith("Error:") for v in values)


def _soft(value: Any) -> bool:
    """A result that says nothing was achieved, without being an error."""
    if isinstance(value, dict):
        denied = any(key.endswith(("_status", "success")) and of is False for key, of in value.items())
        return denied or any("Stock not found" in str(one) for one in value.values())
    return "Stock not found" in str(value)


def load(category: str) -> list[dict[str, Any]]:
    """The entries of a category, each with its ground truth, as strings and as calls."""
    from bfcl_eval.utils import load_dataset_entry, load_ground_truth_entry

    truths = load_ground_truth_entry(category)
    entries = load_dataset_entry(category)
    return [
        {**entry, "ground_truth": truth["ground_truth"], "reference": _reference(entry, truth["ground_truth"])}
        for entry, truth in zip(entries, truths, strict=True)
    ]


def _reference(entry: dict[str, Any], turns: list[list[str]]) -> list[list[Call]]:
    methods = Rollout(copy.deepcopy(entry)).methods
    return [[_call(text, methods) for text in turn] for turn in turns]


def _call(text: str, methods: dict[str, Any]) -> Call:
    """A ground truth's call, its arguments by name."""
    node = ast.parse(text, mode="eval").body
    assert isinstance(node, ast.Call)  # noqa: S101
    assert isinstance(node.func, ast.Name)  # noqa: S101
    names = list(inspect.signature(methods[node.func.id]).parameters)
    given = dict(zip(names, node.args, strict=False)) | {k.arg: k.value for k in node.keywords}
    return {"name": node.func.id, "arguments": {name: ast.literal_eval(value) for name, value in given.items()}}


def _serve_rollout(entry: dict[str, Any], say: Callable[[Any], None]) -> None:
    """Answers requests about one rollout until it ends."""
    rollout = Rollout(entry)
    say({})
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if "execute" in request:
            say(rollout.execute(request["execute"]))
        elif "judge" in request:
            say(rollout.judge(request["judge"], request["truth"]))
        else:
            return


def _fork(entry: dict[str, Any], say: Callable[[Any], None]) -> int:
    """Serves a rollout in a fork; returns its exit status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        _serve_rollout(entry, say)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main() -> None:
    """Answers requests until its input ends."""
    import bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker  # noqa: F401  before the forks, once for all

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the package prints is no answer

    def say(answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        say(load(request["load"]) if "load" in request else {"ended": _fork(request["entry"], say)})


if __name__ == "__main__":
    main()
