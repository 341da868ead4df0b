"""The first verifier: every call of a decision's dialogue is executed again, and must give what the dialogue says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from fission_grpo.chat import Decision, Message, Task, ToolCall, result_message
from fission_grpo.domains import DOMAINS, Domain, ToolError
from fission_grpo.toolcall import Toolbox


def replayed(task: Task, decisions: Sequence[Decision]) -> dict[str, str]:
    """Decision ids with the reason why replay refutes them; empty where it confirms all.

    Each decision starts from the task's initial state, read back from JSON; its recorded results must come out again,
    its target must fit the schemas it shows and be carried out, and lead to the state from which the next one starts.
    """
    reached = [_reached(decision) for decision in decisions]
    found = {decision.id: reason for decision, (_, _, reason) in zip(decisions, reached, strict=True) if reason}
    for decision, (_, after, _), (before, _, _) in zip(decisions, reached, reached[1:], strict=False):
        if after != before:
            found.setdefault(decision.id, "its calls do not lead to the state where the next decision begins")
    return found


def _reached(decision: Decision) -> tuple[str, str, str | None]:
    """The states before and after the target, as JSON, and what is wrong."""
    domain = DOMAINS[decision.domain].restore(json.loads(json.dumps(decision.initial_state)))
    problem = next(_replay(domain, decision.messages), None)
    before = json.dumps(domain.snapshot(), sort_keys=True)
    toolbox = Toolbox(decision.tools)
    for call in decision.calls:
        if fault := toolbox.check(call):
            problem = problem or f"the target does not fit its schema: {fault.message}"
        try:
            domain.call(call)
        except ToolError as error:
            problem = problem or f"the target is refused: {error}"
    return before, json.dumps(domain.snapshot(), sort_keys=True), problem


def _replay(domain: Domain, messages: Sequence[dict] | Sequence[Message]) -> Iterator[str]:
    """Differences between recorded and replayed results."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if not waiting or waiting.pop(0) != message["content"]:
                yield f"a recorded result does not come out again: {message['content'][:80]}"
            continue
        for entry in message.get("tool_calls") or ():
            try:
                waiting.append(result_message(domain.call(ToolCall.from_openai(entry))))
            except ToolError as error:
                yield f"a recorded call is refused: {error}"
    if waiting:
        yield "a call has no recorded result"
