"""Scenarios, the tasks generated from them, the decisions tasks factorise into, and their files."""

from fission_grpo.data.files import DataError, read_decisions, read_tasks, write_decisions, write_tasks
from fission_grpo.data.scenarios.words import Split
from fission_grpo.data.trajectory import decisions, play_turn, replay, replay_calls

__all__ = [
    "DataError",
    "Split",
    "decisions",
    "play_turn",
    "read_decisions",
    "read_tasks",
    "replay",
    "replay_calls",
    "write_decisions",
    "write_tasks",
]
