"""The vocabulary: messages, tool specs, tool calls, decisions, rollouts. Imports nothing of ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

from pydantic import BaseModel, ConfigDict, field_validator

Role = Literal["system", "user", "assistant", "tool"]
Novelty = Literal["none", "pattern", "domain"]


class Message(TypedDict):
    """One chat message in OpenAI form. `tool_calls` is present on assistant turns that call tools."""

    role: Role
    content: str
    tool_calls: NotRequired[list[dict[str, Any]]]


class ToolSpec(TypedDict):
    """One tool in OpenAI form: `{"type": "function", "function": {name, description, parameters}}`."""

    type: Literal["function"]
    function: dict[str, Any]


@dataclass(frozen=True)
class ToolCall:
    """One function call: a name and its JSON arguments."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def to_openai(self, call_id: str = "call_0") -> dict[str, Any]:
        """The call as an OpenAI `tool_calls` entry; arguments are a JSON string, as in their API."""
        arguments = json.dumps(self.arguments, ensure_ascii=False)
        return {"id": call_id, "type": "function", "function": {"name": self.name, "arguments": arguments}}

    @classmethod
    def from_openai(cls, entry: dict[str, Any]) -> ToolCall:
        """Reads a `tool_calls` entry; arguments may be a JSON string or an object."""
        function = entry["function"]
        arguments = function.get("arguments") or {}
        return cls(function["name"], json.loads(arguments) if isinstance(arguments, str) else arguments)


class Decision(BaseModel):
    """One training instance (x, y*): a dialogue up to one assistant turn, and the calls that turn should make.

    An empty `target` means that the right move is no call: to ask, to decline, or to report.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Unique within its file."""
    domain: str
    """Name of the domain the tools belong to; any string for data without an executable domain."""
    tools: list[dict[str, Any]]
    """Tool specs in OpenAI form."""
    messages: list[dict[str, Any]]
    """The dialogue so far, OpenAI form, ending in a user or tool message."""
    target: list[dict[str, Any]]
    """Ground-truth calls y*, OpenAI `tool_calls` entries."""
    reference: str = ""
    """Text of the reference turn when `target` is empty: what a warm start imitates and R_len measures."""
    ordered: bool = False
    """Whether the order of the target calls counts."""
    kind: str = "call"
    """What makes the decision: call, parallel, chained, precondition, missing_parameter, missing_function, report."""
    initial_state: dict[str, Any] | None = None
    """State of the domain before the first message, for execution feedback; None without an executable domain."""

    @field_validator("tools", "messages", "target", "initial_state", mode="before")
    @classmethod
    def _from_json_string(cls, value: Any) -> Any:
        """Files hold nested JSON as strings, so that a columnar reader does not merge the schemas of all lines."""
        return json.loads(value) if isinstance(value, str) else value

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The ground truth y*."""
        return tuple(ToolCall.from_openai(entry) for entry in self.target)

    def to_line(self) -> str:
        """The decision as one JSONL line; `tools`, `target` and `initial_state` are JSON strings within it."""
        record = self.model_dump()
        for key in ("tools", "target", "initial_state"):
            record[key] = json.dumps(record[key], ensure_ascii=False)
        return json.dumps(record, ensure_ascii=False)


def fingerprint(decisions: Iterable[Decision]) -> str:
    """SHA-256 of the decisions as JSONL: the same data in the same order, the same fingerprint."""
    return hashlib.sha256("\n".join(decision.to_line() for decision in decisions).encode()).hexdigest()


@dataclass(frozen=True)
class Rollout:
    """One sampled assistant turn τ, exactly as sampled.

    `ids` are its token ids, end-of-turn token included where the model produced it; `logprobs` (same length) are
    natural-log probabilities under the sampled distribution (temperature and top-k applied); `finished` is False
    where the token limit cut it off.
    """

    text: str
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finished: bool = True


ERROR_PREFIX = "ERROR: "
MAX_ERROR_CHARACTERS = 300
"""Longest error, prefix included (ours)."""


def error_message(text: str) -> str:
    """How every error reaches the model, in training and in evaluation: one line after `ERROR: `, cut at a word."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(harmless(printable).split())
    line = line if line.startswith(ERROR_PREFIX) else ERROR_PREFIX + line
    return line if len(line) <= MAX_ERROR_CHARACTERS else line[: MAX_ERROR_CHARACTERS - 1].rsplit(" ", 1)[0] + "…"


def result_message(result: Any) -> str:
    """How every result of a tool reaches the model: compact JSON."""
    return harmless(json.dumps(result, ensure_ascii=False, separators=(",", ":")))


def harmless(text: str) -> str:
    """Text from outside, in which no quoted control token (`<|im_end|>`) can end a chat turn; always writable."""
    return text.encode("utf-8", "replace").decode().replace("<|", "< |")


def tool_message(content: str) -> Message:
    """A tool's answer in OpenAI form."""
    return {"role": "tool", "content": content}


def assistant_message(content: str, calls: Sequence[ToolCall]) -> Message:
    """An assistant turn in OpenAI form."""
    message: Message = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [call.to_openai(f"call_{i}") for i, call in enumerate(calls)]
    return message


class Turn(BaseModel):
    """One user turn of a task and its reference solution."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    """What the user says."""
    steps: list[list[dict[str, Any]]]
    """Reference assistant turns in order, each a list of `tool_calls` entries; empty: the right move is no call."""
    reply: str
    """The assistant's closing words, which ask or decline where `steps` is empty."""
    kind: str = "call"
    """As `Decision.kind`."""
    pattern: str = ""
    """Name of the goal pattern that it was generated from."""
    ordered: bool = False
    """Whether the order of calls within a step counts."""
    lacks: list[str] = []
    """Tools that the request would take and the task does not show, where that is why no call is right."""

    @property
    def calls(self) -> tuple[tuple[ToolCall, ...], ...]:
        """The reference calls, one tuple per assistant turn."""
        return tuple(tuple(ToolCall.from_openai(entry) for entry in step) for step in self.steps)


class Task(BaseModel):
    """A multi-turn episode with an executable check: it succeeds by final state and required results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    domain: str
    tools: list[str]
    """Names of the domain's tools that the model is shown, in the order shown."""
    initial_state: dict[str, Any]
    turns: list[Turn]
    novelty: Novelty = "none"
    """What of it the built-in training data never show, besides its words and entities: a goal pattern, its domain."""

    @field_validator("initial_state", "turns", mode="before")
    @classmethod
    def _from_json_string(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    def to_line(self) -> str:
        """The task as one JSONL line; `initial_state` and `turns` are JSON strings within it."""
        record = self.model_dump()
        for key in ("initial_state", "turns"):
            record[key] = json.dumps(record[key], ensure_ascii=False)
        return json.dumps(record, ensure_ascii=False)
