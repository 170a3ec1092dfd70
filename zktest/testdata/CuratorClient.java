import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorOp;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Stat;

/**
 * Uses Curator, and ZooKeeper's own client below it, as their manuals say, on the ensemble in the first argument. It fails
 * if the behavior differs from the manuals. To request a fault, it prints a line "do ...", and continues after the reply. See
 * clients_test.go.
 */
public final class CuratorClient {
  static final int PATIENCE = 30;
  static String hosts;
  static final BufferedReader in = new BufferedReader(new InputStreamReader(System.in));

  interface Work {
    void run() throws Exception;
  }

  static void say(String line) {
    System.out.println(line);
    System.out.flush();
  }

  static void ask(String fault) throws Exception {
    say("do " + fault);
    equal(in.readLine(), "done");
  }

  static void equal(Object got, Object want) {
    if (!got.equals(want)) {
      throw new AssertionError("got " + got + ", want " + want);
    }
  }

  static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  static void raises(KeeperException.Code code, Work work) throws Exception {
    try {
      work.run();
    } catch (KeeperException e) {
      equal(e.code(), code);
      return;
    }
    throw new AssertionError("got no " + code);
  }

  static CuratorFramework connect() throws Exception {
    CuratorFramework c =
        CuratorFrameworkFactory.builder()
            .connectString(hosts)
            .sessionTimeoutMs(10_000)
            .connectionTimeoutMs(10_000)
            .retryPolicy(new RetryForever(50))
            .build();
    c.start();
    check(c.blockUntilConnected(PATIENCE, TimeUnit.SECONDS), "not connected");
    return c;
  }

  /** Holds the events that watches have received. */
  static final class Mailbox implements Watcher {
    final BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();

    @Override
    public void process(WatchedEvent e) {
      if (e.getType() != EventType.None) {
        events.add(e);
      }
    }

    void expect(EventType type, String path) throws Exception {
      WatchedEvent e = events.poll(PATIENCE, TimeUnit.SECONDS);
      check(e != null, "no event " + type + " " + path);
      equal(e.getType() + " " + e.getPath(), type + " " + path);
    }
  }

  /** Waits until one of the received items is the wanted one. */
  static <T> void until(BlockingQueue<T> things, T wanted) throws Exception {
    for (T t; !wanted.equals(t = things.poll(PATIENCE, TimeUnit.SECONDS)); ) {
      check(t != null, "never " + wanted);
    }
  }

  static void together(List<Work> works) throws Exception {
    ExecutorService pool = Executors.newCachedThreadPool();
    List<Future<?>> all = new ArrayList<>();
    for (Work w : works) {
      all.add(
          pool.submit(
              (Callable<Void>)
                  () -> {
                    w.run();
                    return null;
                  }));
    }
    for (Future<?> f : all) {
      f.get(2 * PATIENCE, TimeUnit.SECONDS);
    }
    pool.shutdownNow();
  }

  static byte[] bytes(String s) {
    return s.getBytes();
  }

  static void operations(CuratorFramework c) throws Exception {
    equal(c.create().forPath("/op", bytes("1")), "/op");
    raises(KeeperException.Code.NODEEXISTS, () -> c.create().forPath("/op"));
    raises(KeeperException.Code.NONODE, () -> c.create().forPath("/none/such"));
    Stat stat = new Stat();
    c.create().storingStatIn(stat).creatingParentsIfNeeded().forPath("/op/a/b", bytes("22"));
    equal(stat.getDataLength(), 2);
    c.create().withMode(CreateMode.CONTAINER).forPath("/op/container");
    c.create().withTtl(60_000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/op/ttl");
    String ttl = c.create().withTtl(60_000).withMode(CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL).forPath("/op/ttl-");
    equal(ttl, "/op/ttl-0000000003");
    String own = c.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/op/e-");
    equal(c.checkExists().forPath(own).getEphemeralOwner(), c.getZookeeperClient().getZooKeeper().getSessionId());
    raises(KeeperException.Code.NOCHILDRENFOREPHEMERALS, () -> c.create().forPath(own + "/child"));
    c.create().orSetData().forPath("/op", bytes("2"));
    equal(new String(c.getData().storingStatIn(stat).forPath("/op")), "2");
    equal(stat.getVersion(), 1);
    equal(c.setData().withVersion(1).forPath("/op", bytes("3")).getVersion(), 2);
    raises(KeeperException.Code.BADVERSION, () -> c.setData().withVersion(1).forPath("/op", bytes("4")));
    equal(c.getChildren().storingStatIn(stat).forPath("/op").size(), 5);
    equal(stat.getNumChildren(), 5);
    raises(KeeperException.Code.NOTEMPTY, () -> c.delete().forPath("/op"));
    c.delete().guaranteed().deletingChildrenIfNeeded().forPath("/op/a");
    check(c.checkExists().forPath("/op/a") == null, "still there");
    c.sync().forPath("/op");
    CountDownLatch synced = new CountDownLatch(1);
    c.sync().inBackground((client, event) -> synced.countDown()).forPath("/op");
    check(synced.await(PATIENCE, TimeUnit.SECONDS), "not synced");

    ZooKeeper zk = c.getZookeeperClient().getZooKeeper();
    equal(zk.getEphemerals("/op"), List.of(own));
    equal(zk.getAllChildrenNumber("/op"), 4);
    List<OpResult> read = zk.multi(List.of(Op.getData("/op"), Op.getChildren("/op/ttl"), Op.getData("/none")));
    equal(new String(((OpResult.GetDataResult) read.get(0)).getData()), "3");
    equal(((OpResult.GetChildrenResult) read.get(1)).getChildren(), List.of());
    equal(((OpResult.ErrorResult) read.get(2)).getErr(), KeeperException.Code.NONODE.intValue());
    equal(zk.whoAmI().get(0).getAuthScheme(), "ip");
    raises(KeeperException.Code.RECONFIGDISABLED, () -> c.reconfig().joining("server.9=127.0.0.1:1:2;3").forEnsemble());
  }

  static void transactions(CuratorFramework c) throws Exception {
    List<CuratorOp> ops =
        List.of(
            c.transactionOp().create().forPath("/tx", bytes("a")),
            c.transactionOp().check().withVersion(0).forPath("/tx"),
            c.transactionOp().setData().forPath("/tx", bytes("b")),
            c.transactionOp().create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath("/tx/s-"),
            c.transactionOp().create().forPath("/tx/gone"),
            c.transactionOp().delete().forPath("/tx/gone"));
    var results = c.transaction().forOperations(ops);
    equal(results.get(2).getResultStat().getVersion(), 1);
    equal(results.get(3).getResultPath(), "/tx/s-0000000000");
    raises(
        KeeperException.Code.BADVERSION,
        () ->
            c.transaction()
                .forOperations(
                    c.transactionOp().create().forPath("/tx/never"),
                    c.transactionOp().check().withVersion(7).forPath("/tx")));
    check(c.checkExists().forPath("/tx/never") == null, "a part was applied");
  }

  static void acls(CuratorFramework c) throws Exception {
    c.create().forPath("/acl", bytes("secret"));
    c.getZookeeperClient().getZooKeeper().addAuthInfo("digest", bytes("u:pw"));
    c.setACL().withACL(Ids.CREATOR_ALL_ACL).forPath("/acl");
    List<ACL> acl = c.getACL().forPath("/acl");
    equal(acl.size(), 1);
    equal(acl.get(0).getId().getScheme(), "digest");
    CuratorFramework stranger = connect();
    raises(KeeperException.Code.NOAUTH, () -> stranger.getData().forPath("/acl"));
    raises(KeeperException.Code.NOAUTH, () -> stranger.setData().forPath("/acl"));
    raises(KeeperException.Code.INVALIDACL, () -> stranger.create().withACL(Ids.CREATOR_ALL_ACL).forPath("/acl2"));
    stranger.close();
    equal(new String(c.getData().forPath("/acl")), "secret");
  }

  static void watches(CuratorFramework c, CuratorFramework other) throws Exception {
    Mailbox told = new Mailbox();
    c.checkExists().usingWatcher(told).forPath("/w");
    other.create().forPath("/w");
    told.expect(EventType.NodeCreated, "/w");
    c.getData().usingWatcher(told).forPath("/w");
    other.setData().forPath("/w", bytes("1"));
    told.expect(EventType.NodeDataChanged, "/w");
    c.getChildren().usingWatcher(told).forPath("/w");
    other.create().forPath("/w/c");
    told.expect(EventType.NodeChildrenChanged, "/w");

    Mailbox all = new Mailbox();
    c.watchers().add().withMode(AddWatchMode.PERSISTENT_RECURSIVE).usingWatcher(all).forPath("/w");
    other.create().forPath("/w/c/d");
    all.expect(EventType.NodeCreated, "/w/c/d");
    other.delete().forPath("/w/c/d");
    all.expect(EventType.NodeDeleted, "/w/c/d");
    c.watchers().remove(all).forPath("/w");
    all.expect(EventType.PersistentWatchRemoved, "/w");
    raises(KeeperException.Code.NOWATCHER, () -> c.getZookeeperClient().getZooKeeper().removeWatches("/w", all, Watcher.WatcherType.Any, false));
    other.create().forPath("/w/unseen");
    c.sync().forPath("/w");

    BlockingQueue<String> changes = new LinkedBlockingQueue<>();
    CuratorCache cache = CuratorCache.build(c, "/cache");
    cache.listenable().addListener((type, was, now) -> changes.add(type + " " + (now == null ? was : now).getPath()));
    cache.start();
    other.create().creatingParentsIfNeeded().forPath("/cache/a/b");
    until(changes, "NODE_CREATED /cache/a/b");
    other.delete().forPath("/cache/a/b");
    until(changes, "NODE_DELETED /cache/a/b");
    cache.close();
    check(all.events.isEmpty(), "a removed watch has told " + all.events);
  }

  static void locks(List<CuratorFramework> clients) throws Exception {
    CuratorFramework a = clients.get(0);
    a.create().forPath("/locked", bytes("0"));
    List<Work> works = new ArrayList<>();
    for (CuratorFramework c : clients) {
      for (int t = 0; t < 3; t++) {
        boolean write = t == 0;
        works.add(
            () -> {
              InterProcessMutex mutex =
                  write ? new InterProcessReadWriteLock(c, "/locks/rw").writeLock() : new InterProcessMutex(c, "/locks/mutex");
              String path = write ? "/locked-rw" : "/locked";
              for (int i = 0; i < 8; i++) {
                check(mutex.acquire(PATIENCE, TimeUnit.SECONDS), "lock not acquired");
                c.create().orSetData().forPath(path, bytes(1 + number(c, path) + ""));
                mutex.release();
              }
            });
      }
    }
    together(works);
    equal(number(a, "/locked"), 2 * 8 * clients.size());
    equal(number(a, "/locked-rw"), 8 * clients.size());

    InterProcessMutex held = new InterProcessMutex(a, "/locks/try");
    held.acquire();
    check(!new InterProcessMutex(clients.get(1), "/locks/try").acquire(200, TimeUnit.MILLISECONDS), "two holders");
    equal(held.getParticipantNodes().size(), 1);
    held.release();
    InterProcessMultiLock both = new InterProcessMultiLock(a, List.of("/locks/one", "/locks/two"));
    check(both.acquire(PATIENCE, TimeUnit.SECONDS), "multi lock not acquired");
    both.release();

    AtomicInteger inside = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    works = new ArrayList<>();
    for (CuratorFramework c : clients) {
      works.add(
          () -> {
            InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(c, "/locks/semaphore", 2);
            for (int i = 0; i < 4; i++) {
              Lease lease = semaphore.acquire(PATIENCE, TimeUnit.SECONDS);
              most.accumulateAndGet(inside.incrementAndGet(), Math::max);
              inside.decrementAndGet();
              semaphore.returnLease(lease);
            }
          });
    }
    together(works);
    check(most.get() >= 1 && most.get() <= 2, most + " permits");
  }

  static int number(CuratorFramework c, String path) throws Exception {
    return c.checkExists().forPath(path) == null ? 0 : Integer.parseInt(new String(c.getData().forPath(path)));
  }

  static final QueueSerializer<String> TEXT =
      new QueueSerializer<>() {
        @Override
        public byte[] serialize(String item) {
          return bytes(item);
        }

        @Override
        public String deserialize(byte[] b) {
          return new String(b);
        }
      };

  static void queues(List<CuratorFramework> clients) throws Exception {
    int total = 20 * clients.size();
    var taken = new ConcurrentSkipListSet<String>();
    AtomicInteger count = new AtomicInteger();
    CountDownLatch done = new CountDownLatch(total);
    List<DistributedQueue<String>> queues = new ArrayList<>();
    for (CuratorFramework c : clients) {
      QueueConsumer<String> consumer =
          new QueueConsumer<>() {
            @Override
            public void consumeMessage(String item) {
              taken.add(item);
              count.incrementAndGet();
              done.countDown();
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {}
          };
      DistributedQueue<String> q = QueueBuilder.builder(c, consumer, TEXT, "/queue").lockPath("/queue-locks").buildQueue();
      q.start();
      queues.add(q);
    }
    for (int i = 0; i < total; i++) {
      queues.get(i % queues.size()).put("item " + i);
    }
    check(done.await(2 * PATIENCE, TimeUnit.SECONDS), "only " + taken);
    equal(taken.size(), total);
    equal(count.get(), total);
    for (DistributedQueue<String> q : queues) {
      q.close();
    }

    var simple = new ConcurrentSkipListSet<String>();
    List<Work> works = new ArrayList<>();
    for (int i = 0; i < clients.size(); i++) {
      CuratorFramework c = clients.get(i);
      int first = 100 + 20 * i;
      works.add(
          () -> {
            SimpleDistributedQueue q = new SimpleDistributedQueue(c, "/simple");
            for (int n = 0; n < 20; n++) {
              check(q.offer(bytes(first + n + "")), "not offered");
            }
          });
      works.add(
          () -> {
            SimpleDistributedQueue q = new SimpleDistributedQueue(c, "/simple");
            for (int n = 0; n < 20; n++) {
              byte[] item = q.poll(PATIENCE, TimeUnit.SECONDS);
              check(item != null && simple.add(new String(item)), "lost or doubled");
            }
          });
    }
    together(works);
    equal(simple.size(), total);
  }

  static void recipes(List<CuratorFramework> clients) throws Exception {
    CuratorFramework a = clients.get(0);
    DistributedBarrier barrier = new DistributedBarrier(a, "/barrier");
    barrier.setBarrier();
    DistributedBarrier waiter = new DistributedBarrier(clients.get(1), "/barrier");
    check(!waiter.waitOnBarrier(200, TimeUnit.MILLISECONDS), "passed early");
    together(List.of(() -> check(waiter.waitOnBarrier(PATIENCE, TimeUnit.SECONDS), "not passed"), barrier::removeBarrier));

    List<Work> works = new ArrayList<>();
    AtomicInteger led = new AtomicInteger();
    TreeSet<String> members = new TreeSet<>();
    for (CuratorFramework c : clients) {
      members.add("m" + clients.indexOf(c));
      works.add(
          () -> {
            DistributedDoubleBarrier d = new DistributedDoubleBarrier(c, "/double", clients.size());
            check(d.enter(PATIENCE, TimeUnit.SECONDS), "not entered");
            check(d.leave(PATIENCE, TimeUnit.SECONDS), "not left");
            DistributedAtomicLong sum = new DistributedAtomicLong(c, "/sum", new RetryForever(1));
            for (int i = 0; i < 5; i++) {
              check(sum.add(2L).succeeded(), "not added");
            }
            LeaderLatch latch = new LeaderLatch(c, "/latch");
            latch.start();
            check(latch.await(PATIENCE, TimeUnit.SECONDS), "never led");
            led.incrementAndGet();
            latch.close();
          });
    }
    together(works);
    equal(led.get(), clients.size());
    equal(new DistributedAtomicLong(a, "/sum", new RetryForever(1)).get().postValue(), 10L * clients.size());

    SharedCount mine = new SharedCount(a, "/count", 1);
    SharedCount theirs = new SharedCount(clients.get(1), "/count", 1);
    mine.start();
    theirs.start();
    CountDownLatch seen = new CountDownLatch(1);
    theirs.addListener(
        new org.apache.curator.framework.recipes.shared.SharedCountListener() {
          @Override
          public void countHasChanged(org.apache.curator.framework.recipes.shared.SharedCountReader r, int n) {
            seen.countDown();
          }

          @Override
          public void stateChanged(CuratorFramework c, ConnectionState state) {}
        });
    mine.setCount(7);
    check(seen.await(PATIENCE, TimeUnit.SECONDS), "count not seen");
    equal(theirs.getCount(), 7);
    mine.close();
    theirs.close();

    List<GroupMember> group = new ArrayList<>();
    for (String id : members) {
      GroupMember m = new GroupMember(clients.get(group.size()), "/group", id, bytes(id));
      m.start();
      group.add(m);
    }
    while (!group.get(0).getCurrentMembers().keySet().equals(members)) {
      Thread.sleep(10);
    }
    group.forEach(GroupMember::close);
  }

  /** The server is killed; session, ephemeral node and watches continue at another server. */
  static void anotherNode(CuratorFramework c, CuratorFramework other) throws Exception {
    BlockingQueue<ConnectionState> states = new LinkedBlockingQueue<>();
    c.getConnectionStateListenable().addListener((client, state) -> states.add(state));
    c.create().withMode(CreateMode.EPHEMERAL).forPath("/mine");
    Mailbox told = new Mailbox();
    c.watchers().add().withMode(AddWatchMode.PERSISTENT).usingWatcher(told).forPath("/moved");
    Mailbox once = new Mailbox();
    c.checkExists().usingWatcher(once).forPath("/moved-too");
    ZooKeeper zk = c.getZookeeperClient().getZooKeeper();
    long session = zk.getSessionId();
    String server = zk.toString().replaceAll(".*remoteserver:[^/ ]*/([0-9.:]+) .*", "$1");
    ask("kill " + server);
    until(states, ConnectionState.SUSPENDED);
    until(states, ConnectionState.RECONNECTED);
    // The reply follows the renewal of the watches. A persistent watch does not report earlier events.
    equal(c.checkExists().forPath("/mine").getEphemeralOwner(), session);
    other.create().forPath("/moved");
    other.create().forPath("/moved-too");
    told.expect(EventType.NodeCreated, "/moved");
    once.expect(EventType.NodeCreated, "/moved-too");
    equal(c.getZookeeperClient().getZooKeeper().getSessionId(), session);
    ask("start " + server);
  }

  static void expiry(CuratorFramework c, CuratorFramework other) throws Exception {
    PersistentNode node = new PersistentNode(c, CreateMode.EPHEMERAL, false, "/persistent", bytes("x"));
    node.start();
    check(node.waitForInitialCreate(PATIENCE, TimeUnit.SECONDS), "not created");
    BlockingQueue<ConnectionState> states = new LinkedBlockingQueue<>();
    c.getConnectionStateListenable().addListener((client, state) -> states.add(state));
    c.create().withMode(CreateMode.EPHEMERAL).forPath("/expires");
    Mailbox gone = new Mailbox();
    other.checkExists().usingWatcher(gone).forPath("/expires");
    long session = c.getZookeeperClient().getZooKeeper().getSessionId();
    ask("expire " + session);
    gone.expect(EventType.NodeDeleted, "/expires");
    until(states, ConnectionState.LOST);
    until(states, ConnectionState.RECONNECTED);
    long now = c.getZookeeperClient().getZooKeeper().getSessionId();
    check(now != session, "the session has not changed");
    for (Stat s; (s = other.checkExists().forPath("/persistent")) == null || s.getEphemeralOwner() != now; ) {
      Thread.sleep(10);
    }
    node.close();
  }

  static void passed(String name, Work work) throws Exception {
    work.run();
    say("passed " + name);
  }

  public static void main(String[] args) throws Exception {
    hosts = args[0];
    List<CuratorFramework> clients = List.of(connect(), connect(), connect());
    CuratorFramework a = clients.get(0);
    CuratorFramework b = clients.get(1);
    try {
      passed("operations", () -> operations(a));
      passed("transactions", () -> transactions(a));
      passed("acls", () -> acls(a));
      passed("watches", () -> watches(a, b));
      passed("locks", () -> locks(clients));
      passed("queues", () -> queues(clients));
      passed("recipes", () -> recipes(clients));
      passed("another-node", () -> anotherNode(a, b));
      passed("expiry", () -> expiry(a, b));
    } catch (Throwable e) {
      e.printStackTrace();
      System.exit(1);
    }
    clients.forEach(CuratorFramework::close);
    System.exit(0);
  }
}
