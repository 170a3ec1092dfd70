package main

import (
	"context"
	"iter"
	"slices"
)

// job is one part of a campaign: a run, or several that have one result. Its error is a codeError if the result has been
// reported already.
type job func() error

// campaign does one job after the other, and reports their errors. Its own error is the worst exit code.
func (a *app) campaign(jobs iter.Seq[job]) (err error) {
	for do := range jobs {
		err = a.worst(err, do())
	}
	return err
}

// each makes a job of each of all, until ctx ends: nothing is known of the rest.
func each[T any](ctx context.Context, all []T, do func(T) error) iter.Seq[job] {
	return func(yield func(job) bool) {
		for _, one := range all {
			if ctx.Err() != nil {
				yield(func() error { return codeError(exitUnknown) })
				return
			}
			if !yield(func() error { return do(one) }) {
				return
			}
		}
	}
}

// worst reports errors, and returns the most serious of their exit codes, nil for none. A violation outweighs what could not
// be run or stored, which outweighs that nothing can be concluded.
func (a *app) worst(errs ...error) error {
	rank := []int{exitValid, exitUnknown, exitFailed, exitInvalid}
	most := 0
	for _, err := range errs {
		most = max(most, slices.Index(rank, a.exit(err)))
	}
	if most == 0 {
		return nil
	}
	return codeError(rank[most])
}
