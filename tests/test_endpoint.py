"""The endpoint agent against a local server that answers well, badly, or not at all."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import byte_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from fission_grpo.chat import Message, Rollout, Task, ToolCall, ToolSpec, Turn, assistant_message, tool_message
from fission_grpo.domains.base import Domain
from fission_grpo.evaluation import tasks
from fission_grpo.evaluation.agent import EvaluationSettings
from fission_grpo.evaluation.endpoint import (
    Endpoint,
    EndpointAgent,
    EndpointError,
    EndpointSettings,
    ServedMessage,
    connect,
    hermes,
    numbered,
    served_prompt_ids,
)
from fission_grpo.evaluation.episode import Conversation, Episode, Halt, run
from fission_grpo.evaluation.results import Results, evaluate
from fission_grpo.policy.template import Template
from fission_grpo.toolcall import Toolbox, parse, render

# --- a server that misbehaves


@dataclass(frozen=True)
class Reply:
    """What the server sends: JSON, or raw bytes; `length` lies about their number."""

    body: Any = b""
    status: int = 200
    kind: str = "application/json"
    length: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def raw(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def drop(server: Server) -> None:
    """In place of a reply: the connection closes."""


def hang(server: Server) -> None:
    """In place of a reply: nothing, until the test is over."""
    server.over.wait()


Answer = Reply | Callable[["Server"], None]


class Server(ThreadingHTTPServer):
    """Answers `/v1/models`, and every post as `answer` says; keeps the posts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.over = threading.Event()
        self.reset()

    def reset(self) -> None:
        self.models: Answer = Reply({"data": [{"id": "m"}]})
        self.answer: Callable[[str, dict[str, Any]], Answer] = lambda path, body: Reply(status=500)
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.keys: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def always(self, answer: Answer) -> None:
        self.answer = lambda path, body: answer

    def in_turn(self, *answers: Answer) -> None:
        left = iter(answers)
        self.answer = lambda path, body: next(left)

    def handle_error(self, *about: object) -> None:
        """Clients that no longer listen are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._send(self.server.models if self.path == "/v1/models" else Reply({"detail": "Not Found"}, 404))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posts.append((self.path, body))
        self._send(self.server.answer(self.path, body))

    def _send(self, answer: Answer) -> None:
        self.server.keys.add(self.headers["Authorization"])
        if not isinstance(answer, Reply):
            answer(self.server)
            return
        self.send_response(answer.status)
        length = len(answer.raw) if answer.length is None else answer.length
        for name, value in {"Content-Type": answer.kind, "Content-Length": str(length), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.raw)

    def log_message(self, *about: object) -> None:
        """Silence."""


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as one:
        threading.Thread(target=partial(one.serve_forever, poll_interval=0.01), daemon=True).start()
        yield one
        one.over.set()
        one.shutdown()


@pytest.fixture(scope="module")
def one_server() -> Iterator[Server]:
    with serving() as one:
        yield one


@pytest.fixture
def server(one_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    one_server.reset()
    return one_server


# --- one request


def endpoint(server: Server, **settings: Any) -> Endpoint:
    return connected(server.url, EndpointSettings(**{"retries": 0, "timeout": 5, **settings}).model_dump_json())


def agent_of(endpoint: Endpoint, template: Template | None = None) -> EndpointAgent:
    return EndpointAgent(endpoint, EvaluationSettings(max_new_tokens=64), template)


@lru_cache
def connected(url: str, settings: str) -> Endpoint:
    """A client is slow to make (it loads the certificates), and can be used again."""
    return connect(url, None, EndpointSettings.model_validate_json(settings))


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(byte_tokenizer())


TOOL: ToolSpec = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Notes.",
        "parameters": {"type": "object", "additionalProperties": True},
    },
}


def asked(said: str = "Hi.") -> Conversation:
    conversation = Conversation([TOOL])
    conversation.hear({"role": "user", "content": said})
    return conversation


def act(agent: EndpointAgent) -> Rollout | Halt:
    (turn,) = agent.act([asked()])
    return turn


def chat(content: str | None = None, finish: str = "stop", **message: Any) -> Reply:
    return Reply({"choices": [{"message": {"content": content, **message}, "finish_reason": finish}]})


def text(said: str, finish: str = "stop", **choice: Any) -> Reply:
    return Reply({"choices": [{"text": said, "finish_reason": finish, **choice}]})


def call(name: Any, arguments: Any) -> dict[str, Any]:
    return {"id": "x", "type": "function", "function": {"name": name, "arguments": arguments}}


BAD: dict[str, tuple[Answer, str]] = {
    "500": (Reply({"error": {"message": "out of\nmemory"}}, 500), "500.*out of.*memory"),
    "503": (Reply(b"busy", 503, "text/plain"), "busy|503"),
    "429": (Reply({"error": {"message": "slow down"}}, 429), "slow down"),
    "400": (Reply({"error": {"message": "no such field"}}, 400), "no such field"),
    "a page": (Reply(b"<html>\n<body>Hello.</body></html>", kind="text/html"), "unusable answer"),
    "a page that says 502": (Reply(b"<html>\n" + b"x" * 5000, 502, "text/html"), "502|xxx"),
    "no JSON": (Reply(b'{"choices": [{'), "unusable answer: JSONDecodeError"),
    "no UTF-8": (Reply(b'{"choices": ["\xff\xfe"]}'), "unusable answer: UnicodeDecodeError"),
    "too deep": (Reply(b"[" * 100_000 + b"]" * 100_000), "unusable answer"),
    "nothing": (Reply(b""), "unusable answer"),
    "a list": (Reply([1, 2]), "unusable answer"),
    "no choices": (Reply({"object": "error"}), "unusable answer: choices: Field required"),
    "empty choices": (Reply({"choices": []}), "unusable answer: choices: List should have at least 1 item"),
    "an empty choice": (Reply({"choices": [{}]}), r"unusable answer: choices\.0\.(message|text): Field required"),
    "another type": (Reply({"choices": [{"message": 3, "text": 3}]}), r"unusable answer: choices\.0\."),
    "half an answer": (Reply(b'{"choices"', length=5000), "Connection error.*without sending complete"),
    "half a character": (Reply(b'{"error": {"message": "\\ud800 no"}}', 500), "no"),
    "dropped": (drop, "Connection error"),
}


@pytest.mark.parametrize("ours", [False, True], ids=["native", "ours"])
@pytest.mark.parametrize("kind", BAD)
def test_a_failed_request_halts_the_episode_with_one_line(
    server: Server, template: Template, kind: str, ours: bool
) -> None:
    reply, why = BAD[kind]
    server.always(reply)
    halt = act(agent_of(endpoint(server), template if ours else None))
    assert isinstance(halt, Halt)
    assert halt.ended == "endpoint_error"
    assert re.search(why, halt.detail)
    assert len(halt.detail) <= 300
    assert halt.detail.isprintable()
    halt.detail.encode()


def test_silence_is_not_waited_for_without_end(server: Server) -> None:
    server.always(hang)
    agent = agent_of(endpoint(server, timeout=0.1))
    assert act(agent) == Halt("endpoint_error", "Request timed out. timed out")


def test_a_server_that_went_away_is_named() -> None:
    with serving() as server:
        agent = agent_of(endpoint(server))
    halt = act(agent)
    assert isinstance(halt, Halt)
    assert re.search("Connection error.*refused", halt.detail)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "This model's maximum context length is 2048 tokens. However, your prompt contains 3188."},
        {"message": "Input length (9) exceeds model's maximum context length (8)."},
        {"message": "Too many tokens.", "code": "context_length_exceeded"},
        {"message": "the request exceeds the available context size, try increasing it"},
    ],
)
@pytest.mark.parametrize("ours", [False, True], ids=["native", "ours"])
def test_a_context_that_does_not_fit_is_told_apart(
    server: Server, template: Template, error: dict[str, str], ours: bool
) -> None:
    server.always(Reply({"error": error}, 400))
    halt = act(agent_of(endpoint(server), template if ours else None))
    assert isinstance(halt, Halt)
    assert halt.ended == "context_full"
    assert error["message"][:20] in halt.detail
    server.always(Reply({"error": error}, 500))
    assert act(agent_of(endpoint(server))).ended == "endpoint_error"


@pytest.mark.parametrize("first", [drop, Reply(status=503, headers={"retry-after-ms": "1"})])
def test_a_request_is_sent_again(server: Server, first: Answer) -> None:
    server.in_turn(first, chat("Hello."))
    assert act(agent_of(endpoint(server, retries=1))) == Rollout("Hello.", (), ())
    assert server.posts[0] == server.posts[1]


def test_a_cut_off_turn_is_unfinished(server: Server, template: Template) -> None:
    server.always(chat(None, "length", reasoning="Hm, or"))
    assert act(agent_of(endpoint(server))) == Rollout("<think>Hm, or</think>\n\n", (), (), finished=False)
    server.always(text("Hm", "length", token_ids=[40, 77]))
    assert act(agent_of(endpoint(server), template)) == Rollout("Hm", (40, 77), (), finished=False)


def test_ten_thousand_calls_are_passed_on(server: Server) -> None:
    server.always(chat(None, tool_calls=[call("note", f'{{"n": {n}}}') for n in range(10_000)]))
    turn = act(agent_of(endpoint(server)))
    assert isinstance(turn, Rollout)
    assert turn.text == render([ToolCall("note", {"n": n}) for n in range(10_000)])


def test_halves_of_characters_are_made_harmless(server: Server, template: Template) -> None:
    server.always(chat("a\ud800b😀", reasoning="\udc00", tool_calls=[call("note\udfff", '{"a": "\ud800"}')]))
    turn = act(agent_of(endpoint(server)))
    assert isinstance(turn, Rollout)
    assert turn.text.startswith("<think>\ufffd</think>\n\na\ufffdb😀\n<tool_call>")
    turn.text.encode()
    server.always(text("a\ud800"))
    rollout = act(agent_of(endpoint(server), template))
    assert isinstance(rollout, Rollout)
    assert rollout.text == "a\ufffd"


# --- native answers, text

_BOX = Toolbox([TOOL])
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_TAGGED = st.lists(_TEXT | st.sampled_from(["<tool_call>", "</tool_call>", "<think>", "</think>"])).map("".join)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _TAGGED,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TAGGED, inner, max_size=3),
    max_leaves=6,
)
_ARGUMENTS = st.dictionaries(_TAGGED, _JSON, max_size=3)


def served(*calls: dict[str, Any], **message: Any) -> str:
    return hermes(ServedMessage.model_validate({"tool_calls": list(calls), **message}))


@settings(max_examples=50)
@given(st.lists(_ARGUMENTS, max_size=3), _TEXT, _TAGGED, st.booleans(), st.booleans())
def test_what_the_server_parsed_is_read_the_same(
    arguments: list[dict[str, Any]], said: str, thought: str, as_text: bool, ascii_only: bool
) -> None:
    calls = [call("note", json.dumps(one, ensure_ascii=ascii_only) if as_text else one) for one in arguments]
    said = said.replace("<", "")  # a tag in the words is an error of the model's, and is passed on as one
    parsed = parse(served(*calls, content=said, reasoning=thought), _BOX)
    assert parsed.errors == ()
    assert parsed.calls == tuple(ToolCall("note", one) for one in arguments)
    assert parsed.text == said.strip()
    assert parsed.think == re.sub("<(?=/?think>)", "< ", thought)


@settings(max_examples=50)
@given(_TEXT | st.sampled_from(["{oops", "{}, {}", "]", '{}, "name": "other"', '{"a": 1', "NaN", "<tool_call>", '"x"']))
def test_arguments_that_are_no_object_are_one_error(arguments: str) -> None:
    calls = [call("note", "{}"), call("note", arguments), call("note", '{"b": 1}')]
    parsed = parse(served(*calls), _BOX)
    if arguments.strip() in ("", "{}"):
        assert len(parsed.calls) == 3
    else:
        assert parsed.calls == (ToolCall("note"), ToolCall("note", {"b": 1}))
        assert [error.call for error in parsed.errors] == [2]


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (call("note", "{oops"), "invalid_json"),
        (call("note", '{}, "name": "other"'), "invalid_json"),
        (call("note", "[1]"), "not_an_object"),
        (call("note", [1]), "not_an_object"),
        (call("other", "{}"), "unknown_tool"),
        (call(None, "{}"), "missing_name"),
        (call(["note"], "{}"), "missing_name"),
        (call("note", '{"a": "\\ud800"}'), "invalid_json"),
        (call("note", "1" * 5000), "invalid_json"),
        (call("note", "[" * 5000), "invalid_json"),
    ],
)
def test_a_models_mistake_keeps_its_kind(one: dict[str, Any], kind: str) -> None:
    assert [error.kind for error in parse(served(one), _BOX).errors] == [kind]


def test_missing_arguments_are_none() -> None:
    for arguments in (None, "", " ", {}):
        assert parse(served(call("note", arguments)), _BOX).calls == (ToolCall("note"),)


def test_thinking_comes_under_two_names() -> None:
    for name in ("reasoning", "reasoning_content"):
        parsed = parse(served(content="Hello.", **{name: "Hm."}), _BOX)
        assert (parsed.think, parsed.text) == ("Hm.", "Hello.")


def test_calls_that_the_server_could_not_parse_stay_as_they_are(server: Server) -> None:
    server.always(chat("<tool_call>\n{oops\n</tool_call>"))  # what vLLM's hermes parser does
    assert act(agent_of(endpoint(server))) == Rollout("<tool_call>\n{oops\n</tool_call>", (), ())


# --- message ids


def _messages() -> st.SearchStrategy[list[Message]]:
    calling = st.integers(1, 3).map(lambda n: assistant_message("", [ToolCall("note", {"n": i}) for i in range(n)]))
    others = st.sampled_from([{"role": "user", "content": "Hi."}, assistant_message("Hm.", ()), tool_message("{}")])
    return st.lists(calling | others, max_size=12)


@settings(max_examples=50)
@given(_messages())
def test_every_call_has_its_own_id_and_every_answer_that_of_its_call(messages: list[Message]) -> None:
    before = json.dumps(messages)
    sent = numbered(messages)
    assert json.dumps(messages) == before
    calls = [[entry["id"] for entry in message.get("tool_calls", ())] for message in sent]
    ids = [one for turn in calls for one in turn]
    answered = [message["tool_call_id"] for message in sent if message["role"] == "tool"]
    assert len(set(ids)) == len(ids)
    assert len(set(answered)) == len(answered)
    assert all(len(one) == 9 and one.isalnum() for one in ids + answered)
    due: list[str] = []
    for message, turn in zip(sent, calls, strict=True):
        if message["role"] != "tool":
            due = turn
        elif due:
            assert message["tool_call_id"] == due[0]
            due = due[1:]
        else:
            assert message["tool_call_id"] not in ids
    bare = [{k: v for k, v in message.items() if k not in ("tool_call_id", "tool_calls")} for message in sent]
    assert bare == [{k: v for k, v in message.items() if k != "tool_calls"} for message in messages]


def test_an_answer_without_a_call_can_go_out_as_the_users() -> None:
    messages = [assistant_message("", [ToolCall("note")]), tool_message("1"), tool_message("ERROR: 2")]
    assert [message["role"] for message in numbered(messages, "user")] == ["assistant", "tool", "user"]
    assert numbered(messages, "user")[2] == {"role": "user", "content": "ERROR: 2"}


# --- whole episodes


class _State(BaseModel):
    level: int = 0


class _Lamp(Domain):
    name = "lamp"
    State = _State

    def raise_level(self, by: int) -> dict[str, int]:
        """Raises the level.

        Args:
            by: How much.
        """
        self.state.level += by
        return {"level": self.state.level}


def lamps(count: int) -> list[Task]:
    """Each is to raise the level by its number, and then again."""
    return [
        Task(
            id=f"t{n}",
            domain="lamp",
            tools=["raise_level"],
            initial_state={"level": 0},
            turns=[
                Turn(user=f"Raise by {n}.", steps=[[ToolCall("raise_level", {"by": n}).to_openai()]], reply="Done.")
                for _ in range(2)
            ],
        )
        for n in range(1, count + 1)
    ]


def play(agent: EndpointAgent, count: int, workers: int = 4) -> list[Episode]:
    return run(list(tasks.plays(lamps(count), {"lamp": _Lamp}, 5).values()), agent, batch_size=1, workers=workers)


def obliging(path: str, body: dict[str, Any]) -> Reply:
    """A model that does what it is asked, through either rendering."""
    if path == "/v1/chat/completions":
        last = body["messages"][-1]
        if last["role"] == "tool":
            return chat("Done.")
        number = last["content"].removeprefix("Raise by ").rstrip(".")
        return chat(None, "tool_calls", tool_calls=[call("raise_level", f'{{"by": {number}}}')])
    tokenizer = byte_tokenizer()
    last = tokenizer.decode(body["prompt"]).rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]
    number = last.removeprefix("Raise by ").rstrip(".")
    said = "Done." if "tool_response" in last else render([ToolCall("raise_level", {"by": int(number)})])
    return text(said, token_ids=[*tokenizer(said)["input_ids"], tokenizer.eos_token_id])


def test_native_episodes(server: Server) -> None:
    server.answer = obliging
    episodes = play(agent_of(endpoint(server, body={"seed": 3})), 12)
    assert [(e.task, e.ended, e.steps) for e in episodes] == [(f"t{n}", "done", 4) for n in range(1, 13)]
    path, body = max(server.posts, key=lambda post: len(post[1]["messages"]))
    assert path == "/v1/chat/completions"
    assert {k: v for k, v in body.items() if k not in ("messages", "tools")} == {
        "model": "m", "temperature": 0.0, "max_tokens": 64, "seed": 3,
    }  # fmt: skip
    assert body["tools"] == _Lamp.specs(["raise_level"])
    turn = ["user", "assistant", "tool"]
    assert [message["role"] for message in body["messages"]] == [*turn, "assistant", *turn]
    ids = [entry["id"] for message in body["messages"] for entry in message.get("tool_calls", ())]
    assert [m["tool_call_id"] for m in body["messages"] if m["role"] == "tool"] == ids == ["call00000", "call00001"]


@pytest.mark.parametrize("returns_ids", [True, False])
def test_episodes_in_our_rendering(server: Server, template: Template, returns_ids: bool) -> None:
    def answer(path: str, body: dict[str, Any]) -> Reply:
        reply = obliging(path, body)
        if not returns_ids:
            del reply.body["choices"][0]["token_ids"]
            reply.body["choices"][0]["text"] += "<|im_end|>"  # as some servers do without skip_special_tokens
        return reply

    server.answer = answer
    episodes = play(agent_of(endpoint(server), template), 12)
    assert [(e.task, e.ended, e.steps) for e in episodes] == [(f"t{n}", "done", 4) for n in range(1, 13)]
    path, body = max(server.posts, key=lambda post: len(post[1]["prompt"]))
    assert path == "/v1/completions"
    assert {k: v for k, v in body.items() if k != "prompt"} == {
        "model": "m", "temperature": 0.0, "max_tokens": 64, "add_special_tokens": False,
        "skip_special_tokens": False, "return_token_ids": True, "stop_token_ids": [template.tokenizer.eos_token_id],
    }  # fmt: skip
    (longest,) = {e.task: e for e in episodes if tuple(body["prompt"]) == _ids(template, e.messages[:-1])}.values()
    assert longest.task in {"t10", "t11", "t12"}


def _ids(template: Template, messages: Sequence[Message]) -> tuple[int, ...]:
    return template.encode(messages, _Lamp.specs(["raise_level"]))


def test_the_sampled_ids_are_appended_as_they_are(server: Server, template: Template) -> None:
    eos = template.tokenizer.eos_token_id
    server.in_turn(text("Hm", token_ids=[5, 6, eos]), text("Hm"))
    agent, conversation = agent_of(endpoint(server), template), asked()
    (rollout,) = agent.act([conversation])
    assert rollout == Rollout("Hm", (5, 6, eos), ())
    conversation.speak(rollout, assistant_message("Hm", ()))
    conversation.hear({"role": "user", "content": "So?"})
    agent.act([conversation])
    (_, first), (_, second) = server.posts
    start = [*first["prompt"], 5, 6, eos]
    assert second["prompt"][: len(start)] == start
    assert template.tokenizer.decode(second["prompt"][len(start) :]).endswith("So?<|im_end|>\n<|im_start|>assistant\n")
    conversation.show([])
    server.always(text("Hm"))
    agent.act([conversation])
    assert tuple(server.posts[-1][1]["prompt"]) == template.encode(conversation.messages, [])


def test_one_bad_entry_costs_only_itself(server: Server) -> None:
    def answer(path: str, body: dict[str, Any]) -> Answer:
        return drop if body["messages"][0]["content"] == "Raise by 3." else obliging(path, body)

    server.answer = answer
    episodes = play(agent_of(endpoint(server)), 6)
    assert [e.ended for e in episodes] == ["done", "done", "endpoint_error", "done", "done", "done"]
    assert "Connection error" in episodes[2].detail


# --- an endpoint that is gone


def _results(folder: Path) -> Results:
    return Results(folder, {"source": "lamps"})


def test_a_run_stops_when_nothing_answers_any_more_and_goes_on_later(server: Server, tmp_path: Path) -> None:
    def dying(path: str, body: dict[str, Any]) -> Answer:
        return obliging(path, body) if len(server.posts) <= 20 else drop

    plays = tasks.plays(lamps(30), {"lamp": _Lamp}, 5)
    server.answer = dying
    with pytest.raises(
        EndpointError, match=r"\d requests in a row failed: Connection error.*finished episodes are kept"
    ):
        evaluate(plays, agent_of(endpoint(server, give_up_after=5)), _results(tmp_path), workers=3)
    kept = _results(tmp_path).done
    assert 3 <= len(kept) <= 5
    assert {e.ended for e in kept.values()} == {"done"}
    server.answer = obliging
    before = len(server.posts)
    summary = evaluate(plays, agent_of(endpoint(server)), _results(tmp_path), workers=3)
    assert (summary.success.count, summary.success.total) == (30, 30)
    assert len(server.posts) - before == 4 * (30 - len(kept))


def _acts(server: Server, *answers: Answer, **settings: Any) -> list[Rollout | Halt]:
    server.in_turn(*answers)
    agent = agent_of(endpoint(server, **settings))
    return [act(agent) for _ in answers]


BUSY, GOOD, FULL = Reply(status=500), chat("Hi."), Reply({"error": {"code": "context_length_exceeded"}}, 400)
REFUSED, GONE = Reply({"error": {"message": "bad schema"}}, 400), Reply({"detail": "Not Found"}, 404)


def test_only_failures_in_a_row_end_a_run(server: Server) -> None:
    _acts(server, BUSY, BUSY, GOOD, BUSY, BUSY, FULL, BUSY, BUSY, give_up_after=3)
    with pytest.raises(EndpointError, match=r"3 requests in a row failed: .*; see the server's log, then run"):
        _acts(server, BUSY, GOOD, BUSY, BUSY, BUSY, give_up_after=3)


def test_requests_refused_by_a_working_server_never_end_a_run(server: Server) -> None:
    _acts(server, GOOD, *[REFUSED] * 9, give_up_after=3)
    with pytest.raises(EndpointError, match=r"3 requests in a row failed: .*bad schema"):
        _acts(server, *[REFUSED] * 9, give_up_after=3)


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "usually ends in /v1")]
)
def test_a_wrong_key_or_address_ends_a_run_at_once(server: Server, status: int, remedy: str) -> None:
    wrong = Reply({"error": {"message": "no"}}, status)
    with pytest.raises(EndpointError, match=f"the request failed: .*{status}.*{remedy}"):
        _acts(server, wrong)
    assert isinstance(_acts(server, GOOD, wrong)[1], Halt)  # it was right before: the server's trouble


# --- connecting


def test_the_key_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(server.url, None, EndpointSettings())
    assert server.keys == {"Bearer none"}
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    connect(server.url, None, EndpointSettings())
    assert server.keys == {"Bearer none", "Bearer secret"}


SEVERAL = Reply({"data": [{"id": "a"}, {"id": "b"}]})


@pytest.mark.parametrize(
    ("models", "name", "says"),
    [
        (SEVERAL, None, "name the model to use: .* serves a, b$"),
        (SEVERAL, "c", "there is no model 'c': .* serves a, b$"),
        (Reply({"data": [{"id": f"m{n}"} for n in range(99)]}), "c", "m19 and 79 more$"),
        (Reply({"data": []}), None, "unusable answer: data: List should have at least 1 item"),
        (Reply(b"<html>", kind="text/html"), None, "usually ends in /v1"),
        (Reply(b"\xff"), None, "usually ends in /v1"),
        (Reply({"error": {"message": "bad key"}}, 401), None, "bad key.*OPENAI_API_KEY"),
        (Reply(status=500), None, "see the server's log"),
        (drop, None, "start the server, or correct the address$"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_one_clear_line(
    server: Server, models: Answer, name: str | None, says: str
) -> None:
    server.models = models
    with pytest.raises(EndpointError, match=says) as caught:
        connect(server.url, name, EndpointSettings(retries=0))
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_is_found_by_name_or_alone(server: Server) -> None:
    assert connect(server.url, None, EndpointSettings()).name == "m"
    server.models = SEVERAL
    assert connect(server.url, "b", EndpointSettings()).name == "b"


def test_an_address_where_nothing_answers() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with pytest.raises(EndpointError, match=r"Connection refused; start the server, or correct the address$"):
        connect(f"http://127.0.0.1:{port}/v1", None, EndpointSettings(retries=0))


@pytest.mark.parametrize("url", ["", "localhost:8000/v1", "http://", "ftp://host/v1", "http://[::1", "http://a b/v1"])
def test_what_is_no_address_at_all(url: str) -> None:
    with pytest.raises(EndpointError, match=r"cannot be used|is no address"):
        connect(url, None, EndpointSettings(retries=0))


def test_a_missing_v1_is_guessed_at(server: Server) -> None:
    with pytest.raises(EndpointError, match=r"404.*usually ends in /v1"):
        connect(server.url.removesuffix("/v1"), None, EndpointSettings(retries=0))


# --- the server's prompt


def test_the_tokens_of_a_native_prompt(server: Server) -> None:
    server.always(Reply({"count": 2, "tokens": [7, 8]}))
    messages = [assistant_message("", [ToolCall("note")]), tool_message("1")]
    assert served_prompt_ids(endpoint(server), messages, [TOOL]) == (7, 8)
    ((path, body),) = server.posts
    assert path == "/tokenize"
    assert body == {"model": "m", "messages": numbered(messages), "tools": [TOOL]}
    for bad in (GONE, Reply({"tokens": ["x"]}), drop):
        server.always(bad)
        with pytest.raises(EndpointError, match="does not tell a prompt's tokens"):
            served_prompt_ids(endpoint(server), messages, [])
    assert "tools" not in server.posts[-1][1]
