"""The suites by name, in the order in which they run and are told."""

from __future__ import annotations

from harness.model import Suite
from suites.echo import Echo
from suites.fairness import Fairness
from suites.http import Http
from suites.idle import Idle
from suites.memory import Memory
from suites.operations import Blocking, Operations
from suites.scaling import Scaling
from suites.startup import Startup
from suites.streams import Streams
from suites.tasks import Tasks
from suites.timers import Timers

SUITES: dict[str, type[Suite]] = {
    suite.name: suite
    for suite in (
        Tasks,
        Operations,
        Blocking,
        Timers,
        Echo,
        Http,
        Streams,
        Scaling,
        Fairness,
        Memory,
        Idle,
        Startup,
    )
}
