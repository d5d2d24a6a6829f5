"""The hello world of any language as a guest of a real cluster: a certificate by `stoa join`, the death of the leader, its own.

usage: guest.py SOURCE COMMAND...   (STOA names the binary; else target/debug/stoa)
"""

import json
import subprocess
import sys
import unittest
from pathlib import Path

from cluster import LIMIT, STOA, Cluster, eventually

SOURCE, COMMAND = Path(sys.argv[1]), sys.argv[2:]
LINES_MAX = 45


class Guest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster("hello")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.down()

    def all_run(self, hello):
        wanted = {f"hello.{n} running" for n in range(3)}
        hello.until("all three run", lambda said: wanted <= set(said))
        return (self.cluster.data / "hello.id").read_text()

    def is_over(self, hello, framework):
        """It has ended well, each task was launched once and has finished, and nothing is left."""
        self.assertEqual(hello.ends(), 0, hello.said)
        launched, finished, events = self.cluster.history(framework)
        self.assertEqual((launched, finished), (["hello.0", "hello.1", "hello.2"],) * 2, events)
        self.assertEqual(events[-1]["event"], "framework-removed")
        self.assertEqual(list(self.cluster.data.iterdir()), [])

    def test_it_goes_on_when_the_leader_is_killed(self):
        hello = self.cluster.guest(COMMAND)
        framework = self.all_run(hello)
        self.cluster.kill_leader()
        self.is_over(hello, framework)
        finished = [line for line in hello.said if line.endswith(" finished")]
        self.assertEqual(sorted(finished), [f"hello.{n} finished" for n in range(3)], "each is told once")

    def test_it_goes_on_when_both_are_killed(self):
        hello = self.cluster.guest(COMMAND)
        framework = self.all_run(hello)
        leader = self.cluster.kill_leader()
        hello.kill_9()
        hello = self.cluster.guest(COMMAND)
        self.is_over(hello, framework)
        eventually("another process leads", lambda: self.cluster.leader() != leader)

    def test_a_stranger_is_told_so(self):
        """Without credentials it ends with words, at once."""
        nowhere = str(self.cluster.dir)
        env = self.cluster.env | {"STOA_CONTEXT": nowhere}
        done = subprocess.run(COMMAND, env=env, capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(nowhere, done.stderr)

    def test_it_earns_every_mark(self):
        line = [STOA, "sdk", "conformance", "-o", "json", "--", *COMMAND]
        card = subprocess.run(line, env=self.cluster.env, capture_output=True, text=True, check=False)
        self.assertEqual(card.returncode, 0, card.stdout + card.stderr)
        self.assertEqual(len(json.loads(card.stdout)["checks"]), 7)

    def test_it_is_short(self):
        """Comments and empty lines aside."""
        lines = [line.strip() for line in SOURCE.read_text().splitlines()]
        lines = [line for line in lines if line and not line.startswith(("//", "/*", "*"))]
        self.assertLessEqual(len(lines), LINES_MAX)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])
