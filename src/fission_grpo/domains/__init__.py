"""Executable tool domains: one file each, found by name in `DOMAINS`."""

from fission_grpo.domains.banking import Banking
from fission_grpo.domains.base import Argument, Domain, ToolError
from fission_grpo.domains.calendar_scheduling import CalendarScheduling
from fission_grpo.domains.course_registration import CourseRegistration
from fission_grpo.domains.ecommerce_orders import EcommerceOrders
from fission_grpo.domains.fitness import Fitness
from fission_grpo.domains.food_delivery import FoodDelivery
from fission_grpo.domains.healthcare import Healthcare
from fission_grpo.domains.messaging import Messaging
from fission_grpo.domains.smart_home import SmartHome
from fission_grpo.domains.support_tickets import SupportDesk
from fission_grpo.domains.travel_booking import TravelBooking
from fission_grpo.domains.vehicle_control import Vehicle
from fission_grpo.domains.warehouse_inventory import Warehouse

DOMAINS: dict[str, type[Domain]] = {
    domain.name: domain
    for domain in (
        SmartHome,
        Vehicle,
        Healthcare,
        Banking,
        TravelBooking,
        Messaging,
        SupportDesk,
        Warehouse,
        CourseRegistration,
        FoodDelivery,
        Fitness,
        EcommerceOrders,
        CalendarScheduling,
    )
}

__all__ = [
    "DOMAINS",
    "Argument",
    "Banking",
    "CalendarScheduling",
    "CourseRegistration",
    "Domain",
    "EcommerceOrders",
    "Fitness",
    "FoodDelivery",
    "Healthcare",
    "Messaging",
    "SmartHome",
    "SupportDesk",
    "ToolError",
    "TravelBooking",
    "Vehicle",
    "Warehouse",
]
