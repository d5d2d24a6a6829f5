"""The Python SDK of Stoa: write a `Scheduler`, hand it to `run`, and have its session kept.

It finds the leader, fails over, resumes, reconciles, acknowledges what was taken in and declines what was not used.
"""

from stoa import check
from stoa.beside import Command, Ran, Wrote
from stoa.framework import Framework, Refused, Scheduler, run
from stoa.place import Room, ports, shape
from stoa.profile import Profile
from stoa.state import State, Turn, Unavailable, Unknown, Watching, turn
from stoa.states import is_ready, is_terminal, word
from stoa.v1.types_pb2 import Check, Demand, FrameworkInfo, Offer, TaskInfo, TaskState, TaskStatus

__all__ = [
    "Check",
    "Command",
    "Demand",
    "Framework",
    "FrameworkInfo",
    "Offer",
    "Profile",
    "Ran",
    "Refused",
    "Room",
    "Scheduler",
    "State",
    "TaskInfo",
    "TaskState",
    "TaskStatus",
    "Turn",
    "Unavailable",
    "Unknown",
    "Watching",
    "Wrote",
    "check",
    "is_ready",
    "is_terminal",
    "ports",
    "run",
    "shape",
    "turn",
    "word",
]
