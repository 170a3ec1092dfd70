import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;

/**
 * Clients of Curator for the harness, by the protocol of docs/client-protocol.md.
 *
 * <p>Curator's recipes, as a program that does what Curator's manual says uses them.
 */
public final class Curator {
  private static final String PATH = System.getenv("ZKCOORD_PATH");
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final long FOREVER = TimeUnit.DAYS.toMillis(1000);

  /** What a recipe grants, until it is released. */
  private interface Grant {
    void release() throws Exception;
  }

  /** A recipe, of which an operation acquires something: null if not within so many milliseconds. */
  private interface Acquire {
    Grant within(String operation, long ms) throws Exception;
  }

  /** A recipe, with the operations that acquire and the one that releases. */
  private record Recipe(List<String> operations, Acquire acquire) {}

  private static Recipe recipe(CuratorFramework client, String name) {
    switch (name) {
      case "lock":
        InterProcessMutex mutex = new InterProcessMutex(client, PATH);
        return new Recipe(List.of("acquire", "release"), (op, ms) -> take(mutex, ms));
      case "rwlock":
        InterProcessReadWriteLock lock = new InterProcessReadWriteLock(client, PATH);
        return new Recipe(
            List.of("acquire-read", "acquire-write", "release"),
            (op, ms) -> take(op.equals("acquire-read") ? lock.readLock() : lock.writeLock(), ms));
      case "election":
        return new Recipe(List.of("campaign", "resign"), (op, ms) -> lead(client, ms));
      case "semaphore":
        int permits = Integer.parseInt(System.getenv("ZKCOORD_PERMITS"));
        var semaphore = new InterProcessSemaphoreV2(client, PATH, permits);
        return new Recipe(
            List.of("acquire-permit", "release"),
            (op, ms) -> {
              var lease = semaphore.acquire(ms, TimeUnit.MILLISECONDS);
              return lease == null ? null : () -> semaphore.returnLease(lease);
            });
      default:
        throw new IllegalArgumentException(name);
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

  /** The session's own node in a directory: not every recipe tells it. */
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
    Recipe recipe = recipe(client, System.getenv("ZKCOORD_RECIPE"));
    ObjectNode hello = message("hello").put("protocol", 1);
    recipe.operations().forEach(hello.putArray("operations")::add);
    say(hello);

    String releases = recipe.operations().get(recipe.operations().size() - 1);
    Grant grant = null;
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null; ) {
      JsonNode request = JSON.readTree(line);
      String op = request.get("op").asText();
      ObjectNode reply = message("ok");
      try {
        if (op.equals(releases)) {
          grant.release();
        } else if (!recipe.operations().contains(op)) {
          reply = message("fail").put("error", "unknown operation");
        } else {
          grant = recipe.acquire().within(op, request.path("wait_ms").asLong(FOREVER));
          if (grant == null) {
            reply = message("fail").put("error", "not granted in time");
          } else {
            own(client, reply);
          }
        }
      } catch (Exception e) { // what became of it is not known
        reply = message("info").put("error", e.toString());
      }
      say(reply.put("id", request.get("id").asLong()));
    }
    client.close();
    System.exit(0);
  }
}
