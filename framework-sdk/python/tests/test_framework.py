"""What a framework makes of statuses, without a master."""

import asyncio
import unittest

from stoa import FrameworkInfo, Scheduler, TaskStatus
from stoa.framework import Framework
from stoa.profile import Profile
from stoa.v1 import scheduler_pb2 as s
from stoa.v1 import types_pb2 as t


class Told(Scheduler):
    def __init__(self) -> None:
        self.states: list[int] = []

    async def update(self, framework: Framework, status: TaskStatus) -> None:
        self.states.append(status.state)


def status(state: int, sequence: int = 0, run: bytes = b"1") -> TaskStatus:
    return TaskStatus(task_id="t", state=state, sequence=sequence, run_id=run)


async def told(*statuses: TaskStatus) -> list[int]:
    scheduler = Told()
    framework = Framework(Profile(b"", b"", b"", ("m:1",)), FrameworkInfo(name="f"), scheduler)
    for one in statuses:
        framework._update(one)
    while not framework._work.empty():
        _, what = framework._work.get_nowait()
        await framework._take_in(what)
    return scheduler.states


class Statuses(unittest.TestCase):
    def test_each_is_told_once_and_none_leads_back(self) -> None:
        running, finished = status(t.TASK_RUNNING, 1), status(t.TASK_FINISHED, 2)
        self.assertEqual(asyncio.run(told(running, running, finished, running)), [t.TASK_RUNNING, t.TASK_FINISHED])
        self.assertEqual(asyncio.run(told(running, status(t.TASK_STAGING))), [t.TASK_RUNNING])
        self.assertEqual(asyncio.run(told(finished, status(t.TASK_LOST))), [t.TASK_FINISHED])

    def test_a_task_goes_out_of_sight_and_comes_back(self) -> None:
        states = [t.TASK_RUNNING, t.TASK_UNREACHABLE, t.TASK_RUNNING]
        self.assertEqual(asyncio.run(told(*map(status, states))), states)

    def test_what_was_taken_in_is_told_again_when_it_ends_that_the_task_is_out_of_sight(self) -> None:
        running, lost = status(t.TASK_RUNNING, 1), status(t.TASK_UNREACHABLE)
        said = [running, lost, running, lost, status(t.TASK_STAGING), running]
        self.assertEqual(asyncio.run(told(*said, running)), [one.state for one in said])
        killing = status(t.TASK_KILLING, 2)
        self.assertEqual(asyncio.run(told(running, killing, lost, running)), [t.TASK_RUNNING, t.TASK_KILLING, t.TASK_UNREACHABLE])

    def test_a_later_run_of_the_same_name_is_a_new_one(self) -> None:
        old, new = status(t.TASK_FAILED, 2, b"1"), status(t.TASK_RUNNING, 1, b"2")
        self.assertEqual(asyncio.run(told(old, new, status(t.TASK_FAILED, 3, b"1"))), [t.TASK_FAILED, t.TASK_RUNNING])

    def test_a_status_of_the_master_is_told_again_when_the_scheduler_failed_at_it(self) -> None:
        class Flaky(Told):
            async def update(self, framework: Framework, status: TaskStatus) -> None:
                await super().update(framework, status)
                if len(self.states) == 1:
                    raise RuntimeError("as the test wants it")

        async def states() -> list[int]:
            scheduler = Flaky()
            framework = Framework(Profile(b"", b"", b"", ("m:1",)), FrameworkInfo(name="f"), scheduler)
            framework._update(status(t.TASK_DROPPED))
            for _ in range(2):
                _, what = await asyncio.wait_for(framework._work.get(), 20)
                try:
                    await framework._take_in(what)
                except RuntimeError:
                    pass
            return scheduler.states

        self.assertEqual(asyncio.run(states()), [t.TASK_DROPPED, t.TASK_DROPPED])


class Drains(unittest.TestCase):
    def test_a_scheduler_is_told_of_agents_that_are_to_be_empty(self) -> None:
        class Moves(Scheduler):
            def __init__(self) -> None:
                self.heard: list[tuple[str, int]] = []
                self.done = asyncio.Event()

            async def draining(self, framework: Framework, notice: s.AgentDraining) -> None:
                self.heard.append((notice.agent_id, notice.deadline_ms))

            async def resumed(self, framework: Framework, agent_id: str) -> None:
                self.heard.append((agent_id, 0))
                self.done.set()

        async def heard() -> list[tuple[str, int]]:
            scheduler = Moves()
            framework = Framework(Profile(b"", b"", b"", ("m:1",)), FrameworkInfo(name="f"), scheduler)
            notice = s.AgentDraining(agent_id="a1", deadline_ms=5)
            framework._hear("agent_draining", s.Event(agent_draining=notice))
            framework._hear("agent_resumed", s.Event(agent_resumed=s.AgentResumed(agent_id="a1")))
            works = asyncio.ensure_future(framework._works())
            await asyncio.wait_for(scheduler.done.wait(), 20)
            works.cancel()
            return scheduler.heard

        self.assertEqual(asyncio.run(heard()), [("a1", 5), ("a1", 0)])
