"""Questions to the masters beside a framework's session: what they know of tasks and agents."""

from __future__ import annotations

import asyncio
import time

import grpc

from stoa.framework import Refused
from stoa.profile import Profile
from stoa.state import Unavailable
from stoa.v1 import operator_pb2 as o
from stoa.v1 import operator_pb2_grpc as rpc

# How long a question may take over all masters and tries, and one master of it.
_ASK_LIMIT, _MASTER_LIMIT = 10.0, 3.0
# The pause after every master was tried.
_PAUSE = 0.1
# A status that every master will give again.
_FINAL = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED)


async def ask(profile: Profile, call: o.Call) -> o.Reply:
    """Asks; follows redirects and tries other masters until one answers."""
    until, last, hint, at = time.monotonic() + _ASK_LIMIT, "", "", 0
    while time.monotonic() < until:
        master, hint = hint or profile.masters[at % len(profile.masters)], ""
        channel = profile.channel(master)
        try:
            limit = min(_MASTER_LIMIT, max(until - time.monotonic(), 0.1))
            reply = await rpc.OperatorStub(channel).Ask(call, timeout=limit)
        except grpc.aio.AioRpcError as error:
            if error.code() in _FINAL:
                raise PermissionError(f"{error.code().name}: {error.details()}") from error
            last = f"{master}: {error.details()}"
        else:
            said = reply.WhichOneof("kind")
            if said == "redirect":
                hint, last = reply.redirect, "there is no leader"
                if hint:
                    continue
            elif said == "refused" and reply.refused.code in ("unavailable", "leader-lost"):
                last = reply.refused.message
            elif said == "refused":
                raise Refused(reply.refused)
            else:
                return reply
        finally:
            await channel.close()
        at += 1
        if at % len(profile.masters) == 0:
            await asyncio.sleep(_PAUSE)
    raise Unavailable(f"no master answered: {last}")
