"""A framework that keeps so many copies of a command running: put what yours decides in its place."""

import asyncio
from collections.abc import Sequence

import stoa

SHAPE = stoa.shape(cpus_milli=500, mem_bytes=64 << 20)


class Keep(stoa.Scheduler):
    def __init__(self, wanted: int) -> None:
        self.wanted, self.next = wanted, 0
        # Those that have not ended, as far as is known.
        self.alive: set[str] = set()

    def demands(self) -> Sequence[stoa.Demand]:
        missing = max(0, self.wanted - len(self.alive))
        return [stoa.Demand(id="copies", role="default", shape=SHAPE, count=missing)] if missing else []

    async def offers(self, framework: stoa.Framework, offers: Sequence[stoa.Offer]) -> None:
        rooms = [stoa.Room(offer) for offer in offers]
        while len(self.alive) < self.wanted:
            room = max((r for r in rooms if r.fits(SHAPE)), key=lambda r: -len(r.tasks), default=None)
            if room is None:
                break
            self.next += 1
            room.launch(f"copy.{self.next}", SHAPE, shell="exec sleep 1d")
            self.alive.add(f"copy.{self.next}")
        framework.accept(rooms)
        framework.demand(self.demands())

    async def update(self, framework: stoa.Framework, status: stoa.TaskStatus) -> None:
        print(status.task_id, stoa.word(status.state), flush=True)
        if stoa.is_terminal(status.state) or stoa.word(status.state) == "unknown":
            self.alive.discard(status.task_id)
        else:
            # One of an earlier life is as good as one of this.
            self.alive.add(status.task_id)
            self.next = max(self.next, int(status.task_id.removeprefix("copy.")))
        framework.demand(self.demands())

    def want(self, framework: stoa.Framework, wanted: int) -> None:
        """So many copies from now on."""
        self.wanted = wanted
        for task in sorted(self.alive)[wanted:]:
            framework.kill(task)
        framework.demand(self.demands())


if __name__ == "__main__":
    asyncio.run(stoa.run("NAME", Keep(3), state_file="NAME.state"))
