package vet

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"
)

// A hold is a grant, a term or a claim that a function acquires or receives as an argument.
type hold struct {
	kind *kind
	obj  types.Object // its variable, or nil
	at   ast.Node     // where the function acquires or receives it
	from token.Pos    // a context declared before this position does not end when the hold is lost
	// asked is the source text of the context passed to Lock, if this context is not a variable.
	asked string
	err   types.Object // the variable of the error of Lock, or nil

	callback *ast.FuncLit // the function that receives it from Do
	inside   types.Object // the context of that function

	wrong   bool     // a finding about it was reported
	dropped ast.Node // a release whose error is dropped
}

// The method `name` returns the name of the hold in messages.
func (h *hold) name() string {
	if h.obj == nil || h.obj.Name() == "" || h.obj.Name() == "_" {
		return "the " + h.kind.word
	}
	return h.obj.Name()
}

// A state is what the analysis knows at one place of a function.
type state struct {
	held []*hold
	// gone are the holds that were released, or that other code may have released.
	gone map[*hold]bool
	// failed are the holds that the function does not have because Lock returned an error.
	failed map[*hold]bool
	// The map `bound` has the holds of each context: if one of these holds is lost, the context
	// ends. If a context has no entry, the analysis assumes that the context is bound to all holds
	// that existed when the context was declared: it ends if any one of them is lost.
	bound map[types.Object][]*hold
}

func newState() *state {
	return &state{gone: make(map[*hold]bool), failed: make(map[*hold]bool), bound: make(map[types.Object][]*hold)}
}

func (s *state) clone() *state {
	return &state{slices.Clone(s.held), maps.Clone(s.gone), maps.Clone(s.failed), maps.Clone(s.bound)}
}

// The method `active` returns the holds that the analyzed function certainly has at this place.
func (s *state) active() (list []*hold) {
	for _, h := range s.held {
		if !s.gone[h] && !s.failed[h] {
			list = append(list, h)
		}
	}
	return list
}

// holdIn returns the hold in a variable, or nil if the variable has none.
func (s *state) holdIn(obj types.Object) *hold {
	for _, h := range slices.Backward(s.held) {
		if obj != nil && h.obj == obj {
			return h
		}
	}
	return nil
}

// The method `add` records a hold that the function has from now on.
func (s *state) add(h *hold) {
	if old := s.holdIn(h.obj); old != nil {
		s.gone[old] = true
	}
	s.held = append(s.held, h)
}

// boundTo returns the holds of the context in a variable: if one of them is lost, the context ends.
func (s *state) boundTo(obj types.Object) []*hold {
	if list, ok := s.bound[obj]; ok {
		return list
	}
	return slices.DeleteFunc(slices.Clone(s.held), func(h *hold) bool { return obj.Pos() < h.from })
}

// The method `join` adds the states at the ends of the given branches to s. Then s is the state
// after the statement at pos, which has these branches. A hold whose variable is declared after pos
// is not added.
func (s *state) join(pos token.Pos, branches ...*state) {
	for _, b := range branches {
		for _, h := range b.held {
			if !slices.Contains(s.held, h) && h.obj != nil && h.obj.Pos() < pos {
				s.held = append(s.held, h)
			}
		}
		for h := range b.gone {
			s.gone[h] = true
		}
		for obj, list := range b.bound {
			s.bound[obj] = slices.Concat(s.bound[obj], list)
		}
	}
}
