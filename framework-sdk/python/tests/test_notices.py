"""What ends a task of somebody else's will is told first, by a real cluster: with the reason, and the time that is left."""

import asyncio
import sys
import time
import unittest
from collections.abc import Sequence
from pathlib import Path

import stoa
from stoa.v1 import scheduler_pb2 as s
from stoa.v1 import types_pb2 as t

PYTHON = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PYTHON.parent / "tests"))

from cluster import Cluster  # noqa: E402

SHAPE = stoa.shape(50, 32 << 20)
# It heeds TERM, and takes its time.
STAYS = "trap 'sleep 0.2; exit 0' TERM; sleep 1000 & wait"
LIMIT = 60


class Told(stoa.Scheduler):
    """A task for each agent that is offered, and all that it is told of them."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[t.TaskStatus | s.AgentDraining] = asyncio.Queue()
        self.number = 0

    async def offers(self, framework: stoa.Framework, offers: Sequence[stoa.Offer]) -> None:
        rooms = [stoa.Room(offer) for offer in offers]
        if rooms and not self.number:
            self.number += 1
            rooms[0].launch("stays", SHAPE, shell=STAYS)
        framework.accept(rooms)

    async def update(self, framework: stoa.Framework, status: stoa.TaskStatus) -> None:
        self.heard.put_nowait(status)

    async def draining(self, framework: stoa.Framework, notice: s.AgentDraining) -> None:
        self.heard.put_nowait(notice)

    async def state(self, state: int) -> t.TaskStatus:
        while True:
            heard = await self.heard.get()
            if isinstance(heard, t.TaskStatus) and heard.state == state:
                return heard


class Notices(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = Cluster("notices")
        cls.addClassCleanup(cls.cluster.down)

    def play(self, *command: str) -> list[t.TaskStatus | s.AgentDraining]:
        """What is told when an operator does something to the agent, or the task, until the task has ended."""

        async def test() -> list[t.TaskStatus | s.AgentDraining]:
            told = Told()
            profile = stoa.Profile.load(self.cluster.context)
            info = stoa.FrameworkInfo(name="notices", roles=["default"])
            framework = stoa.Framework(profile, info, told)
            running = asyncio.create_task(framework.run())
            status = await told.state(t.TASK_RUNNING)
            words = [status.agent_id if word == "AGENT" else word for word in command]
            await asyncio.to_thread(self.cluster.stoa, *words)
            heard: list[t.TaskStatus | s.AgentDraining] = []
            while not (heard and isinstance(heard[-1], t.TaskStatus) and stoa.is_terminal(heard[-1].state)):
                heard.append(await told.heard.get())
            framework.teardown()
            await running
            return heard

        return asyncio.run(asyncio.wait_for(test(), LIMIT))

    def test_an_operator_who_kills_a_task_says_how_long_it_has(self) -> None:
        killing, ended = self.play("kill", "stays", "--grace", "20s")
        self.assertEqual((stoa.word(killing.state), killing.reason), ("killing", t.REASON_KILL_REQUESTED))
        self.assertEqual(killing.grace_ms, 20_000)
        self.assertLess(abs(killing.at_ms / 1000 - time.time()), LIMIT)
        self.assertEqual((stoa.word(ended.state), ended.HasField("grace_ms")), ("killed", False))

    def test_an_operator_who_drains_an_agent_says_until_when(self) -> None:
        draining, killing, ended = self.play("agent", "drain", "AGENT", "--deadline", "1s")
        self.assertLess(abs(draining.deadline_ms / 1000 - time.time()), LIMIT)
        self.assertEqual((stoa.word(killing.state), killing.grace_ms), ("killing", 3000), "that of the task itself")
        self.assertGreaterEqual(killing.at_ms, draining.deadline_ms)
        self.assertEqual(stoa.word(ended.state), "killed")
