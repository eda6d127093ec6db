"""A hub: what is published on a topic reaches its subscribers; slow ones learn what they missed.

python examples/pubsub.py
"""

from typing import Any

import tonio.colored as tonio
from tonio.colored.sync import channel
from tonio.exceptions import EndOfChannel, Lagged


class Hub:
    def __init__(self) -> None:
        self.topics: dict[str, Any] = {}

    def topic(self, name: str) -> Any:
        if name not in self.topics:
            self.topics[name] = channel.broadcast(4)[0]
        return self.topics[name]

    def subscribe(self, name: str) -> Any:
        return self.topic(name).subscribe()

    def publish(self, name: str, message: object) -> None:
        self.topic(name).send(message)

    def close(self) -> None:
        for sender in self.topics.values():
            sender.close()


async def read(receiver: Any, pace: float) -> tuple[int, int]:
    got, missed = [], 0
    while True:
        try:
            got.append(await receiver.receive())
        except Lagged as lagged:
            missed += lagged.missed
        except EndOfChannel:
            return len(got), missed
        await tonio.sleep(pace)


async def main(messages: int = 20) -> None:
    hub = Hub()
    async with tonio.scope() as scope:
        quick = scope.spawn(read(hub.subscribe("news"), 0))
        slow = scope.spawn(read(hub.subscribe("news"), 0.02))
        other = scope.spawn(read(hub.subscribe("weather"), 0))
        for number in range(messages):
            hub.publish("news", number)
            await tonio.sleep(0.002)
        hub.close()
    got, missed = await slow
    print("quick got or missed:", sum(await quick))
    print("slow got or missed:", got + missed, "and missed some:", missed > 0)
    print("other:", await other)


if __name__ == "__main__":
    tonio.run(main())
