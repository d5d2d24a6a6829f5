"""A whole framework: three tasks, wherever there is room, and an end when they have run."""
import asyncio

import stoa

SHAPE = stoa.shape(cpus_milli=100, mem_bytes=32 << 20)


class Hello(stoa.Scheduler):
    waiting, running = 3, 0

    async def offers(self, framework, offers):
        rooms = [stoa.Room(offer) for offer in offers]
        while self.waiting and (room := next((r for r in rooms if r.fits(SHAPE)), None)):
            room.launch(f"hello.{self.waiting}", SHAPE, shell="echo hello; sleep 1")
            self.waiting, self.running = self.waiting - 1, self.running + 1
        framework.accept(rooms)

    async def update(self, framework, status):
        print(status.task_id, stoa.word(status.state), flush=True)
        self.running -= stoa.is_terminal(status.state)
        if not self.waiting + self.running:
            framework.teardown()


asyncio.run(stoa.run("hello", Hello()))
