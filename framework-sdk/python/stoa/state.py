"""What a framework keeps on the masters, and which of its instances acts.

The calls mean what etcd's v3 API says of them. A change whose answer was lost may have been carried out: it ends in
`Unknown`, and what is there is to be read before it is tried again. `State.swap`, and transactions that compare what they
change, can then be sent again without harm; reads, claims and calls about leases are sent again by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

import grpc

from stoa.framework import Refused, is_ended_by_caller
from stoa.profile import Profile
from stoa.v1 import store_pb2 as st
from stoa.v1 import store_pb2_grpc as rpc

# How long a question may take over all masters and tries, and one master of it.
_ASK_LIMIT, _MASTER_LIMIT = 10.0, 3.0
# The pause after every master was tried.
_PAUSE = 0.1
# So many times a lease is kept alive within its time.
_BEATS = 3
# Whoever waits for a turn looks again so often, whatever is told of changes.
_LOOK_AGAIN = 2.0
# Doing these twice is as good as once.
_REPEATABLE = {"range", "lease_grant", "lease_revoke", "lease_keep_alive", "lease_look", "leases", "claim"}


class Unknown(Exception):
    """Nobody knows whether it was carried out."""


class Unavailable(Exception):
    """No master answered."""


class State:
    """One space of a principal's state. Once claimed, its calls are refused as `fenced` when somebody claims it later."""

    def __init__(self, profile: Profile, space: str = "", epoch: int | None = None) -> None:
        self.profile, self.space, self.epoch = profile, space, epoch
        self._masters = list(profile.masters)
        self._channels: dict[str, grpc.aio.Channel] = {}

    def at(self, epoch: int) -> State:
        """The same space as whoever claimed it with this epoch has it."""
        return State(self.profile, self.space, epoch)

    async def close(self) -> None:
        """Closes its connections."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    async def get(self, key: str | bytes) -> st.KeyValue | None:
        """One key."""
        reply = await self.ask(range=st.Range(key=_bytes(key)))
        return reply.range.kvs[0] if reply.range.kvs else None

    async def list(self, prefix: str | bytes) -> tuple[Sequence[st.KeyValue], int]:
        """The keys below a prefix in their order, and the revision at which they were so: watch from the next one."""
        reply = await self.ask(range=st.Range(key=_bytes(prefix), range_end=_behind(_bytes(prefix))))
        return reply.range.kvs, reply.revision

    async def put(self, key: str | bytes, value: str | bytes, lease: int = 0) -> int:
        """Sets a key; the revision of that."""
        return (await self.ask(put=st.Put(key=_bytes(key), value=_bytes(value), lease=lease))).revision

    async def swap(self, key: str | bytes, seen: int, value: str | bytes) -> int | None:
        """Sets a key if it is as it was last seen: `seen` is the `mod_revision` it had, 0 if it was not there. None if not."""
        compare = st.Compare(key=_bytes(key), comparison=st.EQUAL, mod_revision=seen)
        done, revision = await self.txn([compare], [st.Operation(put=st.Put(key=_bytes(key), value=_bytes(value)))])
        return revision if done.succeeded else None

    async def delete(self, key: str | bytes) -> bool:
        """Deletes a key; whether it was there."""
        return (await self.ask(delete_range=st.DeleteRange(key=_bytes(key)))).delete_range.deleted > 0

    async def txn(
        self,
        compare: Iterable[st.Compare],
        success: Iterable[st.Operation],
        failure: Iterable[st.Operation] = (),
    ) -> tuple[st.TxnReply, int]:
        """Looks, and then does one thing or the other, as one revision."""
        reply = await self.ask(txn=st.Txn(compare=compare, success=success, failure=failure))
        return reply.txn, reply.revision

    async def grant(self, ttl: float) -> int:
        """Makes a lease of so many seconds; keys put with it go with it."""
        return (await self.ask(lease_grant=st.LeaseGrant(ttl_ms=int(ttl * 1000)))).lease.id

    async def keep_alive(self, lease: int) -> None:
        """Lets a lease begin again; `Refused` with `not-found` when it has run out."""
        await self.ask(lease_keep_alive=st.LeaseKeepAlive(id=lease))

    async def revoke(self, lease: int) -> None:
        """Ends a lease and deletes its keys; one that is gone already is no fault."""
        try:
            await self.ask(lease_revoke=st.LeaseRevoke(id=lease))
        except Refused as refused:
            if refused.code != "not-found":
                raise

    async def claim(self, lease: int = 0) -> State:
        """Takes the space over, if this lease still stands: whoever claimed it before is fenced from now on."""
        reply = await State(self.profile, self.space).ask(claim=st.Claim(lease=lease))
        return self.at(reply.claimed.epoch)

    def watch(self, prefix: str | bytes, start: int = 0) -> Watching:
        """The changes below a prefix from a revision on (0: from now on), without a gap over breaks and elections."""
        return Watching(self, _bytes(prefix), start)

    async def ask(self, **kind: object) -> st.Reply:
        """Asks; follows redirects and tries other masters until one answers."""
        call = st.Call(space=self.space, epoch=self.epoch, **kind)  # type: ignore[arg-type]
        repeatable = call.WhichOneof("kind") in _REPEATABLE
        until, last, hint, at = time.monotonic() + _ASK_LIMIT, "", "", 0
        while time.monotonic() < until:
            master, hint = hint or self._masters[at % len(self._masters)], ""
            limit = min(_MASTER_LIMIT, max(until - time.monotonic(), 0.1))
            try:
                reply = await rpc.StoreStub(self._channel(master)).Ask(call, timeout=limit)
            except grpc.aio.AioRpcError as error:
                _raise_if_final(error)
                last = f"{master}: {error.details()}"
                if not repeatable and "failed to connect" not in last:
                    raise Unknown(last) from error
                await self._forget(master)
            except asyncio.CancelledError:
                # Another question that this master did not answer has closed the connection.
                if is_ended_by_caller():
                    raise
                last = f"{master}: the connection was closed"
                if not repeatable:
                    raise Unknown(last) from None
            else:
                said = reply.WhichOneof("kind")
                if said == "redirect":
                    hint, last = reply.redirect, "there is no leader"
                    if hint:
                        continue
                elif said == "refused" and reply.refused.code == "leader-lost" and not repeatable:
                    raise Unknown(reply.refused.message)
                elif said == "refused" and reply.refused.code in ("unavailable", "leader-lost"):
                    last = reply.refused.message
                elif said == "refused":
                    raise Refused(reply.refused)
                else:
                    # The next call begins with whoever answered.
                    self._prefer(master)
                    return reply
            at += 1
            if at % len(self._masters) == 0:
                await asyncio.sleep(_PAUSE)
        raise Unavailable(f"no master answered: {last}")

    def turn_round(self) -> None:
        """The next call begins with another master: this one may hang."""
        self._masters.append(self._masters.pop(0))

    def _prefer(self, master: str) -> None:
        if master in self._masters:
            self._masters.remove(master)
        self._masters.insert(0, master)

    def _channel(self, master: str) -> grpc.aio.Channel:
        if master not in self._channels:
            self._channels[master] = self.profile.channel(master)
        return self._channels[master]

    async def _forget(self, master: str) -> None:
        if channel := self._channels.pop(master, None):
            await channel.close()


class Watching:
    """The changes below a prefix, for `async for`: whole revisions in their order. It ends with `Refused` (`compacted`: read anew
    and watch from there) or, when no master told of any for 10 s, with `Unavailable`."""

    def __init__(self, state: State, key: bytes, start: int) -> None:
        self._state, self._key = state, key
        #: Where a watch that takes up this one begins: everything before has been given. It moves on with what is compacted though
        #: no key below the prefix changes. 0 as long as a watch from now on has heard nothing.
        self.next_revision = start

    async def __aiter__(self) -> AsyncIterator[st.WatchReply]:
        broken_at = time.monotonic()
        while True:
            for master in list(self._state._masters):
                ask = st.Watch(space=self._state.space, key=self._key, range_end=_behind(self._key))
                ask.start_revision = self.next_revision
                stream = rpc.StoreStub(self._state._channel(master)).Watch(ask)
                # The first word comes at once; a connection that is open tells of its end by itself.
                limit: float | None = _MASTER_LIMIT
                try:
                    while (reply := await asyncio.wait_for(stream.read(), limit)) is not grpc.aio.EOF:
                        if reply.HasField("refused"):
                            raise Refused(reply.refused)
                        self.next_revision, limit = reply.revision + 1, None
                        if reply.events:
                            yield reply
                except grpc.aio.AioRpcError as error:
                    _raise_if_final(error)
                except asyncio.TimeoutError:
                    pass
                except asyncio.CancelledError:
                    # A question that this master did not answer has closed the connection; nobody ended who listens.
                    if is_ended_by_caller():
                        raise
                finally:
                    stream.cancel()
                if limit is None:
                    broken_at = time.monotonic()
            if time.monotonic() - broken_at > _ASK_LIMIT:
                raise Unavailable("no master tells of changes")
            await asyncio.sleep(_PAUSE)



@dataclass
class Turn:
    """The turn of this instance. Stop acting as soon as `lost` is set; what is written by `state` is fenced."""

    state: State
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def fence(self) -> int:
        """What `Framework` says to the masters, so that an earlier instance gets no session any more."""
        return self.state.epoch or 0


@contextlib.asynccontextmanager
async def turn(state: State, name: str = "framework", ttl: float = 3.0) -> AsyncIterator[Turn]:
    """Waits until it is the turn of this instance among all that ask for `name`, and claims the space. At the end the next
    one has its turn at once; an instance that dies or hangs loses it after `ttl` seconds."""
    lease, beating = await _lead(state, f"election/{name}", ttl)
    mine = Turn(await state.claim(lease))
    beating.add_done_callback(lambda _: mine.lost.set())
    try:
        yield mine
    finally:
        beating.cancel()
        with contextlib.suppress(Unavailable, Refused):
            await asyncio.wait_for(asyncio.shield(state.revoke(lease)), ttl)
        await mine.state.close()


async def _lead(state: State, key: str, ttl: float) -> tuple[int, asyncio.Task[None]]:
    who = f"{socket.gethostname()} pid {os.getpid()}".encode()
    lease, beating = await _granted(state, ttl)
    look = st.Operation(range=st.Range(key=key.encode()))
    free = st.Compare(key=key.encode(), comparison=st.EQUAL, create_revision=0)
    while True:
        if beating.done():
            lease, beating = await _granted(state, ttl)
        take = st.Operation(put=st.Put(key=key.encode(), value=who, lease=lease))
        try:
            done, seen_at = await state.txn([free], [take, look], [look])
            there = done.responses[-1].range.kvs
        except Unknown:  # The next look shows whether it was carried out.
            look_again = await state.ask(range=st.Range(key=key.encode()))
            there, seen_at = look_again.range.kvs, look_again.revision
        except Unavailable:
            continue
        except Refused as refused:
            if refused.code != "not-found":
                beating.cancel()
                raise
            beating.cancel()
            lease, beating = await _granted(state, ttl)
            continue
        if there and there[0].lease == lease:
            return lease, beating
        if there:
            # Not from when the leader came: what is as old as that may be compacted.
            try:
                await asyncio.wait_for(_gone(state, key, seen_at + 1), _LOOK_AGAIN)
            except asyncio.TimeoutError:
                pass
            except (Unavailable, Refused):
                await asyncio.sleep(_PAUSE)


async def _granted(state: State, ttl: float) -> tuple[int, asyncio.Task[None]]:
    begun = time.monotonic()
    lease = await state.grant(ttl)
    return lease, asyncio.create_task(_beats(state, lease, ttl, begun + ttl))


async def _beats(state: State, lease: int, ttl: float, sure_until: float) -> None:
    """Keeps a lease alive until it is lost, by the clock of this side: it is over here before it is over there."""
    beat = ttl / _BEATS
    pause = beat
    while True:
        await asyncio.sleep(pause)
        asked = time.monotonic()
        try:
            await asyncio.wait_for(state.keep_alive(lease), min(beat, sure_until - asked))
            sure_until, pause = asked + ttl, beat
        except Refused:
            return
        except (asyncio.TimeoutError, Unavailable):
            if time.monotonic() >= sure_until:
                return
            state.turn_round()
            pause = beat / 10


async def _gone(state: State, key: str, start: int) -> None:
    async for reply in state.watch(key, start):
        if any(event.deleted and event.kv.key == key.encode() for event in reply.events):
            return


def _raise_if_final(error: grpc.aio.AioRpcError) -> None:
    final = {
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.OUT_OF_RANGE,
    }
    if error.code() in final:
        raise PermissionError(f"{error.code().name}: {error.details()}") from error


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _behind(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with a prefix."""
    cut = prefix.rstrip(b"\xff")
    return cut[:-1] + bytes([cut[-1] + 1]) if cut else b"\0"
