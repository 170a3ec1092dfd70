import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.retry.RetryForever;

/**
 * Curator's part of the benchmark. It uses the protocol of docs/client-protocol.md with these
 * operations. See job.go for the fields of a job.
 *
 * <pre>
 * operation   value of the request                                   value of the reply
 * open        SERVERS TIMEOUT CLIENTS
 * run         KIND PATH CLIENTS WIDTH WARM TIME EACH ITEMS BATCH     OPERATIONS NANOSECONDS LATENCY
 * close
 * </pre>
 */
public final class CuratorBench {
  private static final List<CuratorFramework> clients = new ArrayList<>();

  private record Job(String kind, String path, int n, int width, long warm, long time, int each, int items) {
    static Job of(String[] w) {
      return new Job(
          w[0], w[1], Integer.parseInt(w[2]), Integer.parseInt(w[3]),
          TimeUnit.MILLISECONDS.toNanos(Long.parseLong(w[4])),
          TimeUnit.MILLISECONDS.toNanos(Long.parseLong(w[5])),
          Integer.parseInt(w[6]), Integer.parseInt(w[7]));
    }

    String pathOf(int client) {
      return path + "/" + client % Math.max(width, 1);
    }
  }

  private record Sample(long ops, long took, long latency) {}

  private interface Operation {
    void run(int client, int k) throws Exception;
  }

  /** Decides when a job is over, and which operations count. */
  private static final class Limit {
    final Job job;
    final long start = System.nanoTime();

    Limit(Job job) {
      this.job = job;
    }

    boolean over(int done) {
      return job.time == 0 ? done >= job.each : System.nanoTime() - start > job.warm + job.time;
    }

    boolean counts() {
      long at = System.nanoTime() - start;
      return job.time == 0 || at > job.warm && at < job.warm + job.time;
    }

    Sample sample(long ops, long latency) {
      return new Sample(ops, job.time == 0 ? System.nanoTime() - start : job.time, latency);
    }
  }

  /** Measures the times from a start to a lap, and their median. */
  private static final class Stopwatch {
    private final List<Long> laps = new ArrayList<>();
    private long since;

    synchronized void start() {
      since = System.nanoTime();
    }

    synchronized void lap() {
      if (since != 0) {
        laps.add(System.nanoTime() - since);
      }
    }

    synchronized long median() {
      Collections.sort(laps);
      return laps.isEmpty() ? 0 : laps.get(laps.size() / 2);
    }
  }

  /** Runs a thread for each client. It fails if a thread fails. */
  private static void all(int n, Operation body) throws Exception {
    List<Thread> threads = new ArrayList<>();
    List<Exception> failures = Collections.synchronizedList(new ArrayList<>());
    for (int i = 0; i < n; i++) {
      int client = i;
      Thread thread =
          new Thread(
              () -> {
                try {
                  body.run(client, 0);
                } catch (Exception e) {
                  failures.add(e);
                }
              });
      threads.add(thread);
      thread.start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    if (!failures.isEmpty()) {
      throw failures.get(0);
    }
  }

  private static Sample repeat(Job j, Operation operation) throws Exception {
    AtomicLong done = new AtomicLong();
    Limit limit = new Limit(j);
    all(
        j.n,
        (i, unused) -> {
          for (int k = 0; !limit.over(k); k++) {
            operation.run(i, k);
            if (limit.counts()) {
              done.incrementAndGet();
            }
          }
        });
    return limit.sample(done.get(), 0);
  }

  private static Sample lock(Job j) throws Exception {
    List<InterProcessMutex> locks = new ArrayList<>();
    for (int i = 0; i < j.n; i++) {
      locks.add(new InterProcessMutex(clients.get(i), j.pathOf(i)));
    }
    return repeat(
        j,
        (i, k) -> {
          locks.get(i).acquire();
          locks.get(i).release();
        });
  }

  private static Sample readWrite(Job j) throws Exception {
    List<InterProcessReadWriteLock> locks = new ArrayList<>();
    for (int i = 0; i < j.n; i++) {
      locks.add(new InterProcessReadWriteLock(clients.get(i), j.path));
    }
    return repeat(
        j,
        (i, k) -> {
          InterProcessMutex lock = (i + k) % 10 == 0 ? locks.get(i).writeLock() : locks.get(i).readLock();
          lock.acquire();
          lock.release();
        });
  }

  private static Sample semaphore(Job j) throws Exception {
    List<InterProcessSemaphoreV2> all = new ArrayList<>();
    for (int i = 0; i < j.n; i++) {
      all.add(new InterProcessSemaphoreV2(clients.get(i), j.path, j.width));
    }
    return repeat(j, (i, k) -> all.get(i).returnLease(all.get(i).acquire()));
  }

  private static Sample count(Job j) throws Exception {
    List<DistributedAtomicLong> all = new ArrayList<>();
    for (int i = 0; i < j.n; i++) {
      all.add(new DistributedAtomicLong(clients.get(i), j.path + "/n", new RetryForever(1)));
    }
    return repeat(
        j,
        (i, k) -> {
          if (!all.get(i).increment().succeeded()) {
            throw new IllegalStateException("an increment did not succeed");
          }
        });
  }

  private static Sample elect(Job j) throws Exception {
    Stopwatch handOver = new Stopwatch();
    Sample sample =
        repeat(
            j,
            (i, k) -> {
              LeaderLatch latch = new LeaderLatch(clients.get(i), j.path);
              latch.start();
              latch.await();
              handOver.lap();
              handOver.start();
              latch.close();
            });
    return new Sample(sample.ops, sample.took, handOver.median());
  }

  private static Sample put(Job j) throws Exception {
    byte[] item = new byte[100];
    AtomicLong done = new AtomicLong();
    Limit limit = new Limit(j);
    all(
        j.n,
        (i, unused) -> {
          SimpleDistributedQueue queue = new SimpleDistributedQueue(clients.get(i), j.path);
          int share = j.items * (i + 1) / j.n - j.items * i / j.n;
          for (; share > 0 && (j.time == 0 || !limit.over(0)); share--) {
            queue.offer(item);
            done.incrementAndGet();
          }
        });
    return new Sample(done.get(), System.nanoTime() - limit.start, 0);
  }

  private static Sample take(Job j) throws Exception {
    AtomicLong done = new AtomicLong();
    Limit limit = new Limit(j);
    all(
        j.n,
        (i, unused) -> {
          SimpleDistributedQueue queue = new SimpleDistributedQueue(clients.get(i), j.path);
          while ((j.time == 0 || !limit.over(0)) && queue.poll() != null) {
            done.incrementAndGet();
          }
        });
    return new Sample(done.get(), System.nanoTime() - limit.start, 0);
  }

  private static Sample watch(Job j) throws Exception {
    BlockingQueue<Integer> arrived = new ArrayBlockingQueue<>(4 * j.n);
    List<CuratorCache> caches = new ArrayList<>();
    for (int i = 1; i < j.n; i++) {
      CuratorCache cache = CuratorCache.build(clients.get(i), j.path, CuratorCache.Options.SINGLE_NODE_CACHE);
      caches.add(cache);
      cache
          .listenable()
          .addListener(
              CuratorCacheListener.builder()
                  .forCreatesAndChanges(
                      (before, now) -> {
                        try {
                          arrived.put(Integer.parseInt(new String(now.getData(), StandardCharsets.US_ASCII)));
                        } catch (NumberFormatException e) { // client 0 has not written yet
                          return;
                        } catch (InterruptedException e) {
                          Thread.currentThread().interrupt();
                        }
                      })
                  .build());
      cache.start();
    }
    Stopwatch watch = new Stopwatch();
    Limit limit = null;
    long done = 0;
    for (int k = 0; k == 0 || !limit.over(k); k++) {
      watch.start();
      clients.get(0).setData().forPath(j.path, Integer.toString(k).getBytes(StandardCharsets.US_ASCII));
      for (int left = j.n - 1; left > 0; ) {
        if (arrived.take() == k) {
          left--;
        }
      }
      if (k == 0) { // all clients watch now, so the measurement begins
        limit = new Limit(j);
      }
      if (limit.counts()) {
        watch.lap();
        done++;
      }
    }
    Sample sample = limit.sample(done, watch.median());
    caches.forEach(CuratorCache::close);
    return sample;
  }

  /** Each round has a separate path, so that members of the next round do not block those that leave. */
  private static Sample barrier(Job j) throws Exception {
    AtomicInteger last = new AtomicInteger(Integer.MAX_VALUE);
    AtomicLong rounds = new AtomicLong();
    Limit limit = new Limit(j);
    all(
        j.n,
        (i, unused) -> {
          for (int k = 0; ; k++) {
            if (limit.over(k)) {
              last.compareAndSet(Integer.MAX_VALUE, k);
            }
            if (k > last.get()) {
              return;
            }
            DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(clients.get(i), j.path + "/" + k, j.n);
            barrier.enter();
            barrier.leave();
            if (i == 0 && limit.counts()) {
              rounds.incrementAndGet();
            }
          }
        });
    return limit.sample(rounds.get(), 0);
  }

  private static Sample run(Job j) throws Exception {
    return switch (j.kind) {
      case "lock" -> lock(j);
      case "rwlock" -> readWrite(j);
      case "semaphore" -> semaphore(j);
      case "counter" -> count(j);
      case "election" -> elect(j);
      case "put" -> put(j);
      case "take" -> take(j);
      case "watch" -> watch(j);
      case "barrier" -> barrier(j);
      default -> throw new IllegalArgumentException("no jobs of kind " + j.kind);
    };
  }

  private static void open(String[] servers, int timeout, int n) throws Exception {
    for (int i = 0; i < n; i++) {
      CuratorFramework client =
          CuratorFrameworkFactory.newClient(servers[i % servers.length], timeout, timeout, new RetryForever(100));
      clients.add(client);
      client.start();
    }
    for (CuratorFramework client : clients) {
      client.blockUntilConnected();
    }
  }

  private static void close() throws Exception {
    all(clients.size(), (i, k) -> clients.get(i).close());
    clients.clear();
  }

  public static void main(String[] args) throws Exception {
    ObjectMapper json = new ObjectMapper();
    var hello = json.createObjectNode().put("type", "hello").put("protocol", 1);
    hello.putArray("operations").add("open").add("run").add("close");
    System.out.println(hello);
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null; ) {
      var request = json.readTree(line);
      String[] words = request.path("value").asText().split(" ");
      var reply = json.createObjectNode().put("type", "ok").put("id", request.get("id").asLong());
      try {
        switch (request.get("op").asText()) {
          case "open" -> open(words[0].split(","), Integer.parseInt(words[1]), Integer.parseInt(words[2]));
          case "run" -> {
            Sample sample = run(Job.of(words));
            reply.put("value", sample.ops + " " + sample.took + " " + sample.latency);
          }
          case "close" -> close();
          default -> reply.put("type", "fail");
        }
      } catch (Exception e) {
        e.printStackTrace();
        reply.put("type", "info").put("error", e.toString());
      }
      System.out.println(reply);
      System.out.flush();
    }
    System.exit(0);
  }
}
