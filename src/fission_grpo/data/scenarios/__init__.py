"""Goal patterns per domain; the language they are told in lies beside them as TOML."""

from fission_grpo.data.scenarios import (
    banking,
    calendar_scheduling,
    course_registration,
    ecommerce_orders,
    fitness,
    food_delivery,
    healthcare,
    messaging,
    smart_home,
    support_tickets,
    travel_booking,
    vehicle_control,
    warehouse_inventory,
)
from fission_grpo.data.scenarios.goals import Scenario

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.domain.name: module.SCENARIO
    for module in (
        smart_home,
        vehicle_control,
        healthcare,
        banking,
        travel_booking,
        messaging,
        support_tickets,
        warehouse_inventory,
        course_registration,
        food_delivery,
        fitness,
        ecommerce_orders,
        calendar_scheduling,
    )
}

__all__ = ["SCENARIOS", "Scenario"]
