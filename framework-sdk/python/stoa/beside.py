"""Commands beside tasks that run: streams in and out, an exit code, and an end when nobody wants it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from types import TracebackType

import grpc

from stoa import operator
from stoa.framework import Refused
from stoa.profile import Profile
from stoa.state import Unavailable
from stoa.states import word
from stoa.v1 import agent_pb2 as a
from stoa.v1 import agent_pb2_grpc as rpc
from stoa.v1 import operator_pb2 as o
from stoa.v1 import types_pb2 as t

_PIECE_BYTES = 16 << 10
# What an agent says when it does not run the command.
_REFUSALS = {
    grpc.StatusCode.NOT_FOUND: "not-found",
    grpc.StatusCode.INVALID_ARGUMENT: "invalid",
    grpc.StatusCode.FAILED_PRECONDITION: "conflict",
    grpc.StatusCode.PERMISSION_DENIED: "denied",
}


@dataclass(frozen=True)
class Wrote:
    """Some of what a command writes: one of the two."""

    stdout: bytes = b""
    stderr: bytes = b""


@dataclass(frozen=True)
class Ran:
    """What came of a command. The code of one that a signal ended is negative: that of the signal."""

    code: int
    stdout: bytes
    stderr: bytes


class Command:
    """A command beside a task: in its namespaces, limits and sandbox, as its user, with its environment.

    It begins with `async with`, and is killed with all it has started when that is left before its end.
    """

    def __init__(self, profile: Profile, framework_id: str, task_id: str, argv: Iterable[str]) -> None:
        self._profile = profile
        self._start = a.ExecStart(framework_id=framework_id, task_id=task_id, argv=argv)
        # Once it has ended; negative by a signal.
        self.code: int | None = None
        self._channel: grpc.aio.Channel | None = None
        self._stream: grpc.aio.StreamStreamCall | None = None

    async def __aenter__(self) -> Command:
        address = await _agent_of(self._profile, self._start.framework_id, self._start.task_id)
        self._channel = self._profile.agent_channel(address)
        self._stream = rpc.AgentDoorStub(self._channel).Exec()
        await self._say(a.ExecInput(start=self._start))
        try:
            # It has begun, or was refused. What is written before that is known may fail for the stream is over already, and
            # then gRPC tells of that in place of why.
            await self._stream.initial_metadata()
        except grpc.aio.AioRpcError:
            pass  # Whoever reads is told.
        except asyncio.CancelledError:
            # It was not entered, so nobody leaves it.
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            self._stream.cancel()
        if self._channel is not None:
            await self._channel.close()

    async def write(self, data: bytes) -> None:
        """Writes to its standard input; what it does not read any more is lost."""
        for at in range(0, len(data), _PIECE_BYTES):
            await self._say(a.ExecInput(stdin=data[at : at + _PIECE_BYTES]))

    async def close_stdin(self) -> None:
        """Nothing more comes for its standard input."""
        await self._say(a.ExecInput(stdin_end=t.Empty()))

    async def __aiter__(self) -> AsyncIterator[Wrote]:
        """What it writes, until it has ended; then there is a `code`."""
        if self._stream is None:
            raise RuntimeError("a command begins with `async with`")
        while self.code is None:
            try:
                said = await self._stream.read()
            except grpc.aio.AioRpcError as error:
                raise _judged(error) from error
            kind = None if said is grpc.aio.EOF else said.WhichOneof("kind")
            if kind == "stdout":
                yield Wrote(stdout=said.stdout)
            elif kind == "stderr":
                yield Wrote(stderr=said.stderr)
            elif kind == "exit":
                self.code = -said.exit.signal if said.exit.WhichOneof("how") == "signal" else said.exit.code
            else:
                raise Unavailable("the agent ended the stream before the command")

    async def run(self, stdin: bytes = b"") -> Ran:
        """Gives it all of this as its standard input, keeps all that it writes, and waits for its end."""

        async def type_it() -> None:
            await self.write(stdin)
            await self.close_stdin()

        typing = asyncio.create_task(type_it())
        stdout, stderr = bytearray(), bytearray()
        try:
            async for wrote in self:
                stdout += wrote.stdout
                stderr += wrote.stderr
        finally:
            typing.cancel()
            await asyncio.gather(typing, return_exceptions=True)
        assert self.code is not None
        return Ran(self.code, bytes(stdout), bytes(stderr))

    async def _say(self, what: a.ExecInput) -> None:
        if self._stream is None:
            raise RuntimeError("a command begins with `async with`")
        try:
            await self._stream.write(what)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # It is over: whoever reads is told how.


async def _agent_of(profile: Profile, framework_id: str, task_id: str) -> str:
    """The address of the agent on which a task runs."""
    listed = await operator.ask(profile, o.Call(tasks=o.List(framework_id=framework_id, ended=True)))
    task = next((task for task in listed.tasks.tasks if task.info.id == task_id), None)
    if task is None:
        raise _refused("not-found", f"framework {framework_id} has no task {task_id}")
    if task.status.state != t.TASK_RUNNING:
        raise _refused("conflict", f"task {task_id} does not run: it is {word(task.status.state)}")
    listed = await operator.ask(profile, o.Call(agents=o.List(agent_id=task.agent_id)))
    agent = next((agent for agent in listed.agents.agents if agent.info.id == task.agent_id), None)
    if agent is None:
        raise _refused("not-found", f"the masters do not know agent {task.agent_id} on which task {task_id} runs")
    return agent.info.address


def _refused(code: str, message: str) -> Refused:
    return Refused(t.Refusal(code=code, message=message))


def _judged(error: grpc.aio.AioRpcError) -> Exception:
    """Why it does not run, or not to its end."""
    if code := _REFUSALS.get(error.code()):
        return _refused(code, error.details() or "")
    return Unavailable(f"the agent went away, and a command ends with its agent's process: {error.details()}")
