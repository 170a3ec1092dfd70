package vet

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"
)

// A hold is a grant, a term or a claim that a function acquires, or that it is
// called with.
type hold struct {
	kind *kind
	obj  types.Object // its variable, nil if it has none
	at   ast.Node     // where the function gets it
	from token.Pos    // contexts that are declared before do not end with it
	// asked is the source of the context that was given to Lock, if that is no variable.
	asked string
	err   types.Object // the error of Lock, nil if it has no variable

	callback *ast.FuncLit // the function that gets it from Do
	inside   types.Object // that function's context

	wrong   bool     // work under it has a finding
	dropped ast.Node // a release whose error is dropped
}

// name is what messages call the hold.
func (h *hold) name() string {
	if h.obj == nil || h.obj.Name() == "" || h.obj.Name() == "_" {
		return "the " + h.kind.word
	}
	return h.obj.Name()
}

// A state is what is known at one place of a function.
type state struct {
	held []*hold
	// gone are holds that were released, or that somebody else may have released.
	gone map[*hold]bool
	// failed are holds that the function has not got: Lock has returned an error.
	failed map[*hold]bool
	// bound are the holds with which a context ends. A context that is not in it ends
	// with those that were there when it was declared.
	bound map[types.Object][]*hold
}

func newState() *state {
	return &state{gone: make(map[*hold]bool), failed: make(map[*hold]bool), bound: make(map[types.Object][]*hold)}
}

func (s *state) clone() *state {
	return &state{slices.Clone(s.held), maps.Clone(s.gone), maps.Clone(s.failed), maps.Clone(s.bound)}
}

// active are the holds that the function has for certain.
func (s *state) active() (list []*hold) {
	for _, h := range s.held {
		if !s.gone[h] && !s.failed[h] {
			list = append(list, h)
		}
	}
	return list
}

// of returns the hold that is in a variable.
func (s *state) of(obj types.Object) *hold {
	for _, h := range slices.Backward(s.held) {
		if obj != nil && h.obj == obj {
			return h
		}
	}
	return nil
}

// add notes a hold that the function has from now on.
func (s *state) add(h *hold) {
	if old := s.of(h.obj); old != nil {
		s.gone[old] = true
	}
	s.held = append(s.held, h)
}

// boundTo are the holds with which the context in a variable ends.
func (s *state) boundTo(obj types.Object) []*hold {
	if list, ok := s.bound[obj]; ok {
		return list
	}
	return slices.DeleteFunc(slices.Clone(s.held), func(h *hold) bool { return obj.Pos() < h.from })
}

// join makes s the state after a statement at pos, which may have left it in any of
// the branches.
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
