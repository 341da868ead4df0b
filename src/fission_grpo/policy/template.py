"""Messages → token ids through the model's own chat template, and growth of a context by appending ids only.

What a policy sampled is never decoded and encoded again: `extend` keeps the ids and adds those of the new messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from fission_grpo.chat import Decision, Rollout, assistant_message
from fission_grpo.errors import UserError

Ids = tuple[int, ...]


class TemplateError(UserError, ValueError):
    """The tokenizer's chat template is missing or cannot serve tool calling."""


def hermes_template() -> str:
    """A ChatML template with Hermes-style tools, for models whose own template has none."""
    return files("fission_grpo.policy").joinpath("hermes.jinja").read_text(encoding="utf-8")


class Template:
    """A tokenizer's chat template. Raises TemplateError where it is missing or ignores tools."""

    def __init__(self, tokenizer: Any, options: Mapping[str, Any] | None = None) -> None:
        self.tokenizer, self._options = tokenizer, dict(options or {})
        if not tokenizer.chat_template:
            raise TemplateError("the tokenizer has no chat template: set model.chat_template to 'hermes' or to a file")
        probe = {"type": "function", "function": {"name": "probe_tool", "description": "", "parameters": {}}}
        if "probe_tool" not in self._text([{"role": "user", "content": "hi"}], [probe]):
            raise TemplateError("the chat template ignores tools: set model.chat_template to 'hermes' or to a file")
        self._after = lru_cache(maxsize=4096)(self._text_after_assistant)

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
        return self.tokenizer.apply_chat_template(
            list(messages),
            tools=list(tools) if tools else None,
            tokenize=False,
            add_generation_prompt=generate,
            **self._options,
        )

    def _text_after_assistant(self, key: tuple[tuple[str, str], ...]) -> str:
        """What the template puts between an assistant turn's last token and the next one's first."""
        mark = "\u241f assistant turn \u241f"
        head = [{"role": "user", "content": "."}, {"role": "assistant", "content": mark}]
        text = self._text([*head, *({"role": role, "content": content} for role, content in key)], None)
        return text[text.index(mark) + len(mark) :]
