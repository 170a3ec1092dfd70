package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"go.opentelemetry.io/otel/codes"
	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/process"
	"github.com/zkcoord/zkcoord/internal/procs"
	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/session/sessionotel"
)

const (
	timeout  = 4 * time.Second // of sessions
	claimFor = 3 * time.Second
	lockPath = "/locks/invoices"
)

// A run is an ensemble and the recorder of its clients' spans.
type run struct {
	*recorder
	*process.Ensemble
	servers []string // real addresses, by node
	hooks   session.Tracer
}

// The function `recorded` starts an ensemble, runs f, and returns the spans that have ended. The
// ensemble's SyncLimit is 20 ticks, which is 10 s. So a follower that has lost its leader serves
// clients for 10 s, as it does with ZooKeeper's defaults.
func recorded(ctx context.Context, f func(ctx context.Context, r *run) error) (spans []span, err error) {
	e, err := process.Start(ctx, process.Options{Config: ensemble.Config{SyncLimit: 20}, Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close(ctx)) }()
	r := &run{recorder: newRecorder(), Ensemble: e}
	r.hooks = sessionotel.Traces(r.tracer)
	if r.servers, err = ensemble.Addresses(ctx, e); err != nil {
		return nil, err
	}
	if err := f(ctx, r); err != nil {
		return nil, err
	}
	return r.ended(), nil
}

// The method `client` runs f with a session at the given node, in a separate trace.
func (r *run) client(ctx context.Context, name string, node int, f func(ctx context.Context, s *session.Session) error) error {
	s, err := session.Open(ctx, session.Options{Servers: r.servers[node : node+1], Timeout: timeout, Tracer: r.hooks})
	if err != nil {
		return err
	}
	ctx, span := r.tracer.Start(ctx, name)
	err = f(ctx, s)
	span.End()
	return errors.Join(err, s.Close())
}

// The method `fault` runs f, which breaks something, within a span that shows the fault.
func (r *run) fault(ctx context.Context, name string, f func() error) error {
	_, span := r.tracer.Start(ctx, faultPrefix+name)
	defer span.End()
	return f()
}

// faultPrefix begins the names of spans that are faults.
const faultPrefix = "fault: "

// isolatedFollower isolates the follower to which the holder is connected, until another client
// holds the lock.
func isolatedFollower(ctx context.Context) ([]span, error) {
	return recorded(ctx, func(ctx context.Context, r *run) error {
		leader, err := r.Leader(ctx)
		if err != nil {
			return err
		}
		follower := (leader + 1) % len(r.servers)
		holding, granted := make(chan struct{}), make(chan struct{})
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error {
			return lost(session.ErrLeaseLapsed, r.client(ctx, "A", follower, func(ctx context.Context, s *session.Session) error {
				return lock.NewMutex(s, lockPath, lock.Options{}).Do(ctx, func(held context.Context, _ *lock.Grant) error {
					close(holding)
					<-held.Done()
					return nil
				})
			}))
		})
		group.Go(func() error {
			<-holding
			return r.client(ctx, "B", leader, func(ctx context.Context, s *session.Session) error {
				return lock.NewMutex(s, lockPath, lock.Options{}).Do(ctx, func(ctx context.Context, _ *lock.Grant) error {
					close(granted)
					times.Sleep(ctx, 2*time.Second)
					return nil
				})
			})
		})
		group.Go(func() error {
			<-holding
			times.Sleep(ctx, 2*time.Second)
			var edges []ensemble.Edge
			for node := range r.servers {
				if node != follower {
					edges = append(edges, ensemble.Edge{From: node, To: follower}, ensemble.Edge{From: follower, To: node})
				}
			}
			return r.fault(ctx, "the follower of A is cut off", func() error {
				err := r.Cut(ctx, edges...)
				select {
				case <-granted:
				case <-ctx.Done():
				}
				times.Sleep(ctx, time.Second)
				return errors.Join(err, r.Mend(ctx))
			})
		})
		return group.Wait()
	})
}

// The function `lost` returns nil if err is the expected loss.
func lost(expected, err error) error {
	if err == nil {
		return fmt.Errorf("traces: got no error, want %w", expected)
	}
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// The function pausedProcess starts a process, which acquires the lock and is then stopped. This
// process gets two environment variables: the file to write, and the addresses of the servers. It
// prints holdsLine when it holds the lock.
const (
	pausedMark    = "ZKCOORD_TRACES_FILE"
	pausedServers = "ZKCOORD_TRACES_SERVERS"
	holdsLine     = "holds"
)

// pausedProcess stops the holder's process, and resumes it when another client has written.
func pausedProcess(ctx context.Context) ([]span, error) {
	dir, err := os.MkdirTemp("", "traces")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "account")
	var other []span
	own, err := recorded(ctx, func(ctx context.Context, r *run) error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		a := exec.Command(self)
		a.Env = append(os.Environ(), pausedMark+"="+file, pausedServers+"="+strings.Join(r.servers, ","))
		goOn, in, err := os.Pipe()
		if err != nil {
			return err
		}
		out, text, err := os.Pipe()
		if err != nil {
			return err
		}
		defer out.Close()
		a.Stdin, a.Stdout, a.Stderr = goOn, text, os.Stderr
		child, err := procs.Start(a)
		if err != nil {
			return err
		}
		defer child.Kill()
		text.Close()
		goOn.Close()
		lines := bufio.NewReader(out)
		if line, err := lines.ReadString('\n'); err != nil || line != holdsLine+"\n" {
			return fmt.Errorf("traces: process A: got %q, error %v; want %q", line, err, holdsLine+"\n")
		}
		granted, done := make(chan struct{}), make(chan error, 1)
		go func() {
			done <- r.client(ctx, "B", 0, func(ctx context.Context, s *session.Session) error {
				return lock.NewMutex(s, lockPath, lock.Options{}).Do(ctx, func(ctx context.Context, g *lock.Grant) error {
					close(granted)
					err := r.writeFile(ctx, file, fence.TokenOf(g))
					times.Sleep(ctx, 4*time.Second)
					return err
				})
			})
		}()
		times.Sleep(ctx, 2*time.Second)
		err = r.fault(ctx, "the process of A is stopped", func() error {
			err := child.Stop(ctx)
			select {
			case <-granted:
			case <-ctx.Done():
			}
			times.Sleep(ctx, 2*time.Second)
			return errors.Join(err, in.Close(), child.Continue())
		})
		rest, readErr := io.ReadAll(lines)
		<-child.Ended()
		if err := errors.Join(err, readErr, <-done, child.Err()); err != nil {
			return err
		}
		other, err = parse(string(rest))
		return err
	})
	return append(own, other...), err
}

// holdAndWrite runs in a separate process, which the parent process stops and resumes. It acquires
// the lock and writes to the file. After the process is resumed, it writes to the file again with
// the same token, although it has lost the lock. Then it prints its spans.
func holdAndWrite(ctx context.Context, file string) error {
	r := &run{recorder: newRecorder(), servers: strings.Split(os.Getenv(pausedServers), ",")}
	r.hooks = sessionotel.Traces(r.tracer)
	err := r.client(ctx, "A", 1, func(ctx context.Context, s *session.Session) error {
		return lock.NewMutex(s, lockPath, lock.Options{}).Do(ctx, func(ctx context.Context, g *lock.Grant) error {
			ctx = context.WithoutCancel(ctx) // the program does not notice that it lost the lock
			if err := r.writeFile(ctx, file, fence.TokenOf(g)); err != nil {
				return err
			}
			fmt.Println(holdsLine)
			_, _ = io.Copy(io.Discard, os.Stdin) // until the end of the pause
			return r.writeFile(ctx, file, fence.TokenOf(g))
		})
	})
	if err := lost(fence.ErrStale, err); err != nil {
		return err
	}
	return encode(os.Stdout, r.ended())
}

// writeFile writes to the resource that the lock protects.
func (r *run) writeFile(ctx context.Context, file string, token fence.Token) error {
	ctx, span := r.tracer.Start(ctx, "write the file")
	defer span.End()
	err := fence.WriteFile(ctx, file, token, []byte("paid"), 0o600)
	if err != nil {
		span.SetStatus(codes.Error, strings.ReplaceAll(err.Error(), file, "account"))
	}
	return err
}

// expiredClaim runs a consumer that works for longer than its claim lasts.
func expiredClaim(ctx context.Context) ([]span, error) {
	return recorded(ctx, func(ctx context.Context, r *run) error {
		jobs := func(s *session.Session) *queue.Queue[string] {
			return queue.New(s, "/jobs", queue.Options[string]{ClaimFor: claimFor})
		}
		consume := func(name string, node int, claimed chan struct{}, work time.Duration) error {
			return r.client(ctx, name, node, func(ctx context.Context, s *session.Session) error {
				return jobs(s).Do(ctx, func(ctx context.Context, _ *queue.Claim[string]) error {
					close(claimed)
					_, span := r.tracer.Start(ctx, "work")
					defer span.End()
					times.Sleep(context.WithoutCancel(ctx), work) // the program does not notice the loss
					return nil
				})
			})
		}
		first, second := make(chan struct{}), make(chan struct{})
		group := errgroup.Group{}
		group.Go(func() error { return lost(queue.ErrClaimExpired, consume("A", 1, first, 5*time.Second)) })
		times.Sleep(ctx, time.Second)
		if err := r.client(ctx, "Producer", 0, func(ctx context.Context, s *session.Session) error {
			return jobs(s).Put(ctx, "order")
		}); err != nil {
			return err
		}
		<-first
		group.Go(func() error { return consume("B", 2, second, time.Second) })
		return group.Wait()
	})
}
