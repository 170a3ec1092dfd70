package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Stamp    string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
	Out      string      `xml:"system-out"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitMessage `xml:"failure"`
	Error   *junitMessage `xml:"error"`
	Skipped *junitMessage `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit is a JUnit file with a suite for each run. The zero value has no run.
type JUnit struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

// Add adds a run, but not its history.
func (j *JUnit) Add(r *harness.Result) { j.Suites = append(j.Suites, newSuite(r)) }

// Write writes the file.
func (j *JUnit) Write(w io.Writer) error { return writeXML(w, j) }

// The function `junit` returns a function that writes the suite of one run.
func junit(r *harness.Result) func(io.Writer) error {
	return func(w io.Writer) error { return writeXML(w, newSuite(r)) }
}

// newSuite returns a suite with a test case for each property. A violation is a failure. An
// optional property that was not exercised is skipped. An unknown verdict and any other property
// that was not exercised are errors.
func newSuite(r *harness.Result) junitSuite {
	suite := junitSuite{
		Name: r.Scenario, Tests: len(r.Results), Time: fmt.Sprintf("%.3f", r.Took.Seconds()),
		Stamp: r.Start.Format("2006-01-02T15:04:05"), Out: r.Summary(),
	}
	for _, one := range r.Results {
		c := junitCase{Class: "zkcoord." + r.Scenario, Name: one.ID + " " + one.Claim}
		message := &junitMessage{Message: one.Reason, Text: proof(one)}
		switch {
		case one.Verdict == checker.Valid:
		case one.Verdict == checker.Invalid:
			c.Failure = message
			suite.Failures++
		case one.Optional && one.Verdict == checker.NotExercised:
			c.Skipped = message
			suite.Skipped++
		default:
			c.Error = message
			suite.Errors++
		}
		suite.Cases = append(suite.Cases, c)
	}
	return suite
}

func writeXML(w io.Writer, v any) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	out := xml.NewEncoder(w)
	out.Indent("", "  ")
	return out.Encode(v)
}

func proof(one checker.Result) string {
	var b strings.Builder
	for _, e := range one.Events {
		fmt.Fprintf(&b, "#%d %v\n", e.Index, e)
	}
	return b.String()
}
