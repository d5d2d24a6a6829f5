"""Two kinds of tasks on a real cluster: the leader and the framework are killed, and nothing is lost or doubled."""

import re
import sys
import unittest
from pathlib import Path

PYTHON = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PYTHON.parent / "tests"))

from cluster import Cluster  # noqa: E402

COMMAND = [sys.executable, str(PYTHON / "examples" / "served.py")]


class Served(unittest.TestCase):
    def setUp(self) -> None:
        self.cluster = Cluster("served")
        self.addCleanup(self.cluster.down)

    def test_nothing_is_lost_or_doubled_when_the_leader_and_it_are_killed(self) -> None:
        served = self.cluster.guest(COMMAND)
        served.until("some work runs", lambda said: any(re.match(r"work\.\d-\d+ running", line) for line in said))
        framework = (self.cluster.data / "served.state").read_text().strip()
        self.cluster.kill_leader()
        served.kill_9()
        served = self.cluster.guest(COMMAND)
        self.assertEqual(served.ends(), 0, served.said)
        launched, finished, events = self.cluster.history(framework)
        kinds = sorted(task.split("-")[0] for task in launched)
        self.assertEqual(kinds, ["server.0", *(f"work.{n}" for n in range(6))], events)
        self.assertEqual(finished, [task for task in launched if task.startswith("work.")], events)
        self.assertEqual(list(self.cluster.data.iterdir()), [])
