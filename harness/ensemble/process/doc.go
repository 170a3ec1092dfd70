// Package process runs a ZooKeeper ensemble of local JVMs: real servers without containers and
// without root. It needs Linux and a Java runtime (Debian: apt-get install
// openjdk-17-jre-headless). The function Find describes where ZooKeeper's jars come from.
//
// # How edges are cut
//
// No node has the real address of another node. In the configuration of node i, the addresses of
// node j are those of relays that carry only connections from i to j. So each direction of each
// connection between two nodes passes through a relay, which can stop it.
//
// One message could reveal the real address of a node, and so let a connection bypass the relays.
// When node i opens an election connection to node j, it first sends its own election address. If j
// is larger than i, node j replies by connecting to the address that it received. So the relay from
// i to j replaces the address in this message by the address of the relay from j to i.
//
// # Guarantees
//
// Everything listens on the loopback interface. The JVMs end when their parent process ends for any
// reason (PR_SET_PDEATHSIG). Close removes the data directory. The next Start removes the data
// directory of a killed run.
//
// # Not guaranteed
//
// A cut stops bytes, not packets. After the end of the cut, a stream that was stopped continues
// where it stopped. Connections that are opened during the cut are reset, while a network would let
// them time out.
//
// Unlike a cut, a pause of a node has the same effect on the other nodes as on a real network. This
// is true even if the buffers of the paused node's connections become full: the relays then stop
// reading, so the senders block.
package process
