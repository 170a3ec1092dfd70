package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A job is a piece of work to be done once.
type job struct{ ID, Input string }

// The constant `attempts` is how often a job is tried before it becomes a dead letter.
const attempts = 3

// A workqueue is a queue of jobs, with the outputs of finished jobs.
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

// The method `put` adds one job for each argument, which has the form ID=INPUT.
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

// The method `output` returns the output of a finished job.
func (w workqueue) output(ctx context.Context, id string) ([]byte, error) {
	v, err := w.s.Get(ctx, w.outputs+"/"+id)
	return v.Data, err
}

// The method `work` does jobs until ctx or the session ends.
func (w workqueue) work(ctx context.Context, do func(ctx context.Context, input string) ([]byte, error)) error {
	// The znode of the outputs is persistent. It is not a container, because the servers would
	// delete a container while it is empty.
	if err := recipe.Ensure(ctx, w.s, w.outputs, nil, session.Persistent); err != nil {
		return err
	}
	for {
		name := ""
		err := w.jobs.Do(ctx, func(ctx context.Context, claim *queue.Claim[job]) error {
			name = fmt.Sprintf("job %s, attempt %d", claim.Value().ID, claim.Attempt())
			output, err := do(ctx, claim.Value().Input)
			if err == nil {
				err = claim.Ack(ctx, session.CreateOp{Path: w.outputs + "/" + claim.Value().ID, Data: output})
			}
			if errors.Is(err, session.ErrNodeExists) {
				return nil // the same job was put twice: Do acks it without a second output
			}
			return err
		})
		switch {
		case name == "":
			return err // no job was claimed before ctx or the session ended
		case err != nil:
			log.Printf("%s: %v", name, err)
		}
	}
}
