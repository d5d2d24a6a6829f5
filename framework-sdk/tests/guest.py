"""The hello world of any language as a guest of a real cluster: a certificate by `stoa join`, the death of the leader, its own.

usage: guest.py SOURCE COMMAND...   (STOA names the binary; else target/debug/stoa)
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STOA = os.environ.get("STOA", str(ROOT / "target" / "debug" / "stoa"))
SOURCE, COMMAND = Path(sys.argv[1]), sys.argv[2:]
LINES_MAX = 45
LIMIT = 60


def eventually(what, look):
    """Looks a few times a second, as a person would, until something is so."""
    end = time.monotonic() + LIMIT
    while not (found := look()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {LIMIT} s: {what}")
        time.sleep(0.05)
    return found


class Going:
    """A process whose lines are read."""

    def __init__(self, command, env):
        self.child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.said, self._lines = [], queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with self.child.stdout as out:
            for line in out:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, what, wanted):
        """Reads on until `wanted` is true of all that was said, or to its end."""
        end = time.monotonic() + LIMIT
        while not wanted(self.said):
            try:
                line = self._lines.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not within {LIMIT} s: {what}; it said {self.said}") from None
            if line is None:
                raise AssertionError(f"it ended before {what}; it said {self.said}")
            self.said.append(line)

    def ends(self):
        while (line := self._lines.get(timeout=LIMIT)) is not None:
            self.said.append(line)
        return self.child.wait(LIMIT)

    def kill_9(self):
        self.child.kill()
        self.child.wait()


class Guest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = Path(tempfile.mkdtemp(prefix="stoa-guest-"))
        (cls.dir / "tmp").mkdir()
        cls.env = {k: v for k, v in os.environ.items() if k not in ("STOA_CONTEXT", "STOA_DATA")}
        cls.env |= {"XDG_CONFIG_HOME": str(cls.dir / "config"), "TMPDIR": str(cls.dir / "tmp")}
        cls.up = Going([STOA, "up"], cls.env)
        cls.up.until("the cluster is ready", lambda said: any("ready in" in line for line in said))
        token = json.loads(cls.stoa("token", "create", "--framework", "hello", "-o", "json"))
        masters = (cls.context() / "masters").read_text().split()
        cls.home = cls.dir / "hello"
        masters = [word for master in masters for word in ("--master", master)]
        cls.stoa("join", token["token"], *masters, "--as", "framework/hello", "--dir", str(cls.home / "context"))

    @classmethod
    def tearDownClass(cls):
        cls.up.child.send_signal(signal.SIGINT)
        cls.up.child.wait(LIMIT)
        shutil.rmtree(cls.dir)

    @classmethod
    def context(cls):
        return Path((cls.dir / "config" / "stoa" / "current").read_text().strip())

    @classmethod
    def stoa(cls, *args):
        done = subprocess.run([STOA, *args], env=cls.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"stoa {' '.join(args)}: {done.stderr}")
        return done.stdout

    @classmethod
    def leader(cls):
        """The process of the leader, once all three masters are there."""

        def look():
            done = subprocess.run([STOA, "raft", "status", "-o", "json"], env=cls.env, capture_output=True, check=False)
            members = json.loads(done.stdout)["members"] if done.returncode == 0 else []
            pids = [member["pid"] for member in members if member["leader"]]
            return pids[0] if len(members) == 3 and all(member["alive"] for member in members) and pids else None

        return eventually("three masters, one of which leads", look)

    def start(self):
        data = self.home / "data"
        data.mkdir(exist_ok=True)
        return Going(COMMAND, self.env | {"STOA_CONTEXT": str(self.home / "context"), "STOA_DATA": str(data)})

    def all_run(self, hello):
        wanted = {f"hello.{n} running" for n in range(3)}
        hello.until("all three run", lambda said: wanted <= set(said))
        return (self.home / "data" / "hello.id").read_text()

    def is_over(self, hello, framework):
        """It has ended well, each task was launched once and has finished, and nothing is left."""
        self.assertEqual(hello.ends(), 0, hello.said)
        events = [json.loads(line) for line in self.stoa("events", "--since", "0", "-o", "json").splitlines()]
        mine = [event for event in events if event["framework_id"] == framework]
        launched = sorted(event["task_id"] for event in mine if event["event"] == "task-launched")
        ended = sorted(event["task_id"] for event in mine if event["event"] == "task-ended")
        self.assertEqual((launched, ended), (["hello.0", "hello.1", "hello.2"],) * 2, mine)
        for event in mine:
            if event["event"] == "task-ended":
                self.assertTrue(event["message"].startswith("finished"), event)
        self.assertEqual(mine[-1]["event"], "framework-removed")
        self.assertEqual(list((self.home / "data").iterdir()), [])

    def test_it_goes_on_when_the_leader_is_killed(self):
        hello = self.start()
        framework = self.all_run(hello)
        os.kill(self.leader(), signal.SIGKILL)
        self.is_over(hello, framework)
        finished = [line for line in hello.said if line.endswith(" finished")]
        self.assertEqual(sorted(finished), [f"hello.{n} finished" for n in range(3)], "each is told once")

    def test_it_goes_on_when_both_are_killed(self):
        hello = self.start()
        framework = self.all_run(hello)
        leader = self.leader()
        os.kill(leader, signal.SIGKILL)
        hello.kill_9()
        hello = self.start()
        self.is_over(hello, framework)
        eventually("another process leads", lambda: self.leader() != leader)

    def test_a_stranger_is_told_so(self):
        """Without credentials it ends with words, at once."""
        done = subprocess.run(
            COMMAND, env=self.env | {"STOA_CONTEXT": str(self.dir)}, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(str(self.dir), done.stderr)

    def test_it_earns_every_mark(self):
        line = [STOA, "sdk", "conformance", "-o", "json", "--", *COMMAND]
        card = subprocess.run(line, env=self.env, capture_output=True, text=True, check=False)
        self.assertEqual(card.returncode, 0, card.stdout + card.stderr)
        self.assertEqual(len(json.loads(card.stdout)["checks"]), 7)

    def test_it_is_short(self):
        """Comments and empty lines aside."""
        lines = [line.strip() for line in SOURCE.read_text().splitlines()]
        lines = [line for line in lines if line and not line.startswith(("//", "/*", "*"))]
        self.assertLessEqual(len(lines), LINES_MAX)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])
