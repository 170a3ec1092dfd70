#!/bin/bash
# Starts one ZooKeeper server, configured by environment variables. It reads these variables of the
# official image: ZOO_MY_ID, ZOO_SERVERS, ZOO_TICK_TIME, ZOO_INIT_LIMIT, ZOO_SYNC_LIMIT,
# ZOO_MAX_CLIENT_CNXNS, ZOO_STANDALONE_ENABLED, ZOO_ADMINSERVER_ENABLED,
# ZOO_AUTOPURGE_PURGEINTERVAL, ZOO_AUTOPURGE_SNAPRETAINCOUNT, ZOO_4LW_COMMANDS_WHITELIST,
# ZOO_CFG_EXTRA, ZOO_DATA_DIR, ZOO_DATA_LOG_DIR, ZK_SERVER_HEAP, JVMFLAGS. It also reads
# ZOO_PRELOAD, a library that is preloaded into the JVM. The script works with the official image
# and with Debian's packages. The server is process 1, so it receives the signals that are sent to
# the container.
set -euo pipefail

# If there are arguments, run them as a command: docker run --rm -it IMAGE bash.
if [[ $# -gt 0 ]]; then exec "$@"; fi

conf=/tmp/zk-conf
data=${ZOO_DATA_DIR:-/data}
log=${ZOO_DATA_LOG_DIR:-/datalog}
# If the members of the ensemble can change, the server stores them in a file next to zoo.cfg. Then
# zoo.cfg is kept with the data, so that both files survive a restart.
[[ " ${ZOO_CFG_EXTRA:-} " != *" reconfigEnabled=true "* ]] || conf=$data/conf
mkdir -p "$conf" "$data" "$log"

# If the server has moved the members from zoo.cfg to that file, zoo.cfg names the file. Then the
# script does not write zoo.cfg again.
grep -qs ^dynamicConfigFile= "$conf/zoo.cfg" || {
  echo "dataDir=$data"
  echo "dataLogDir=$log"
  echo "tickTime=${ZOO_TICK_TIME:-2000}"
  echo "initLimit=${ZOO_INIT_LIMIT:-5}"
  echo "syncLimit=${ZOO_SYNC_LIMIT:-2}"
  echo "maxClientCnxns=${ZOO_MAX_CLIENT_CNXNS:-60}"
  echo "standaloneEnabled=${ZOO_STANDALONE_ENABLED:-true}"
  echo "admin.enableServer=${ZOO_ADMINSERVER_ENABLED:-true}"
  echo "autopurge.purgeInterval=${ZOO_AUTOPURGE_PURGEINTERVAL:-0}"
  echo "autopurge.snapRetainCount=${ZOO_AUTOPURGE_SNAPRETAINCOUNT:-3}"
  [[ -z ${ZOO_4LW_COMMANDS_WHITELIST:-} ]] || echo "4lw.commands.whitelist=$ZOO_4LW_COMMANDS_WHITELIST"
  # Both lists are split at spaces, because no address or setting contains a space.
  for setting in ${ZOO_CFG_EXTRA:-} ${ZOO_SERVERS:-server.1=localhost:2888:3888;2181}; do echo "$setting"; done
} > "$conf/zoo.cfg"

echo "${ZOO_MY_ID:-1}" > "$data/myid"

# Debian's ZooKeeper logs with log4j 1.2, the official image with logback. Each ignores the other's
# file.
cat > "$conf/log4j.properties" <<'LOG4J'
log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p [%t:%c{1}] %m%n
LOG4J
cat > "$conf/logback.xml" <<'LOGBACK'
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5p [%t:%logger{0}] %m%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
LOGBACK

if home=$(command -v zkServer.sh) && [[ -d $(dirname "$home")/../lib ]]; then
  classpath="$(dirname "$home")/../lib/*"
else
  # zookeeper.jar must be last. Its manifest adds jars of /usr/share/java to the class path, and
  # these would come before any jar that follows zookeeper.jar.
  classpath=
  for jar in zookeeper-jute slf4j-api slf4j-log4j12 log4j-1.2 netty-all netty-common netty-buffer netty-codec netty-handler \
    netty-resolver netty-transport netty-transport-native-unix-common netty-transport-native-epoll metrics-core snappy-java \
    commons-cli commons-io jackson-core jackson-annotations jackson-databind zookeeper; do
    classpath+=/usr/share/java/$jar.jar:
  done
fi

# The server does not need root. Only iptables does, and the harness runs it with docker exec. A
# node may get a new address when it restarts, so the JVM must not cache addresses.
run=()
if [[ $(id -u) == 0 ]]; then
  chown -R 1000:1000 "$data" "$log" "$conf"
  run=(setpriv --reuid=1000 --regid=1000 --clear-groups)
fi
# Preload the clock library only into the JVM. If setpriv loaded it as root, it would create shared
# memory that it could not open as another user.
[[ -z ${ZOO_PRELOAD:-} ]] || run+=(env LD_PRELOAD="$ZOO_PRELOAD")
# shellcheck disable=SC2086 # JVMFLAGS is a list of words.
exec "${run[@]}" java -Xmx"${ZK_SERVER_HEAP:-1000}m" -Dsun.net.inetaddr.ttl=0 -Dsun.net.inetaddr.negative.ttl=0 \
  ${JVMFLAGS:-} -cp "$conf:$classpath" org.apache.zookeeper.server.quorum.QuorumPeerMain "$conf/zoo.cfg"
