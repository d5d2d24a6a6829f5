"""The states of tasks."""

from stoa.v1 import types_pb2 as t

TERMINAL = frozenset(
    {
        t.TASK_FINISHED,
        t.TASK_FAILED,
        t.TASK_KILLED,
        t.TASK_ERROR,
        t.TASK_LOST,
        t.TASK_DROPPED,
        t.TASK_GONE,
        t.TASK_GONE_BY_OPERATOR,
    }
)


def is_terminal(state: int) -> bool:
    """Whether a task in this state is over for good."""
    return state in TERMINAL


def word(state: int) -> str:
    """The word users see."""
    return t.TaskState.Name(state).removeprefix("TASK_").lower().replace("_", "-")


def is_ready(status: t.TaskStatus) -> bool:
    """Whether a task can serve: it runs, and no check of it says otherwise."""
    says_no = any(status.HasField(name) and not getattr(status, name) for name in ("ready", "healthy"))
    return status.state == t.TASK_RUNNING and not says_no
