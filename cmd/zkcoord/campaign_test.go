package main

import (
	"context"
	"errors"
	"testing"
)

// A campaign ends with the exit code of its most serious result. A violation is the most serious
// one. A run that failed comes second, and a run without a conclusion comes third. If a campaign is
// interrupted, the rest of it has no conclusion.
func TestCampaignEndsWithTheWorst(t *testing.T) {
	broken := errors.New("no servers")
	for _, c := range []struct {
		jobs        []error
		interrupted bool
		want        error
	}{
		{nil, false, nil},
		{[]error{nil, nil}, false, nil},
		{[]error{nil, codeError(exitUnknown), nil}, false, codeError(exitUnknown)},
		{[]error{codeError(exitUnknown), broken, nil}, false, codeError(exitFailed)},
		{[]error{codeError(exitInvalid), broken, codeError(exitUnknown)}, false, codeError(exitInvalid)},
		{[]error{nil, codeError(exitInvalid)}, true, codeError(exitUnknown)},
		{[]error{codeError(exitInvalid), nil}, true, codeError(exitInvalid)},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got := quietApp().campaign(jobs(ctx, c.jobs, func(err error) error {
			if c.interrupted {
				cancel() // during the first job
			}
			return err
		}))
		if got != c.want {
			t.Errorf("jobs %v, interrupted %v: got %v, want %v", c.jobs, c.interrupted, got, c.want)
		}
	}
}
