"""Short forms of the programs in `stress/`, which say what each of them is about."""

from collections import Counter

from certificates import needs_openssl
from helpers import open_descriptors
from notation import both
from stress import bad_clients, cancel_hammer, close_hammer, restart

import tonio.colored as tonio


@both(notations=["await"])
def test_closes_race_with_parked_tasks(threads: int) -> None:
    closes = 6000
    hammer = close_hammer.Hammer(closes)
    before = open_descriptors()
    hammer.run(threads)
    ended: Counter[str] = Counter()
    for outcome, count in hammer.outcomes.items():
        ended[outcome.partition(":")[0]] += count
    assert ended == close_hammer.expected_outcomes(closes)
    assert open_descriptors() == before


@both(notations=["await"])
def test_cancellations_race_with_accept_and_receive(threads: int) -> None:
    hammer = cancel_hammer.Hammer(400)
    tonio.run(hammer.program(), threads=threads)
    assert len(hammer.served) == 400
    assert hammer.cut_off > 0


def test_a_server_is_replaced_under_load() -> None:
    assert restart.run(1.0, 10).endswith("no error")


@needs_openssl
def test_bad_clients_leave_nothing_behind() -> None:
    assert bad_clients.run(400).startswith("400 bad connections")
