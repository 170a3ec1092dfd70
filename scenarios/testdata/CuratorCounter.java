import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.retry.RetryNTimes;

/** Adds 1 to a counter of Curator: CuratorCounter SERVERS PATH TIMES. It prints the last value. */
public class CuratorCounter {
  public static void main(String[] args) throws Exception {
    try (CuratorFramework client = CuratorFrameworkFactory.newClient(args[0], new RetryNTimes(100, 100))) {
      client.start();
      client.blockUntilConnected();
      DistributedAtomicLong counter = new DistributedAtomicLong(client, args[1], new RetryNTimes(1000, 5));
      for (int i = Integer.parseInt(args[2]); i > 0; i--) {
        if (!counter.increment().succeeded()) {
          throw new IllegalStateException("an increment did not succeed");
        }
      }
      System.out.println(counter.get().postValue());
    }
  }
}
