"""What `stoa sdk new` writes for a language beside Rust and Python: its tests pass, and it comes back after a failover.

usage: template.py LANGUAGE   (STOA names the binary; else target/debug/stoa)
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cluster import STOA

SDK = Path(__file__).resolve().parent.parent
# The test command, what it says, a build if there is one, and the command that runs the framework.
LANGUAGES = {
    "go": (["./go", "test"], "PASS", ["./go", "build"], ["./my-framework"]),
    "java": (["./java", "HelloTest"], "four tests passed", None, ["./java", "Hello"]),
}


def run(command, where):
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def main(language):
    test, says, build, command = LANGUAGES[language]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stoa-template-") as home:
        where = Path(home, "my-framework")
        run([STOA, "sdk", "new", language, str(where), "--sdk", str(SDK)], home)
        said = run(test, where)
        if says not in said:
            sys.exit(f"{' '.join(test)} does not say {says!r}:\n{said}")
        if build:
            run(build, where)
        card = [STOA, "sdk", "conformance", "--only", "failover", "--", str(where / command[0]), *command[1:]]
        run(card, where)
    print(f"the template for {language} passes its tests, and fails over: {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1])
