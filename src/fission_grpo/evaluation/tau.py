"""TAU-Bench (v1) as a source of episodes, where its users have installed it: no package registry that we know has it.

Written against the public repository (`get_env`, `env.step(Action)`) and tested against a stand-in of that interface
only. Its own agent makes only the first call of a turn; here all are made, in their order, as in TAU2.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from fission_grpo.chat import Message, Rollout, ToolCall, harmless, tool_message
from fission_grpo.errors import UserError, first_line
from fission_grpo.evaluation.episode import Conversation, Episode, Failure, Halt, Play, Record, ReferenceTurn
from fission_grpo.evaluation.tau2.play import Said, UserModel, assistant_turn, give_up, kind_of
from fission_grpo.toolcall import render

DOMAINS = ("retail", "airline")
SCRIPTED_STOP = "###STOP###"


class TauMissingError(UserError, ImportError):
    """TAU-Bench is not installed here."""


def plays(
    domain: str, user: UserModel | None, *, limit: int | None = None, trials: int = 1, max_steps: int = 30
) -> dict[tuple[str, int], Callable[[], Play]]:
    """How to play each task of a domain's test split, by its name (`tau-retail/17`) and trial.

    Args:
        domain: One of `DOMAINS`.
        user: Who plays the user. Its address and key are put into the environment variables that TAU-Bench's client
            reads; it takes no other settings. None: a script that ends the dialogue, for scripted agents.
        limit: Only the first so many tasks.
        trials: How often each task is played. TAU-Bench knows no seeds: trials differ as far as the models draw.
        max_steps: Most assistant turns; 30 is the default of TAU-Bench's agent.

    Raises UserError for an unknown domain, and TauMissingError where TAU-Bench is not installed.
    """
    if domain not in DOMAINS:
        raise UserError(f"TAU-Bench has no domain '{domain}': it has {', '.join(DOMAINS)}")
    if user:
        os.environ.update(OPENAI_API_BASE=user.base_url, OPENAI_API_KEY=user.api_key)
    tasks = range(len(_environment(domain, None, 0).tasks))[:limit]
    return {
        (f"tau-{domain}/{task}", trial): partial(play, domain, user, task, trial, max_steps)
        for trial in range(trials)
        for task in tasks
    }


def play(domain: str, user: UserModel | None, task: int, trial: int, max_steps: int) -> Play:
    """One episode."""
    conversation = Conversation([])
    category = f"tau-{domain}"
    episode = Episode(f"{category}/{task}", category, [], turns=0, trial=trial, messages=conversation.messages)
    try:
        yield from _dialogue(_environment(domain, user, task), task, max_steps, conversation, episode)
    except _Failed as failed:
        episode.ended, episode.detail = "endpoint_error", f"TAU-Bench or its user failed: {failed}"
    return episode


class _Failed(Exception):
    """TAU-Bench raised something: mostly, its user's endpoint does not answer."""


def _dialogue(
    environment: Any, task: int, max_steps: int, conversation: Conversation, episode: Episode
) -> Generator[Conversation, Rollout | Halt, None]:
    record = Record(episode)
    asked = _tau(environment.reset, task_index=task).observation
    conversation.tools = environment.tools_info
    conversation.reference = [_reference(environment.task)]
    conversation.hear({"role": "system", "content": environment.wiki}, _user(asked))
    record.begin_turn()
    while episode.steps < max_steps:
        said = yield from assistant_turn(conversation, record)
        if not isinstance(said, Said):
            give_up(episode, said)
            return
        reward = _take(said, environment, conversation, record)
        if reward is not None:
            episode.success = abs(reward - 1) < 1e-6
            episode.ended = "done" if episode.success else "check_failed"
            return
    episode.ended = "max_steps"


def _take(said: Said, environment: Any, conversation: Conversation, record: Record) -> float | None:
    """Passes an assistant turn on to TAU-Bench; the reward, where that ended the dialogue."""
    if not said.calls:
        record.add(said.step([]))
        answer = _step(environment, ToolCall("respond", {"content": said.text}))
        conversation.hear(_user(answer.observation))
        record.begin_turn()
        return answer.reward if answer.done else None
    failures, reward = [], None
    for call in said.calls:
        answer = _step(environment, call)
        conversation.hear(tool_message(harmless(answer.observation)))
        if answer.observation.startswith(("Error", "Unknown action")):
            failures.append(Failure(kind_of(call, conversation.tools), answer.observation, render([call])))
        if answer.done:  # some tools end the dialogue
            reward = answer.reward
            break
    record.add(said.step(failures))
    return reward


def _step(environment: Any, call: ToolCall) -> Any:
    from tau_bench.types import Action, EnvInfo, EnvResponse

    if call.name == "calculate" and "**" in str(call.arguments.get("expression")):
        # Its calculator would compute 9**9**9**9 for ever, and no thread can be stopped.
        info = EnvInfo(task=environment.task, source="calculate")
        return EnvResponse(observation="Error: Invalid characters in expression", reward=0, done=False, info=info)
    return _tau(environment.step, Action(name=call.name, kwargs=call.arguments))


def _environment(domain: str, user: UserModel | None, task: int) -> Any:
    try:
        from tau_bench.envs import get_env
    except ImportError as error:
        raise TauMissingError(
            f"TAU-Bench does not load ({first_line(error)}): install it into this environment with "
            "pip install git+https://github.com/sierra-research/tau-bench"
        ) from error
    if user:
        model = {"user_strategy": "llm", "user_model": user.model, "user_provider": "openai"}
        return _tau(get_env, domain, task_split="test", task_index=task, **model)
    # `human` is the one strategy that asks nobody before it has to; nobody is asked.
    environment = _tau(get_env, domain, task_split="test", task_index=task, user_strategy="human", user_model="")
    environment.user = _ScriptedUser()
    return environment


def _tau(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return function(*arguments, **named)
    except Exception as error:
        raise _Failed(f"{type(error).__name__}: {first_line(error)}") from error


class _ScriptedUser:
    """Asks for nothing in particular and is content with any words."""

    def reset(self, instruction: str | None = None) -> str:
        return "Please go on."

    def step(self, content: str) -> str:
        return SCRIPTED_STOP

    def get_total_cost(self) -> float:
        return 0.0


def _reference(task: Any) -> ReferenceTurn:
    """The ground truth, one call a step, and the words that have to be said."""
    steps = tuple((ToolCall(action.name, action.kwargs),) for action in task.actions if action.name != "respond")
    return ReferenceTurn(steps, " ".join(["Done.", *task.outputs]))


def _user(text: str) -> Message:
    return {"role": "user", "content": harmless(text)}
