package session

import (
	"context"
	"iter"
	"sync"
)

// A State is the state of a session as its client knows it.
type State int

const (
	// Suspended: there is no connection. The session may still live.
	Suspended State = iota
	// Connected: a server serves the session.
	Connected
	// Lost: the session is over and its ephemeral znodes are deleted or will be.
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

// State returns the current state.
func (s *Session) State() State {
	if err := s.Err(); err != nil {
		return stateAtEnd(err)
	}
	return s.states.now()
}

// States yields the current state and then every change, in order, however slow the loop is. The
// iteration ends after Lost or Closed, or when ctx ends.
func (s *Session) States(ctx context.Context) iter.Seq[State] { return s.states.follow(ctx) }

// The type `states` has the current state of one session and the listeners for its changes.
type states struct {
	changed func(State) // called while mu is held; may be nil

	mu        sync.Mutex
	state     State
	listeners map[*listener]struct{}
}

// A listener stores the states that it has not yielded yet.
type listener struct {
	states []State
	more   chan struct{} // contains a token when `states` may be non-empty
}

func newStates(changed func(State)) *states {
	return &states{changed: changed, listeners: make(map[*listener]struct{})}
}

// The method `set` changes the state. After Lost or Closed it does nothing.
func (s *states) set(state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == state || s.state >= Lost {
		return
	}
	s.state = state
	for l := range s.listeners {
		l.push(state)
	}
	if s.changed != nil {
		s.changed(state)
	}
}

func (s *states) now() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// The method `follow` implements [Session.States].
func (s *states) follow(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		l := s.listen()
		defer s.leave(l)
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

func (s *states) listen() *listener {
	l := &listener{more: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.push(s.state)
	s.listeners[l] = struct{}{}
	return l
}

func (s *states) leave(l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *states) take(l *listener) []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := l.states
	l.states = nil
	return states
}

func (l *listener) push(state State) {
	l.states = append(l.states, state)
	signal(l.more)
}
