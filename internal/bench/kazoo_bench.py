"""kazoo's part of the benchmark. It uses the protocol of docs/client-protocol.md with these operations.

See job.go for the fields of a job.

operation   value of the request                                     value of the reply
open        SERVERS TIMEOUT CLIENTS
run         KIND PATH CLIENTS WIDTH WARM TIME EACH ITEMS BATCH       OPERATIONS NANOSECONDS LATENCY
close
"""

import json
import queue
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from time import monotonic_ns as now

from kazoo.client import KazooClient
from kazoo.recipe.counter import Counter
from kazoo.recipe.election import Election
from kazoo.recipe.lock import Lock, Semaphore
from kazoo.recipe.queue import Queue
from kazoo.recipe.watchers import DataWatch

clients = []
ITEM = b"\0" * 100


class Job:
    def __init__(self, words):
        self.kind, self.path = words[:2]
        self.n, self.width, warm, time, self.each, self.items, self.batch = map(int, words[2:])
        self.warm, self.time = warm * 10**6, time * 10**6

    def path_of(self, client):
        return "%s/%d" % (self.path, client % max(self.width, 1))


class Limit:
    """Decides when a job is over, and which operations count."""

    def __init__(self, job):
        self.job, self.start = job, now()

    def over(self, done):
        if self.job.time == 0:
            return done >= self.job.each
        return now() - self.start > self.job.warm + self.job.time

    def late(self):
        return self.job.time > 0 and self.over(0)

    def counts(self):
        return self.job.time == 0 or self.job.warm < now() - self.start < self.job.warm + self.job.time

    def sample(self, ops, latency=0):
        return ops, self.job.time or now() - self.start, latency


class Stopwatch:
    """Measures the times from a start to a lap, and their median."""

    def __init__(self):
        self.laps, self.since = [], 0

    def start(self):
        self.since = now()

    def lap(self):
        if self.since:
            self.laps.append(now() - self.since)

    def median(self):
        return sorted(self.laps)[len(self.laps) // 2] if self.laps else 0


def everybody(n, body):
    """Runs a thread for each client and returns their results. It fails if a thread fails."""
    results, failures = [None] * n, []

    def run(i):
        try:
            results[i] = body(i)
        except Exception as e:
            traceback.print_exc()
            failures.append(e)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]
    return results


def repeat(job, operation):
    limit = Limit(job)

    def client(i):
        done, k = 0, 0
        while not limit.over(k):
            operation(i, k)
            done += limit.counts()
            k += 1
        return done

    return limit.sample(sum(everybody(job.n, client)))


def cycle(lock):
    lock.acquire()
    lock.release()


def lock(job):
    locks = [Lock(clients[i], job.path_of(i)) for i in range(job.n)]
    return repeat(job, lambda i, k: cycle(locks[i]))


def semaphore(job):
    permits = [Semaphore(clients[i], job.path + "/s", max_leases=job.width) for i in range(job.n)]
    return repeat(job, lambda i, k: cycle(permits[i]))


def counter(job):
    counters = [Counter(clients[i], job.path + "/n") for i in range(job.n)]
    return repeat(job, lambda i, k: counters[i] + 1)


def election(job):
    hand_over = Stopwatch()
    candidates = [Election(clients[i], job.path) for i in range(job.n)]

    def lead():
        hand_over.lap()
        hand_over.start()

    ops, took, _ = repeat(job, lambda i, k: candidates[i].run(lead))
    return ops, took, hand_over.median()


def put(job):
    limit = Limit(job)

    def client(i):
        q, done = Queue(clients[i], job.path), 0
        for _ in range(job.items * (i + 1) // job.n - job.items * i // job.n):
            if limit.late():
                break
            q.put(ITEM)
            done += 1
        return done

    return sum(everybody(job.n, client)), now() - limit.start, 0


def take(job):
    limit = Limit(job)

    def client(i):
        q, done = Queue(clients[i], job.path), 0
        while not limit.late() and q.get() is not None:
            done += 1
        return done

    return sum(everybody(job.n, client)), now() - limit.start, 0


def watch(job):
    arrived = queue.Queue()
    stopped = False

    def seen(data, stat):
        if data and not stopped:
            arrived.put(int(data))
        return not stopped  # the result False ends the watch

    for i in range(1, job.n):
        DataWatch(clients[i], job.path, seen)
    stopwatch, done, k, limit = Stopwatch(), 0, 0, None
    while k == 0 or not limit.over(k):
        stopwatch.start()
        clients[0].set(job.path, b"%d" % k)
        left = job.n - 1
        while left:
            left -= arrived.get() == k
        if k == 0:  # all clients watch now, so the measurement begins
            limit = Limit(job)
        if limit.counts():
            stopwatch.lap()
            done += 1
        k += 1
    sample = limit.sample(done, stopwatch.median())
    stopped = True
    clients[0].set(job.path, b"")
    return sample


KINDS = {
    "lock": lock, "semaphore": semaphore, "counter": counter, "election": election,
    "put": put, "take": take, "watch": watch,
}


def connect(servers, timeout, n):
    for i in range(n):
        clients.append(KazooClient(hosts=servers[i % len(servers)], timeout=timeout / 1000))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda c: c.start(timeout=60), clients))


def disconnect():
    for c in clients:
        c.stop()
        c.close()
    clients.clear()


def obey(op, words):
    if op == "open":
        connect(words[0].split(","), int(words[1]), int(words[2]))
        return ""
    if op == "run":
        job = Job(words)
        return "%d %d %d" % KINDS[job.kind](job)
    if op == "close":
        disconnect()
        return ""
    raise ValueError(op)


def say(**message):
    print(json.dumps(message), flush=True)


def main():
    say(type="hello", protocol=1, operations=["open", "run", "close"])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            value = obey(request["op"], request.get("value", "").split())
            say(type="ok", id=request["id"], value=value)
        except Exception as e:
            traceback.print_exc()
            say(type="info", id=request["id"], error=repr(e))


main()
