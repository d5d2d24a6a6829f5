"""State on the masters of a real cluster: kept, compared, watched, fenced; and of two instances one has its turn."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import stoa
from stoa.v1 import store_pb2 as st

PYTHON = Path(__file__).parent.parent
STOA = os.environ.get("STOA", str(PYTHON.parent.parent / "target" / "debug" / "stoa"))
LIMIT = 20


class OnACluster(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.home = tempfile.TemporaryDirectory(prefix="stoa-python-")
        environment = {**os.environ, "HOME": cls.home.name, "TMPDIR": cls.home.name}
        environment["XDG_CONFIG_HOME"] = f"{cls.home.name}/config"
        environment.pop("STOA_CONTEXT", None)
        cls.environment = environment
        line = [STOA, "up", "--no-jobs", "--agents", "1"]
        cls.up = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True)
        assert cls.up.stdout
        while "ready in" not in (said := cls.up.stdout.readline()):
            if not said:
                raise AssertionError("`stoa up` ended before it was ready")
        current = Path(cls.home.name, "config", "stoa", "current")
        cls.profile = stoa.Profile.load(current.read_text().strip())

    @classmethod
    def tearDownClass(cls) -> None:
        cls.up.send_signal(2)
        cls.up.wait(LIMIT)
        assert cls.up.stdout
        cls.up.stdout.close()
        cls.home.cleanup()

    def stoa(self, *words: str) -> str:
        return subprocess.run([STOA, *words], env=self.environment, capture_output=True, text=True, check=True).stdout

    def run_on(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run(asyncio.wait_for(what, 2 * LIMIT))

    def test_what_is_put_is_there_and_a_swap_compares(self) -> None:
        async def test() -> None:
            state = stoa.State(self.profile, "swap")
            self.assertIsNone(await state.get("a"))
            first = await state.swap("a", 0, "1")
            self.assertIsNone(await state.swap("a", 0, "2"), "it is there")
            assert first
            second = await state.swap("a", first, "2")
            assert second and second > first
            await state.put("b/1", "x")
            await state.put("b/2", "y")
            found, revision = await state.list("b/")
            self.assertEqual([kv.key for kv in found], [b"b/1", b"b/2"])
            self.assertEqual((await state.txn([], []))[1], revision)
            self.assertTrue(await state.delete("a"))
            self.assertFalse(await state.delete("a"))
            with self.assertRaisesRegex(stoa.Refused, "more than 1048576 bytes.*split the value"):
                await state.put("a", "x" * (1048576 + 1))
            await state.close()

        self.run_on(test())

    def test_a_watch_tells_each_change_once_from_a_revision_on(self) -> None:
        async def test() -> None:
            state = stoa.State(self.profile, "watch")
            first = await state.put("w/a", "0")
            told: list[bytes] = []

            async def listen() -> None:
                async for reply in state.watch("w/", first):
                    told.extend(event.kv.value for event in reply.events)
                    if told[-1] == b"9":
                        return

            listening = asyncio.create_task(listen())
            for number in range(1, 10):
                await state.put("w/a", str(number))
                await state.put("other", "x")
            await listening
            self.assertEqual(told, [str(number).encode() for number in range(10)])
            await state.close()

        self.run_on(test())

    def test_a_watch_of_a_master_that_hangs_goes_on_with_another(self) -> None:
        async def test() -> None:
            state = stoa.State(self.profile, "hangs")
            first = await state.put("a", "0")
            members = json.loads(self.stoa("raft", "status", "-o", "json"))["members"]
            hung = next(member for member in members if not member["leader"])
            masters = sorted(self.profile.masters, key=lambda master: master != hung["address"])
            self.assertEqual(masters[0], hung["address"])
            profile = dataclasses.replace(self.profile, masters=tuple(masters))
            # One asks by the same connections, one only listens, and one comes when its master hangs already.
            asks, listens, comes = (stoa.State(profile, "hangs") for _ in range(3))
            watches = [each.watch("a", first) for each in (asks, listens, comes)]
            heard = [aiter(watch) for watch in watches]
            for each in heard[:2]:
                self.assertEqual((await anext(each)).events[0].kv.value, b"0")
            os.kill(hung["pid"], signal.SIGSTOP)
            try:
                # What closes the connection, as a question does that is not answered, is not the end of a change on it.
                change = asyncio.create_task(asks.put("b", "1"))
                await asyncio.sleep(0)
                await asks._forget(hung["address"])
                with self.assertRaisesRegex(stoa.Unknown, "the connection was closed"):
                    await change
                await asks.get("a")
                # Whether a try was carried out is not known while the one that hangs leads the store.
                while (kept := await state.get("a")) is None or kept.value != b"1":
                    with contextlib.suppress(stoa.Unknown):
                        await state.swap("a", first, "1")
                for each in heard[:2]:
                    self.assertEqual((await anext(each)).events[0].kv.value, b"1")
                both = await anext(heard[2])
                self.assertEqual([event.kv.value for event in both.events], [b"0", b"1"])
                self.assertEqual([watch.next_revision for watch in watches], [kept.mod_revision + 1] * 3)
            finally:
                os.kill(hung["pid"], signal.SIGCONT)
            for each in heard:
                await each.aclose()
            for each in (state, asks, listens, comes):
                await each.close()

        self.run_on(test())

    def test_who_claims_later_fences_and_a_lease_takes_its_keys_with_it(self) -> None:
        async def test() -> None:
            state = stoa.State(self.profile, "fence")
            mine = await state.claim()
            await mine.put("a", "mine")
            theirs = await state.claim()
            with self.assertRaises(stoa.Refused) as refused:
                await mine.put("a", "mine again")
            self.assertEqual(refused.exception.code, "fenced")
            lease = await theirs.grant(60)
            await theirs.put("b", "bound", lease)
            await theirs.revoke(lease)
            self.assertIsNone(await theirs.get("b"))
            with self.assertRaises(stoa.Refused):
                await state.claim(lease)
            await theirs.revoke(lease)
            for one in (state, mine, theirs):
                await one.close()

        self.run_on(test())

    def test_of_two_instances_one_has_its_turn_until_it_ends_or_hangs(self) -> None:
        async def test() -> None:
            one, two = stoa.State(self.profile, "turns"), stoa.State(self.profile, "turns")
            order: list[str] = []

            async def second() -> None:
                async with stoa.turn(two, ttl=2) as mine:
                    order.append("second")
                    await mine.state.put("acts", "second")

            async with stoa.turn(one, ttl=2) as first:
                waiting = asyncio.create_task(second())
                await first.state.put("acts", "first")
                order.append("first")
            left = time.monotonic()
            await waiting
            self.assertLess(time.monotonic() - left, 1.5, "who leaves does not keep the next one waiting")
            self.assertEqual(order, ["first", "second"])
            with self.assertRaises(stoa.Refused):
                await first.state.put("acts", "first again")

            async with stoa.turn(one, ttl=2) as hangs:
                # As if it slept: nobody keeps its lease alive.
                beats = [task for task in asyncio.all_tasks() if "_beats" in repr(task)]
                async def takes_over() -> int:
                    async with stoa.turn(two, ttl=2) as mine:
                        return mine.fence

                later = asyncio.create_task(takes_over())
                for task in beats:
                    task.cancel()
                self.assertGreater(await later, hangs.fence)
                self.assertTrue(hangs.lost.is_set())
            for state in (one, two):
                await state.close()

        self.run_on(test())

    def test_an_earlier_instance_gets_no_session(self) -> None:
        async def test() -> None:
            info = stoa.FrameworkInfo(name="fenced", roles=["default"], failover_timeout_ms=60_000)
            later = stoa.Framework(self.profile, info, stoa.Scheduler(), fence=2)
            running = asyncio.create_task(later.run())
            while not later.id:
                await asyncio.sleep(0.01)  # eventually
            earlier = stoa.Framework(self.profile, info, stoa.Scheduler(), framework_id=later.id, fence=1)
            with self.assertRaises(stoa.Refused) as refused:
                await earlier.run()
            self.assertEqual(refused.exception.code, "fenced")
            self.assertFalse(running.done(), "the later one is not disturbed")
            later.teardown()
            await running

        self.run_on(test())

    def test_a_transaction_takes_one_branch(self) -> None:
        async def test() -> None:
            state = stoa.State(self.profile, "txn")
            there = st.Compare(key=b"a", comparison=st.GREATER, version=0)
            put = st.Operation(put=st.Put(key=b"a", value=b"1"))
            look = st.Operation(range=st.Range(key=b"a"))
            done, _ = await state.txn([there], [look], [put])
            self.assertFalse(done.succeeded)
            done, _ = await state.txn([there], [look], [put])
            self.assertEqual((done.succeeded, done.responses[0].range.kvs[0].value), (True, b"1"))
            await state.close()

        self.run_on(test())
