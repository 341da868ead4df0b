"""Plays TAU2 simulations, asking for every turn of the assistant over stdin and stdout: one JSON object per line.

Executed as a file by the Python of TAU2's own environment: imports nothing of ours, and TAU2 only inside functions.

    asked {"list": DOMAIN}               answers {"event": "tasks", "ids": […]}
    asked {"task": ID, "domain": …, "seed": …, "max_steps": …, "max_errors": …, "user": {…} or null}
                                         answers {"event": "start", "messages": […], "tools": […], "reference": […]}
          and whenever it is the assistant's turn {"event": "turn", "messages": [what it has not heard yet]}
    told  {"content": …, "calls": [{"name": …, "arguments": {…}}]}, or null to leave this simulation
          and in the end {"event": "end", "reason": …, "reward": …, "checks": {…}, "messages": […]}
          or             {"event": "failed", "by": "user" or "tau2", "detail": …}

`user` holds the fields of `play.UserModel`; where it is null, a script plays the user of the ground truth.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import ast
import functools
import json
import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Channel:
    """The line to whoever asks. Takes stdin and stdout away from everybody else: prints go to stderr."""

    def __init__(self) -> None:
        self._ear, self._mouth = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)

    def requests(self) -> Iterator[Any]:
        """What is asked, until nobody asks any more."""
        return map(json.loads, iter(self._ear.readline, ""))

    def hear(self) -> Any:
        """What is answered. Raises SystemExit where nobody is there."""
        return json.loads(self._ear.readline() or sys.exit())

    def say(self, event: str, **content: Any) -> None:
        """Tells one event."""
        self._mouth.write(json.dumps({"event": event, **content}) + "\n")
        self._mouth.flush()


class Left(Exception):
    """We were told to leave the simulation."""


class UserFailed(Exception):
    """The user's model gave no usable turn."""


class Assistant:
    """TAU2's assistant: its prompt is that of TAU2's own LLM agent, its turns are asked for."""

    def __init__(self, environment: Any, reference: list[Any], channel: Channel) -> None:
        self.environment, self.reference, self.channel = environment, reference, channel
        self.unheard: list[dict[str, Any]] = []
        self.calls = 0

    def set_seed(self, seed: int) -> None:
        """Its turns come from elsewhere."""

    def is_stop(self, message: Any) -> bool:
        """It leaves ending to the user, as TAU2's own does."""
        return False

    def get_init_state(self, message_history: list[Any]) -> None:
        """Tells how the simulation begins; keeps no state of its own."""
        from tau2.agent.llm_agent import AGENT_INSTRUCTION, SYSTEM_PROMPT

        policy = self.environment.get_policy()
        system = SYSTEM_PROMPT.format(domain_policy=policy, agent_instruction=AGENT_INSTRUCTION)
        self.channel.say(
            "start",
            messages=[{"role": "system", "content": system}, *map(_as_chat, message_history)],
            tools=[tool.openai_schema for tool in self.environment.get_tools()],
            reference=self.reference,
        )

    def generate_next_message(self, message: Any, state: None) -> tuple[Any, None]:
        """Asks for a turn."""
        from tau2.data_model.message import AssistantMessage, ToolCall

        self.channel.say("turn", messages=_heard(message))
        answer = self.channel.hear()
        if answer is None:
            raise Left
        calls = []
        for call in answer["calls"]:
            calls.append(ToolCall(id=f"call_{self.calls}", name=call["name"], arguments=call["arguments"]))
            self.calls += 1
        return AssistantMessage(role="assistant", content=answer["content"] or None, tool_calls=calls or None), None

    def stop(self, message: Any, state: None) -> None:
        """The simulation is over; `message` is what it would have answered next."""
        self.unheard = _heard(message) if message else []


class SimulatedUser:
    """TAU2's user simulator, whose failures are told from TAU2's own."""

    def __init__(self, task: Any, environment: Any, model: dict[str, Any]) -> None:
        from tau2.user.user_simulator import UserSimulator

        self.simulator = UserSimulator(
            tools=environment.get_user_tools() if environment.user_tools else None,
            instructions=str(task.user_scenario),
            llm=f"openai/{model['model']}",
            llm_args={
                **{name: model[name] for name in ("base_url", "api_key", "temperature", "timeout")},
                "max_retries": model["retries"],
                "extra_body": model["body"],
            },
        )
        self.set_seed, self.get_init_state = self.simulator.set_seed, self.simulator.get_init_state
        self.stop = self.simulator.stop

    def generate_next_message(self, message: Any, state: Any) -> tuple[Any, Any]:
        """The model's turn. Raises UserFailed."""
        try:
            said, state = self.simulator.generate_next_message(message, state)
            said.validate()
        except Exception as error:
            raise UserFailed(_in_words(error)) from error
        return said, state


class ScriptedUser:
    """Takes the user's part in the ground truth: its actions, a word where it is the assistant's turn, a farewell."""

    def __init__(self, turns: list[tuple[list[Any], list[Any]]]) -> None:
        self.moves = self._moves(turns)

    def _moves(self, turns: list[tuple[list[Any], list[Any]]]) -> Iterator[Any]:
        from tau2.data_model.message import ToolCall, UserMessage
        from tau2.user.base import STOP

        for number, (own, _) in enumerate(turns):
            for index, action in enumerate(own):
                name = f"user_call_{number}_{index}"
                call = ToolCall(id=name, name=action.name, arguments=action.arguments, requestor="user")
                yield UserMessage(role="user", tool_calls=[call])
            yield UserMessage(role="user", content="Please go on.")
        yield UserMessage(role="user", content=STOP)

    def set_seed(self, seed: int) -> None:
        """Nothing here is drawn."""

    def get_init_state(self, message_history: list[Any] | None = None) -> None:
        """The script is all its state."""

    def generate_next_message(self, message: Any, state: None) -> tuple[Any, None]:
        """The next line of the script."""
        return next(self.moves), None

    def stop(self, message: Any, state: None) -> None:
        """The simulation is over."""


def turns_of(actions: Iterable[Any]) -> list[tuple[list[Any], list[Any]]]:
    """The ground truth's actions in their order, as turns: what the user does, then what the assistant does."""
    turns: list[tuple[list[Any], list[Any]]] = [([], [])]
    for action in actions:
        by_assistant = action.requestor == "assistant"
        if not by_assistant and turns[-1][1]:
            turns.append(([], []))
        turns[-1][by_assistant].append(action)
    return turns


def reference_of(turns: list[tuple[list[Any], list[Any]]], told: list[str]) -> list[dict[str, Any]]:
    """What a perfect assistant does in each turn: one call at a time, then words, the last with what has to be told."""
    steps = [[[{"name": action.name, "arguments": action.arguments}] for action in own] for _, own in turns]
    replies = ["Done."] * (len(turns) - 1) + [" ".join(["Done.", *told])]
    return [{"steps": calls, "reply": reply} for calls, reply in zip(steps, replies, strict=True)]


def play(asked: dict[str, Any], channel: Channel) -> None:
    """Plays and evaluates one simulation."""
    from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation
    from tau2.orchestrator.orchestrator import Orchestrator
    from tau2.registry import registry

    domain = asked["domain"]
    task = next(task for task in tasks_of(domain) if task.id == asked["task"])
    environment = registry.get_env_constructor(domain)()
    truth = task.evaluation_criteria
    turns = turns_of(truth.actions or ())
    assistant = Assistant(environment, reference_of(turns, truth.communicate_info or []), channel)
    user = SimulatedUser(task, environment, asked["user"]) if asked["user"] else ScriptedUser(turns)
    limits = {name: asked[name] for name in ("max_steps", "max_errors", "seed")}
    simulation = Orchestrator(domain, assistant, user, environment, task, **limits).run()
    verdict = evaluate_simulation(simulation, task, EvaluationType.ALL, solo_mode=False, domain=domain)
    channel.say(
        "end",
        reason=simulation.termination_reason.value,
        reward=verdict.reward,
        checks={kind.value: reward for kind, reward in (verdict.reward_breakdown or {}).items()},
        messages=assistant.unheard,
    )


@functools.cache
def tasks_of(domain: str) -> list[Any]:
    """The domain's tasks of TAU2's default split."""
    from tau2.registry import registry

    return list(registry.get_tasks_loader(domain)())


def _heard(message: Any) -> list[dict[str, Any]]:
    return [_as_chat(one) for one in getattr(message, "tool_messages", [message])]


def _as_chat(message: Any) -> dict[str, Any]:
    chat = {"role": message.role, "content": message.content or ""}
    return {**chat, "error": message.error} if message.role == "tool" else chat


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"[:300]


LONGEST_EXPRESSION = 500
LARGEST_POWER_BITS = 10_000
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def calculate(expression: str) -> str:
    """What TAU2's calculators return, without `eval`: they would compute 9**9**9**9 for ever."""
    if not all(char in "0123456789+-*/(). " for char in expression):
        raise ValueError("Invalid characters in expression")
    if len(expression) > LONGEST_EXPRESSION:
        raise ValueError("Expression too long")
    return str(round(float(_value(ast.parse(expression.strip(), mode="eval").body)), 2))


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=op, operand=operand):
            return _OPERATORS[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _value(left), _value(right)
            if isinstance(op, ast.Pow) and isinstance(a, int) and a.bit_length() * abs(b) > LARGEST_POWER_BITS:
                raise ValueError("Number too large")
            return _OPERATORS[type(op)](a, b)
    raise ValueError("Invalid expression")


def _guard_calculators() -> None:
    from tau2.domains.airline.tools import AirlineTools
    from tau2.domains.retail.tools import RetailTools

    for tools in (AirlineTools, RetailTools):

        @functools.wraps(tools.calculate)  # keeps what the assistant is told of it
        def guarded(self: Any, expression: str) -> str:
            return calculate(expression)

        tools.calculate = guarded


def _import_quietly() -> None:
    """Imports TAU2 without its log, without reading a `.env`, and without fetching a table of prices."""
    os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LLM_CACHE_ENABLED="false")
    import dotenv
    from loguru import logger

    logger.remove()
    dotenv.load_dotenv = lambda *_, **__: False
    import litellm
    import tau2.registry  # noqa: F401

    litellm.telemetry = False


def main() -> None:
    """Serves requests until stdin ends. An exception ends one simulation, not the process."""
    channel = Channel()
    _import_quietly()
    _guard_calculators()
    for asked in channel.requests():
        if "list" in asked:
            channel.say("tasks", ids=[task.id for task in tasks_of(asked["list"])])
            continue
        try:
            play(asked, channel)
        except Left:
            pass
        except UserFailed as error:
            channel.say("failed", by="user", detail=str(error))
        except Exception as error:
            channel.say("failed", by="tau2", detail=_in_words(error))


if __name__ == "__main__":
    main()
