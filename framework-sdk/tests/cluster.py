"""A real cluster for the tests of frameworks in any language: `stoa up` in a directory of its own, and what is killed."""

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

STOA = os.environ.get("STOA", str(Path(__file__).resolve().parent.parent.parent / "target" / "debug" / "stoa"))
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


class Cluster:
    """Three masters, three agents, and a guest with a certificate that it got with a token."""

    def __init__(self, guest):
        self.dir = Path(tempfile.mkdtemp(prefix="stoa-guest-"))
        self.dir.chmod(0o755)  # Tasks run as another user, and their sandboxes are in there.
        (self.dir / "tmp").mkdir()
        self.env = {k: v for k, v in os.environ.items() if k not in ("STOA_CONTEXT", "STOA_DATA")}
        self.env |= {"XDG_CONFIG_HOME": str(self.dir / "config"), "TMPDIR": str(self.dir / "tmp")}
        self.up = Going([STOA, "up"], self.env)
        self.up.until("the cluster is ready", lambda said: any("ready in" in line for line in said))
        token = json.loads(self.stoa("token", "create", "--framework", guest, "-o", "json"))["token"]
        current = Path((self.dir / "config" / "stoa" / "current").read_text().strip())
        masters = [word for line in (current / "masters").read_text().split() for word in ("--master", line)]
        self.context, self.data = self.dir / "context", self.dir / "data"
        self.data.mkdir()
        self.stoa("join", token, *masters, "--as", f"framework/{guest}", "--dir", str(self.context))

    def down(self):
        self.up.child.send_signal(signal.SIGINT)
        self.up.child.wait(LIMIT)
        shutil.rmtree(self.dir)

    def stoa(self, *args):
        done = subprocess.run([STOA, *args], env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"stoa {' '.join(args)}: {done.stderr}")
        return done.stdout

    def guest(self, command):
        """Starts the framework."""
        return Going(command, self.env | {"STOA_CONTEXT": str(self.context), "STOA_DATA": str(self.data)})

    def leader(self):
        """The process of the leader, once all three masters are there."""

        def look():
            line = [STOA, "raft", "status", "-o", "json"]
            done = subprocess.run(line, env=self.env, capture_output=True, check=False)
            members = json.loads(done.stdout)["members"] if done.returncode == 0 else []
            pids = [member["pid"] for member in members if member["leader"]]
            return pids[0] if len(members) == 3 and all(member["alive"] for member in members) and pids else None

        return eventually("three masters, one of which leads", look)

    def kill_leader(self):
        leader = self.leader()
        os.kill(leader, signal.SIGKILL)
        return leader

    def history(self, framework):
        """What the log tells of a framework: the tasks that were launched, those that finished, and all other events."""
        events = [json.loads(line) for line in self.stoa("events", "--since", "0", "-o", "json").splitlines()]
        mine = [event for event in events if event["framework_id"] == framework]
        launched = sorted(event["task_id"] for event in mine if event["event"] == "task-launched")
        ended = [event for event in mine if event["event"] == "task-ended"]
        finished = sorted(event["task_id"] for event in ended if event["message"].startswith("finished"))
        return launched, finished, mine
