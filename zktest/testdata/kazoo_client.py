"""Uses kazoo as its manual says, on the ensemble in the first argument. It fails if the behavior differs from the manual.

To request a fault, it prints a line "do ...", and continues after the reply. See clients_test.go.
"""

import queue
import sys
import threading

from kazoo import exceptions
from kazoo.client import KazooClient
from kazoo.protocol.states import EventType, KazooState
from kazoo.recipe.barrier import Barrier, DoubleBarrier
from kazoo.recipe.cache import TreeCache
from kazoo.recipe.counter import Counter
from kazoo.recipe.lock import Lock, ReadLock, Semaphore, WriteLock
from kazoo.recipe.party import Party, ShallowParty
from kazoo.recipe.partitioner import SetPartitioner
from kazoo.recipe.queue import LockingQueue, Queue
from kazoo.recipe.watchers import ChildrenWatch, DataWatch, PatientChildrenWatch
from kazoo.security import make_acl, make_digest_acl

HOSTS = sys.argv[1]
PATIENCE = 30


def say(*words):
    print(*words, flush=True)


def do(*fault):
    say("do", *fault)
    answer = sys.stdin.readline().strip()
    assert answer == "done", answer


def connect(**options):
    client = KazooClient(hosts=HOSTS, timeout=10, **options)
    client.start(timeout=PATIENCE)
    return client


def raises(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error:
        return
    raise AssertionError("got no %s from %s%r" % (error.__name__, call.__name__, args))


def equal(got, want):
    assert got == want, "got %r, want %r" % (got, want)


class Mailbox:
    """Holds the events that watches have received."""

    def __init__(self):
        self.items = queue.Queue()

    def __call__(self, *args):
        self.items.put(args)

    def next(self):
        return self.items.get(timeout=PATIENCE)

    def until(self, wanted):
        while not wanted(self.next()):
            pass


def together(*calls):
    """Runs calls in threads and raises the first exception of a call."""
    failed = []

    def run(call):
        try:
            call()
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    for t in threads:
        t.start()
    for t in threads:
        t.join(PATIENCE)
        if t.is_alive():
            raise AssertionError("a thread did not end; failures so far: %r" % failed)
    if failed:
        raise failed[0]


def operations(zk):
    # reconfig is left out: kazoo 2.8 does not support the error code of a server with reconfig disabled, and loses its connection.
    equal(zk.create("/op", b"1"), "/op")
    raises(exceptions.NodeExistsError, zk.create, "/op")
    raises(exceptions.NoNodeError, zk.create, "/none/such")
    path, stat = zk.create("/op/full", b"22", include_data=True)
    equal((path, stat.data_length, stat.version), ("/op/full", 2, 0))
    zk.create("/op/a/b/c", makepath=True)
    zk.ensure_path("/op/x/y")
    for i in range(3):
        equal(zk.create("/op/s-", sequence=True, ephemeral=True), "/op/s-%010d" % (i + 3))
    raises(exceptions.NoChildrenForEphemeralsError, zk.create, "/op/s-0000000003/child")
    data, stat = zk.get("/op")
    equal((data, stat.version, stat.children_count), (b"1", 0, 6))
    equal(zk.exists("/op/s-0000000003").owner_session_id, zk.client_id[0])
    assert zk.exists("/none") is None
    equal(zk.set("/op", b"2", version=0).version, 1)
    raises(exceptions.BadVersionError, zk.set, "/op", b"3", version=0)
    equal(sorted(zk.get_children("/op/a")), ["b"])
    names, stat = zk.get_children("/op", include_data=True)
    equal((len(names), stat.cversion), (6, 6))
    raises(exceptions.NotEmptyError, zk.delete, "/op")
    zk.delete("/op/a", recursive=True)
    raises(exceptions.NoNodeError, zk.delete, "/op/a")
    equal(zk.sync("/op"), "/op")
    equal(zk.command(b"ruok"), "imok")
    equal(zk.server_version()[:2], (3, 9))


def transactions(zk):
    t = zk.transaction()
    t.create("/tx", b"a")
    t.check("/tx", 0)
    t.set_data("/tx", b"b")
    t.create("/tx/s-", sequence=True)
    t.create("/tx/gone")
    t.delete("/tx/gone")
    results = t.commit()
    equal((results[0], results[1], results[2].version, results[3], results[5]), ("/tx", True, 1, "/tx/s-0000000000", True))
    t = zk.transaction()
    t.create("/tx/never")
    t.check("/tx", 7)
    t.delete("/tx")
    results = t.commit()
    equal([type(r) for r in results],
          [exceptions.RolledBackError, exceptions.BadVersionError, exceptions.RuntimeInconsistency])
    assert zk.exists("/tx/never") is None


def acls(zk):
    secret = make_digest_acl("u", "pw", all=True)
    zk.create("/acl", b"secret", acl=[secret])
    raises(exceptions.NoAuthError, zk.get, "/acl")
    zk.add_auth("digest", "u:pw")
    equal(zk.get("/acl")[0], b"secret")
    found, stat = zk.get_acls("/acl")
    equal(found, [secret])
    zk.set_acls("/acl", [make_acl("world", "anyone", read=True)], version=stat.aversion)
    raises(exceptions.NoAuthError, zk.set, "/acl", b"x")
    raises(exceptions.InvalidACLError, zk.create, "/acl2", acl=[make_acl("nobody", "knows", all=True)])
    with_auth = connect(auth_data=[("digest", "u:pw")], default_acl=[secret])
    with_auth.create("/acl3")
    with_auth.stop()
    equal(zk.get_acls("/acl3")[0], [secret])


def watches(zk, other):
    told = Mailbox()
    zk.exists("/w", watch=told)
    other.create("/w")
    equal(told.next()[0].type, EventType.CREATED)
    zk.get("/w", watch=told)
    other.set("/w", b"1")
    equal(told.next()[0].type, EventType.CHANGED)
    zk.get_children("/w", watch=told)
    other.create("/w/c")
    equal(told.next()[0].type, EventType.CHILD)
    other.delete("/w/c")
    zk.get("/w", watch=told)
    other.delete("/w")
    equal(told.next()[0].type, EventType.DELETED)

    data, names = Mailbox(), Mailbox()
    DataWatch(zk, "/dw", lambda value, stat: data(value))
    other.create("/dw", b"first")
    data.until(lambda args: args == (b"first",))
    ChildrenWatch(zk, "/dw", lambda children: names(sorted(children)))
    other.set("/dw", b"second")
    other.create("/dw/one")
    data.until(lambda args: args == (b"second",))
    names.until(lambda args: args == (["one"],))
    equal(PatientChildrenWatch(zk, "/dw", time_boundary=0.1).start().get(timeout=PATIENCE)[0], ["one"])

    changes = Mailbox()
    cache = TreeCache(zk, "/tree")
    cache.listen(lambda event: changes(event.event_type, event.event_data and event.event_data.path))
    cache.start()
    other.create("/tree/a/b", b"deep", makepath=True)
    changes.until(lambda args: args[1] == "/tree/a/b")
    equal(cache.get_data("/tree/a/b").data, b"deep")
    cache.close()


def chroot(zk):
    zk.ensure_path("/ch/root")
    inner = KazooClient(hosts=HOSTS + "/ch/root", timeout=10)
    inner.start(timeout=PATIENCE)
    inner.create("/inside", b"x")
    equal(zk.get("/ch/root/inside")[0], b"x")
    inner.stop()


def locks(clients):
    """A counter that is correct only if the lock works."""
    clients[0].ensure_path("/locked")
    for kind, name in ((Lock, "mutex"), (WriteLock, "write")):
        clients[0].set("/locked", b"0")

        def work(zk):
            for _ in range(8):
                with kind(zk, "/locks/" + name):
                    value, stat = zk.get("/locked")
                    zk.set("/locked", b"%d" % (int(value) + 1), version=stat.version)

        together(*[lambda zk=zk: work(zk) for zk in clients for _ in range(3)])
        equal(clients[0].get("/locked")[0], b"%d" % (8 * 3 * len(clients)))

    mutex = Lock(clients[0], "/locks/try", "me")
    assert mutex.acquire()
    assert not Lock(clients[1], "/locks/try").acquire(blocking=False)
    raises(exceptions.LockTimeout, Lock(clients[1], "/locks/try").acquire, timeout=0.2)
    equal(Lock(clients[1], "/locks/try").contenders(), ["me"])
    mutex.release()

    readers = [ReadLock(zk, "/locks/rw") for zk in clients]
    for r in readers:
        assert r.acquire(timeout=PATIENCE)
    raises(exceptions.LockTimeout, WriteLock(clients[0], "/locks/rw").acquire, timeout=0.2)
    for r in readers:
        r.release()

    inside, most, gate = [0], [0], threading.Lock()

    def permit(zk):
        for _ in range(4):
            with Semaphore(zk, "/locks/semaphore", max_leases=2):
                with gate:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                with gate:
                    inside[0] -= 1

    together(*[lambda zk=zk: permit(zk) for zk in clients])
    assert 1 <= most[0] <= 2, most


def queues(clients):
    for kind in (Queue, LockingQueue):
        path, total = "/queues/" + kind.__name__, 20 * len(clients)
        taken, gate = [], threading.Lock()

        def put(zk, first):
            q = kind(zk, path)
            for i in range(20):
                q.put(b"%d" % (first + i))

        def take(zk):
            q = kind(zk, path)
            while True:
                with gate:
                    if len(taken) == total:
                        return
                if kind is Queue:
                    item = q.get()
                else:
                    item = q.get(timeout=0.2)
                    if item is not None:
                        q.consume()
                if item is not None:
                    with gate:
                        taken.append(int(item))

        calls = [lambda zk=zk, i=i: put(zk, 20 * i) for i, zk in enumerate(clients)]
        together(*calls, *[lambda zk=zk: take(zk) for zk in clients])
        equal(sorted(taken), list(range(total)))


def recipes(clients):
    a, b = clients[0], clients[1]
    barrier = Barrier(a, "/barrier")
    barrier.create()
    assert not Barrier(b, "/barrier").wait(0.1)
    together(lambda: equal(Barrier(b, "/barrier").wait(PATIENCE), True), barrier.remove)

    # No member leaves before all have entered. A member that finds the barrier full creates the node "ready", even after
    # another member has left and deleted it. Then all would wait forever. kazoo does this on any server.
    doubles = [DoubleBarrier(zk, "/double", len(clients)) for zk in clients]
    together(*[d.enter for d in doubles])
    together(*[d.leave for d in doubles])

    def add(zk):
        c = Counter(zk, "/counter")
        for _ in range(5):
            c += 2

    together(*[lambda zk=zk: add(zk) for zk in clients])
    equal(Counter(a, "/counter").value, 10 * len(clients))

    led, gate = [], threading.Lock()

    def lead(zk, name):
        election = zk.Election("/election", name)

        def win():
            with gate:
                led.append(name)
            election.cancel()

        election.run(win)

    together(*[lambda zk=zk, i=i: lead(zk, str(i)) for i, zk in enumerate(clients)])
    equal(sorted(led), [str(i) for i in range(len(clients))])

    for kind in (Party, ShallowParty):
        path = "/party/" + kind.__name__
        members = [kind(zk, path, "m%d" % i) for i, zk in enumerate(clients)]
        for m in members:
            m.join()
        equal(sorted(kind(a, path)), ["m%d" % i for i in range(len(clients))])
        members[0].leave()
        equal(len(members[1]), len(clients) - 1)

    got = {}

    def part(zk, i):
        p = SetPartitioner(zk, "/partitions", range(6), identifier="p%d" % i, time_boundary=0.5)
        while not p.acquired:
            p.wait_for_acquire(1)
            if p.release:
                p.release_set()
            assert not p.failed
        got[i] = list(p)

    together(*[lambda zk=zk, i=i: part(zk, i) for i, zk in enumerate(clients)])
    equal(sorted(x for items in got.values() for x in items), list(range(6)))


def another_node(zk, other):
    """The server is killed; session, ephemeral node and watches continue at another server."""
    states, data = Mailbox(), Mailbox()
    zk.create("/mine", b"", ephemeral=True)
    DataWatch(zk, "/moved", lambda value, stat: data(value))
    session = zk.client_id[0]
    zk.add_listener(states)
    server = "%s:%d" % zk._connection._socket.getpeername()[:2]
    do("kill", server)
    states.until(lambda args: args == (KazooState.SUSPENDED,))
    states.until(lambda args: args == (KazooState.CONNECTED,))
    zk.remove_listener(states)
    equal(zk.client_id[0], session)
    retried = other.retry
    retried(other.ensure_path, "/moved")
    retried(other.set, "/moved", b"after")
    data.until(lambda args: args == (b"after",))
    equal(zk.retry(zk.exists, "/mine").owner_session_id, session)
    do("start", server)


def expiry(zk, other):
    states, gone = Mailbox(), Mailbox()
    zk.create("/expires", ephemeral=True)
    other.exists("/expires", watch=gone)
    session = zk.client_id[0]
    zk.add_listener(states)
    do("expire", session)
    equal(gone.next()[0].type, EventType.DELETED)
    states.until(lambda args: args == (KazooState.LOST,))
    states.until(lambda args: args == (KazooState.CONNECTED,))
    assert zk.client_id[0] != session
    zk.retry(zk.create, "/again", ephemeral=True)


def main():
    clients = [connect() for _ in range(3)]
    a, b = clients[0], clients[1]
    for name, call in (
        ("operations", lambda: operations(a)), ("transactions", lambda: transactions(a)), ("acls", lambda: acls(a)),
        ("watches", lambda: watches(a, b)), ("chroot", lambda: chroot(a)), ("locks", lambda: locks(clients)),
        ("queues", lambda: queues(clients)), ("recipes", lambda: recipes(clients)),
        ("another-node", lambda: another_node(a, b)), ("expiry", lambda: expiry(a, b)),
    ):
        call()
        say("passed", name)
    for zk in clients:
        zk.stop()
        zk.close()


main()
