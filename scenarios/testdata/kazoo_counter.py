"""Adds 1 to a counter of kazoo: kazoo_counter.py SERVERS PATH TIMES. It prints the last value."""
import sys

from kazoo.client import KazooClient
from kazoo.retry import KazooRetry

servers, path, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = KazooClient(hosts=servers, command_retry=KazooRetry(max_tries=-1, delay=0.01, max_delay=0.1))
client.start(timeout=60)
counter = client.Counter(path)
for _ in range(times):
    counter += 1
print(counter.value)
client.stop()
client.close()
