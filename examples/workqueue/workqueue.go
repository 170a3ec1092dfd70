package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// A job is what is to be done once.
type job struct{ ID, Input string }

// attempts is how often a job is tried.
const attempts = 3

// A workqueue is a queue of jobs, and the outputs of those that are done.
type workqueue struct {
	s       *session.Session
	jobs    *queue.Queue[job]
	outputs string
}

func open(s *session.Session, path string) workqueue {
	return workqueue{
		s:       s,
		jobs:    queue.New(s, path+"/jobs", queue.Options[job]{MaxAttempts: attempts}),
		outputs: path + "/outputs",
	}
}

// put adds jobs, given as id=input.
func (w workqueue) put(ctx context.Context, args []string) error {
	var jobs []job
	for _, arg := range args {
		id, input, ok := strings.Cut(arg, "=")
		if !ok || id == "" || strings.Contains(id, "/") {
			return fmt.Errorf("%q is not of the form ID=INPUT", arg)
		}
		jobs = append(jobs, job{id, input})
	}
	return w.jobs.Put(ctx, jobs...)
}

// output is that of a job that is done.
func (w workqueue) output(ctx context.Context, id string) ([]byte, error) {
	v, err := w.s.Get(ctx, w.outputs+"/"+id)
	return v.Data, err
}

// work does jobs until ctx or the session ends.
func (w workqueue) work(ctx context.Context, do func(ctx context.Context, input string) ([]byte, error)) error {
	if err := w.prepare(ctx); err != nil {
		return err
	}
	for {
		claim, err := w.jobs.Claim(ctx)
		if err != nil {
			return err
		}
		if err := w.settle(ctx, claim, do); err != nil {
			log.Printf("job %s, attempt %d: %v", claim.Value().ID, claim.Attempt(), err)
		}
	}
}

// prepare makes the directory of outputs, which stays while it is empty.
func (w workqueue) prepare(ctx context.Context) error {
	if err := w.s.CreateParents(ctx, w.outputs); err != nil {
		return err
	}
	_, err := w.s.Create(ctx, w.outputs, nil, session.Persistent)
	if errors.Is(err, zk.ErrNodeExists) {
		return nil
	}
	return err
}

// settle does the job of one claim and ends the claim.
func (w workqueue) settle(ctx context.Context, claim *queue.Claim[job], do func(context.Context, string) ([]byte, error)) error {
	output, err := do(claim.Context(), claim.Value().Input)
	if err != nil {
		return errors.Join(err, claim.Release(ctx))
	}
	err = claim.Ack(ctx, session.CreateOp{Path: w.outputs + "/" + claim.Value().ID, Data: output, Mode: session.Persistent})
	if errors.Is(err, zk.ErrNodeExists) {
		return claim.Ack(ctx) // the same job was put twice
	}
	return err
}
