"""What the agent asks of a task again and again while it runs: is it well, can it serve?

The defaults are those of the Rust SDK. A port is one of the task's own: `index` is the one that it finds as
PORT0, PORT1 and so on; with `port` it is that number.
"""

from __future__ import annotations

from collections.abc import Iterable

from stoa.v1 import types_pb2 as t

_INTERVAL_MIN_MS = 100


def http(
    path: str = "/",
    index: int = 0,
    *,
    port: int | None = None,
    https: bool = False,
    delay_ms: int = 0,
    interval_ms: int = 10_000,
    timeout_ms: int = 20_000,
    grace_ms: int = 10_000,
    failures: int = 3,
) -> t.Check:
    """GET to the task's machine, from there: a status of 200 to 399 is good. With `https` no certificate is verified."""
    if not path.startswith("/"):
        raise ValueError(f"path is {path!r}; begin it with /")
    kind = t.Check(http=t.HttpCheck(path=path, port=_port(index, port), https=https))
    return _timed(kind, delay_ms, interval_ms, timeout_ms, grace_ms, failures)


def tcp(
    index: int = 0,
    *,
    port: int | None = None,
    delay_ms: int = 0,
    interval_ms: int = 10_000,
    timeout_ms: int = 20_000,
    grace_ms: int = 10_000,
    failures: int = 3,
) -> t.Check:
    """That a connection to the task's machine opens, from there."""
    kind = t.Check(tcp=t.TcpCheck(port=_port(index, port)))
    return _timed(kind, delay_ms, interval_ms, timeout_ms, grace_ms, failures)


def command(
    shell: str = "",
    argv: Iterable[str] = (),
    *,
    delay_ms: int = 0,
    interval_ms: int = 10_000,
    timeout_ms: int = 20_000,
    grace_ms: int = 10_000,
    failures: int = 3,
) -> t.Check:
    """That a script for /bin/sh -c, or a program, ends with code 0. It runs beside the task, as its user."""
    words = [shell] if shell else list(argv)
    if not words or (shell and list(argv)):
        raise ValueError("say what runs: either shell, a script, or argv, a program and its arguments")
    kind = t.Check(command=t.CommandCheck(argv=words, shell=bool(shell)))
    return _timed(kind, delay_ms, interval_ms, timeout_ms, grace_ms, failures)


def _port(index: int, port: int | None) -> t.CheckPort:
    if port is not None:
        return t.CheckPort(number=port)
    return t.CheckPort(index=index)


def _timed(check: t.Check, delay_ms: int, interval_ms: int, timeout_ms: int, grace_ms: int, failures: int) -> t.Check:
    if interval_ms < _INTERVAL_MIN_MS:
        raise ValueError(f"interval_ms is {interval_ms}; make it {_INTERVAL_MIN_MS} at least (10000 is usual)")
    for name, value in (("timeout_ms", timeout_ms), ("failures", failures)):
        if value < 1:
            raise ValueError(f"{name} is {value}; make it 1 at least")
    times = t.Check(
        delay_ms=delay_ms, interval_ms=interval_ms, timeout_ms=timeout_ms, grace_ms=grace_ms, failures=failures
    )
    check.MergeFrom(times)
    return check


def fault(role: str, check: t.Check, ports: list[int]) -> str | None:
    """What is wrong with a check of a task that has these ports: that it goes to none of them."""
    kind = check.WhichOneof("kind")
    if kind not in ("http", "tcp"):
        return None
    port = getattr(check, kind).port
    if port.WhichOneof("kind") == "number":
        if port.number in ports:
            return None
        return f"{role} goes to port {port.number}, which is not the task's own: it has {ports or 'none'}"
    if port.index < len(ports):
        return None
    has = f"{len(ports)}, from index 0" if ports else "none: let its shape have some"
    return f"{role} goes to the port of index {port.index}, and the task has {has}"
