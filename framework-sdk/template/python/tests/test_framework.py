"""What should hold of the framework when things go well and when they do not: keep what applies."""

import unittest

from framework import Keep
from stoa.testing import Rehearsal


class KeepTest(unittest.IsolatedAsyncioTestCase):
    async def test_it_runs_what_is_wanted_and_takes_no_more(self) -> None:
        keep = Keep(3)
        pool = Rehearsal(keep, agents=2, cpus_milli=1000)
        await pool.run()
        self.assertEqual(pool.count("running"), 3)
        self.assertEqual({pool.agent(task) for task in pool.states}, {"agent-1", "agent-2"}, "one has room for two")
        self.assertEqual(pool.open_offers, 0, "nothing is hoarded")
        keep.want(pool.framework, 1)
        await pool.run()
        self.assertEqual((pool.count("running"), pool.count("killed")), (1, 2))

    async def test_what_fails_is_replaced(self) -> None:
        pool = Rehearsal(Keep(2))
        await pool.run()
        await pool.end("copy.1", code=1)
        self.assertEqual((pool.state("copy.1"), pool.state("copy.3")), ("failed", "running"))

    async def test_messages_that_are_lost_or_doubled_change_nothing(self) -> None:
        pool = Rehearsal(Keep(3))
        pool.lose_next_call()
        await pool.run()
        await pool.repeat()
        await pool.break_link()
        self.assertEqual(pool.states, {f"copy.{n}": "running" for n in (1, 2, 3)}, "nothing was started twice")
        self.assertEqual(pool.unacknowledged, 0)

    async def test_it_outlives_leaders_and_its_own_death(self) -> None:
        keep = Keep(2)
        pool = Rehearsal(keep)
        await pool.run()
        await pool.fail_over()
        # What a framework stores: here the ids of its tasks.
        await pool.restart(Keep(2), believed=keep.alive)
        self.assertEqual(pool.states, {"copy.1": "running", "copy.2": "running"})

    async def test_an_agent_out_of_sight_comes_back(self) -> None:
        pool = Rehearsal(Keep(2))
        await pool.run()
        await pool.lose_agent("agent-1")
        await pool.return_agent("agent-1")
        self.assertEqual(pool.states, {"copy.1": "running", "copy.2": "running"})


if __name__ == "__main__":
    unittest.main()
