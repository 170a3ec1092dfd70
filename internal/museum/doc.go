// Package museum reproduces known bugs of ZooKeeper on real servers. It has only tests. A test runs
// the same steps on releases that have the bug, and on a release without the bug if there is one.
// The test fails unless the bug appears on exactly the releases that have it. For example, this
// command runs one test:
//
//	go test ./internal/museum -exhibits -run 4925 -v
//
// Without the flag the tests are skipped, because each takes about half a minute.
//
// A harness that cannot reproduce known bugs proves nothing when it finds no bug. The steps use
// faults that the harness also injects in its runs: it can kill, pause and cut off servers, slow
// down edges, and drop unsynced data from disks.
package museum
