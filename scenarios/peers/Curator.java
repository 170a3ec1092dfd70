import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;

/**
 * One client of Curator for the harness: it takes a command a line and answers with a line. See peers.go.
 *
 * <p>Arguments: the connect string, the session timeout in milliseconds, the path of the lock.
 */
public final class Curator {
  /** A mutex that tells the path of its node. */
  private static final class Mutex extends InterProcessMutex {
    Mutex(CuratorFramework client, String path) {
      super(client, path);
    }

    String node() {
      return getLockPath();
    }
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

    Mutex mutex = new Mutex(client, args[2]);
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null; ) {
      try {
        switch (line) {
          case "acquire" -> {
            mutex.acquire();
            String node = mutex.node();
            say("acquired " + client.checkExists().forPath(node).getCzxid() + " " + node);
          }
          case "release" -> {
            mutex.release();
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
