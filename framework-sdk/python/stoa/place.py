"""Placing tasks into offers: what is left of an offer, and whether a shape fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stoa import check
from stoa.v1 import types_pb2 as t

_SCALARS = ("cpus_milli", "mem_bytes", "disk_bytes", "gpus")


def shape(cpus_milli: int, mem_bytes: int, ports: int = 0) -> t.Amount:
    """What a task needs: thousandths of a cpu, bytes of memory, so many ports."""
    amount = t.Amount(scalars=t.Quantities(cpus_milli=cpus_milli, mem_bytes=mem_bytes))
    if ports:
        amount.ranges.add(name="ports").ranges.add(first=1, last=ports)
    return amount


def ports(task: t.TaskInfo) -> list[int]:
    """The ports that a task got, in the order of PORT0, PORT1 and so on."""
    named = (ranges for portion in task.resources.portions for ranges in portion.amount.ranges)
    return sorted(n for ranges in named if ranges.name == "ports" for r in ranges.ranges for n in range(r.first, r.last + 1))


def _count(ranges: Iterable[t.Range]) -> int:
    return sum(r.last - r.first + 1 for r in ranges)


class Room:
    """An offer that is being used: what is left of it, and the tasks that are to start there."""

    def __init__(self, offer: t.Offer) -> None:
        self.offer = offer
        self.tasks: list[t.TaskInfo] = []
        self._rest = t.Resources()
        self._rest.CopyFrom(offer.resources)

    def fits(self, wanted: t.Amount) -> bool:
        """Whether a task of this shape fits into what is left."""
        rest = t.Resources()
        rest.CopyFrom(self._rest)
        return self._take(rest, wanted) is not None

    @property
    def host(self) -> str:
        """By which the machine is reached: the host of its agent's own door."""
        return self.offer.agent.address.rsplit(":", 1)[0].strip("[]")

    def launch(
        self,
        task_id: str,
        wanted: t.Amount,
        shell: str = "",
        argv: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
        secrets: Iterable[str] | Mapping[str, str] = (),
        *,
        readiness: t.Check | None = None,
        health: t.Check | None = None,
        longest_run_ms: int | None = None,
    ) -> t.TaskInfo:
        """Starts a task here: a script by /bin/sh -c, or a program. ValueError, and nothing changed, if it does not fit.

        `ports` tells which ports it got; it finds them itself as PORT0, PORT1 and so on. `secrets` are names of secrets,
        or file names with the secret that each is to hold: the task finds them as files in the directory STOA_SECRETS.
        What `stoa.check` makes is asked of it while it runs: `readiness` tells whether it can serve (`is_ready`), and by
        `health` it is ended when it is not well. One that runs for longer than `longest_run_ms` is ended, too; both ways
        its state is FAILED.
        """
        rest = t.Resources()
        rest.CopyFrom(self._rest)
        taken = self._take(rest, wanted)
        if taken is None:
            raise ValueError(f"task {task_id} does not fit into what is left of offer {self.offer.id}")
        command = t.CommandInfo(argv=[shell] if shell else list(argv), shell=bool(shell), env=env or {})
        if isinstance(secrets, Mapping):
            command.secrets.extend(t.SecretFile(name=name, file=file) for file, name in secrets.items())
        else:
            command.secrets.extend(t.SecretFile(name=name) for name in secrets)
        task = t.TaskInfo(id=task_id, name=task_id, command=command, resources=taken, kill_grace_ms=3000)
        for role, asked in (("readiness", readiness), ("health", health)):
            if asked is None:
                continue
            if wrong := check.fault(role, asked, ports(task)):
                raise ValueError(f"task {task_id}: {wrong}")
            getattr(task.checks, role).CopyFrom(asked)
        if longest_run_ms is not None:
            if longest_run_ms < 1:
                raise ValueError(f"task {task_id}: longest_run_ms is {longest_run_ms}; make it 1 at least, or leave it out")
            task.longest_run_ms = longest_run_ms
        self._rest = rest
        self.tasks.append(task)
        return task

    def _take(self, rest: t.Resources, wanted: t.Amount) -> t.Resources | None:
        """Takes a shape out of `rest`, what is reserved for the role first; None when it is not there."""
        role = self.offer.role
        usable = [
            p
            for p in rest.portions
            if not p.HasField("volume")
            and (not p.HasField("reservation") or f"{role}/".startswith(f"{p.reservation}/"))
        ]
        usable.sort(key=lambda p: not p.HasField("reservation"))
        taken = [t.Portion(reservation=p.reservation) if p.HasField("reservation") else t.Portion() for p in usable]
        for name in _SCALARS:
            missing = getattr(wanted.scalars, name)
            for source, to in zip(usable, taken):
                part = min(missing, getattr(source.amount.scalars, name))
                if part:
                    setattr(source.amount.scalars, name, getattr(source.amount.scalars, name) - part)
                    setattr(to.amount.scalars, name, part)
                    missing -= part
            if missing:
                return None
        for need in wanted.ranges:
            missing = _count(need.ranges)
            for source, to in zip(usable, taken):
                missing -= _take_range(source.amount, to.amount, need.name, missing)
            if missing:
                return None
        return t.Resources(portions=[p for p in taken if p.HasField("amount")])


def _take_range(source: t.Amount, to: t.Amount, name: str, wanted: int) -> int:
    """Moves up to `wanted` of the smallest integers under a name; how many it was."""
    moved = 0
    for ranges in source.ranges:
        if ranges.name != name or not wanted:
            continue
        left, given = [], []
        for r in ranges.ranges:
            part = min(wanted - moved, r.last - r.first + 1)
            if part:
                given.append(t.Range(first=r.first, last=r.first + part - 1))
                moved += part
            if r.first + part <= r.last:
                left.append(t.Range(first=r.first + part, last=r.last))
        del ranges.ranges[:]
        ranges.ranges.extend(left)
        if given:
            to.ranges.add(name=name).ranges.extend(given)
    return moved
