package crashpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/session"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The function `join` returns a trial whose call makes two requests. The first request creates a
// parent. The second request creates an ephemeral znode below the parent, with the function
// `create`.
func join(create func(ctx context.Context, s *session.Session, path string) error) func(*Point) error {
	return func(p *Point) error {
		s, err := p.Open(session.Options{Timeout: 4 * time.Second})
		if err != nil {
			return err
		}
		err = p.Break(func(ctx context.Context) error {
			if _, err := s.Create(ctx, "/group", nil, session.Persistent); err != nil {
				return err
			}
			return create(ctx, s, "/group/me")
		})
		if err != nil {
			return nil // a failed call must leave nothing behind
		}
		if err := s.Delete(p.Context(), "/group/me", session.AnyVersion); err != nil && !p.Fate.Loses() {
			return err
		}
		return nil
	}
}

// The function `careless` has the bug samuel/go-zookeeper#229: after a lost reply it does not check
// whether the znode exists.
func careless(ctx context.Context, s *session.Session, path string) error {
	_, err := s.Create(ctx, path, nil, session.Ephemeral)
	return err
}

// The function `careful` deletes the znode that a failed create may have created.
func careful(ctx context.Context, s *session.Session, path string) error {
	err := careless(ctx, s, path)
	if err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		s.Delete(clean, path, session.AnyVersion)
	}
	return err
}

// The function `crash` runs one trial.
func crash(t *testing.T, fate Fate, request int, trial func(*Point) error) (struck bool, err error) {
	virtual.Test(t, func(t *testing.T) {
		p := &Point{Fate: fate, Request: request}
		err = p.run(t.Context(), trial)
		struck = p.struck
	})
	return struck, err
}

func TestCrashPointsFindTheRequestThatLeavesANode(t *testing.T) {
	leaves := map[string]bool{"reply-lost/2": true, "cancelled-before/2": true, "cancelled-after/2": true}
	for _, fate := range Fates() {
		for request := 1; request <= 2; request++ {
			name := fmt.Sprintf("%s/%d", fate, request)
			struck, err := crash(t, fate, request, join(careless))
			if !struck {
				t.Errorf("%s: the fate did not strike, want a strike", name)
			}
			if found := err != nil && strings.Contains(err.Error(), "left behind: /group/me of 0x"); found != leaves[name] {
				t.Errorf("%s: got error %v, want a node left behind: %t", name, err, leaves[name])
			}
		}
		if struck, err := crash(t, fate, 4, join(careless)); struck || err != nil {
			t.Errorf("%s at a fourth request of two: got struck %t, error %v; want neither",
				fate, struck, err)
		}
	}
}

func TestCrashPointsPassWhatCleansUp(t *testing.T) {
	Run(t, join(careful))
}

// The cases state what each fate means for a client that makes one request.
func TestFatesAreWhatTheySay(t *testing.T) {
	for _, c := range []struct {
		fate       Fate
		made, lost bool
		outcome    session.Outcome
	}{
		{RequestLost, false, false, session.Indeterminate},
		{ReplyLost, true, false, session.Indeterminate},
		{RequestAndSessionLost, false, true, session.Indeterminate},
		{ReplyAndSessionLost, true, true, session.Indeterminate},
		{ExpiredBefore, false, true, session.Indeterminate},
		{ExpiredAfter, true, true, session.OK},
		{PausedAfter, true, true, session.Indeterminate},
		{CancelledBefore, true, false, session.Indeterminate},
		{CancelledAfter, true, false, session.Indeterminate},
	} {
		t.Run(string(c.fate), func(t *testing.T) {
			struck, err := crash(t, c.fate, 1, func(p *Point) error {
				s, err := p.Open(session.Options{Timeout: 4 * time.Second})
				if err != nil {
					return err
				}
				err = p.Break(func(ctx context.Context) error {
					_, err := s.Create(ctx, "/a", nil, session.Persistent)
					return err
				})
				if got := session.OutcomeOf(err); got != c.outcome {
					t.Errorf("got outcome %v (%v), want %v", got, err, c.outcome)
				}
				other, err := p.OpenOther(session.Options{})
				if err != nil {
					return err
				}
				time.Sleep(10 * time.Second)
				stat, err := other.Exists(p.Context(), "/a")
				if made := stat != nil; made != c.made {
					t.Errorf("got znode created %t, want %t", made, c.made)
				}
				if lost := s.Err() != nil; lost != c.lost {
					t.Errorf("got session lost %t (%v), want %t", lost, s.Err(), c.lost)
				}
				return err
			})
			if !struck || err != nil {
				t.Errorf("got struck %t, %v; want true and no error", struck, err)
			}
		})
	}
}

func TestACrashPointTellsTheTrialsError(t *testing.T) {
	wrong := errors.New("wrong")
	if _, err := crash(t, ReplyLost, 1, func(*Point) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("got error %v, want %v", err, wrong)
	}
}
