"""`channel.watch`: the latest value, for whoever looks."""

from notation import both

import tonio.colored as tonio
from tonio.colored.sync import channel


@both
async def test_watch_gives_the_latest_value() -> None:
    sender, receiver = channel.watch(0)
    assert (receiver.value, receiver.changed()) == (0, False)
    for number in range(1, 4):
        sender.send(number)
    assert receiver.changed()
    assert await receiver.receive() == 3
    assert not receiver.changed()

    async def follow() -> list[int]:
        seen = []
        async for value in receiver:
            seen.append(value)
        return seen

    following = tonio.spawn(follow())
    for number in (10, 20, 30):
        await tonio.sleep(0.001)
        sender.send(number)
    await tonio.sleep(0.001)
    sender.close()
    seen = await following
    assert seen[-1] == 30
    assert seen == sorted(seen)
