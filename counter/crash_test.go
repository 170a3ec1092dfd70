package counter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/zkcoord/zkcoord/counter"
	"github.com/zkcoord/zkcoord/harness/crashpoint"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/session"
)

const path = "/app/n"

// A change is a call that changes a counter. The function in the field `on` computes the value
// after the call from the value before the call.
type change struct {
	name string
	call func(ctx context.Context, c *counter.Counter) (value int64, err error) // returns the value after the call
	on   func(value int64) int64
}

func adding(delta int64) change {
	return change{fmt.Sprintf("add %d", delta), func(ctx context.Context, c *counter.Counter) (int64, error) { return c.Add(ctx, delta) },
		func(value int64) int64 { return value + delta }}
}

func swapping(old, new int64) change {
	return change{fmt.Sprintf("set %d to %d", old, new), func(ctx context.Context, c *counter.Counter) (int64, error) {
		if swapped, err := c.CompareAndSet(ctx, old, new); err != nil || swapped {
			return new, err
		}
		return c.Get(ctx)
	}, func(value int64) int64 {
		if value == old {
			return new
		}
		return value
	}}
}

func setting(to int64) change {
	return change{fmt.Sprintf("set to %d", to), func(ctx context.Context, c *counter.Counter) (int64, error) { return to, c.Set(ctx, to) },
		func(int64) int64 { return to }}
}

// The type `possible` is the set of the values that a counter may have.
type possible []int64

// The method `after` returns the values that are possible after the change c was answered with
// value and err. It returns an error if that answer is wrong.
func (p possible) after(c change, value int64, err error) (possible, error) {
	var next possible
	for _, before := range p {
		changed := c.on(before)
		switch session.OutcomeOf(err) {
		case session.OK:
			if changed == value {
				next = append(next, changed)
			}
		case session.Failed:
			next = append(next, before)
		default:
			next = append(next, before, changed)
		}
	}
	if len(next) == 0 {
		return nil, fmt.Errorf("%s returned %d, error %v; want the result of one of the possible values before, %v",
			c.name, value, err, p)
	}
	slices.Sort(next)
	return slices.Compact(next), nil
}

// The test applies each fate of package crashpoint, for example a lost reply, to each request of
// the calls. A change that was reported as done must be applied once. A failed change must not be
// applied. Any other change may be applied at most once.
//
// Covers C1, C6.
func TestChangeIsAppliedOnceAtEachCrashPoint(t *testing.T) {
	crashpoint.Run(t, func(p *crashpoint.Point) error {
		s, err := p.Open(session.Options{})
		if err != nil {
			return err
		}
		c := counter.New(s, path, counter.Options{Format: counter.BigEndian})
		values := possible{0}
		if err := p.Break(func(ctx context.Context) error {
			for _, change := range []change{adding(3), adding(-10), swapping(-7, 1000), swapping(5, 6), setting(77), adding(100)} {
				value, err := change.call(ctx, c)
				if err != nil && !p.Fate.Loses() && ctx.Err() == nil {
					return fmt.Errorf("%s: %w", change.name, err)
				}
				if values, err = values.after(change, value, err); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		if err := c.Close(p.Context()); err != nil && !p.Fate.Loses() {
			return err
		}
		return is(p, values)
	})
}

// The function `is` returns an error unless another session reads one of the given values.
func is(p *crashpoint.Point, values possible) error {
	other, err := p.OpenOther(session.Options{})
	if err != nil {
		return err
	}
	value, err := counter.New(other, path, counter.Options{Format: counter.BigEndian}).Get(p.Context())
	if err != nil {
		return err
	}
	if !slices.Contains(values, value) {
		return fmt.Errorf("the value is %d, want one of %v", value, values)
	}
	return nil
}

// In this test goroutines share a handle whose connection or session is lost, while another client
// adds too. Each call adds a different power of two, so the bits of the value show which calls were
// counted. A call without an error must be counted. A call with the outcome Failed must not.
//
// Covers C1, C2, C3.
func TestSharedHandleAtEachLostRequest(t *testing.T) {
	const each, clients = 4, 2
	recipetest.AtEachLostRequest(t, func(t *testing.T, tr *recipetest.Trial) {
		struck, other := tr.Client(), tr.Client()
		handles := [clients]*counter.Counter{counter.New(struck.Session, path, counter.Options{}), counter.New(other.Session, path, counter.Options{})}
		tr.Strike(struck)
		var values, outcomes [each * clients]int64
		var calls sync.WaitGroup
		for i := range values {
			calls.Go(func() {
				var err error
				values[i], err = handles[i%clients].Add(t.Context(), 1<<i)
				outcomes[i] = int64(session.OutcomeOf(err))
				if err != nil && (!tr.Loses() || i%clients == 1) {
					t.Errorf("add %d: got %v, want no error", i, err)
				}
			})
		}
		calls.Wait()
		for i, c := range handles {
			if err := c.Close(t.Context()); err != nil && (!tr.Loses() || i == 1) {
				t.Errorf("close of handle %d: got %v, want no error", i, err)
			}
		}
		total := recipetest.Must(counter.New(tr.Admin().Session, path, counter.Options{}).Get(t.Context()))
		for i, value := range values {
			switch counted := total&(1<<i) != 0; {
			case outcomes[i] == int64(session.OK) && (!counted || value&(1<<i) == 0 || value&^total != 0):
				t.Errorf("add %d returned %b and the value is %b, want bit %d in both, and in the value all bits that the add returned",
					i, value, total, i)
			case outcomes[i] == int64(session.Failed) && counted:
				t.Errorf("add %d failed and the value is %b, want it without bit %d", i, total, i)
			}
		}
		tr.NothingLeft()
	})
}

// If a call is cancelled before one of its steps, Close deletes everything that the call created.
//
// Covers C6.
func TestCallCancelledBetweenTwoStepsLeavesNothing(t *testing.T) {
	recipetest.CancelBetweenSteps(t, func(ctx context.Context, s *session.Session) (func(context.Context) error, error) {
		c := counter.New(s, path, counter.Options{})
		_, err := c.Add(ctx, 1)
		if err != nil {
			return nil, errors.Join(err, c.Close(context.Background()))
		}
		return c.Close, nil
	})
}
