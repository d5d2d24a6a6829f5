"""Two kinds of tasks: a server that runs on, and work that needs to know where it is; when the work is done, all ends."""

import asyncio
import json
import os
from pathlib import Path

import stoa

SHAPES = {"server": stoa.shape(50, 32 << 20, ports=1), "work": stoa.shape(50, 32 << 20)}
# As servers do, it takes its time before it answers: that its process runs does not mean that it can serve.
SERVER = "mkdir www && date +%s.%N > www/index.html && sleep 1 && cd www && exec python3 -u -m http.server $PORT0"
ANSWERS = stoa.check.http("/", interval_ms=200)
WORK = "python3 -c \"from urllib.request import urlopen; print(urlopen('http://$SERVER/').read())\" && sleep 2"
COUNT = 6


class Served(stoa.Scheduler):
    """Everything that it must know in its next life is in `books`: each task by its id, and the work that is done."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.books = json.loads(file.read_text()) if file.exists() else {"next": 1, "tasks": {}, "done": []}

    def save(self) -> None:
        fresh = self.file.with_name(f"{self.file.name}.new")
        fresh.write_text(json.dumps(self.books))
        fresh.replace(self.file)

    def server(self) -> dict | None:
        return next((task for task in self.books["tasks"].values() if task["kind"] == "server"), None)

    def wanted(self) -> list[tuple[str, int]]:
        """What is to be launched next: a kind, and which of it."""
        server = self.server()
        if server is None:
            return [("server", 0)]
        if not server["ready"]:
            return []
        taken = {task["number"] for task in self.books["tasks"].values() if task["kind"] == "work"}
        return [("work", n) for n in range(COUNT) if n not in taken and n not in self.books["done"]]

    def demands(self):
        wanted = self.wanted()
        kind = wanted[0][0] if wanted else "work"
        return [stoa.Demand(id=kind, role="default", shape=SHAPES[kind], count=len(wanted))] if wanted else []

    async def offers(self, framework, offers):
        rooms = [stoa.Room(offer) for offer in offers]
        for kind, number in self.wanted():
            room = next((room for room in rooms if room.fits(SHAPES[kind])), None)
            if room is None:
                break
            task_id = f"{kind}.{number}-{self.books['next']}"
            self.books["next"] += 1
            task = {"kind": kind, "number": number, "ready": False}
            if kind == "server":
                launched = room.launch(task_id, SHAPES[kind], shell=SERVER, readiness=ANSWERS)
                task["address"] = f"{room.host}:{stoa.ports(launched)[0]}"
            else:
                room.launch(task_id, SHAPES[kind], shell=WORK, env={"SERVER": self.server()["address"]})
            self.books["tasks"][task_id] = task
        self.save()  # Before it is asked for: the next life asks what became of it.
        framework.accept(rooms)
        framework.demand(self.demands())

    async def update(self, framework, status):
        print(status.task_id, stoa.word(status.state), flush=True)
        task = self.books["tasks"].get(status.task_id)
        if task is None:
            return
        task["ready"] = stoa.is_ready(status)
        if stoa.word(status.state) == "finished" and task["kind"] == "work":
            self.books["done"].append(task["number"])
        if stoa.is_terminal(status.state) or stoa.word(status.state) == "unknown":
            del self.books["tasks"][status.task_id]
        self.save()
        if stoa.word(status.state) == "failed":
            await asyncio.sleep(1)  # What fails at once would be started again at once, for ever.
        framework.demand(self.demands())
        if len(self.books["done"]) == COUNT:
            self.file.unlink()
            framework.teardown()


scheduler = Served(Path(os.environ.get("STOA_DATA", "")) / "served.json")
believed = list(scheduler.books["tasks"])
asyncio.run(stoa.run("served", scheduler, state_file="served.state", believed=believed))
