import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;

/**
 * Clients of Curator for the harness, by the protocol of docs/client-protocol.md.
 *
 * <p>They use Curator's recipes as Curator's manual says.
 */
public final class Curator {
  private static final String PATH = System.getenv("ZKCOORD_PATH");
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final long FOREVER = TimeUnit.DAYS.toMillis(1000);

  /** A grant that the client holds, and that it can release. */
  private interface Grant {
    void release() throws Exception;
  }

  /** Acquires a grant, or returns null if it is not granted within the given milliseconds. */
  private interface Acquire {
    Grant within(long ms) throws Exception;
  }

  /** Carries out a request and completes the reply. */
  private interface Operation {
    void run(JsonNode request, ObjectNode reply) throws Exception;
  }

  private static Grant held;

  private static Operation acquires(CuratorFramework client, Acquire acquire) {
    return (request, reply) -> {
      held = acquire.within(wait(request));
      if (held == null) {
        reply.put("type", "fail").put("error", "not granted in time");
      } else {
        own(client, reply);
      }
    };
  }

  private static long wait(JsonNode request) {
    return request.path("wait_ms").asLong(FOREVER);
  }

  /** The operations of a recipe. */
  private static Map<String, Operation> recipe(CuratorFramework client, String name) {
    Map<String, Operation> does = new LinkedHashMap<>();
    Operation releases = (request, reply) -> held.release();
    switch (name) {
      case "lock":
        InterProcessMutex mutex = new InterProcessMutex(client, PATH);
        does.put("acquire", acquires(client, ms -> take(mutex, ms)));
        does.put("release", releases);
        break;
      case "rwlock":
        InterProcessReadWriteLock lock = new InterProcessReadWriteLock(client, PATH);
        does.put("acquire-read", acquires(client, ms -> take(lock.readLock(), ms)));
        does.put("acquire-write", acquires(client, ms -> take(lock.writeLock(), ms)));
        does.put("release", releases);
        break;
      case "election":
        does.put("campaign", acquires(client, ms -> lead(client, ms)));
        does.put("resign", releases);
        break;
      case "semaphore":
        int permits = Integer.parseInt(System.getenv("ZKCOORD_PERMITS"));
        var semaphore = new InterProcessSemaphoreV2(client, PATH, permits);
        does.put(
            "acquire-permit",
            acquires(
                client,
                ms -> {
                  var lease = semaphore.acquire(ms, TimeUnit.MILLISECONDS);
                  return lease == null ? null : () -> semaphore.returnLease(lease);
                }));
        does.put("release", releases);
        break;
      case "queue":
        queue(client, does);
        break;
      case "barrier":
        var barrier = new DistributedBarrier(client, PATH);
        does.put("set", (request, reply) -> barrier.setBarrier());
        does.put("remove", (request, reply) -> barrier.removeBarrier());
        does.put(
            "wait",
            (request, reply) -> {
              if (!barrier.waitOnBarrier(wait(request), TimeUnit.MILLISECONDS)) {
                reply.put("type", "fail").put("error", "not in time");
              }
            });
        break;
      case "group":
        group(client, does);
        break;
      case "counter":
        counters(client, does);
        break;
      default:
        throw new IllegalArgumentException(name);
    }
    return does;
  }

  private static void queue(CuratorFramework client, Map<String, Operation> does) {
    var queue = new SimpleDistributedQueue(client, PATH);
    does.put("put", (request, reply) -> queue.offer(bytes(request.get("value").asText())));
    does.put(
        "take",
        (request, reply) -> {
          byte[] item =
              wait(request) == 0 ? queue.poll() : queue.poll(wait(request), TimeUnit.MILLISECONDS);
          if (item != null) {
            reply.put("value", new String(item, StandardCharsets.UTF_8));
          }
        });
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  /** Curator's GroupMember lists from a cache, which is not fresh. */
  private static void group(CuratorFramework client, Map<String, Operation> does) {
    var member = new GroupMember[1];
    does.put(
        "join",
        (request, reply) -> {
          member[0] = new GroupMember(client, PATH, request.get("value").asText());
          member[0].start();
        });
    does.put("leave", (request, reply) -> member[0].close());
    does.put(
        "members",
        (request, reply) -> {
          if (member[0] == null || request.path("fresh").asBoolean()) {
            reply.put("type", "fail").put("error", "Curator has no such operation");
            return;
          }
          member[0].getCurrentMembers().keySet().forEach(reply.putArray("members")::add);
        });
  }

  private static void counters(CuratorFramework client, Map<String, Operation> does) {
    Map<String, DistributedAtomicLong> open = new HashMap<>();
    does.put(
        "add",
        (request, reply) -> {
          var counter = counter(client, open, request);
          answer(counter.add(request.get("value").asLong()), reply);
        });
    does.put("get", (request, reply) -> answer(counter(client, open, request).get(), reply));
  }

  private static DistributedAtomicLong counter(
      CuratorFramework client, Map<String, DistributedAtomicLong> open, JsonNode request) {
    return open.computeIfAbsent(
        request.get("name").asText(),
        name -> new DistributedAtomicLong(client, PATH + "/" + name, new RetryForever(5)));
  }

  private static void answer(AtomicValue<Long> value, ObjectNode reply) {
    if (value.succeeded()) {
      reply.put("value", value.postValue().toString());
    } else {
      reply.put("type", "fail").put("error", "not succeeded");
    }
  }

  private static Grant take(InterProcessLock lock, long ms) throws Exception {
    return lock.acquire(ms, TimeUnit.MILLISECONDS) ? lock::release : null;
  }

  private static Grant lead(CuratorFramework client, long ms) throws Exception {
    LeaderLatch latch = new LeaderLatch(client, PATH);
    latch.start();
    if (latch.await(ms, TimeUnit.MILLISECONDS)) {
      return latch::close;
    }
    latch.close();
    return null;
  }

  /** Adds the session's own znode to the reply, because not every recipe returns it. */
  private static void own(CuratorFramework client, ObjectNode reply) throws Exception {
    String dir = System.getenv("ZKCOORD_RECIPE").equals("semaphore") ? PATH + "/leases" : PATH;
    long session = client.getZookeeperClient().getZooKeeper().getSessionId();
    for (String name : client.getChildren().forPath(dir)) {
      var stat = client.checkExists().forPath(dir + "/" + name);
      if (stat != null && stat.getEphemeralOwner() == session) {
        reply.put("token", stat.getCzxid()).put("node", dir + "/" + name);
        return;
      }
    }
    throw new IllegalStateException("granted, but the node of the lock does not exist");
  }

  private static synchronized void say(ObjectNode message) {
    System.out.println(message);
    System.out.flush();
  }

  private static ObjectNode message(String type) {
    return JSON.createObjectNode().put("type", type);
  }

  private static void listen(CuratorFramework client, ConnectionState state) {
    if (state == ConnectionState.SUSPENDED || state == ConnectionState.LOST) {
      say(message("lost").put("error", "connection state " + state));
    }
  }

  public static void main(String[] args) throws Exception {
    int timeout = Integer.parseInt(System.getenv("ZKCOORD_SESSION_TIMEOUT_MS"));
    CuratorFramework client =
        CuratorFrameworkFactory.builder()
            .connectString(System.getenv("ZKCOORD_SERVERS"))
            .sessionTimeoutMs(timeout)
            .connectionTimeoutMs(timeout)
            .retryPolicy(new RetryForever(100))
            .ensembleTracker(false) // stay on the addresses given, through which faults are injected
            .build();
    client.getConnectionStateListenable().addListener(Curator::listen);
    client.start();
    client.blockUntilConnected(30, TimeUnit.SECONDS);
    Map<String, Operation> does = recipe(client, System.getenv("ZKCOORD_RECIPE"));
    ObjectNode hello = message("hello").put("protocol", 1);
    does.keySet().forEach(hello.putArray("operations")::add);
    say(hello);

    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null; ) {
      JsonNode request = JSON.readTree(line);
      Operation operation = does.get(request.get("op").asText());
      ObjectNode reply = message("ok");
      try {
        if (operation == null) {
          reply = message("fail").put("error", "unknown operation");
        } else {
          operation.run(request, reply);
        }
      } catch (Exception e) { // the outcome is not known
        reply = message("info").put("error", e.toString());
      }
      say(reply.put("id", request.get("id").asLong()));
    }
    client.close();
    System.exit(0);
  }
}
