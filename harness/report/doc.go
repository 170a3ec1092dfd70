// Package report stores the results of runs, for people and for programs.
//
// # Layout
//
//	store/<scenario>/<time>/     one run; the time is its start in UTC
//	    history.jsonl            every event, see package history
//	    history.txt              the same events for people
//	    summary.txt              the lines that were printed, at most 25
//	    result.json              verdict of each property, with the proof
//	    faults.json              the plan of the faults, for another run
//	    report.html              the page of the run, as one file
//	    junit.xml                a test case for each property
//	    test.go.txt              for a violation on the embedded ensemble: a Go test that repeats the run in virtual time
//	    porcupine.html           for a violation after few operations: where the checker porcupine stopped
//	    lease.jsonl              what sessions in this process reported about their leases
//	    node0.log ...            the ends of the nodes' logs, unless the verdict is valid
//	    client0.log ...          the ends of the standard error of clients' own processes
//	store/<scenario>/latest      link to the newest run
//	store/latest                 link to the newest run of any scenario
//
// # Guarantees
//
// Each file is complete or absent, because the package writes it under another name and then
// renames it. The package writes history.jsonl first, before any checker has run. So if result.json
// is missing, the run is still being judged, or the run ended before it was judged. Two runs never
// share a directory. Runs to which a link named latest points are never pruned.
package report
