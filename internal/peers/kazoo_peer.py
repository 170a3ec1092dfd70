"""Clients of kazoo for the harness, by the protocol of docs/client-protocol.md.

kazoo's Lock and Election, as a program that does what kazoo's manual says uses them.
"""

import json
import os
import sys
import threading

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import LockTimeout
from kazoo.recipe.election import Election
from kazoo.recipe.lock import Lock

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


class Mutex:
    """kazoo's Lock, a new one for each acquire."""

    operations = ["acquire", "release"]

    def __init__(self, client):
        self.client = client

    def acquire(self, timeout):
        self.lock = SharedLock(self.client, PATH)
        self.lock.acquire(timeout=timeout)
        return self.lock.node

    def release(self):
        self.lock.release()


class Leader:
    """kazoo's Election, which calls a function for as long as it is to lead."""

    operations = ["campaign", "resign"]

    def __init__(self, client):
        self.client = client

    def acquire(self, timeout):
        election = Election(self.client, PATH)
        election.lock = SharedLatch(self.client, PATH)
        elected, self.over = threading.Event(), threading.Event()

        def lead():
            elected.set()
            self.over.wait()

        self.thread = threading.Thread(target=election.run, args=(lead,), daemon=True)
        self.thread.start()
        if not elected.wait(timeout):
            election.cancel()
            self.release()
            raise LockTimeout("not elected in time")
        return election.lock.node

    def release(self):
        self.over.set()
        self.thread.join()


say_lock = threading.Lock()


def say(**message):
    with say_lock:
        print(json.dumps(message), flush=True)


def listen(state):
    if state in (KazooState.SUSPENDED, KazooState.LOST):
        say(type="lost", error="connection state " + state)


def reply(client, recipe, request):
    """Does what is requested and returns the reply."""
    acquires, releases = recipe.operations
    if request["op"] == acquires:
        wait = request.get("wait_ms")
        try:
            node = PATH + "/" + recipe.acquire(None if wait is None else wait / 1000)
        except LockTimeout as e:
            return {"type": "fail", "error": str(e)}
        return {"type": "ok", "token": client.exists(node).czxid, "node": node}
    if request["op"] == releases:
        recipe.release()
        return {"type": "ok"}
    return {"type": "fail", "error": "unknown operation"}


def main():
    timeout = int(os.environ["ZKCOORD_SESSION_TIMEOUT_MS"]) / 1000
    client = KazooClient(hosts=os.environ["ZKCOORD_SERVERS"], timeout=timeout)
    client.add_listener(listen)
    client.start(timeout=30)
    recipe = {"lock": Mutex, "election": Leader}[RECIPE](client)
    say(type="hello", protocol=1, operations=recipe.operations)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = reply(client, recipe, request)
        except Exception as e:  # what became of it is not known
            answer = {"type": "info", "error": repr(e)}
        say(id=request["id"], **answer)
    client.stop()
    client.close()


main()
