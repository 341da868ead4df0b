"""Executable tool domains: one file each, found by name in `DOMAINS`."""

from fission_grpo.domains.base import Domain, ToolError
from fission_grpo.domains.healthcare import Healthcare
from fission_grpo.domains.smart_home import SmartHome
from fission_grpo.domains.vehicle import Vehicle

DOMAINS: dict[str, type[Domain]] = {domain.name: domain for domain in (SmartHome, Vehicle, Healthcare)}

__all__ = ["DOMAINS", "Domain", "Healthcare", "SmartHome", "ToolError", "Vehicle"]
