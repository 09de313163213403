"""All dashboards."""

from typing import Final

from hack.dashboards.controller import CONTROLLER
from hack.dashboards.fleet import FLEET
from hack.dashboards.job import JOB

BOARDS: Final = (FLEET, JOB, CONTROLLER)
