"""Commands beside a task of a real cluster: streams, exit codes, an end when nobody wants them, and words when there is none."""

import asyncio
import os
import sys
import unittest
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import stoa

PYTHON = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PYTHON.parent / "tests"))

from cluster import Cluster  # noqa: E402

SHAPE = stoa.shape(50, 32 << 20)
LIMIT = 60


class Stays(stoa.Scheduler):
    """One task that stays, and what a test does beside it once it runs."""

    def __init__(self, test: Callable[[stoa.Framework], Awaitable[None]]) -> None:
        self.test, self.launched = test, False

    async def offers(self, framework: stoa.Framework, offers: Sequence[stoa.Offer]) -> None:
        rooms = [stoa.Room(offer) for offer in offers]
        if rooms and not self.launched:
            self.launched = True
            rooms[0].launch("stays", SHAPE, shell="echo here > note; exec sleep 1000")
        framework.accept(rooms)

    async def update(self, framework: stoa.Framework, status: stoa.TaskStatus) -> None:
        if stoa.word(status.state) == "running":
            try:
                await self.test(framework)
            finally:
                framework.teardown()


def sleeping(seconds: str) -> bool:
    """Whether any process of this machine sleeps for so long."""
    words = f"sleep\0{seconds}\0".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == words:
                return True
        except OSError:
            continue  # It has ended meanwhile.
    return False


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not holds():
            await asyncio.sleep(0.02)


class Beside(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = Cluster("beside")
        cls.addClassCleanup(cls.cluster.down)

    def beside(self, test: Callable[[stoa.Framework], Awaitable[None]]) -> None:
        failed: list[BaseException] = []

        async def kept(framework: stoa.Framework) -> None:
            try:
                await test(framework)
            except BaseException as error:
                failed.append(error)

        profile = stoa.Profile.load(self.cluster.context)
        asyncio.run(asyncio.wait_for(stoa.run("beside", Stays(kept), profile=profile), LIMIT))
        if failed:
            raise failed[0]

    def test_it_prints_what_it_finds_reads_what_it_is_given_and_ends_as_it_says(self) -> None:
        async def test(framework: stoa.Framework) -> None:
            async with framework.exec("stays", ["sh", "-c", "cat note -; echo $STOA_TASK_ID >&2; exit 7"]) as command:
                ran = await command.run(b"typed\n")
            self.assertEqual((ran.code, ran.stdout, ran.stderr), (7, b"here\ntyped\n", b"stays\n"))
            async with framework.exec("stays", ["sh", "-c", "kill -TERM $$"]) as command:
                self.assertEqual((await command.run()).code, -15)
            large = os.urandom(200_000)
            async with framework.exec("stays", ["cat"]) as command:
                self.assertEqual((await command.run(large)).stdout, large)
            # It does not read what it is given, and that is no fault.
            async with framework.exec("stays", ["true"]) as command:
                self.assertEqual((await command.run(large)).code, 0)

        self.beside(test)

    def test_a_talk_goes_back_and_forth(self) -> None:
        async def test(framework: stoa.Framework) -> None:
            async with framework.exec("stays", ["sh", "-c", "while read word; do echo got $word; done"]) as command:
                heard = b""
                await command.write(b"one\n")
                async for wrote in command:
                    heard += wrote.stdout
                    if heard == b"got one\n":
                        await command.write(b"two\n")
                        await command.close_stdin()
            self.assertEqual((heard, command.code), (b"got one\ngot two\n", 0))

        self.beside(test)

    def test_who_leaves_it_ends_it(self) -> None:
        async def test(framework: stoa.Framework) -> None:
            async with framework.exec("stays", ["sleep", "86398.5"]):
                await until(lambda: sleeping("86398.5"))
            await until(lambda: not sleeping("86398.5"))

        self.beside(test)

    def test_where_there_is_nothing_to_run_beside_it_says_so(self) -> None:
        async def test(framework: stoa.Framework) -> None:
            for task, argv, code, message in [
                ("other", ["true"], "not-found", "has no task other"),
                ("stays", ["/no/such/program"], "invalid", "could not execute the command"),
                ("stays", [], "invalid", "argv"),
            ]:
                with self.assertRaisesRegex(stoa.Refused, message) as refused:
                    async with framework.exec(task, argv) as command:
                        await command.run()
                self.assertEqual(refused.exception.code, code)

        self.beside(test)
