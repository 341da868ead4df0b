"""BFCL v4's multi-turn entries as a source of episodes, by the official loop (`base_handler.py` of bfcl-eval).

A user turn ends when nothing in the model's answer decodes to a call: malformed calls are dropped in silence, and what
they were is noted in `Episode.unheard`. More than 20 steps that call, in one turn, fail the entry. All turns are
played, whatever came of the earlier ones; the verdict is the package's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from fission_grpo.chat import Rollout, ToolCall, ToolSpec, assistant_message, harmless, tool_message
from fission_grpo.evaluation.bfcl.client import Outcome, Servers, World
from fission_grpo.evaluation.episode import Conversation, Episode, Failure, Halt, Play, Record, ReferenceTurn, Step
from fission_grpo.evaluation.process import Gone
from fission_grpo.toolcall import TRUNCATED, parse, render

CATEGORIES = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
MAX_STEPS = 20
"""Assistant turns that call within one user turn; the next one ends the rollout (official)."""
MAX_CALLS = 100
"""Most calls of one assistant turn (ours); a turn with more is dropped like a malformed one."""
NEW_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"
"""What the user says when functions that were withheld are added (official)."""


def plays(
    servers: Servers, categories: Sequence[str] = CATEGORIES, limit: int | None = None
) -> dict[tuple[str, int], Callable[[], Play]]:
    """How to play each entry, the first `limit` of every category. Raises BfclError where the package does not run."""
    entries = [entry for category in categories for entry in servers.load(category)[:limit]]
    return {(entry["id"], 0): partial(play, entry, servers) for entry in entries}


def play(entry: dict[str, Any], servers: Servers) -> Play:
    """One episode."""
    conversation = Conversation(_specs(entry["function"]), _reference(entry))
    category = entry["id"].rsplit("_", 1)[0]
    episode = Episode(entry["id"], category, [], len(entry["question"]), messages=conversation.messages)
    try:
        with servers.world(entry) as world:
            yield from _rollout(entry, world, conversation, episode)
    except Gone as gone:
        episode.strict, episode.detail = False, f"BFCL's process failed: {gone}"
    return episode


def _rollout(
    entry: dict[str, Any], world: World, conversation: Conversation, episode: Episode
) -> Generator[Conversation, Rollout | Halt, None]:
    """Plays all turns and asks for the verdict. Raises Gone."""
    record, made = Record(episode), list[list[list[ToolCall]]]()
    for number, said in enumerate(entry["question"]):
        if added := entry.get("missed_function", {}).get(str(number)):
            conversation.show([*conversation.tools, *_specs(added)])
            said = [{"role": "user", "content": NEW_FUNCTIONS}]
        record.begin_turn()
        conversation.hear(*said)
        steps: list[list[ToolCall]] = []
        made.append(steps)
        while True:
            rollout = yield conversation
            if isinstance(rollout, Halt):
                episode.ended, episode.detail = rollout.ended, rollout.detail
                return
            calls, completed = _take(rollout, conversation, record, world)
            if not calls:
                break
            steps.append(completed)
            if len(steps) > MAX_STEPS:
                episode.ended, episode.strict = "max_steps", False
                return
    verdict = world.judge(made, entry["ground_truth"])
    episode.success, episode.strict, episode.detail = verdict.valid, verdict.strict, verdict.detail
    episode.ended = "done" if verdict.valid else "check_failed"


_HUNG = ToolCall("hung")
"""What the checker, which would wait for it again, is given for a call that hung: an error, too."""


def _take(
    rollout: Rollout, conversation: Conversation, record: Record, world: World
) -> tuple[list[ToolCall], list[ToolCall]]:
    """Executes an assistant turn; its calls, none where it ends the user turn, and what the checker gets of them."""
    parsed = parse(rollout.text)
    calls, wrong = list(parsed.calls), [str(error.kind) for error in parsed.errors]
    if not rollout.finished and not calls:
        wrong = [TRUNCATED.kind]
    if len(calls) > MAX_CALLS:
        calls, wrong = [], ["too_many_calls"]
    record.unheard(wrong)
    thinking = f"<think>{parsed.think}</think>\n\n" if parsed.think else ""
    text = thinking + parsed.text if calls else rollout.text
    conversation.speak(rollout, assistant_message(text, calls))
    outcomes = [world.execute(call) for call in calls]
    conversation.hear(*(tool_message(harmless(outcome.text)) for outcome in outcomes))
    record.add(_step(rollout, calls, outcomes))
    return calls, [_HUNG if o.kind == "timeout" else call for call, o in zip(calls, outcomes, strict=True)]


def _step(rollout: Rollout, calls: Sequence[ToolCall], outcomes: Sequence[Outcome]) -> Step:
    invocation = json.dumps([asdict(call) for call in calls], sort_keys=True) if calls else rollout.text.strip()
    failures = tuple(
        Failure(outcome.kind, outcome.text, render([call]))
        for call, outcome in zip(calls, outcomes, strict=True)
        if outcome.kind
    )
    return Step(invocation, bool(calls), failures, sum(outcome.soft for outcome in outcomes))


def _reference(entry: Mapping[str, Any]) -> list[ReferenceTurn]:
    """The ground truth; a turn's calls in one step, for some turns have more of them than steps are allowed."""
    turns = ([ToolCall(call["name"], call["arguments"]) for call in turn] for turn in entry["reference"])
    return [ReferenceTurn((tuple(calls),) if calls else (), "Done.") for calls in turns]


def _specs(functions: Sequence[Mapping[str, Any]]) -> list[ToolSpec]:
    """BFCL's function documents in OpenAI form, as its OpenAI handler gives them, but not what they return (ours)."""
    return [
        {
            "type": "function",
            "function": {
                "name": function["name"],
                "description": function["description"],
                "parameters": _schema(function["parameters"]),
            },
        }
        for function in functions
    ]


_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
"""BFCL's own names of types, among JSON schema's."""


def _schema(of: Mapping[str, Any]) -> dict[str, Any]:
    schema = dict(of)
    if "type" in of:
        schema["type"] = _TYPES.get(of["type"], of["type"])
    if "properties" in of:
        schema["properties"] = {
            name: _schema(inner) | _told_of_float(inner) for name, inner in of["properties"].items()
        }
    if "items" in of:
        schema["items"] = _schema(of["items"])
    return schema


def _told_of_float(of: Mapping[str, Any]) -> dict[str, str]:
    """What the package adds to an argument of its type `float`."""
    if of.get("type") != "float":
        return {}
    return {"format": "float", "description": f"{of['description']} This is a float type value."}
