"""A framework that fails at every update once, and takes it in when it comes again."""

import asyncio
from collections.abc import Sequence

import stoa


class Flaky(stoa.Scheduler):
    def __init__(self) -> None:
        self.seen: set[tuple[str, int]] = set()
        self.waiting = ["t1", "t2"]

    def demands(self) -> Sequence[stoa.Demand]:
        return [stoa.Demand(id="d", role="default", shape=stoa.shape(100, 1 << 20), count=len(self.waiting))]

    async def offers(self, framework: stoa.Framework, offers: Sequence[stoa.Offer]) -> None:
        rooms = [stoa.Room(offer) for offer in offers]
        for room in rooms:
            while self.waiting and room.fits(stoa.shape(100, 1 << 20)):
                room.launch(self.waiting.pop(), stoa.shape(100, 1 << 20), argv=["true"])
        framework.accept(rooms)
        framework.demand([])

    async def update(self, framework: stoa.Framework, status: stoa.TaskStatus) -> None:
        place = (status.task_id, status.sequence)
        if status.sequence and place not in self.seen:
            self.seen.add(place)
            raise RuntimeError(f"not now: {place}")


asyncio.run(stoa.run("flaky", Flaky()))
