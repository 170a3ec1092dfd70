// Package container runs a ZooKeeper ensemble in containers: real servers, real clocks, a kernel's network between them.
//
// # Guarantees
//
// Close, a failed Start and an ended context leave no container, network or volume. What a killed run left is removed by
// the next Start on the same machine; what belongs to a run that lives is not touched. Ports are published
// on the loopback interface; for a program in a container of an engine outside, on its own gateway. Data survive Kill and Start
// of any nodes, since the volumes go only with the container.
//
// # Not guaranteed
//
// A cut drops packets between containers, so TCP notices by its own time-outs, as behind a dead switch. It is put up within
// some 60 ms a node, on all nodes at once, not at one instant.
//
// With an engine on another machine, or TESTCONTAINERS_HOST_OVERRIDE set, to anything but loopback, ports are published on all
// addresses of the engine's machine, and the servers ask nobody for a password.
//
// # Testcontainers
//
// Containers are made with testcontainers-go. Its reaper is switched off, because the reaper is an image of its own that only
// a registry has: labels and the sweep at Start do its work. Its way to find the engine's address takes the gateway when the
// program itself runs in a container, which is wrong if the engine runs there too: see dialHost. TESTCONTAINERS_HOST_OVERRIDE
// is honoured and settles it. Set to the gateway, it also serves where the engine cannot publish on that address.
package container
