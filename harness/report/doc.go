// Package report stores the results of runs, for people and for programs.
//
// # Layout
//
//	store/<scenario>/<time>/     one run; the time is its start in UTC
//	    history.jsonl            every event, see package history
//	    history.txt              the same for people
//	    summary.txt              the lines that were printed, at most 25
//	    result.json              verdict of each property, with the proof
//	    faults.json              the plan, for another run
//	    report.html              the page, one file
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
// A file is complete or absent: it is written under another name and then renamed. history.jsonl is
// written first, before any checker has run. So if result.json is missing, the run is still being
// judged, or it ended before it was judged. Two runs never share a directory. The targets of latest
// are never pruned.
package report
