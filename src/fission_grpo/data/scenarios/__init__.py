"""Goal patterns per domain."""

from fission_grpo.data.scenarios import healthcare, smart_home, vehicle
from fission_grpo.data.scenarios.goals import Scenario
from fission_grpo.domains import Healthcare, SmartHome, Vehicle

SCENARIOS: dict[str, Scenario] = {
    SmartHome.name: smart_home.SCENARIO,
    Vehicle.name: vehicle.SCENARIO,
    Healthcare.name: healthcare.SCENARIO,
}

__all__ = ["SCENARIOS", "Scenario"]
