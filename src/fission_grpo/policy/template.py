"""Messages → token ids through the model's own chat template, and growth of a context by appending ids only.

What a policy sampled is never decoded and encoded again: `extend` keeps the ids and adds those of the new messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jinja2

from fission_grpo.chat import Decision, Rollout, ToolCall, assistant_message
from fission_grpo.errors import UserError

Ids = tuple[int, ...]


class TemplateError(UserError, ValueError):
    """The tokenizer's chat template is missing or cannot serve tool calling."""


def hermes_template() -> str:
    """A ChatML template with Hermes-style tools, for models whose own template has none."""
    return files("fission_grpo.policy").joinpath("hermes.jinja").read_text(encoding="utf-8")


class Template:
    """A tokenizer's chat template. Raises TemplateError where it is missing, or ignores tools or their answers."""

    def __init__(self, tokenizer: Any, options: Mapping[str, Any] | None = None) -> None:
        self.tokenizer, self._options = tokenizer, dict(options or {})
        if not tokenizer.chat_template:
            raise TemplateError("the tokenizer has no chat template: set model.chat_template to 'hermes' or to a file")
        probe = {"type": "function", "function": {"name": "probe_tool", "description": "", "parameters": {}}}
        if "probe_tool" not in self._text([{"role": "user", "content": "hi"}], [probe]):
            raise TemplateError("the chat template ignores tools: set model.chat_template to 'hermes' or to a file")
        self._after = lru_cache(maxsize=4096)(self._text_after_assistant)
        if "probe_answer" not in self._after((("tool", "probe_answer"),)):
            raise TemplateError(
                "the chat template drops a tool's answer to a turn without a well-formed call: "
                "set model.chat_template to 'hermes' or to a file"
            )

    def encode(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Ids:
        """Token ids of a dialogue, ending where the assistant's turn begins."""
        return self._ids(self._text(messages, tools))

    def extend(self, ids: Ids, rollout: Rollout, messages: Sequence[Mapping[str, Any]]) -> Ids:
        """The context after `rollout` was sampled from `ids` and `messages` (user or tool) followed."""
        key = tuple((message["role"], message["content"]) for message in messages)
        after = self._ids(self._after(key))
        if rollout.ids and after and rollout.ids[-1] == after[0] and rollout.finished:
            after = after[1:]  # the sampled turn already holds its end-of-turn token
        return ids + rollout.ids + after

    def reference(self, decision: Decision) -> str:
        """The reference turn of a decision as the template renders it, without the end-of-turn token."""
        turn = assistant_message("" if decision.calls else decision.reference, decision.calls)
        with_turn = self._text([*decision.messages, turn], decision.tools, generate=False)
        start = self._text(decision.messages, decision.tools)
        if not with_turn.startswith(start):
            raise TemplateError("the chat template does not render an assistant turn after its generation prompt")
        return with_turn[len(start) :].removesuffix("\n").removesuffix(self.tokenizer.eos_token)

    def length(self, text: str) -> int:
        """Length of a turn's text in tokens, its end-of-turn token included."""
        return len(self._ids(text)) + 1

    def _ids(self, text: str) -> Ids:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _text(self, messages: Sequence[Any], tools: Sequence[Any] | None, generate: bool = True) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                [_with_argument_objects(message) for message in messages],
                tools=list(tools) if tools else None,
                tokenize=False,
                add_generation_prompt=generate,
                **self._options,
            )
        except jinja2.TemplateError as error:
            raise TemplateError(f"the chat template refuses a dialogue: {error}") from error

    def _text_after_assistant(self, key: tuple[tuple[str, str], ...]) -> str:
        """What the template puts between an assistant turn's last token and the next one's first."""
        mark = "\u241f assistant turn \u241f"
        head = [{"role": "user", "content": "."}, {"role": "assistant", "content": mark}]
        text = self._text([*head, *({"role": role, "content": content} for role, content in key)], None)
        return text[text.index(mark) + len(mark) :]


def _with_argument_objects(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with its calls' arguments as objects: JSON strings most templates would quote again, or refuse."""
    if not message.get("tool_calls"):
        return dict(message)
    return {**message, "tool_calls": [_with_argument_object(entry) for entry in message["tool_calls"]]}


def _with_argument_object(entry: dict[str, Any]) -> dict[str, Any]:
    try:
        arguments = ToolCall.from_openai(entry).arguments
    except ValueError:  # not JSON: left as it is
        return entry
    return {**entry, "function": {**entry["function"], "arguments": arguments}}
