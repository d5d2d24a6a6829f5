"""Which master to talk to next, and one session with it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable

import grpc

from stoa.profile import Profile
from stoa.v1 import scheduler_pb2 as s
from stoa.v1 import scheduler_pb2_grpc as rpc

# A master may take so long to connect and answer a subscribe.
SUBSCRIBE_LIMIT = 3.0
# Waits between tries: the first, the longest of the quick ones, how many are quick, and the longest of all.
_START, _QUICK, _QUICK_TRIES, _MAX = 0.05, 0.2, 24, 1.0
# A status that every master will give again.
_FINAL = {
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.OUT_OF_RANGE,
}


# Masters that one remembers: those that were told last, and what is left of older ones, which cost a try each.
_DOORS_MAX = 16


class Finder:
    """Goes round the masters, prefers the one that was named as leader, and slows down while nobody answers."""

    def __init__(self, masters: tuple[str, ...]) -> None:
        self._masters = masters
        self._next = random.randrange(len(masters))
        self._failures = 0
        self._redirects = 0
        self.hint = ""

    def take(self) -> str:
        """The address to try now."""
        if self.hint:
            address, self.hint = self.hint, ""
            return address
        self._next = (self._next + 1) % len(self._masters)
        return self._masters[self._next]

    def learn(self, masters: Iterable[str]) -> None:
        """Where the masters are now; those that were known stay, behind them."""
        told = tuple(dict.fromkeys([*masters, *self._masters]))
        self._masters = told[:_DOORS_MAX]

    def stood(self, good: bool) -> None:
        """A session stood; if it was a good one, the next failure is a first one again."""
        self._redirects = 0
        if good:
            self._failures = 0

    async def rest(self) -> None:
        """Waits before the next try."""
        if self.hint and self._redirects < 3:
            self._redirects += 1
            return
        if self._failures:
            limit = _QUICK if self._failures < _QUICK_TRIES else _MAX
            full = min(_START * 2 ** min(self._failures - 1, 10), limit)
            await asyncio.sleep(full * (0.5 + random.random() / 2))
        self._failures += 1


class Link:
    """One session: what is sent goes out in order, what comes is read one by one."""

    def __init__(self, profile: Profile, master: str) -> None:
        self._channel = profile.channel(master)
        self._queue: asyncio.Queue[s.Call | None] = asyncio.Queue()
        self._stream = rpc.SchedulerStub(self._channel).Session(self._calls())

    async def _calls(self) -> AsyncIterator[s.Call]:
        while (call := await self._queue.get()) is not None:
            yield call

    def send(self, call: s.Call) -> None:
        """Sends a call."""
        self._queue.put_nowait(call)

    async def read(self, limit: float) -> s.Event | None:
        """The next event; None when the link is dead, or silent for too long."""
        try:
            event = await asyncio.wait_for(self._stream.read(), limit)
        except asyncio.TimeoutError:
            return None
        except grpc.aio.AioRpcError as error:
            if error.code() in _FINAL:
                raise PermissionError(f"{error.code().name}: {error.details()}") from error
            return None
        return None if event is grpc.aio.EOF else event

    async def close(self) -> None:
        """Ends it."""
        # What sends ends by itself: cancelled while it waits, it would be destroyed while pending, and say so.
        self._queue.put_nowait(None)
        await asyncio.sleep(0)
        self._stream.cancel()
        await self._channel.close()
