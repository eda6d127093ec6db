"""Locks and channels do what simple models of them do, in whichever order it is asked of them.

`models/` has the models. TONIO_EXAMPLES is how many sequences of steps there are of each.
"""

from typing import Any

import pytest
from helpers import examples
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from models import barrier, channels, condition, hubs, once, permits
from models.world import Machine

MACHINES: list[type[Machine]] = [
    permits.LockMachine,
    permits.SemaphoreMachine,
    permits.RwLockMachine,
    barrier.BarrierMachine,
    condition.ConditionMachine,
    once.OnceMachine,
    channels.ChannelMachine,
    channels.RendezvousMachine,
    channels.UnboundedMachine,
    hubs.BroadcastMachine,
    hubs.WatchMachine,
]


@pytest.mark.timeout(1800)  # a second each, unless TONIO_EXAMPLES asks for more
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.__name__)
def test_behaves_as_its_model(machine: Any) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(20),
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
