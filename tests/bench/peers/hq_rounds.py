"""A HyperQueue server and worker that run N tasks for each line `N PROGRAM` on stdin, and answer with the seconds they took.

The worker has 64 slots, its best here. Submission to the end of the last task: a task that depends on all others notes
when it starts, since the client looks for the end only once a second. Its journal is off and its tasks are not isolated.
"""

import os
import sys
import tempfile
import time

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

SLOTS = 64


def run(client, count, program, note):
    job = Job()
    tasks = [job.program([program], stdout=None, stderr=None) for _ in range(count)]
    job.program(["sh", "-c", f"date +%s.%N > {note}"], deps=tasks)
    begun = time.time()
    client.wait_for_jobs([client.submit(job)])
    with open(note) as written:
        return float(written.read()) - begun


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # its progress bars are no answers
    os.chdir(tempfile.mkdtemp(prefix="hyperqueue-"))
    with LocalCluster(worker_config=WorkerConfig(cores=SLOTS)) as cluster:
        client = cluster.client()
        for line in sys.stdin:
            count, program = line.split()
            print(run(client, int(count), program, os.path.abspath("ended")), file=answers, flush=True)


main()
