package crashpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkcoord/zkcoord/session"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// join is a call with two requests: it makes a parent, and an ephemeral below it.
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
			return nil // and whoever fails leaves nothing behind
		}
		if err := s.Delete(p.Context(), "/group/me", session.AnyVersion); err != nil && !p.Fate.Loses() {
			return err
		}
		return nil
	}
}

// careless is samuel/go-zookeeper#229: after a lost reply it does not look
// whether the node is there.
func careless(ctx context.Context, s *session.Session, path string) error {
	_, err := s.Create(ctx, path, nil, session.Ephemeral)
	return err
}

// careful deletes what it may have made.
func careful(ctx context.Context, s *session.Session, path string) error {
	err := careless(ctx, s, path)
	if err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		s.Delete(clean, path, session.AnyVersion)
	}
	return err
}

// crash runs one trial.
func crash(t *testing.T, fate Fate, request int, trial func(*Point) error) (struck bool, err error) {
	synctest.Test(t, func(t *testing.T) {
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
				t.Errorf("%s did not strike", name)
			}
			if found := err != nil && strings.Contains(err.Error(), "left behind: /group/me of 0x"); found != leaves[name] {
				t.Errorf("%s: %v", name, err)
			}
		}
		if struck, err := crash(t, fate, 4, join(careless)); struck || err != nil {
			t.Errorf("%s strikes a fourth request of two: %v", fate, err)
		}
	}
}

func TestCrashPointsPassWhatCleansUp(t *testing.T) {
	Run(t, join(careful))
}

// What each fate means, seen by the client of one request.
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
					t.Errorf("the call ended %v (%v), want %v", got, err, c.outcome)
				}
				other, err := p.OpenOther(session.Options{})
				if err != nil {
					return err
				}
				time.Sleep(10 * time.Second)
				stat, err := other.Exists(p.Context(), "/a")
				if made := stat != nil; made != c.made {
					t.Errorf("made: %t, want %t", made, c.made)
				}
				if lost := s.Err() != nil; lost != c.lost {
					t.Errorf("session lost: %t (%v), want %t", lost, s.Err(), c.lost)
				}
				return err
			})
			if !struck || err != nil {
				t.Errorf("struck %t, %v", struck, err)
			}
		})
	}
}

func TestACrashPointTellsTheTrialsError(t *testing.T) {
	wrong := errors.New("wrong")
	if _, err := crash(t, ReplyLost, 1, func(*Point) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("error is %v", err)
	}
}
