package session

import (
	"context"
	"iter"
)

// A State is what is known of a session.
type State int

const (
	// Suspended: there is no connection. The session may live or not.
	Suspended State = iota
	// Connected: a server serves the session.
	Connected
	// Lost: the session is over and its ephemeral nodes are gone or will be.
	Lost
	// Closed: Close was called.
	Closed
)

func (s State) String() string {
	switch s {
	case Suspended:
		return "suspended"
	case Connected:
		return "connected"
	case Lost:
		return "lost"
	case Closed:
		return "closed"
	}
	return "unknown"
}

// A listener keeps the states that it was not asked for yet.
type listener struct {
	states []State
	more   chan struct{} // holds one token when states may be non-empty
}

// States gives the present state and then every change, none left out however
// slowly they are taken, and ends after Lost or Closed, or with ctx.
func (s *Session) States(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		l := &listener{more: make(chan struct{}, 1)}
		s.mu.Lock()
		l.push(s.state)
		s.listeners[l] = struct{}{}
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			delete(s.listeners, l)
			s.mu.Unlock()
		}()
		for {
			select {
			case <-l.more:
			case <-ctx.Done():
				return
			}
			for _, state := range s.take(l) {
				if !yield(state) || state >= Lost {
					return
				}
			}
		}
	}
}

func (s *Session) take(l *listener) []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := l.states
	l.states = nil
	return states
}

func (l *listener) push(state State) {
	l.states = append(l.states, state)
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (s *Session) setStateLocked(state State) {
	if s.state == state {
		return
	}
	s.state = state
	for l := range s.listeners {
		l.push(state)
	}
	if s.opts.Metrics.State != nil {
		s.reportLocked(func() { s.opts.Metrics.State(state) })
	}
}

// State is the present state.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}
