// Package process runs a ZooKeeper ensemble as local JVMs: real servers without containers and without root. It needs
// Linux, a Java runtime and ZooKeeper's jars (Debian: apt-get install zookeeper openjdk-17-jre-headless).
//
// # How links are cut
//
// No node knows where another one listens. In the configuration of node i, the addresses of node j are those of a proxy
// that serves only this pair, so that there are two streams for every two nodes and one place to stop each direction of each.
// One message tells addresses behind the proxies' back: a node opens an election connection with its own election
// address, and a node of a higher number answers by connecting to that one. The proxy puts its own in its place.
//
// # Guarantees
//
// Everything listens on the loopback interface. The JVMs end when their parent ends, however it ends (PR_SET_PDEATHSIG).
// Close removes the directory of the data; that of a killed run is removed by the next Start.
//
// # Not guaranteed
//
// A cut stops bytes, not packets: a stream that was held goes on where it stopped when the cut is mended, and connections that
// are opened meanwhile are reset, where a network would let them time out. A node that is paused with its connections full
// is the same as on a network.
package process
