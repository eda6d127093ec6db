"""A queue of jobs with back-pressure: who submits faster than the workers work has to wait.

python examples/work_queue.py
"""

from typing import Any

import tonio.colored as tonio
from tonio.colored.sync import channel


class WorkQueue:
    def __init__(self, size: int) -> None:
        self.sender: Any
        self.receiver: Any
        self.sender, self.receiver = channel.channel(size)
        self.longest = 0

    async def submit(self, job: int) -> None:
        await self.sender.send(job)
        self.longest = max(self.longest, len(self.receiver))

    async def work(self, done: list[int]) -> None:
        async for job in self.receiver:
            await tonio.sleep(0.0001)
            done.append(job)


async def main(jobs: int = 200, workers: int = 4, size: int = 10) -> None:
    queue = WorkQueue(size)
    done: list[int] = []
    async with tonio.scope() as scope:
        for _ in range(workers):
            scope.spawn(queue.work(done))
        for job in range(jobs):
            await queue.submit(job)
        queue.sender.close()
    assert queue.longest <= size
    print("jobs done:", len(done), "in order of submission:", sorted(done) == list(range(jobs)))


if __name__ == "__main__":
    tonio.run(main())
