// Package museum reproduces known bugs of ZooKeeper on real servers. It has only
// tests and exports nothing. Each test of a bug runs the same steps on a release that
// has the bug and on one that has not, and shows that the bug appears on the first
// alone:
//
//	go test ./internal/museum -exhibits -run 4925 -v
//
// Without the flag the tests are skipped, because each takes about half a minute.
//
// A harness that cannot produce what is known to be wrong proves nothing when it finds
// nothing. The steps need what the harness needs anyway: servers that are killed, paused
// and cut off at the right moment, slow edges, and disks that lose what was not synced.
package museum
