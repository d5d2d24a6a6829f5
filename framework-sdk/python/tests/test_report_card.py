"""The report card of frameworks on this SDK: the same as for those in Rust."""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

PYTHON = Path(__file__).parent.parent
STOA = os.environ.get("STOA", str(PYTHON.parent.parent / "target" / "debug" / "stoa"))


def card(script: Path, *more: str) -> dict:
    line = [STOA, "sdk", "conformance", "-o", "json", *more, "--", sys.executable, str(script)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


class ReportCard(unittest.TestCase):
    def test_hello_earns_every_mark(self) -> None:
        result = card(PYTHON / "examples" / "hello.py")
        self.assertTrue(result["passed"], json.dumps(result, indent=2))
        self.assertEqual(len(result["checks"]), 7)

    def test_an_update_that_was_not_taken_in_comes_again(self) -> None:
        result = card(PYTHON / "tests" / "flaky.py", "--only", "acknowledgement", "--only", "duplicates")
        self.assertTrue(result["passed"], json.dumps(result, indent=2))

    def test_hello_is_short(self) -> None:
        lines = (PYTHON / "examples" / "hello.py").read_text().splitlines()
        self.assertLessEqual(len(lines), 30)
