// Package report keeps the results of runs where people and machines find them.
//
// # Layout
//
//	store/<scenario>/<time>/     one run; the time is its start in UTC
//	    history.jsonl            every event, see package history
//	    history.txt              the same for people
//	    summary.txt              the 25 lines that were printed
//	    result.json              verdict of each property, with the proof
//	    faults.json              the plan, to be followed again
//	    report.html              the page: one file that needs nothing else
//	    junit.xml                a test case for each property
//	    test.go.txt              of a violation in virtual time: a Go test that fails the same way
//	    porcupine.html           of a violation after few operations: where porcupine's search for an order broke off
//	    node0.log ...            the ends of the nodes' logs, unless valid
//	store/<scenario>/latest      link to the newest run
//	store/latest                 link to the newest run of any scenario
//
// # Guarantees
//
// A file is there whole or not at all: each is written under another name and
// renamed. history.jsonl comes first, before any checker has run, so a run whose
// result.json is missing was ended while it was judged. Two runs at once never
// share a directory. Where latest leads to is never pruned.
package report
