// Package harness runs programs against a ZooKeeper ensemble while it is being
// broken, and judges what they were told.
//
// A run has phases, which the history marks: the ensemble is up and healthy;
// clients work while the nemesis follows its plan; everything is healed; clients
// go on in calm, so that liveness can be judged; they finish what they have
// begun; final reads and counts of what was left behind; checks; report.
// Safety is judged under every fault, liveness only after the heal.
//
// A [Scenario] is one value: what is claimed, the workload, the faults, and the
// checkers that decide. [Run] runs it on any ensemble, [RunT] from a test.
// Everything that is drawn (the plan of faults, the choices of clients) is a
// function of the seed.
//
// # Clients
//
// A workload is ordinary Go code. Each client is a goroutine that gets a
// [Client]: its own proxy to the ensemble (for session.Options.Dial), its own
// random source, and the recorder behind Do, Hold and Opened, which keep the
// rules of a history by construction. Any client type can be tested so, also
// from outside of this module.
//
// # Verdict
//
// Invalid outweighs Unknown outweighs Valid. A run in which nothing was granted,
// a fault that never bit, a client that panicked, a checker that panicked, a run
// that was interrupted: all end Unknown with the reason, and never pass.
package harness
