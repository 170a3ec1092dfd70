// Package harness runs programs against a ZooKeeper ensemble while faults are injected into it. It
// then judges the results that the programs observed.
//
// A run has phases, which the history marks. First the ensemble starts and becomes healthy. Then
// clients work while the nemesis follows its plan of faults. Then everything is healed, and clients
// continue in calm so that liveness can be judged. Then clients finish the operations that they
// have begun. The run ends with final reads, a count of leftovers, the checks and the report.
// Safety is judged under every fault, liveness only after the heal.
//
// A [Scenario] is one value: the claim, the workload, the faults, and the checkers that decide.
// [Run] runs it on any ensemble, [RunT] runs it from a test. Everything that is drawn at random
// (the plan of faults, the choices of clients) is a function of the seed.
//
// # Clients
//
// A workload is ordinary Go code. Each client is a goroutine that gets a [Client]: its own proxy to
// the ensemble (for session.Options.Dial), its own random source, and the methods Do, Hold and
// Opened. These methods record the history in the form that checkers need. Any client type can be
// tested this way, including one from another module.
//
// # Verdict
//
// The verdict on a run combines the verdicts on its properties. Invalid outweighs Unknown, Unknown
// outweighs NotExercised, and NotExercised outweighs Valid. A run ends Unknown, with the reason, if
// a client or a checker panicked, if a fault was not healed, or if the run was interrupted. It ends
// NotExercised, for example, if nothing was granted or if no fault had an effect. Only a Valid run
// passes.
package harness
