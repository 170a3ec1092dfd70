"""One client of kazoo for the harness: a command a line in, a line out. See peers.go.

Arguments: the connect string, the session timeout in milliseconds, the path, the recipe.
"""

import sys
import threading

from kazoo.client import KazooClient, KazooState
from kazoo.recipe.election import Election
from kazoo.recipe.lock import Lock


class SharedLock(Lock):
    """kazoo's Lock with the node names that Curator and zkcoord understand."""

    _NODE_NAME = "-lock-"
    _EXCLUDE_NAMES = ["-lock-"]


class SharedLatch(Lock):
    """The same for elections."""

    _NODE_NAME = "-latch-"
    _EXCLUDE_NAMES = ["-latch-"]


class Mutex:
    """kazoo's Lock, anew for each acquire."""

    def __init__(self, client, path):
        self.client, self.path = client, path

    def acquire(self):
        self.lock = SharedLock(self.client, self.path)
        self.lock.acquire()
        return self.lock.node

    def release(self):
        self.lock.release()


class Leader:
    """kazoo's Election, which calls a function for as long as it is to lead."""

    def __init__(self, client, path):
        self.client, self.path = client, path

    def acquire(self):
        election = Election(self.client, self.path)
        election.lock = SharedLatch(self.client, self.path)
        elected, self.over = threading.Event(), threading.Event()

        def lead():
            elected.set()
            self.over.wait()

        self.thread = threading.Thread(target=election.run, args=(lead,), daemon=True)
        self.thread.start()
        elected.wait()
        return election.lock.node

    def release(self):
        self.over.set()
        self.thread.join()


say_lock = threading.Lock()


def say(*words):
    with say_lock:
        print(*words, flush=True)


def main():
    servers, timeout, path, name = sys.argv[1], int(sys.argv[2]) / 1000, sys.argv[3], sys.argv[4]
    client = KazooClient(hosts=servers, timeout=timeout)

    def listen(state):
        if state in (KazooState.SUSPENDED, KazooState.LOST):
            say("lost", state)

    client.add_listener(listen)
    client.start(timeout=30)
    session, password = client.client_id
    say("ready", session, password.hex())
    recipe = {"mutex": Mutex, "leader": Leader}[name](client, path)
    for line in sys.stdin:
        command = line.split()[0]
        try:
            if command == "acquire":
                node = path + "/" + recipe.acquire()
                say("acquired", client.exists(node).czxid, node)
            elif command == "release":
                recipe.release()
                say("released")
            else:
                say("error unknown command")
        except Exception as e:  # whatever it is, the harness records it
            say("error", repr(e).replace("\n", " "))
    client.stop()
    client.close()


main()
