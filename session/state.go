package session

import (
	"context"
	"iter"
	"sync"
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

// State is the present state.
func (s *Session) State() State {
	if err := s.Err(); err != nil {
		return stateAtEnd(err)
	}
	return s.states.now()
}

// States gives the present state and then every change, none left out however
// slowly they are taken, and ends after Lost or Closed, or with ctx.
func (s *Session) States(ctx context.Context) iter.Seq[State] { return s.states.follow(ctx) }

// states are the states of one session, and those who follow them.
type states struct {
	changed func(State) // called with mu held; may be nil

	mu        sync.Mutex
	state     State
	listeners map[*listener]struct{}
}

// A listener keeps the states that it has not taken yet.
type listener struct {
	states []State
	more   chan struct{} // holds one token when states may be non-empty
}

func newStates(changed func(State)) *states {
	return &states{changed: changed, listeners: make(map[*listener]struct{})}
}

// set changes the state. After Lost or Closed it does nothing.
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

// follow is [Session.States].
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
