// A lock with Curator, as a client of zkcoord: needs Java 17, Curator and Jackson on the class path.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Scanner;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.RetryForever;

public class Lock {
  static final ObjectMapper JSON = new ObjectMapper();

  static ObjectNode message(String type) {
    return JSON.createObjectNode().put("type", type);
  }

  static synchronized void say(ObjectNode message) {
    System.out.println(message);
  }

  public static void main(String[] args) throws Exception {
    int timeout = Integer.parseInt(System.getenv("ZKCOORD_SESSION_TIMEOUT_MS"));
    var client = CuratorFrameworkFactory.builder()
        .connectString(System.getenv("ZKCOORD_SERVERS"))
        .sessionTimeoutMs(timeout).connectionTimeoutMs(timeout).retryPolicy(new RetryForever(100))
        .ensembleTracker(false) // stay on the addresses given, through which faults are injected
        .build();
    client.getConnectionStateListenable().addListener((c, state) -> {
      if (!state.isConnected()) say(message("lost").put("error", state.toString()));
    });
    client.start();
    client.blockUntilConnected();
    var lock = new InterProcessMutex(client, System.getenv("ZKCOORD_PATH"));
    var hello = message("hello").put("protocol", 1);
    hello.putArray("operations").add("acquire").add("release");
    say(hello);
    for (var in = new Scanner(System.in); in.hasNextLine(); ) {
      JsonNode request = JSON.readTree(in.nextLine());
      ObjectNode reply = message("ok");
      try {
        switch (request.get("op").asText()) {
          case "acquire" -> {
            long wait = request.path("wait_ms").asLong(TimeUnit.DAYS.toMillis(1000));
            if (lock.acquire(wait, TimeUnit.MILLISECONDS)) {
              String node = lock.getParticipantNodes().iterator().next(); // the holder's comes first
              reply.put("node", node).put("token", client.checkExists().forPath(node).getCzxid());
            } else {
              reply = message("fail").put("error", "not in time");
            }
          }
          case "release" -> lock.release();
          default -> reply = message("fail").put("error", "unknown operation");
        }
      } catch (Exception e) { // the operation may have happened
        reply = message("info").put("error", e.toString());
      }
      say(reply.put("id", request.get("id").asLong()));
    }
    client.close();
    System.exit(0);
  }
}
