import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
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
 * One client of Curator for the harness: it takes a command a line and answers with a line. See peers.go.
 *
 * <p>Arguments: the connect string, the session timeout in milliseconds, the path, the recipe.
 */
public final class Curator {
  /** What a recipe grants, until it is released. */
  private interface Grant {
    void release() throws Exception;
  }

  /** A recipe, asked for what the command wants of it. */
  private interface Recipe {
    Grant acquire(String want) throws Exception;
  }

  private static Recipe recipe(CuratorFramework client, String path, String name) throws Exception {
    switch (name) {
      case "mutex":
        InterProcessMutex mutex = new InterProcessMutex(client, path);
        return want -> take(mutex);
      case "rwlock":
        InterProcessReadWriteLock lock = new InterProcessReadWriteLock(client, path);
        return want -> take(want.equals("read") ? lock.readLock() : lock.writeLock());
      case "leader":
        return want -> {
          LeaderLatch latch = new LeaderLatch(client, path);
          latch.start();
          latch.await();
          return latch::close;
        };
    }
    InterProcessSemaphoreV2 semaphore =
        new InterProcessSemaphoreV2(client, path, Integer.parseInt(name.substring("semaphore=".length())));
    return want -> {
      var lease = semaphore.acquire();
      return () -> semaphore.returnLease(lease);
    };
  }

  private static Grant take(InterProcessLock lock) throws Exception {
    lock.acquire();
    return lock::release;
  }

  /** The session's own node in a directory, with its czxid: not every recipe tells it. */
  private static String own(CuratorFramework client, String dir) throws Exception {
    long session = client.getZookeeperClient().getZooKeeper().getSessionId();
    for (String name : client.getChildren().forPath(dir)) {
      var stat = client.checkExists().forPath(dir + "/" + name);
      if (stat != null && stat.getEphemeralOwner() == session) {
        return stat.getCzxid() + " " + dir + "/" + name;
      }
    }
    throw new IllegalStateException("granted, but the node is not there");
  }

  private static synchronized void say(String line) {
    System.out.println(line);
    System.out.flush();
  }

  public static void main(String[] args) throws Exception {
    int timeout = Integer.parseInt(args[1]);
    CuratorFramework client =
        CuratorFrameworkFactory.newClient(args[0], timeout, timeout, new RetryForever(100));
    client
        .getConnectionStateListenable()
        .addListener(
            (c, state) -> {
              if (state == ConnectionState.SUSPENDED || state == ConnectionState.LOST) {
                say("lost " + state);
              }
            });
    client.start();
    client.blockUntilConnected(30, TimeUnit.SECONDS);
    var zk = client.getZookeeperClient().getZooKeeper();
    say("ready " + zk.getSessionId() + " " + HexFormat.of().formatHex(zk.getSessionPasswd()));

    Recipe recipe = recipe(client, args[2], args[3]);
    String dir = args[3].startsWith("semaphore") ? args[2] + "/leases" : args[2];
    Grant grant = null;
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null; ) {
      String[] words = line.split(" ", 2);
      try {
        switch (words[0]) {
          case "acquire" -> {
            grant = recipe.acquire(words[1]);
            say("acquired " + own(client, dir));
          }
          case "release" -> {
            grant.release();
            say("released");
          }
          default -> say("error unknown command");
        }
      } catch (Exception e) {
        say("error " + e);
      }
    }
    client.close();
  }
}
