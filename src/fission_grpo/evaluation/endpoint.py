"""An OpenAI-compatible endpoint (vLLM's server, or any other) as an agent of the harness.

There are two renderings. Natively, the server renders messages and tools, and parses the calls (`/chat/completions`);
its answer is written in our Hermes form, so that every source reads it as it reads a policy's. With a template of ours
the server only continues token ids (`/completions`): contexts grow by appending ids, exactly as `PolicyAgent`'s do.

A request that fails, after the client's retries, ends its episode with a `Halt`; many in a row end the run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import Any, Literal, Protocol

import openai
from pydantic import AnyHttpUrl, BaseModel, Field, TypeAdapter, ValidationError

from fission_grpo.chat import Message, Rollout, ToolSpec
from fission_grpo.errors import UserError
from fission_grpo.evaluation.agent import EvaluationSettings
from fission_grpo.evaluation.episode import Conversation, Halt
from fission_grpo.settings import Settings

Ids = tuple[int, ...]


class EndpointSettings(Settings):
    """How an endpoint is asked. Its key is read from the environment variable OPENAI_API_KEY."""

    timeout: float = Field(300.0, gt=0)
    """Seconds of silence after which a request is given up."""
    retries: int = Field(4, ge=0)
    """How often a request is sent again, after ever longer waits: no answer, or 408, 409, 429 or 5xx."""
    give_up_after: int = Field(20, ge=1)
    """Failed requests in a row, over all episodes, that end the run. It can be resumed."""
    error_role: Literal["tool", "user"] = "tool"
    """Native rendering: who says the error that answers a turn without a well-formed call. `tool`, as in our own
    rendering (vLLM takes it), or `user`, for servers that refuse a tool message without a call before it (OpenAI's)."""
    body: dict[str, Any] = Field(default_factory=dict)
    """Put into every request as it is, for example `{chat_template_kwargs: {enable_thinking: false}}`."""


class EndpointError(UserError, ConnectionError):
    """An endpoint cannot be used: says which, why, and what to do."""


@dataclass(frozen=True)
class Endpoint:
    """A model that a server serves. Threads may share it."""

    client: openai.OpenAI
    name: str
    settings: EndpointSettings

    @property
    def url(self) -> str:
        """The address of the API."""
        return str(self.client.base_url).rstrip("/")

    def post(self, path: str, body: Mapping[str, Any]) -> str:
        """The answer to a request, as JSON that can be written as UTF-8. Raises one of `_FAILURES`."""
        whole = {"model": self.name, **body, **self.settings.body}
        answer = self.client.post(path, body=whole, cast_to=object)
        return _whole_characters(json.dumps(answer, ensure_ascii=False))


_FAILURES = (openai.OpenAIError, ValueError, RecursionError)
"""What becomes of a request that fails: the client's own errors, and those of reading an answer that is none."""


def connect(base_url: str, name: str | None, settings: EndpointSettings) -> Endpoint:
    """The model `name` of the endpoint at `base_url` (`http://…/v1`); without a name, the only one that it serves.

    Raises EndpointError where nothing answers there, the key is refused, or no such model is served.
    """
    client = _client(base_url, settings)
    # A wrong address fails at every try: the user should not wait for all of them.
    probe = client.with_options(max_retries=min(settings.retries, 1))
    try:
        served = _Models.model_validate(probe.get("/models", cast_to=object))
    except _FAILURES as error:
        raise EndpointError(f"the endpoint {base_url} cannot be used: {_why(error)}; {_remedy(error)}") from error
    names = [model.id for model in served.data]
    if name is None and len(names) == 1:
        return Endpoint(client, names[0], settings)
    if name not in names:
        problem = "name the model to use" if name is None else f"there is no model '{name}'"
        raise EndpointError(f"{problem}: {base_url} serves {_listed(names)}")
    return Endpoint(client, name, settings)


def served_prompt_ids(endpoint: Endpoint, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Ids:
    """The token ids to which a vLLM server renders a native request: what a template of ours can be compared with.

    Raises EndpointError where the server cannot tell: `/tokenize` is vLLM's own.
    """
    body = {"messages": numbered(messages, endpoint.settings.error_role), **_tools(tools)}
    try:
        answer = endpoint.post(f"{endpoint.url.removesuffix('/v1')}/tokenize", body)
        return _Tokens.model_validate_json(answer).tokens
    except _FAILURES as error:
        raise EndpointError(f"the endpoint {endpoint.url} does not tell a prompt's tokens: {_why(error)}") from error


class PromptTemplate(Protocol):
    """What of `policy.template.Template` an agent needs."""

    tokenizer: Any

    def encode(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Ids:
        """Token ids of a dialogue, ending where the assistant's turn begins."""
        ...

    def extend(self, ids: Ids, rollout: Rollout, messages: Sequence[Mapping[str, Any]]) -> Ids:
        """The context after `rollout` and the messages that answered it."""
        ...


class EndpointAgent:
    """Acts through an endpoint: natively, or rendered by `template`. Many threads may act at once.

    Raises EndpointError when `give_up_after` requests in a row have failed, or when the very first answer is that the
    key or the address is wrong. A refusal of one request (400, 422) by a server that has answered others counts as
    that episode's own.
    """

    def __init__(
        self, endpoint: Endpoint, settings: EvaluationSettings, template: PromptTemplate | None = None
    ) -> None:
        self.endpoint = endpoint
        self._limits = {"temperature": settings.temperature, "max_tokens": settings.max_new_tokens}
        role = endpoint.settings.error_role
        self._rendering: _Rendering = _Native(role) if template is None else _Ours(template)
        self._lock, self._failures, self._has_answered = Lock(), 0, False

    def act(self, conversations: Sequence[Conversation]) -> list[Rollout | Halt]:
        """One assistant turn for each conversation, one after the other, or a halt."""
        return [self._turn(conversation) for conversation in conversations]

    def _turn(self, conversation: Conversation) -> Rollout | Halt:
        body = {**self._rendering.body(conversation), **self._limits}
        try:
            turn: Rollout | Halt = self._rendering.rollout(self.endpoint.post(self._rendering.path, body))
        except _FAILURES as error:
            if not _says_too_long(error):
                self._failed(error)
                return Halt("endpoint_error", _why(error))
            turn = Halt("context_full", _why(error))
        with self._lock:
            self._failures, self._has_answered = 0, True
        return turn

    def _failed(self, error: Exception) -> None:
        with self._lock:
            if self._has_answered and isinstance(error, _REQUEST_REFUSED):
                return
            self._failures += 1
            hopeless = not self._has_answered and isinstance(error, _ALL_REFUSED)
            if hopeless or self._failures >= self.endpoint.settings.give_up_after:
                times = f"{self._failures} requests in a row failed" if self._failures > 1 else "the request failed"
                raise EndpointError(
                    f"the endpoint {self.endpoint.url} cannot be used: {times}: {_why(error)}; {_remedy(error)}, "
                    "then run the same command again: finished episodes are kept"
                ) from error


_ALL_REFUSED = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
_REQUEST_REFUSED = (openai.BadRequestError, openai.UnprocessableEntityError)


class _Rendering(Protocol):
    """Which request asks for a turn, and how its answer is read."""

    path: str

    def body(self, conversation: Conversation) -> dict[str, Any]: ...

    def rollout(self, answer: str) -> Rollout: ...


class _Native:
    path = "/chat/completions"

    def __init__(self, error_role: Literal["tool", "user"]) -> None:
        self.error_role = error_role

    def body(self, conversation: Conversation) -> dict[str, Any]:
        return {"messages": numbered(conversation.messages, self.error_role), **_tools(conversation.tools)}

    def rollout(self, answer: str) -> Rollout:
        choice = _ChatAnswer.model_validate_json(answer).choices[0]
        return Rollout(hermes(choice.message), ids=(), logprobs=(), finished=choice.finish_reason != "length")


class _Ours:
    path = "/completions"

    def __init__(self, template: PromptTemplate) -> None:
        self.template, self.tokenizer = template, template.tokenizer

    def body(self, conversation: Conversation) -> dict[str, Any]:
        conversation.context = self._grown(conversation)
        return {
            "prompt": list(conversation.context),
            "stop_token_ids": [self.tokenizer.eos_token_id],  # whatever the server's generation config says
            "add_special_tokens": False,
            "skip_special_tokens": False,
            "return_token_ids": True,
        }

    def rollout(self, answer: str) -> Rollout:
        """The turn with its token ids. Only vLLM returns them: another server's text is encoded again."""
        choice = _TextAnswer.model_validate_json(answer).choices[0]
        text = choice.text.removesuffix(self.tokenizer.eos_token)
        ids = choice.token_ids or self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return Rollout(text, tuple(ids), logprobs=(), finished=choice.finish_reason != "length")

    def _grown(self, conversation: Conversation) -> Ids:
        if conversation.context is None:
            return self.template.encode(conversation.messages, conversation.tools)
        return self.template.extend(conversation.context, conversation.rollouts[-1], conversation.pending)


def numbered(messages: Sequence[Message], error_role: Literal["tool", "user"] = "tool") -> list[dict[str, Any]]:
    """The messages as servers want them: every call with an id of its own, every tool message with that of its call.

    Tool messages answer the calls of the turn before them, in order. One beyond them answers a turn without a
    well-formed call: it goes out in `error_role`, as `tool` with an id that no call has. Ids are nine letters and
    digits, the strictest form that is asked for (Mistral's).
    """
    fresh = (f"call{number:05d}" for number in count())
    sent: list[dict[str, Any]] = []
    unanswered: list[str] = []
    for message in messages:
        if message["role"] != "tool":
            calls = [{**entry, "id": next(fresh)} for entry in message.get("tool_calls", ())]
            unanswered = [call["id"] for call in calls]
            sent.append({**message, "tool_calls": calls} if calls else {**message})
        elif unanswered or error_role == "tool":
            sent.append({**message, "tool_call_id": unanswered.pop(0) if unanswered else next(fresh)})
        else:
            sent.append({**message, "role": error_role})
    return sent


def _tools(tools: Sequence[ToolSpec]) -> dict[str, Any]:
    return {"tools": list(tools)} if tools else {}  # an empty list is refused


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model] = Field(min_length=1)


class _Tokens(BaseModel):
    tokens: Ids


class FunctionCall(BaseModel):
    """A call as a server parsed it; a model's mistakes can stand in either part."""

    name: Any = None
    arguments: Any = None


class _Call(BaseModel):
    function: FunctionCall


class ServedMessage(BaseModel):
    """An assistant turn as a server parsed it."""

    content: str | None = None
    reasoning: str | None = None
    """Thinking, as vLLM names it."""
    reasoning_content: str | None = None
    """Thinking, as most others name it."""
    tool_calls: list[_Call] | None = None


class _ChatChoice(BaseModel):
    message: ServedMessage
    finish_reason: str | None = None


class _ChatAnswer(BaseModel):
    choices: list[_ChatChoice] = Field(min_length=1)


class _TextChoice(BaseModel):
    text: str
    finish_reason: str | None = None
    token_ids: list[int] | None = None


class _TextAnswer(BaseModel):
    choices: list[_TextChoice] = Field(min_length=1)


def hermes(message: ServedMessage) -> str:
    """A turn that a server took apart, as text from which `toolcall.parse` reads the same thinking, words and calls."""
    calls = "\n".join(f"<tool_call>\n{_call_body(entry.function)}\n</tool_call>" for entry in message.tool_calls or ())
    thinking = re.sub("<(?=/?think>)", "< ", message.reasoning or message.reasoning_content or "")
    said = "\n".join(part for part in (message.content, calls) if part)
    return f"<think>{thinking}</think>\n\n{said}" if thinking else said


_TAG = re.compile("<(?=/?(?:tool_call|think)>)")


def _call_body(call: FunctionCall) -> str:
    """A call as one JSON object, or as text that is no JSON where its arguments are none."""
    name, arguments = json.dumps(call.name, ensure_ascii=False), call.arguments
    if not isinstance(arguments, str):
        arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
    arguments = arguments if arguments.strip() else "{}"
    body = f'{{"name": {name}, "arguments": {arguments}}}'
    if _is_json(body) and not _is_json(arguments):  # `{}, "name": "another"`
        body = f"{name} {arguments}"
    return _TAG.sub(r"\\u003c", body)  # the same character within a JSON string, and no tag


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _client(base_url: str, settings: EndpointSettings) -> openai.OpenAI:
    try:
        TypeAdapter(AnyHttpUrl).validate_python(base_url)
    except ValidationError as error:
        why = error.errors()[0]["msg"]
        raise EndpointError(f"'{base_url}' is no address like http://localhost:8000/v1: {why}") from error
    return openai.OpenAI(
        base_url=base_url,
        api_key=os.environ.get("OPENAI_API_KEY") or "none",
        timeout=openai.Timeout(settings.timeout, connect=min(settings.timeout, 10.0)),
        max_retries=settings.retries,
    )


_TOO_LONG = re.compile("context (length|size|window)|context_length_exceeded|prompt is too long", re.IGNORECASE)
"""How servers (vLLM, SGLang, llama.cpp, OpenAI) say that a prompt does not fit."""


def _says_too_long(error: Exception) -> bool:
    return isinstance(error, openai.BadRequestError) and bool(_TOO_LONG.search(f"{error.code} {error.message}"))


def _remedy(error: Exception) -> str:
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return "set the environment variable OPENAI_API_KEY to a key that it takes"
    if isinstance(error, openai.APIConnectionError):
        return "start the server, or correct the address"
    if isinstance(error, openai.APIStatusError) and not isinstance(error, openai.NotFoundError):
        return "see the server's log"
    return "check that the address is one of an OpenAI-compatible API (it usually ends in /v1)"


def _why(error: Exception) -> str:
    """A failure in one line that can be written as UTF-8."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        text = f"unusable answer: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    elif isinstance(error, openai.APIConnectionError):
        text = f"{error.message} {error.__cause__ or ''}"
    elif isinstance(error, openai.OpenAIError):
        text = str(error)
    else:
        text = f"unusable answer: {type(error).__name__}: {error}"
    line = " ".join(_whole_characters(text).split())
    return line if len(line) <= 300 else line[:299] + "…"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more


def _whole_characters(text: str) -> str:
    """The text without halves of surrogate pairs, which UTF-8 cannot hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
