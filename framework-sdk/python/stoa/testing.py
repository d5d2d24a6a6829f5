"""For tests of schedulers: a pretend pool without a socket, a master or a wait, in which things can be made to go wrong.

Use it from `unittest.IsolatedAsyncioTestCase`. The session is the real one of `stoa.Framework`; only the master is pretended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from stoa.framework import Framework, Scheduler
from stoa.place import Room
from stoa.profile import Profile
from stoa.states import is_terminal, word
from stoa.v1 import scheduler_pb2 as s
from stoa.v1 import types_pb2 as t


@dataclass
class _Agent:
    resources: t.Resources
    is_lost: bool = False


@dataclass
class _Task:
    info: t.TaskInfo
    agent: str
    run: bytes
    state: int = t.TASK_STAGING
    # What its checks say.
    ready: bool | None = None
    healthy: bool | None = None
    # What the agent has said, from 1, and how much of it was acknowledged.
    said: list[t.TaskStatus] = field(default_factory=list)
    taken: int = 0


class Rehearsal:
    """A scheduler in a pretend pool. A task that is launched twice fails the test without being asked for."""

    def __init__(
        self,
        scheduler: Scheduler,
        agents: int = 2,
        cpus_milli: int = 4000,
        mem_bytes: int = 8 << 30,
        ports: int = 10,
        role: str = "default",
        ready: bool = True,
    ) -> None:
        """With `ready`, a task that has a readiness check can serve soon after it runs; else once `report_checks` says so."""
        self.scheduler = scheduler
        self._ready = ready
        self.is_over = False
        self._role = role
        self._epoch, self._sequence, self._number = 1, 0, 0
        self._demands: s.UpdateDemands | None = None
        self._agents: dict[str, _Agent] = {}
        self._tasks: dict[str, _Task] = {}
        self._offers: dict[str, t.Offer] = {}
        self._answered: dict[str, str] = {}
        self._declined: set[str] = set()
        self._lose_call = self._is_connected = False
        self._outbox: list[s.Event] = []
        self._faults: list[str] = []
        self._repeats = 0
        for number in range(1, agents + 1):
            amount = t.Amount(scalars=t.Quantities(cpus_milli=cpus_milli, mem_bytes=mem_bytes))
            if ports:
                amount.ranges.add(name="ports").ranges.add(first=31000, last=30999 + ports)
            self._agents[f"agent-{number}"] = _Agent(t.Resources(portions=[t.Portion(amount=amount)]))
        self._framework = self._life("", [])

    def _life(self, framework_id: str, believed: Iterable[str]) -> Framework:
        info = t.FrameworkInfo(name="rehearsal", roles=[self._role])
        profile = Profile(b"", b"", b"", ("pretend:1",))
        return Framework(profile, info, self.scheduler, framework_id, believed)

    # --- what is seen ---

    @property
    def framework(self) -> Framework:
        """What the scheduler asks things of."""
        return self._framework

    def state(self, task_id: str) -> str | None:
        """Where a task stands, as a word: `running`, `finished`; None when there never was one."""
        task = self._tasks.get(task_id)
        return task and word(task.state)

    @property
    def states(self) -> dict[str, str]:
        """Where all tasks stand."""
        return {name: word(task.state) for name, task in self._tasks.items()}

    def count(self, state: str) -> int:
        """How many tasks stand so."""
        return list(self.states.values()).count(state)

    def task(self, task_id: str) -> t.TaskInfo:
        """A task as it was launched."""
        return self._tasks[task_id].info

    def agent(self, task_id: str) -> str:
        """Where a task runs, or ran."""
        return self._tasks[task_id].agent

    @property
    def open_offers(self) -> int:
        """Offers that were not answered."""
        return len(self._offers)

    @property
    def unacknowledged(self) -> int:
        """Updates that were not taken in."""
        return sum(len(task.said) - task.taken for task in self._tasks.values())

    # --- what happens ---

    async def run(self) -> None:
        """Has all happen that happens by itself: offers, starts of tasks, updates until they are acknowledged."""
        if not self._is_connected and not self.is_over:
            self._subscribe()
        self._declined.clear()
        self._repeats = 10
        for _ in range(1000):
            happened = await self._settle()
            if self._faults:
                raise AssertionError(self._faults[0])
            if not happened:
                return
        raise AssertionError("it never comes to rest: is something launched again and again?")

    async def end(self, task_id: str, code: int = 0) -> None:
        """A task ends with this exit code."""
        self._report(self._tasks[task_id], t.TASK_FAILED if code else t.TASK_FINISHED)
        await self.run()

    async def report_checks(self, task_id: str, *, ready: bool | None = None, healthy: bool | None = None) -> None:
        """What the checks of a running task say from now on; None where nothing changes."""
        task = self._tasks[task_id]
        if task.state != t.TASK_RUNNING:
            raise ValueError(f"task {task_id} is {word(task.state)}: only one that runs is asked")
        for role, said, check in (("ready", ready, "readiness"), ("healthy", healthy, "health")):
            if said is not None and not task.info.checks.HasField(check):
                raise ValueError(f"task {task_id} has no {check} check")
            if said is not None:
                setattr(task, role, said)
        self._report(task, t.TASK_RUNNING, t.REASON_CHECK_CHANGED)
        await self.run()

    async def repeat(self) -> None:
        """Every update is told once more."""
        for task in self._tasks.values():
            for status in task.said:
                self._tell(update=status)
        await self.run()

    def lose_next_call(self) -> None:
        """The next call that wants an answer is carried out, and the link breaks before its answer is told."""
        self._lose_call = True

    async def break_link(self) -> None:
        """The session breaks and is taken up again."""
        self._disconnect()
        await self.run()

    async def fail_over(self) -> None:
        """The leader dies, and another takes over: it knows all tasks, and no offer."""
        self._epoch += 1
        await self.break_link()

    async def lose_agent(self, agent: str) -> None:
        """An agent goes out of sight, and its tasks with it."""
        self._agents[agent].is_lost = True
        for task in self._tasks.values():
            if task.agent == agent and not is_terminal(task.state):
                self._tell(update=t.TaskStatus(task_id=task.info.id, state=t.TASK_UNREACHABLE, run_id=task.run))
        await self.run()

    async def return_agent(self, agent: str) -> None:
        """It is back, with its tasks."""
        self._agents[agent].is_lost = False
        for task in self._tasks.values():
            if task.agent == agent and not is_terminal(task.state):
                self._tell(update=self._status(task))
        await self.run()

    async def restart(self, scheduler: Scheduler, believed: Iterable[str] = ()) -> None:
        """The framework's process dies; the next one has this scheduler, the id, and what else it stored."""
        self._disconnect()
        self.scheduler = scheduler
        self._framework = self._life(self._framework.id, believed)
        await self.run()

    # --- the pretend master ---

    def _subscribe(self) -> None:
        framework = self._framework
        framework._link = self  # type: ignore[assignment]
        self._is_connected = True
        self._sequence, self._demands = 1, framework._demands
        alive = [self._status(task) for task in self._tasks.values() if not is_terminal(task.state)]
        said = s.Subscribed(framework_id="F1-1", epoch=self._epoch, heartbeat_interval_ms=5000, tasks=alive)
        framework._epoch = self._epoch
        framework._stands(s.Event(sequence=1, subscribed=said))
        for task in self._tasks.values():
            if task.taken < len(task.said):
                self._tell(update=task.said[task.taken])

    def _disconnect(self) -> None:
        self._framework._link, self._is_connected = None, False
        self._offers.clear()
        self._outbox.clear()

    def send(self, call: s.Call) -> None:
        """What the framework asks; it is its link."""
        kind = call.WhichOneof("kind")
        if kind == "acknowledge":
            self._acknowledged(call.acknowledge)
        if not call.operation_id or not self._is_connected:
            return
        if call.operation_id not in self._answered:
            self._answered[call.operation_id] = self._carry_out(call)
        if self._lose_call and kind != "decline":
            self._lose_call = False
            self._disconnect()
            return
        refusal, answer = self._answered[call.operation_id], s.Answer(operation_id=call.operation_id)
        if refusal:
            answer.refused.CopyFrom(t.Refusal(code="stale-offer", message=refusal))
        else:
            answer.committed.SetInParent()
        self._tell(answer=answer)

    def _carry_out(self, call: s.Call) -> str:
        kind = call.WhichOneof("kind")
        if kind == "accept":
            return self._accept(call.accept)
        if kind == "decline":
            for name in call.decline.offer_ids:
                if offer := self._offers.pop(name, None):
                    self._declined.add(offer.agent.id)
        elif kind == "update_demands":
            self._demands = call.update_demands
        elif kind == "kill":
            if (task := self._tasks.get(call.kill.task_id)) and not is_terminal(task.state):
                self._report(task, t.TASK_KILLED)
        elif kind == "reconcile":
            for name in call.reconcile.task_ids or self._tasks:
                task = self._tasks.get(name)
                self._tell(update=self._status(task) if task else t.TaskStatus(task_id=name, state=t.TASK_UNKNOWN))
        elif kind == "teardown":
            self.is_over = True
        return ""

    def _accept(self, accept: s.Accept) -> str:
        for part in accept.parts:
            if not part.offer_ids or any(name not in self._offers for name in part.offer_ids):
                return f"offers {list(part.offer_ids)} are not open"
            agent = self._offers[part.offer_ids[0]].agent.id
            for name in part.offer_ids:
                del self._offers[name]
            for info in (info for operation in part.operations for info in operation.launch.tasks):
                if info.id in self._tasks:
                    # Raised here, it would be the scheduler's fault to handle; `run` raises it.
                    self._faults.append(f"task {info.id} is launched twice")
                    continue
                self._number += 1
                self._tasks[info.id] = _Task(info, agent, self._number.to_bytes(16))
        return ""

    def _acknowledged(self, ack: s.Acknowledge) -> None:
        task = self._tasks.get(ack.task_id)
        if task and ack.run_id == task.run and ack.sequence == task.taken + 1:
            task.taken += 1
            if task.taken < len(task.said):
                self._tell(update=task.said[task.taken])

    def _report(self, task: _Task, state: int, reason: int = t.STATUS_REASON_UNSPECIFIED) -> None:
        if state == t.TASK_RUNNING and task.state != state and task.info.checks.HasField("readiness"):
            task.ready = False
        if state != t.TASK_RUNNING:
            task.ready = task.healthy = None
        task.state = state
        status = self._status(task)
        status.reason, status.sequence = reason, len(task.said) + 1
        task.said.append(status)
        if len(task.said) == task.taken + 1:  # One at a time, in order.
            self._tell(update=status)

    def _status(self, task: _Task) -> t.TaskStatus:
        status = t.TaskStatus(task_id=task.info.id, state=task.state, run_id=task.run, agent_id=task.agent)
        for name in ("ready", "healthy"):
            if (said := getattr(task, name)) is not None:
                setattr(status, name, said)
        return status

    def _tell(self, **kind: object) -> None:
        if self._is_connected and not self.is_over or "answer" in kind:
            self._sequence += 1
            self._outbox.append(s.Event(sequence=self._sequence, **kind))  # type: ignore[arg-type]

    # --- one step of everything ---

    async def _settle(self) -> bool:
        """Whether anything happened."""
        if not self._is_connected and not self.is_over:
            self._subscribe()
        framework = self._framework
        happened = bool(self._outbox) or not framework._work.empty()
        for event in self._outbox[:]:
            self._outbox.remove(event)
            if framework._is_news(event.sequence) and framework._in_order(event.sequence):
                framework._hear(event.WhichOneof("kind"), event)
        while not framework._work.empty():
            await framework._works_once()
        if happened or self.is_over:
            return happened
        late = [task for task in self._tasks.values() if task.taken < len(task.said)]
        if late and self._repeats:
            self._repeats -= 1
            for task in late:
                self._tell(update=task.said[task.taken])
            return True
        for task in self._tasks.values():
            if task.state == t.TASK_STAGING and not self._agents[task.agent].is_lost:
                self._report(task, t.TASK_RUNNING)
                return True
            if self._ready and task.ready is False and len(task.said) == 1 and not self._agents[task.agent].is_lost:
                task.ready = True
                self._report(task, t.TASK_RUNNING, t.REASON_CHECK_CHANGED)
                return True
        return self._offer()

    def _offer(self) -> bool:
        offers = []
        for name, agent in self._agents.items():
            if agent.is_lost or name in self._declined or any(o.agent.id == name for o in self._offers.values()):
                continue
            self._number += 1
            info = t.AgentInfo(id=name, hostname=name, address=f"{name}:7071")
            offer = t.Offer(id=f"O{self._number}", agent=info, role=self._role, resources=self._rest(name))
            if self._demands is None or any(d.count and Room(offer).fits(d.shape) for d in self._demands.demands):
                offers.append(offer)
        self._offers.update({offer.id: offer for offer in offers})
        if offers:
            self._tell(offers=s.Offers(offers=offers))
        return bool(offers)

    def _rest(self, name: str) -> t.Resources:
        """What is left of an agent."""
        rest = t.Resources()
        rest.CopyFrom(self._agents[name].resources)
        for task in self._tasks.values():
            if task.agent == name and not is_terminal(task.state):
                _take_away(rest.portions[0].amount, task.info.resources)
        return rest


def _take_away(rest: t.Amount, taken: t.Resources) -> None:
    for amount in (portion.amount for portion in taken.portions):
        for name in ("cpus_milli", "mem_bytes"):
            setattr(rest.scalars, name, getattr(rest.scalars, name) - getattr(amount.scalars, name))
        for ranges in amount.ranges:
            gone = {number for r in ranges.ranges for number in range(r.first, r.last + 1)}
            for have in rest.ranges:
                left = [n for r in have.ranges for n in range(r.first, r.last + 1) if n not in gone]
                del have.ranges[:]
                have.ranges.extend(t.Range(first=n, last=n) for n in left)
