"""A framework: the session with the leading master, kept for a `Scheduler`."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stoa.link import SUBSCRIBE_LIMIT, Finder, Link
from stoa.place import Room
from stoa.profile import Profile
from stoa.states import is_terminal
from stoa.v1 import scheduler_pb2 as s
from stoa.v1 import types_pb2 as t

if TYPE_CHECKING:
    from stoa.beside import Command

log = logging.getLogger("stoa")

# Refusals after which the same call may be sent again, and faults after which another try may go better.
_PASSING = {"leader-lost", "unavailable", "too-much"}
# A session that stood for so long was a good one.
_GOOD_SESSION = 1.0
# So many ended tasks are remembered, so that an update that comes again is known as such.
_ENDED_MAX = 16_384
# A status that the scheduler failed at, and that no agent will send again, is told again after this many seconds.
_RETELL = 1.0
# How long tasks wait for a framework that comes back as itself.
_WEEK_MS = 7 * 24 * 3600 * 1000
# A master that was silent for less is not given up.
_SILENCE_MIN = 2.0


def is_ended_by_caller() -> bool:
    """Whether a CancelledError is somebody's wish that this task ends. gRPC raises one for a call whose connection is closed, too."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class Refused(Exception):
    """What the master answered when it did not do what was asked."""

    def __init__(self, refusal: t.Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.message}" + (f" ({refusal.help})" if refusal.help else ""))
        self.code: str = refusal.code


class Scheduler:
    """Decides what runs on offers. Everything is called one after the other, beside the session: it may wait."""

    def demands(self) -> Sequence[t.Demand] | None:
        """What is wanted at the start; None for plain offers."""
        return None

    async def subscribed(self, framework: Framework) -> None:
        """A session stands, for the first time or again. `framework.id` is to be kept: it is the claim to the tasks."""

    async def offers(self, framework: Framework, offers: Sequence[t.Offer]) -> None:
        """Offers. One that is not accepted when this returns is declined."""

    async def update(self, framework: Framework, status: t.TaskStatus) -> None:
        """A task's status changed. It is acknowledged when this returns; when it raises, the update comes again."""

    async def draining(self, framework: Framework, notice: s.AgentDraining) -> None:
        """An operator wants an agent empty: what runs there at `notice.deadline_ms` (0: never) is ended. Told again
        when the deadline changes, and in each session that is not resumed as long as it lasts."""

    async def resumed(self, framework: Framework, agent_id: str) -> None:
        """An agent that was to be empty takes work again."""


@dataclass
class _Known:
    """What is known of one task."""

    run: bytes = b""
    state: int = t.TASK_STATE_UNSPECIFIED
    # The sequence in the scheduler's hands, and the highest that it took in.
    open: int = 0
    done: int = 0


class Framework:
    """A framework that runs: what a scheduler asks of the master."""

    def __init__(
        self,
        profile: Profile,
        info: t.FrameworkInfo,
        scheduler: Scheduler,
        framework_id: str = "",
        believed: Iterable[str] = (),
        state_file: Path | None = None,
        fence: int = 0,
    ) -> None:
        self.info = info
        self._state_file = state_file
        if state_file and not framework_id and state_file.exists():
            framework_id = state_file.read_text().strip()
        self.id = framework_id
        # Which of several instances this is: once a later one has had a session, the masters end this one's.
        self._fence = fence
        self._scheduler = scheduler
        self._profile = profile
        self._finder = Finder(profile.masters)
        self._link: Link | None = None
        self._epoch = 0
        # The last event of that epoch; None while the start of its stream is not known.
        self._sequence: int | None = None
        self._resumable = self._ended = False
        wanted = scheduler.demands()
        self._demands = None if wanted is None else s.UpdateDemands(demands=wanted, demand_driven=True)
        # No two lives of a framework share an id of an operation.
        self._prefix, self._operations = secrets.token_hex(16), 0
        self._pending: dict[str, tuple[s.Call, asyncio.Future[int]]] = {}
        self._known: dict[str, _Known] = {task: _Known() for task in believed}
        self._over: deque[str] = deque()
        self._open: set[str] = set()
        self._unresolved: set[str] = set()
        self._work: asyncio.Queue[tuple[str, object]] = asyncio.Queue()
        self._background: set[asyncio.Future[int]] = set()

    # --- what a scheduler asks ---

    def accept(self, rooms: Room | Iterable[Room], refuse_ms: int = 5000) -> None:
        """Uses offers; those in which nothing was placed are declined. Tasks of a refused accept come as DROPPED."""
        parts = []
        for room in [rooms] if isinstance(rooms, Room) else rooms:
            if not room.tasks:
                self.decline([room.offer], refuse_ms=refuse_ms)
                continue
            self._open.discard(room.offer.id)
            for task in room.tasks:
                self._known.setdefault(task.id, _Known())
            launch = t.Operation(launch=t.Launch(tasks=room.tasks))
            parts.append(s.AcceptPart(offer_ids=[room.offer.id], operations=[launch]))
        if parts:
            accept = s.Accept(parts=parts, filter=t.Filter(refuse_ms=refuse_ms))
            self._keep(self.call(s.Call(accept=accept)))

    def decline(
        self, offers: Iterable[t.Offer], reason: t.DeclineReason = t.UNUSED, refuse_ms: int = 5000
    ) -> None:
        """Gives offers back."""
        ids = [offer.id for offer in offers]
        self._open.difference_update(ids)
        # It means nothing to another session, so it is sent once.
        decline = s.Decline(offer_ids=ids, reason=reason, filter=t.Filter(refuse_ms=refuse_ms))
        self._send(s.Call(operation_id=self._operation(), decline=decline))

    def demand(self, demands: Iterable[t.Demand]) -> None:
        """All that is wanted from now on: offers come for these demands only."""
        self._demands = s.UpdateDemands(demands=demands, demand_driven=True)
        self._keep(self.call(s.Call(update_demands=self._demands)))

    def kill(self, task_id: str, grace_ms: int | None = None) -> asyncio.Future[int]:
        """Ends a task. Once it is answered the log remembers it; it need not be awaited."""
        return self._keep(self.call(s.Call(kill=s.Kill(task_id=task_id, grace_ms=grace_ms))))

    def teardown(self) -> asyncio.Future[int]:
        """Ends the framework and all its tasks; then `run` returns. Its id is dead afterwards."""
        return self._keep(self.call(s.Call(teardown=s.Teardown())))

    def exec(self, task_id: str, argv: Iterable[str]) -> Command:
        """A command beside a task of this framework that runs; it begins with `async with`, and ends with it."""
        from stoa.beside import Command  # That module needs this one.

        return Command(self._profile, self.id, task_id, argv)

    def call(self, call: s.Call) -> asyncio.Future[int]:
        """Sends any call until it is answered: the index in the log, or `Refused`."""
        call.operation_id = self._operation()
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pending[call.operation_id] = (call, answer)
        self._send(call)
        return answer

    # --- the session ---

    async def run(self) -> None:
        """Keeps the session until the framework is torn down; raises `Refused` when the master ends it."""
        worker = asyncio.create_task(self._works())
        try:
            while not self._ended:
                link = Link(self._profile, self._finder.take())
                began = time.monotonic()
                try:
                    await self._session(link)
                finally:
                    stood, self._link = self._link is not None, None
                    await link.close()
                if stood:
                    self._finder.stood(time.monotonic() - began >= _GOOD_SESSION)
                if not self._ended:
                    await self._finder.rest()
        finally:
            worker.cancel()
            for _, answer in self._pending.values():
                answer.cancel()

    async def _session(self, link: Link) -> None:
        subscribe = s.Subscribe(framework=self.info, demands=self._demands, fence=self._fence)
        if self.id:
            subscribe.framework_id = self.id
        if self._resumable:
            subscribe.resume.CopyFrom(s.Resume(epoch=self._epoch, sequence=self._sequence or 0))
        link.send(s.Call(subscribe=subscribe))
        limit, beats = SUBSCRIBE_LIMIT, None
        try:
            while (event := await link.read(limit)) is not None:
                kind = event.WhichOneof("kind")
                if kind == "redirect":
                    self._finder.hint = event.redirect.leader_address
                    return
                if kind == "masters":
                    self._finder.learn(event.masters.addresses)
                    continue
                if kind == "fault":
                    if event.fault.refusal.code in _PASSING:
                        return
                    asked = any(call.WhichOneof("kind") == "teardown" for call, _ in self._pending.values())
                    if event.fault.refusal.code == "framework-removed" and asked:
                        self._is_torn_down()  # The answer died with the leader that gave it.
                        return
                    raise Refused(event.fault.refusal)
                if kind == "subscribed":
                    said = event.subscribed
                    if said.epoch < self._epoch or (said.resumed and said.epoch != self._epoch):
                        self._resumable = False
                        return  # It lost the lead and does not know, or resumes what was not asked.
                    if self.id and said.framework_id != self.id:
                        message = f"asked for framework {self.id}, was given {said.framework_id}"
                        raise Refused(t.Refusal(code="conflict", message=message))
                    interval = min(max(said.heartbeat_interval_ms / 1000, 0.1), 60)
                    limit = max(3 * interval, _SILENCE_MIN)
                    self._link = link
                    beats = asyncio.create_task(self._beats(interval))
                    self._stands(event)
                elif beats is not None and self._is_news(event.sequence):
                    if not self._in_order(event.sequence):
                        self._resumable = False  # Something was lost: only a whole snapshot helps.
                        return
                    self._hear(kind, event)
                    if self._ended:
                        return
        finally:
            if beats is not None:
                beats.cancel()

    def _is_news(self, sequence: int) -> bool:
        return not sequence or self._sequence is None or sequence > self._sequence

    def _in_order(self, sequence: int) -> bool:
        if sequence and self._sequence is not None and sequence != self._sequence + 1:
            return False
        self._sequence = sequence or self._sequence
        return True

    def _stands(self, event: s.Event) -> None:
        said = event.subscribed
        self.id, self._epoch, self._resumable = said.framework_id, said.epoch, True
        self._remember()
        before = [call for call, _ in self._pending.values()]
        if not said.resumed:
            self._sequence = event.sequence or None
            self._open.clear()
        elif event.sequence:
            self._in_order(event.sequence)
        self._work.put_nowait(("subscribed", None))
        for call in before:
            self._send(call)
        if said.resumed:
            return
        told = {status.task_id for status in said.tasks}
        launching = {task for call in before for task in _launched(call)}
        alive = {task for task, known in self._known.items() if not is_terminal(known.state)}
        self._unresolved = alive - told - launching
        for status in said.tasks:
            self._update(status)
        if self._unresolved:
            # This is logged, behind all that was asked before: only then does "unknown" mean that it never was.
            fence = self.call(s.Call(update_framework=s.UpdateFramework(framework=self.info)))
            fence.add_done_callback(self._fenced)

    def _remember(self) -> None:
        """Nothing is launched before the claim to it is kept: whole, or not at all."""
        if self._state_file:
            fresh = self._state_file.with_name(f"{self._state_file.name}.new")
            fresh.write_text(f"{self.id}\n")
            fresh.replace(self._state_file)

    def _fenced(self, fence: asyncio.Future[int]) -> None:
        if not fence.cancelled() and not fence.exception() and self._unresolved:
            self._keep(self.call(s.Call(reconcile=s.Reconcile(task_ids=sorted(self._unresolved)))))

    def _hear(self, kind: str | None, event: s.Event) -> None:
        if kind == "offers":
            self._open.update(offer.id for offer in event.offers.offers)
            self._work.put_nowait(("offers", list(event.offers.offers)))
        elif kind == "rescind":
            self._open.discard(event.rescind.offer_id)
        elif kind == "update":
            self._update(event.update)
        elif kind == "answer":
            self._answer(event.answer)
        elif kind == "agent_draining":
            self._work.put_nowait(("draining", event.agent_draining))
        elif kind == "agent_resumed":
            self._work.put_nowait(("resumed", event.agent_resumed.agent_id))

    def _answer(self, answer: s.Answer) -> None:
        if answer.operation_id not in self._pending:
            return
        call, waiting = self._pending[answer.operation_id]
        refused = answer.WhichOneof("outcome") == "refused"
        if refused and answer.refused.code in _PASSING:
            asyncio.get_running_loop().call_later(0.5, self._again, answer.operation_id)
            return
        del self._pending[answer.operation_id]
        if not refused:
            if call.WhichOneof("kind") == "teardown":
                self._is_torn_down()
            waiting.done() or waiting.set_result(answer.committed.index)
            return
        waiting.done() or waiting.set_exception(Refused(answer.refused))
        for task in _launched(call):
            status = t.TaskStatus(task_id=task, state=t.TASK_DROPPED, message=answer.refused.message)
            self._update(status)

    def _is_torn_down(self) -> None:
        self._ended = True
        if self._state_file:
            self._state_file.unlink(missing_ok=True)

    def _again(self, operation: str) -> None:
        if operation in self._pending:
            self._send(self._pending[operation][0])

    def _update(self, status: t.TaskStatus) -> None:
        if status.state == t.TASK_UNKNOWN and any(status.task_id in _launched(c) for c, _ in self._pending.values()):
            return  # The answer of its accept says more.
        known = self._known.setdefault(status.task_id, _Known())
        self._unresolved.discard(status.task_id)
        if status.run_id and known.run and status.run_id != known.run:
            if status.run_id < known.run:  # An earlier life of the same name.
                self._acknowledge(status)
                return
            known = self._known[status.task_id] = _Known()
        known.run = status.run_id or known.run
        if status.sequence:
            latest = max(known.open, known.done)
            # The latest may be told again: since then the master has said that the run is out of sight, or on its way.
            is_back = status.sequence == latest and _advances(known.state, status.state)
            if status.sequence <= latest and not is_back:
                if status.sequence <= known.done:
                    self._acknowledge(status)
                return
            known.open = status.sequence
        elif not _advances(known.state, status.state):
            return
        known.state = status.state
        self._work.put_nowait(("update", status))

    def _acknowledge(self, status: t.TaskStatus) -> None:
        if status.sequence:
            ack = s.Acknowledge(task_id=status.task_id, run_id=status.run_id, sequence=status.sequence)
            self._send(s.Call(acknowledge=ack))

    # --- beside the session ---

    async def _works(self) -> None:
        """Calls the scheduler, one thing after the other."""
        while True:
            await self._works_once()

    async def _works_once(self) -> None:
        kind, what = await self._work.get()
        try:
            if kind == "subscribed":
                await self._scheduler.subscribed(self)
            elif isinstance(what, list):
                # Those of an earlier session are void.
                offers = [offer for offer in what if offer.id in self._open]
                try:
                    await self._scheduler.offers(self, offers)
                finally:
                    unused = [offer for offer in offers if offer.id in self._open]
                    if unused:
                        self.decline(unused)
            elif isinstance(what, t.TaskStatus):
                await self._take_in(what)
            elif isinstance(what, s.AgentDraining):
                await self._scheduler.draining(self, what)
            elif isinstance(what, str):
                await self._scheduler.resumed(self, what)
        except asyncio.CancelledError:
            # One that a call brought along must not end all that comes after it.
            if is_ended_by_caller():
                raise
            log.exception("the scheduler failed at %s", kind)
        except Exception:
            log.exception("the scheduler failed at %s", kind)

    async def _take_in(self, status: t.TaskStatus) -> None:
        known = self._known.setdefault(status.task_id, _Known())
        try:
            await self._scheduler.update(self, status)
        except BaseException:
            known.open = known.done  # It comes again.
            if not status.sequence:  # But this one comes from no agent: nobody else would say it again.
                asyncio.get_running_loop().call_later(_RETELL, self._retell, status)
            raise
        known.done = max(known.done, status.sequence)
        self._acknowledge(status)
        if status.state == t.TASK_UNKNOWN:
            self._known.pop(status.task_id, None)
        elif is_terminal(status.state):
            self._over.append(status.task_id)
            while len(self._over) > _ENDED_MAX:
                oldest = self._over.popleft()
                if oldest in self._known and is_terminal(self._known[oldest].state):
                    del self._known[oldest]

    def _retell(self, status: t.TaskStatus) -> None:
        known = self._known.get(status.task_id)
        if known and known.state == status.state:  # Nothing newer was said meanwhile.
            self._work.put_nowait(("update", status))

    async def _beats(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            self._send(s.Call(heartbeat=t.Empty()))

    def _send(self, call: s.Call) -> None:
        if self._link is not None:
            self._link.send(call)

    def _operation(self) -> str:
        self._operations += 1
        return f"{self._prefix}-{self._operations}"

    def _keep(self, answer: asyncio.Future[int]) -> asyncio.Future[int]:
        """Nobody need wait for this answer; what it refuses is logged."""
        self._background.add(answer)

        def over(answer: asyncio.Future[int]) -> None:
            self._background.discard(answer)
            if not answer.cancelled() and answer.exception():
                log.warning("refused: %s", answer.exception())

        answer.add_done_callback(over)
        return answer


def _advances(known: int, said: int) -> bool:
    """Whether a status without a place in its run's stream says more than is known: it may be an older one."""
    out_of_sight = (t.TASK_UNREACHABLE, t.TASK_UNKNOWN)
    if is_terminal(known) or known == said:
        return False
    return known in out_of_sight or said in out_of_sight or said > known


def _launched(call: s.Call) -> list[str]:
    operations = (o for part in call.accept.parts for o in part.operations)
    return [task.id for o in operations for task in (*o.launch.tasks, *o.launch_group.tasks)]


async def run(
    name: str,
    scheduler: Scheduler,
    role: str = "default",
    profile: Profile | None = None,
    state_file: str | Path | None = None,
    believed: Iterable[str] = (),
) -> None:
    """Runs a scheduler until it tears its framework down.

    With a `state_file` the next process takes up the tasks of this one: it keeps the framework's id. A relative path is one
    below the directory that `STOA_DATA` names, if it is set. Without, each process is a new framework, and the tasks of one
    end with it. `believed` are ids of tasks that an earlier life may have launched, from what the scheduler itself stored:
    of each it is told how it stands, or that nobody knows it.
    """
    timeout = _WEEK_MS if state_file else 0
    path = Path(os.environ.get("STOA_DATA", ""), state_file) if state_file else None
    info = t.FrameworkInfo(name=name, roles=[role], failover_timeout_ms=timeout)
    await Framework(profile or Profile.from_env(), info, scheduler, believed=believed, state_file=path).run()
