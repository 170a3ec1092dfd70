"""A lock with kazoo, as a client of zkcoord: needs Python 3 and kazoo."""

import json
import os
import sys

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import LockTimeout


def say(**message):
    print(json.dumps(message), flush=True)


def listen(state):
    if state != KazooState.CONNECTED:
        say(type="lost", error="connection " + state)


zk = KazooClient(
    hosts=os.environ["ZKCOORD_SERVERS"],
    timeout=int(os.environ["ZKCOORD_SESSION_TIMEOUT_MS"]) / 1000,
)
zk.add_listener(listen)
zk.start()
say(type="hello", protocol=1, operations=["acquire", "release"])
for line in sys.stdin:
    request = json.loads(line)
    reply = {"id": request["id"], "type": "ok"}
    try:
        if request["op"] == "acquire":
            lock = zk.Lock(os.environ["ZKCOORD_PATH"])
            wait = request.get("wait_ms")
            lock.acquire(timeout=None if wait is None else wait / 1000)
            node = os.environ["ZKCOORD_PATH"] + "/" + lock.node
            reply.update(node=node, token=zk.exists(node).czxid)
        elif request["op"] == "release":
            lock.release()
        else:
            reply.update(type="fail", error="unknown operation")
    except LockTimeout as e:
        reply.update(type="fail", error=str(e))
    except Exception as e:  # the operation may have happened
        reply.update(type="info", error=repr(e))
    say(**reply)
zk.stop()
