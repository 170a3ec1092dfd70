"""A queue with kazoo, as a client of zkcoord."""

import json
import os
import sys
import time

from kazoo.client import KazooClient


def say(**message):
    print(json.dumps(message), flush=True)


def take(queue, wait_ms):
    end = None if wait_ms is None else time.monotonic() + wait_ms / 1000
    while True:
        value = queue.get()
        if value is not None or end is not None and time.monotonic() >= end:
            return value
        time.sleep(0.02)


zk = KazooClient(hosts=os.environ["ZKCOORD_SERVERS"], timeout=int(os.environ["ZKCOORD_SESSION_TIMEOUT_MS"]) / 1000)
zk.start()
queue = zk.Queue(os.environ["ZKCOORD_PATH"])
say(type="hello", protocol=1, operations=["put", "take"])
for line in sys.stdin:
    request = json.loads(line)
    reply = {"id": request["id"], "type": "ok"}
    try:
        if request["op"] == "put":
            queue.put(request["value"].encode())
        elif request["op"] == "take":
            value = take(queue, request.get("wait_ms"))
            if value is not None:
                reply["value"] = value.decode()
        else:
            reply.update(type="fail", error="unknown operation")
    except Exception as e:
        reply.update(type="info", error=repr(e))
    say(**reply)
zk.stop()
