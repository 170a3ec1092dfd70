// Package container runs a ZooKeeper ensemble in containers: real servers with real clocks,
// connected by the kernel's network.
//
// # Guarantees
//
// Close, a failed Start and an ended context leave no container, network or volume. The next Start
// on the same machine removes the leftovers of a killed run. It removes nothing of a live run.
// Ports are published on the loopback interface. If the program itself runs in a container and the
// engine runs outside of that container, ports are published on the program's gateway. Data survive
// Kill and Start of any nodes, because the volumes are removed only together with the container.
//
// # Not guaranteed
//
// A cut drops packets between containers, like a broken switch. So TCP detects a cut only by
// timeouts. A cut is applied to all nodes concurrently. It takes effect on each node within some 60
// ms, but not on all nodes at the same instant.
//
// If the engine runs on another machine, or if TESTCONTAINERS_HOST_OVERRIDE is set, ports are
// published on all addresses of the engine's machine, because this package does not know at which
// of these addresses the program reaches the ports. There is one exception: if
// TESTCONTAINERS_HOST_OVERRIDE names the loopback host, ports are published on loopback only. The
// servers require no password, so anyone who reaches a port can use the server.
//
// # Testcontainers
//
// Containers are created with testcontainers-go. Its reaper is switched off, because the reaper is
// a separate image that must come from a registry. Instead, labels on all containers, networks and
// separate volumes name the process that created them. Each Start removes those whose process has
// ended.
//
// If the program itself runs in a container, testcontainers-go assumes that the engine has the
// gateway's address. This assumption is wrong if the engine runs in the same container as the
// program: see dialHost.
//
// TESTCONTAINERS_HOST_OVERRIDE names the host at which the program reaches the ports, in place of
// the host that testcontainers-go or dialHost would choose. Unless it names the loopback host,
// ports are then published on all addresses. So if the engine cannot publish ports on the gateway's
// address, set TESTCONTAINERS_HOST_OVERRIDE to the gateway: the program still connects to the
// gateway, but the engine need not publish ports on that address alone.
package container
