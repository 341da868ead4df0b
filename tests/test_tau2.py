"""TAU2 and TAU-Bench as sources: the protocol against a stand-in, TAU2 itself where its environment was created."""

import json
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from fission_grpo.chat import Rollout, ToolCall
from fission_grpo.errors import UserError
from fission_grpo.evaluation import environment, tau
from fission_grpo.evaluation.environment import TAU2, Environment, InstallError, python_of
from fission_grpo.evaluation.episode import Conversation, Episode, Halt, run
from fission_grpo.evaluation.recovery import summarise
from fission_grpo.evaluation.scripted import Replay, ReplayWithErrors, Stuck
from fission_grpo.evaluation.tau2 import runner
from fission_grpo.evaluation.tau2.client import Simulators, Tau2Error
from fission_grpo.evaluation.tau2.play import MAX_MALFORMED, UserModel, plays
from fission_grpo.toolcall import render

STAND_IN = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[0]).parent
pid, heard = __import__("os").getpid(), (folder / "heard.jsonl").open("a")
for line in sys.stdin:
    asked = json.loads(line)
    if not asked or "task" not in asked:
        print(json.dumps({"event": "tasks", "ids": ["7", "8", "9"]}), flush=True)
        continue
    heard.write(json.dumps({"pid": pid, "asked": asked}) + "\\n")
    heard.flush()
    for say in json.loads((folder / "script.json").read_text()):
        if "sleep" in say:
            time.sleep(say["sleep"])
        if "die" in say:
            sys.exit(say["die"])
        print(json.dumps(say), flush=True)
        if say["event"] == "turn":
            answer = json.loads(sys.stdin.readline())
            heard.write(json.dumps({"pid": pid, "answer": answer}) + "\\n")
            heard.flush()
            if answer is None:
                break
"""

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "description": "Finds an order.",
            "parameters": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
        },
    }
]
START = {
    "event": "start",
    "messages": [{"role": "system", "content": "Be good."}, {"role": "assistant", "content": "Hi!"}],
    "tools": TOOLS,
    "reference": [{"steps": [[{"name": "find_order", "arguments": {"order": "A"}}]], "reply": "Found."}],
}
FIND = render([ToolCall("find_order", {"order": "A"})])


def turn(*messages: tuple[str, str]) -> dict[str, Any]:
    """An event whose messages are given by role, with `error` for a tool that failed."""
    return {"event": "turn", "messages": [_heard(role, content) for role, content in messages]}


def end(reward: float = 1.0, reason: str = "user_stop", *messages: tuple[str, str]) -> dict[str, Any]:
    heard = [_heard(role, content) for role, content in messages]
    return {"event": "end", "reason": reason, "reward": reward, "checks": {"DB": reward}, "messages": heard}


def _heard(role: str, content: str) -> dict[str, Any]:
    if role == "user":
        return {"role": role, "content": content}
    return {"role": "tool", "content": content, "error": role == "error"}


class Says:
    """Says the given texts in order, in every conversation."""

    def __init__(self, *texts: str | Halt | Rollout) -> None:
        self.texts = texts

    def act(self, conversations: Sequence[Conversation]) -> list[Rollout | Halt]:
        said = [self.texts[len(conversation.rollouts)] for conversation in conversations]
        return [Rollout(text, (), ()) if isinstance(text, str) else text for text in said]


class StandIn:
    """A folder with a runner that plays a script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "stand_in.py").write_text(STAND_IN)

    def simulators(self, *script: dict[str, Any], turn_seconds: float = 60) -> Simulators:
        (self.folder / "script.json").write_text(json.dumps(script))
        return Simulators(Path(sys.executable), runner=self.folder / "stand_in.py", turn_seconds=turn_seconds)

    def play(self, agent: Any, *script: dict[str, Any], limit: int = 1, turn_seconds: float = 60) -> list[Episode]:
        with self.simulators(*script, turn_seconds=turn_seconds) as simulators:
            return run(list(plays(simulators, "retail", None, limit=limit).values()), agent, batch_size=1)

    @property
    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "heard.jsonl").read_text().splitlines()]


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


def test_a_success_passes_both_ways_through_the_protocol(stand_in: StandIn) -> None:
    script = [
        START,
        turn(("user", "Where is A?")),
        turn(("tool", '{"at": "sea"}')),
        end(1.0, "user_stop", ("user", "Bye")),
    ]
    (episode,) = stand_in.play(Replay(), *script)
    assert (episode.task, episode.category, episode.trial) == ("retail/7", "retail", 0)
    assert (episode.success, episode.ended, episode.detail) == (True, "done", "user_stop (DB 1)")
    assert (episode.steps, episode.execution_errors) == (2, [])
    assert [message["role"] for message in episode.messages] == [
        *("system", "assistant", "user", "assistant", "tool", "assistant", "user"),
    ]
    answers = [entry["answer"] for entry in stand_in.heard if "answer" in entry]
    assert answers == [
        {"content": "", "calls": [{"name": "find_order", "arguments": {"order": "A"}}]},
        {"content": "Found.", "calls": []},
    ]


def test_each_failed_call_is_recorded_with_its_kind(stand_in: StandIn) -> None:
    calls = [
        ToolCall("find_order", {"order": "A"}),
        ToolCall("no_tool"),
        ToolCall("find_order", {"order": "A", "fast": True}),
        ToolCall("find_order"),
        ToolCall("find_order", {"order": "B"}),
    ]
    results = [("tool", "{}"), *(("error", f"Error: {number}") for number in range(4))]
    script = [START, turn(("user", "Go")), turn(*results), turn(("tool", "{}")), turn(("user", "Thanks")), end()]
    (episode,) = stand_in.play(Says(render(calls), FIND, "Found.", "Bye."), *script)
    kinds = [error.kind for error in episode.execution_errors]
    assert kinds == ["unknown_tool", "unknown_argument", "missing_argument", "tool_error"]
    assert [error.message for error in episode.execution_errors] == [f"Error: {number}" for number in range(4)]
    assert episode.execution_errors[0].calls == render([calls[1]])
    assert (episode.steps_to_recover, episode.unrecovered, episode.success) == ([1], 0, True)


def test_errors_belong_to_their_user_turn(stand_in: StandIn) -> None:
    failed = turn(("error", "Error: no"))
    script = [START, turn(("user", "Go")), failed, turn(("user", "Again")), failed, end(0.0)]
    (episode,) = stand_in.play(Says(FIND, "Sorry.", FIND, "Sorry."), *script)
    assert [(error.turn, error.step) for error in episode.execution_errors] == [(0, 0), (1, 0)]
    assert (episode.unrecovered, episode.steps_to_recover) == (2, [])


def test_what_the_assistant_no_longer_hears_still_counts(stand_in: StandIn) -> None:
    script = [START, turn(("user", "Go")), end(0.0, "too_many_errors", ("error", "Error: no"))]
    (episode,) = stand_in.play(Says(FIND), *script)
    assert (episode.ended, episode.detail, len(episode.execution_errors)) == ("max_steps", "too_many_errors (DB 0)", 1)


@pytest.mark.parametrize(
    ("ending", "ended", "words"),
    [
        (end(0.0), "check_failed", "user_stop (DB 0)"),
        (end(0.5), "check_failed", "user_stop (DB 0.5)"),
        (end(0.0, "max_steps"), "max_steps", "max_steps (DB 0)"),
        ({"event": "failed", "by": "user", "detail": "refused"}, "endpoint_error", "the user failed: refused"),
        ({"event": "failed", "by": "tau2", "detail": "ValueError: x"}, "check_failed", "TAU2 failed: ValueError: x"),
        ({"die": "Killed by nobody"}, "endpoint_error", "TAU2: its process ended with code 1: Killed by nobody"),
        ({"sleep": 30, "event": "turn"}, "endpoint_error", "TAU2: no answer within 2 seconds"),
    ],
)
def test_every_ending_has_its_outcome(stand_in: StandIn, ending: dict[str, Any], ended: str, words: str) -> None:
    limit = 2 if "sleep" in ending else 60
    (episode,) = stand_in.play(Says("Hello."), START, turn(("user", "Go")), ending, turn_seconds=limit)
    assert (episode.success, episode.ended, episode.detail) == (False, ended, words)


def test_a_failed_start_has_its_outcome(stand_in: StandIn) -> None:
    (episode,) = stand_in.play(Says(), {"event": "failed", "by": "tau2", "detail": "no such task"})
    assert (episode.ended, episode.detail, episode.steps) == ("check_failed", "TAU2 failed: no such task", 0)


def test_a_crash_costs_one_simulation(stand_in: StandIn) -> None:
    with stand_in.simulators(START, turn(("user", "Go")), {"die": 3}) as simulators:
        first, second = plays(simulators, "retail", None, limit=2).values()
        (lost,) = run([first], Says("Hello."))
        (stand_in.folder / "script.json").write_text(json.dumps([START, turn(("user", "Go")), end()]))
        (played,) = run([second], Says("Hello."))
    assert (lost.ended, played.ended) == ("endpoint_error", "done")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<tool_call>\n{}", "unclosed_tag"),
        ("", "empty"),
        ("<think>Hm.</think>\n\n", "empty"),
        (render([ToolCall("find_order")] * 101), "too_many_calls"),
        (Rollout("Let me th", (), (), finished=False), "truncated"),
    ],
)
def test_a_malformed_turn_is_told_and_never_reaches_tau2(stand_in: StandIn, text: str | Rollout, kind: str) -> None:
    script = [START, turn(("user", "Go")), turn(("tool", "{}")), end()]
    (episode,) = stand_in.play(Says(text, FIND, "Found."), *script)
    assert [error.kind for error in episode.execution_errors] == [kind]
    assert episode.messages[4]["content"].startswith("ERROR: ")
    assert len([entry for entry in stand_in.heard if "answer" in entry]) == 2
    assert (episode.success, episode.steps, episode.steps_to_recover) == (True, 3, [1])


def test_malformed_turns_in_a_row_end_the_episode_and_the_process_serves_on(stand_in: StandIn) -> None:
    stuck = stand_in.play(Says(*["</tool_call>"] * MAX_MALFORMED), START, turn(("user", "Go")), end(), limit=2)
    assert [(episode.ended, episode.detail, episode.steps) for episode in stuck] == [
        ("max_steps", "3 malformed turns in a row", 3)
    ] * 2
    assert len({entry["pid"] for entry in stand_in.heard}) == 1
    answers = [entry["answer"] for entry in stand_in.heard if "answer" in entry]
    assert answers[0] is None  # the second may be on its way when the process is ended


def test_a_halt_ends_the_episode(stand_in: StandIn) -> None:
    (episode,) = stand_in.play(Says(Halt("context_full", "9 tokens")), START, turn(("user", "Go")), end())
    assert (episode.ended, episode.detail) == ("context_full", "9 tokens")


def test_thinking_is_kept_from_the_user_and_shown_to_the_model(stand_in: StandIn) -> None:
    (episode,) = stand_in.play(Says("<think>A secret.</think>\n\nHello."), START, turn(("user", "Go")), end())
    assert stand_in.heard[-1]["answer"]["content"] == "Hello."
    assert episode.messages[-1]["content"] == "<think>A secret.</think>\n\nHello."


def test_control_tokens_from_outside_are_broken(stand_in: StandIn) -> None:
    script = [
        START,
        turn(("user", "<|im_end|>")),
        turn(("tool", '"<|im_start|>"')),
        end(1, "user_stop", ("user", "<|x")),
    ]
    (episode,) = stand_in.play(Says(FIND, "Found."), *script)
    assert not any("<|" in message["content"] for message in episode.messages)


def test_a_closed_play_kills_its_process(stand_in: StandIn) -> None:
    with stand_in.simulators(START, turn(("user", "Go")), end()) as simulators:
        play = next(iter(plays(simulators, "retail", None).values()))()
        next(play)
        play.close()
        with pytest.raises(ProcessLookupError):
            os.kill(stand_in.heard[0]["pid"], 0)


def test_leaving_ends_every_process(stand_in: StandIn) -> None:
    stand_in.play(Says("Hello."), START, turn(("user", "Go")), end())
    with pytest.raises(ProcessLookupError):
        os.kill(stand_in.heard[0]["pid"], 0)


def test_trials_have_seeds_of_their_own_and_tau2s(stand_in: StandIn) -> None:
    with stand_in.simulators(START, turn(("user", "Go")), end()) as simulators:
        asked = plays(simulators, "retail", UserModel("u", "http://localhost/v1"), limit=2, trials=2)
        episodes = run(list(asked.values()), Says("Hello."))
    assert list(asked) == [("retail/7", 0), ("retail/8", 0), ("retail/7", 1), ("retail/8", 1)]
    assert [(episode.task, episode.trial) for episode in episodes] == list(asked)
    requests = [entry["asked"] for entry in stand_in.heard if "asked" in entry]
    assert [request["seed"] for request in requests] == [626729, 626729, 373753, 373753]
    assert requests[0]["user"]["base_url"] == "http://localhost/v1"


def test_threads_share_the_processes(stand_in: StandIn) -> None:
    with stand_in.simulators(START, turn(("user", "Go")), end()) as simulators:
        episodes = run(list(plays(simulators, "retail", None, trials=3).values()), Says("Hi."), batch_size=2, workers=2)
    assert [episode.ended for episode in episodes] == ["done"] * 9
    assert 2 <= len({entry["pid"] for entry in stand_in.heard}) <= 5


def test_bad_requests_are_the_users_errors(stand_in: StandIn, tmp_path: Path) -> None:
    with stand_in.simulators() as simulators, pytest.raises(UserError, match="no domain 'hotel'"):
        plays(simulators, "hotel", None)
    (tmp_path / "broken.py").write_text("import no_such_package")
    refused = pytest.raises(Tau2Error, match=r"TAU2 does not run.*No module named 'no_such_package'")
    with Simulators(Path(sys.executable), runner=tmp_path / "broken.py") as broken, refused:
        plays(broken, "retail", None)


@pytest.mark.parametrize(
    ("expression", "value"),
    [("2 + 3 * 4", "14.0"), ("-(1 - 3) / 3", "0.67"), ("2 ** 10", "1024.0"), ("7 // 2", "3.0"), (" 1 ", "1.0")],
)
def test_the_calculator_computes_what_tau2s_does(expression: str, value: str) -> None:
    assert runner.calculate(expression) == value == str(round(float(eval(expression)), 2))  # noqa: S307


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9**9",
        "(9**999)**999",
        "1 / 0",
        "()",
        "2(3)",
        "__import__('os')",
        "(" * 400,
        "-" * 450 + "1",
        "1" + "+1" * 5_000,
        "",
        "...",
        "0**(0-1)",
    ],
)
def test_the_calculator_refuses_what_it_cannot_compute(expression: str) -> None:
    try:
        value = runner.calculate(expression)
    except (ValueError, ArithmeticError, SyntaxError, RecursionError):
        return
    assert expression.startswith("-")
    assert value == "1.0"


def _action(requestor: str, name: str) -> Any:
    return types.SimpleNamespace(requestor=requestor, name=name, arguments={})


def test_the_ground_truth_is_dealt_to_turns() -> None:
    actions = [_action(*each) for each in [("assistant", "a"), ("user", "b"), ("user", "c"), ("assistant", "d")]]
    turns = runner.turns_of([*actions, _action("assistant", "e"), _action("user", "f")])
    assert [[[action.name for action in part] for part in turn] for turn in turns] == [
        [[], ["a"]],
        [["b", "c"], ["d", "e"]],
        [["f"], []],
    ]
    reference = runner.reference_of(turns, ["12.50"])
    assert [turn["reply"] for turn in reference] == ["Done.", "Done.", "Done. 12.50"]
    assert [[step[0]["name"] for step in turn["steps"]] for turn in reference] == [["a"], ["d", "e"], []]


def test_an_environment_is_created_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISSION_GRPO_CACHE", str(tmp_path / "cache"))

    def create(_: Environment, folder: Path) -> None:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").touch()

    said: list[str] = []
    monkeypatch.setattr(environment, "_create", create)
    first, second = python_of(TAU2, said.append), python_of(TAU2, said.append)
    assert first == second
    assert first.exists()
    assert len(said) == 1
    assert [folder.name for folder in (tmp_path / "cache").iterdir()] == [first.parent.parent.name]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, InstallError])
def test_a_failed_creation_leaves_nothing(
    failure: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISSION_GRPO_CACHE", str(tmp_path))

    def create(_: Environment, folder: Path) -> None:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").touch()
        raise failure

    monkeypatch.setattr(environment, "_create", create)
    with pytest.raises(failure):
        python_of(TAU2, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_of_pip_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISSION_GRPO_CACHE", str(tmp_path))
    pip = "import sys; print('looking', file=sys.stderr); sys.exit('ERROR: No matching distribution')"
    monkeypatch.setattr(environment, "_create", lambda asked, _: environment._do(asked, sys.executable, "-c", pip))
    with pytest.raises(InstallError, match=r"^could not create .*26.3: ERROR: No matching distribution$"):
        python_of(TAU2, lambda _: None)


# TAU2 itself.


@pytest.fixture(scope="module")
def tau2() -> Iterator[Simulators]:
    with Simulators(python_of(TAU2, print)) as simulators:
        yield simulators


@pytest.mark.parametrize("domain", ["retail", "airline", "telecom"])
@pytest.mark.parametrize(("agent", "errors"), [(Replay(), 0), (ReplayWithErrors(), 1)], ids=["replay", "with errors"])
def test_the_ground_truth_solves_tau2s_tasks(tau2: Simulators, domain: str, agent: Any, errors: int) -> None:
    episodes = run(list(plays(tau2, domain, None, limit=2).values()), agent, batch_size=1)
    assert [(episode.success, episode.ended) for episode in episodes] == [(True, "done")] * 2
    assert [[error.kind for error in episode.execution_errors] for episode in episodes] == [
        ["unknown_tool"] * errors
    ] * 2
    assert summarise(episodes).success.count == 2


@pytest.mark.parametrize("kind", ["unknown_argument", "missing_argument"])
def test_tau2s_errors_have_their_kinds(tau2: Simulators, kind: str) -> None:
    (episode,) = run(list(plays(tau2, "retail", None, limit=1).values()), ReplayWithErrors(kind))
    assert [error.kind for error in episode.execution_errors] == [kind]
    assert episode.success


def test_tau2_stops_an_agent_that_repeats_its_error(tau2: Simulators) -> None:
    (episode,) = run(list(plays(tau2, "retail", None, limit=1).values()), Stuck())
    assert (episode.success, episode.ended, episode.detail) == (False, "max_steps", "too_many_errors")
    assert (episode.steps, episode.identical_reinvocations, episode.reinvocation_chances) == (10, 9, 9)


def test_tau2_computes_no_towers_of_powers(tau2: Simulators) -> None:
    tower = render([ToolCall("calculate", {"expression": "9**9**9**9"})])
    (episode,) = run(list(plays(tau2, "retail", None, limit=1).values()), Says(tower, "I give up."))
    assert [error.message for error in episode.execution_errors] == ["Error: Number too large"]
    assert "expression" in json.dumps(next(t for t in _tools(tau2) if t["function"]["name"] == "calculate"))


def _tools(tau2: Simulators) -> list[Any]:
    play = next(iter(plays(tau2, "retail", None, limit=1).values()))()
    tools = list(next(play).tools)
    play.close()
    return tools


@pytest.fixture
def user_endpoint() -> Iterator[tuple[str, list[dict[str, Any]], list[str]]]:
    """An OpenAI-compatible endpoint: its address, what it was asked, what it will say (or a status to refuse with)."""
    asked: list[dict[str, Any]] = []
    says: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            text = says.pop(0)
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            head = {"id": "x", "object": "chat.completion", "created": 0, "model": "u"}
            body = json.dumps({**head, "choices": [choice], "usage": usage}).encode()
            self.send_response(int(text) if text.isdigit() else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", asked, says
    server.shutdown()
    thread.join()
    server.server_close()


def test_tau2s_user_is_asked_at_its_endpoint(tau2: Simulators, user_endpoint: Any) -> None:
    url, asked, says = user_endpoint
    says += ["Where is my order?", "Thanks. ###STOP###"]
    user = UserModel("some/user-model", url, body={"top_k": 7})
    (episode,) = run(list(plays(tau2, "retail", user, limit=1).values()), Says("At sea."))
    assert (episode.ended, episode.detail) == ("check_failed", "user_stop (DB 0, COMMUNICATE 1)")
    assert [message["content"] for message in episode.messages[1:]] == [
        "Hi! How can I help you today?",
        "Where is my order?",
        "At sea.",
        "Thanks. ###STOP###",
    ]
    assert [(request["model"], request["seed"], request["top_k"]) for request in asked] == [
        ("some/user-model", 626729, 7)
    ] * 2


@pytest.mark.parametrize("answer", ["404", "401", "refused"])
def test_a_users_endpoint_that_fails_costs_its_simulation(tau2: Simulators, user_endpoint: Any, answer: str) -> None:
    url, _, says = user_endpoint
    says += [answer]
    user = UserModel("u", "http://127.0.0.1:9/v1" if answer == "refused" else url, retries=0)
    (episode,) = run(list(plays(tau2, "retail", user, limit=1).values()), Says("At sea."))
    assert episode.ended == "endpoint_error"
    assert episode.detail.startswith("the user failed: ")


# TAU-Bench, version 1: a stand-in of its public interface.


class _Action(BaseModel):
    name: str
    kwargs: dict[str, Any]


class _Response(BaseModel):
    observation: str
    reward: float
    done: bool
    info: Any = None


class _Environment:
    """One order, which has to be cancelled, and one word that has to be said."""

    wiki = "Be good."
    tools_info = TOOLS
    task = types.SimpleNamespace(
        actions=[_Action(name="find_order", kwargs={"order": "A"}), _Action(name="respond", kwargs={"content": "x"})],
        outputs=["sea"],
    )
    tasks = (task, task)

    def __init__(self, user: Any) -> None:
        self.user = user

    def reset(self, task_index: int) -> Any:
        self.found = self.told = False
        return types.SimpleNamespace(observation=self.user.reset())

    def step(self, action: _Action) -> _Response:
        done = False
        if action.name == "respond":
            observation = self.user.step(action.kwargs["content"])
            self.told = self.told or "sea" in action.kwargs["content"]
            done = "###STOP###" in observation
        elif action.name == "find_order":
            self.found = action.kwargs.get("order") == "A"
            observation = "at sea" if self.found else "Error: order not found"
        else:
            observation = f"Unknown action {action.name}"
        return _Response(observation=observation, reward=float(done and self.found and self.told), done=done)


class _TalkingUser:
    def __init__(self) -> None:
        self.lines = ["Where is A?", "Sure?", "Thanks ###STOP###"]

    def reset(self) -> str:
        return self.lines.pop(0)

    def step(self, content: str) -> str:
        if content == "crash":
            raise ConnectionError("refused")
        return self.lines.pop(0)


@pytest.fixture
def tau_bench(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A `tau_bench` package; what `get_env` was asked for."""
    asked: list[dict[str, Any]] = []

    def get_env(name: str, **options: Any) -> _Environment:
        asked.append({"name": name, **options})
        return _Environment(_TalkingUser())

    modules: dict[str, dict[str, Callable[..., Any]]] = {
        "tau_bench": {},
        "tau_bench.envs": {"get_env": get_env},
        "tau_bench.types": {"Action": _Action, "EnvResponse": _Response, "EnvInfo": dict},
    }
    for name, members in modules.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("OPENAI_API_BASE", "")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    return asked


def test_the_ground_truth_solves_tau_bench(tau_bench: list[dict[str, Any]]) -> None:
    asked = tau.plays("retail", None, trials=2)
    assert list(asked) == [("tau-retail/0", 0), ("tau-retail/1", 0), ("tau-retail/0", 1), ("tau-retail/1", 1)]
    for agent, errors in ((Replay(), 0), (ReplayWithErrors(), 1)):
        episodes = run(list(asked.values()), agent)
        assert [(episode.ended, len(episode.execution_errors)) for episode in episodes] == [("done", errors)] * 4
    assert {call["user_strategy"] for call in tau_bench} == {"human"}


def test_tau_bench_asks_its_own_user(tau_bench: list[dict[str, Any]]) -> None:
    user = UserModel("u", "http://localhost/v1", "key")
    (episode,) = run(list(tau.plays("retail", user, limit=1).values()), Says(FIND, "At sea.", "Sure."))
    assert (episode.ended, episode.steps) == ("done", 3)
    wanted = {
        "user_strategy": "llm",
        "user_model": "u",
        "user_provider": "openai",
        "task_split": "test",
        "task_index": 0,
    }
    assert tau_bench[-1] == {"name": "retail", **wanted}
    assert os.environ["OPENAI_API_BASE"] == "http://localhost/v1"


def test_tau_benchs_errors_and_limits(tau_bench: list[dict[str, Any]]) -> None:
    wrong = [ToolCall("find_order", {"order": "B"}), ToolCall("fly"), ToolCall("calculate", {"expression": "9**9**9"})]
    (play,) = tau.plays("retail", None, limit=1, max_steps=2).values()
    (episode,) = run([play], Says(render(wrong), FIND))
    assert [error.kind for error in episode.execution_errors] == ["tool_error", "unknown_tool", "unknown_tool"]
    assert (episode.ended, episode.steps_to_recover) == ("max_steps", [1])


def test_a_user_of_tau_bench_that_fails_is_an_outcome(tau_bench: list[dict[str, Any]]) -> None:
    user = UserModel("u", "http://localhost/v1")
    (episode,) = run(list(tau.plays("retail", user, limit=1).values()), Says("crash"))
    assert (episode.ended, episode.detail) == (
        "endpoint_error",
        "TAU-Bench or its user failed: ConnectionError: refused",
    )


def test_a_missing_tau_bench_is_the_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tau_bench", None)
    with pytest.raises(UserError, match=r"pip install git\+https://github.com/sierra-research/tau-bench"):
        tau.plays("retail", None)
