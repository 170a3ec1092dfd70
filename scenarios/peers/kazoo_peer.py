"""One client of kazoo for the harness: a command a line in, a line out. See peers.go.

Arguments: the connect string, the session timeout in milliseconds, the path of the lock.
"""

import sys
import threading

from kazoo.client import KazooClient, KazooState
from kazoo.recipe.lock import Lock


class SharedLock(Lock):
    """kazoo's Lock with the node names that Curator and zkcoord understand."""

    _NODE_NAME = "-lock-"
    _EXCLUDE_NAMES = ["-lock-"]


say_lock = threading.Lock()


def say(*words):
    with say_lock:
        print(*words, flush=True)


def main():
    servers, timeout, path = sys.argv[1], int(sys.argv[2]) / 1000, sys.argv[3]
    client = KazooClient(hosts=servers, timeout=timeout)

    def listen(state):
        if state in (KazooState.SUSPENDED, KazooState.LOST):
            say("lost", state)

    client.add_listener(listen)
    client.start(timeout=30)
    session, password = client.client_id
    say("ready", session, password.hex())
    lock = None
    for line in sys.stdin:
        command = line.strip()
        try:
            if command == "acquire":
                lock = SharedLock(client, path)
                lock.acquire()
                node = path + "/" + lock.node
                say("acquired", client.exists(node).czxid, node)
            elif command == "release":
                lock.release()
                say("released")
            else:
                say("error unknown command")
        except Exception as e:  # whatever it is, the harness records it
            say("error", repr(e).replace("\n", " "))
    client.stop()
    client.close()


main()
