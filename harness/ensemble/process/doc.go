// Package process runs a ZooKeeper ensemble of local JVMs: real servers without containers and
// without root. It needs Linux and a Java runtime (Debian: apt-get install
// openjdk-17-jre-headless). Find describes where it gets ZooKeeper's jars.
//
// # How edges are cut
//
// No node has the real address of another node. In the configuration of node i, the addresses of
// node j are those of proxies that carry only connections from i to j. So each direction of each
// connection between two nodes passes through a proxy, which can stop it.
//
// One message could carry a real address past the proxies: a node opens an election connection with
// its own election address, and a node with a higher number replies by connecting to that address.
// The proxy replaces the address with that of the proxy in the opposite direction.
//
// # Guarantees
//
// Everything listens on the loopback interface. The JVMs end when their parent process ends for any
// reason (PR_SET_PDEATHSIG). Close removes the data directory. The next Start removes the data
// directory of a killed run.
//
// # Not guaranteed
//
// A cut stops bytes, not packets. After the cut is restored, a stream that was stopped continues
// where it stopped. Connections that are opened during the cut are reset, while a network would let
// them time out. A node that is paused with full connections behaves the same as on a network.
package process
