"""Clients of kazoo for the harness, by the protocol of docs/client-protocol.md.

kazoo's recipes, as a program that does what kazoo's manual says uses them.
"""

import json
import os
import sys
import threading
import time

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import LockTimeout
from kazoo.recipe.barrier import Barrier
from kazoo.recipe.counter import Counter
from kazoo.recipe.election import Election
from kazoo.recipe.lock import Lock, Semaphore
from kazoo.recipe.party import Party
from kazoo.recipe.queue import LockingQueue, Queue

PATH = os.environ["ZKCOORD_PATH"]
RECIPE = os.environ["ZKCOORD_RECIPE"]


class SharedLock(Lock):
    """kazoo's Lock with the node names that Curator and zkcoord understand."""

    _NODE_NAME = "-lock-"
    _EXCLUDE_NAMES = ["-lock-"]


class SharedLatch(Lock):
    """The same for elections."""

    _NODE_NAME = "-latch-"
    _EXCLUDE_NAMES = ["-latch-"]


def granted(client, name):
    """What a reply says of the node of a grant."""
    node = PATH + "/" + name
    return {"token": client.exists(node).czxid, "node": node}


def timeout_of(request):
    """For how many seconds the request may wait; None is without end."""
    wait = request.get("wait_ms")
    return None if wait is None else wait / 1000


class Mutex:
    """kazoo's Lock, a new one for each acquire."""

    operations = ["acquire", "release"]

    def __init__(self, client):
        self.client = client

    def acquire(self, request):
        self.lock = SharedLock(self.client, PATH)
        self.lock.acquire(timeout=timeout_of(request))
        return granted(self.client, self.lock.node)

    def release(self, request):
        self.lock.release()


class Permits:
    """kazoo's Semaphore. Its layout is its own."""

    operations = ["acquire-permit", "release"]

    def __init__(self, client):
        self.client = client

    def acquire_permit(self, request):
        self.semaphore = Semaphore(
            self.client, PATH, max_leases=int(os.environ["ZKCOORD_PERMITS"])
        )
        self.semaphore.acquire(timeout=timeout_of(request))
        return granted(self.client, self.semaphore.create_path.split("/")[-1])

    def release(self, request):
        self.semaphore.release()


class Leader:
    """kazoo's Election, which calls a function for as long as it is to lead."""

    operations = ["campaign", "resign"]

    def __init__(self, client):
        self.client = client

    def campaign(self, request):
        election = Election(self.client, PATH)
        election.lock = SharedLatch(self.client, PATH)
        elected, self.over = threading.Event(), threading.Event()

        def lead():
            elected.set()
            self.over.wait()

        self.thread = threading.Thread(target=election.run, args=(lead,), daemon=True)
        self.thread.start()
        if not elected.wait(timeout_of(request)):
            election.cancel()
            self.resign(request)
            raise LockTimeout("not elected in time")
        return granted(self.client, election.lock.node)

    def resign(self, request):
        self.over.set()
        self.thread.join()


class Fifo:
    """kazoo's Queue, which does not wait for an item."""

    operations = ["put", "take"]

    def __init__(self, client):
        self.queue = Queue(client, PATH)

    def put(self, request):
        self.queue.put(request["value"].encode(), priority=100 + request.get("priority", 0))

    def take(self, request):
        timeout = timeout_of(request)
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            value = self.queue.get()
            if value is not None:
                return {"value": value.decode()}
            if end is not None and time.monotonic() >= end:
                return {}
            time.sleep(0.02)


class Claims:
    """kazoo's LockingQueue."""

    operations = ["put", "ack", "claim", "release"]

    def __init__(self, client):
        self.queue = LockingQueue(client, PATH)

    def put(self, request):
        self.queue.put(request["value"].encode())

    def claim(self, request):
        timeout = timeout_of(request)
        value = self.queue.get(timeout=None if timeout is None else max(timeout, 0.2))
        return {} if value is None else {"value": value.decode()}

    def ack(self, request):
        if not self.queue.consume():
            raise Refused("not consumed")

    def release(self, request):
        if not self.queue.release():
            raise Refused("not released")


class Gate:
    """kazoo's Barrier."""

    operations = ["set", "remove", "wait"]

    def __init__(self, client):
        self.barrier = Barrier(client, PATH)

    def set(self, request):
        self.barrier.create()

    def remove(self, request):
        self.barrier.remove()

    def wait(self, request):
        if not self.barrier.wait(timeout_of(request)):
            raise Refused("not in time")


class Group:
    """kazoo's Party."""

    operations = ["join", "leave", "members"]

    def __init__(self, client):
        self.client = client
        self.party = Party(client, PATH)

    def join(self, request):
        self.party = Party(self.client, PATH, identifier=request["value"])
        self.party.join()

    def leave(self, request):
        self.party.leave()

    def members(self, request):
        if request.get("fresh"):
            self.client.sync(PATH)
        return {"members": list(self.party)}


class Count:
    """kazoo's Counter."""

    operations = ["add", "get"]

    def __init__(self, client):
        self.client = client
        self.counters = {}

    def counter(self, request):
        name = request["name"]
        if name not in self.counters:
            self.counters[name] = Counter(self.client, PATH + "/" + name)
        return self.counters[name]

    def add(self, request):
        counter = self.counter(request)
        counter += int(request["value"])
        return {"value": str(counter.post_value)}

    def get(self, request):
        return {"value": str(self.counter(request).value)}


RECIPES = {
    "lock": Mutex,
    "semaphore": Permits,
    "election": Leader,
    "queue": Fifo,
    "priority-queue": Fifo,
    "claims": Claims,
    "barrier": Gate,
    "group": Group,
    "counter": Count,
}


class Refused(Exception):
    """The operation had no effect."""


say_lock = threading.Lock()


def say(**message):
    with say_lock:
        print(json.dumps(message), flush=True)


def listen(state):
    if state in (KazooState.SUSPENDED, KazooState.LOST):
        say(type="lost", error="connection state " + state)


def reply(recipe, request):
    """Does what is requested and returns the reply."""
    if request["op"] not in recipe.operations:
        return {"type": "fail", "error": "unknown operation"}
    try:
        return {"type": "ok", **(getattr(recipe, request["op"].replace("-", "_"))(request) or {})}
    except (LockTimeout, Refused) as e:
        return {"type": "fail", "error": str(e)}
    except Exception as e:  # the outcome is not known
        return {"type": "info", "error": repr(e)}


def main():
    timeout = int(os.environ["ZKCOORD_SESSION_TIMEOUT_MS"]) / 1000
    client = KazooClient(hosts=os.environ["ZKCOORD_SERVERS"], timeout=timeout)
    client.add_listener(listen)
    client.start(timeout=30)
    recipe = RECIPES[RECIPE](client)
    say(type="hello", protocol=1, operations=recipe.operations)
    for line in sys.stdin:
        request = json.loads(line)
        say(id=request["id"], **reply(recipe, request))
    client.stop()
    client.close()


main()
