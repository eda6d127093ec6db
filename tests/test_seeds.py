"""Seeded scheduling (TONIO_SCHEDULE_SEED): it shows races, and shows them again."""

import pytest
from notation import both

import tonio.colored as tonio

FAILING = 6  # seeds that go wrong, which are tried again
TIMES = 20


async def take_the_last(tickets: list[int], ready: tonio.Event) -> int:
    """Checks, waits for what is there already, and acts: a race on purpose.

    What can be done at once does not give way, so on its own the race hardly ever shows.
    """
    if not tickets:
        return 0
    await ready.wait()
    try:
        tickets.remove(1)
    except ValueError:
        return -1  # somebody else was faster: what the check had excluded
    return 1


async def race() -> bool:
    """Does it go wrong?"""
    for _ in range(4):
        ready = tonio.Event()
        ready.set()
        tickets = [1]
        taken = await tonio.spawn(*(take_the_last(tickets, ready) for _ in range(3)))
        if -1 in taken:
            return True
    return False


def goes_wrong(monkeypatch: pytest.MonkeyPatch, seed: int) -> bool:
    monkeypatch.setenv("TONIO_SCHEDULE_SEED", str(seed))
    return tonio.run(race(), threads=4)


def test_a_race_is_shown_again_by_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing: list[int] = []
    for seed in range(1, 500):
        if goes_wrong(monkeypatch, seed):
            failing.append(seed)
        if len(failing) == FAILING:
            break
    assert len(failing) == FAILING
    again = [sum(goes_wrong(monkeypatch, seed) for _ in range(TIMES)) for seed in failing]
    with capsys.disabled():
        shown = ", ".join(f"{seed}: {count}" for seed, count in zip(failing, again, strict=True))
        print(f"\n  of {TIMES} runs with a seed that failed, failed again: {shown}")
    assert max(again) >= TIMES * 0.7
    assert sum(again) >= TIMES * FAILING * 0.25


@both(threads=(2, 4))
def test_all_is_done_whatever_the_seed(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def part(number: int) -> int:
        await tonio.yield_now()
        await tonio.sleep(0.001)
        return number

    async def main() -> list[int]:
        results: list[int] = await tonio.map(part, range(100))
        return results

    for seed in range(20):
        monkeypatch.setenv("TONIO_SCHEDULE_SEED", str(seed))
        assert tonio.run(main(), threads=threads) == list(range(100))


def test_one_thread_keeps_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[int] = []

    async def part(number: int) -> None:
        log.append(number)
        await tonio.yield_now()
        log.append(number)

    async def main() -> None:
        await tonio.map(part, range(20))

    for seed in range(5):
        log.clear()
        monkeypatch.setenv("TONIO_SCHEDULE_SEED", str(seed))
        tonio.run(main(), threads=1)
        assert log == [*range(20), *range(20)]


@pytest.mark.parametrize("seed", ["x", "1x", "-1", " 1", "99999999999999999999999"])
def test_a_seed_is_a_number(monkeypatch: pytest.MonkeyPatch, seed: str) -> None:
    async def main() -> None:
        raise AssertionError("never runs")

    monkeypatch.setenv("TONIO_SCHEDULE_SEED", seed)
    with pytest.raises(ValueError, match="TONIO_SCHEDULE_SEED must be a number"):
        tonio.run(main(), threads=2)
