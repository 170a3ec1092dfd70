package main

import (
	"context"
	"iter"
	"slices"
)

// A job is one part of a campaign: a run, or several runs with one result. The error of a job is a
// codeError if the result has already been reported.
type job func() error

// The method `campaign` runs jobs one after another and reports their errors. It returns the exit
// code of the most serious result as an error: see the method `worst`.
func (a *app) campaign(jobs iter.Seq[job]) (err error) {
	for do := range jobs {
		err = a.worst(err, do())
	}
	return err
}

// The function `jobs` returns an iterator over jobs, one for each element of `all`. If ctx ends
// early, the remaining elements get no jobs. One job with the exit code exitUnknown replaces them.
func jobs[T any](ctx context.Context, all []T, do func(T) error) iter.Seq[job] {
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

// The method `worst` reports errors and returns the most serious of their exit codes as an error,
// or nil. A violation is the most serious result. A run that failed or could not be stored comes
// second. A run without a conclusion comes third.
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
