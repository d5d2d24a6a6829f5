"""Checks of tasks: how they are made, what is wrong with them, and what a scheduler makes of what they say."""

import unittest
from collections.abc import Sequence

import stoa
from stoa.testing import Rehearsal
from stoa.v1 import types_pb2 as t

ONE_PORT = stoa.shape(100, 1 << 20, ports=1)
NO_PORT = stoa.shape(100, 1 << 20)


def room() -> stoa.Room:
    amount = t.Amount(scalars=t.Quantities(cpus_milli=1000, mem_bytes=1 << 30))
    amount.ranges.add(name="ports").ranges.add(first=31000, last=31009)
    return stoa.Room(stoa.Offer(id="o", role="default", resources=t.Resources(portions=[t.Portion(amount=amount)])))


class Made(unittest.TestCase):
    def test_each_has_the_usual_times_unless_it_is_told_others(self) -> None:
        made = [stoa.check.http("/healthz"), stoa.check.tcp(), stoa.check.command("test -e ready")]
        times = {(c.delay_ms, c.interval_ms, c.timeout_ms, c.grace_ms, c.failures) for c in made}
        self.assertEqual(times, {(0, 10_000, 20_000, 10_000, 3)})
        quick = stoa.check.tcp(2, delay_ms=50, interval_ms=100, timeout_ms=1, grace_ms=0, failures=1)
        self.assertEqual((quick.delay_ms, quick.interval_ms, quick.tcp.port.index), (50, 100, 2))
        secure = stoa.check.http("/a?b", port=31001, https=True).http
        self.assertEqual((secure.path, secure.https, secure.port.number), ("/a?b", True, 31001))
        program = stoa.check.command(argv=["./check", "-q"]).command
        self.assertEqual((list(program.argv), program.shell), (["./check", "-q"], False))

    def test_what_no_master_would_take_is_said_at_once(self) -> None:
        wrong = {
            "path is 'healthz'; begin it with /": lambda: stoa.check.http("healthz"),
            "interval_ms is 99; make it 100": lambda: stoa.check.tcp(interval_ms=99),
            "timeout_ms is 0; make it 1": lambda: stoa.check.tcp(timeout_ms=0),
            "failures is 0; make it 1": lambda: stoa.check.tcp(failures=0),
            "say what runs": stoa.check.command,
            "either shell, a script, or argv": lambda: stoa.check.command("true", ["true"]),
        }
        for message, make in wrong.items():
            with self.assertRaisesRegex(ValueError, message):
                make()

    def test_a_check_goes_to_a_port_of_the_task_or_nothing_is_launched(self) -> None:
        wrong = {
            "t: readiness goes to the port of index 0, and the task has none": (NO_PORT, stoa.check.tcp()),
            "t: readiness goes to the port of index 1, and the task has 1": (ONE_PORT, stoa.check.http("/", 1)),
            "t: readiness goes to port 80, which is not the task's own": (ONE_PORT, stoa.check.tcp(port=80)),
        }
        for message, (shape, check) in wrong.items():
            here = room()
            with self.assertRaisesRegex(ValueError, message):
                here.launch("t", shape, shell="true", readiness=check)
            self.assertEqual(here.tasks, [])
            self.assertTrue(here.fits(stoa.shape(1000, 1 << 30, ports=10)), "nothing is taken")
        with self.assertRaisesRegex(ValueError, "longest_run_ms is 0"):
            room().launch("t", NO_PORT, shell="true", longest_run_ms=0)

    def test_a_task_has_what_it_was_given_and_nothing_else(self) -> None:
        here = room()
        plain = here.launch("plain", NO_PORT, shell="true")
        self.assertFalse(plain.HasField("checks") or plain.HasField("longest_run_ms"))
        well = stoa.check.command("true")
        full = here.launch("t", ONE_PORT, shell="true", readiness=stoa.check.tcp(), health=well, longest_run_ms=60_000)
        self.assertEqual((full.checks.health, full.longest_run_ms), (well, 60_000))
        self.assertEqual(full.checks.readiness.tcp.port.WhichOneof("kind"), "index")


class First(stoa.Scheduler):
    """A server, and a client once the server can serve."""

    def __init__(self) -> None:
        self.serves, self.asked = False, set[str]()

    async def offers(self, framework: stoa.Framework, offers: Sequence[stoa.Offer]) -> None:
        rooms = [stoa.Room(offer) for offer in offers]
        name = "client" if self.serves else "server"
        if rooms and name not in self.asked:
            self.asked.add(name)
            check = stoa.check.tcp() if name == "server" else None
            rooms[0].launch(name, ONE_PORT, shell="sleep 1d", readiness=check)
        framework.accept(rooms)

    async def update(self, framework: stoa.Framework, status: stoa.TaskStatus) -> None:
        if status.task_id == "server":
            self.serves = stoa.is_ready(status)


class Told(unittest.IsolatedAsyncioTestCase):
    async def test_a_server_runs_before_it_can_serve(self) -> None:
        scheduler = First()
        pool = Rehearsal(scheduler, ready=False)
        await pool.run()
        self.assertEqual((pool.states, scheduler.serves), ({"server": "running"}, False))
        await pool.report_checks("server", ready=True)
        self.assertEqual(pool.states, {"server": "running", "client": "running"})
        await pool.report_checks("server", ready=False)
        self.assertFalse(scheduler.serves)
        await pool.fail_over()
        self.assertFalse(scheduler.serves, "the next leader says the same")
        self.assertEqual(pool.unacknowledged, 0)

    async def test_by_itself_it_can_serve_soon(self) -> None:
        scheduler = First()
        pool = Rehearsal(scheduler)
        await pool.run()
        self.assertEqual(pool.states, {"server": "running", "client": "running"})
        with self.assertRaisesRegex(ValueError, "client has no readiness check"):
            await pool.report_checks("client", ready=True)
        await pool.end("server", code=1)
        self.assertFalse(scheduler.serves)
        with self.assertRaisesRegex(ValueError, "server is failed"):
            await pool.report_checks("server", ready=True)

    def test_ready_is_a_task_that_runs_and_of_which_no_check_says_no(self) -> None:
        says = {
            t.TaskStatus(state=t.TASK_RUNNING).SerializeToString(): True,
            t.TaskStatus(state=t.TASK_RUNNING, ready=True, healthy=True).SerializeToString(): True,
            t.TaskStatus(state=t.TASK_RUNNING, ready=True, healthy=False).SerializeToString(): False,
            t.TaskStatus(state=t.TASK_RUNNING, ready=False).SerializeToString(): False,
            t.TaskStatus(state=t.TASK_STARTING).SerializeToString(): False,
            t.TaskStatus(state=t.TASK_FINISHED).SerializeToString(): False,
        }
        for status, ready in says.items():
            self.assertEqual(stoa.is_ready(t.TaskStatus.FromString(status)), ready, t.TaskStatus.FromString(status))
