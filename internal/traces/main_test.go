package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPicturesAreThoseOfTheRecordings(t *testing.T) {
	for _, r := range recordings {
		spans, err := read(r.name + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile("../../docs/" + picture(r))
		if err != nil || !bytes.Equal(got, draw(r.title, spans)) {
			t.Errorf("docs/%s is out of date; draw it again with: go run ./internal/traces (%v)", picture(r), err)
		}
	}
}

// A trial is a recording in a test.
type trial struct {
	t     *testing.T
	spans []span
}

func recordingOf(t *testing.T, name string) trial {
	t.Helper()
	spans, err := read(name + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return trial{t, spans}
}

// The method `of` returns the last span whose name begins with `prefix` in the client's trace.
func (r trial) of(client, prefix string) (found span) {
	r.t.Helper()
	root := slices.IndexFunc(r.spans, func(s span) bool { return s.Name == client && s.Parent == "" })
	if root < 0 {
		r.t.Fatalf("no span %q in the recording", client)
	}
	for _, s := range r.spans {
		if s.Trace == r.spans[root].Trace && strings.HasPrefix(s.Name, prefix) {
			found = s
		}
	}
	if found.ID == "" {
		r.t.Fatalf("client %s has no span %q in the recording", client, prefix)
	}
	return found
}

func (r trial) fault() span {
	r.t.Helper()
	i := slices.IndexFunc(r.spans, func(s span) bool { return strings.HasPrefix(s.Name, faultPrefix) })
	if i < 0 {
		r.t.Fatal("no fault in the recording")
	}
	return r.spans[i]
}

// The method `ended` checks why a hold ended.
func (r trial) ended(of span, want string) {
	r.t.Helper()
	if got := of.Attributes["zookeeper.hold.ended"]; got != want {
		r.t.Errorf("the hold ended by %q, want %q", got, want)
	}
}

func TestHoldAtAnIsolatedFollowerEndsFirst(t *testing.T) {
	r := recordingOf(t, "isolated-follower")
	a, b, cut := r.of("A", "hold "), r.of("B", "hold "), r.fault()
	r.ended(a, "session: lease lapsed")
	if !a.End.Before(b.Start) || a.End.Before(cut.Start) || b.Start.After(cut.End) {
		t.Errorf("A held until %v, B from %v on, the cut from %v to %v; want A's end before B's begin, both in the cut", a.End, b.Start, cut.Start, cut.End)
	}
	if b.Links["predecessor"] != a.ID {
		t.Errorf("the predecessor of B is %q, want %q", b.Links["predecessor"], a.ID)
	}
}

func TestLateWriteOfAPausedProcessIsRefused(t *testing.T) {
	r := recordingOf(t, "paused-process")
	a, b, stop := r.of("A", "hold "), r.of("B", "hold "), r.fault()
	if b.Start.Before(stop.Start) || b.Start.After(stop.End) || a.End.Before(stop.End) {
		t.Errorf("A held until %v, B from %v on, A was stopped from %v to %v; want B's begin in the stop, A's end after it", a.End, b.Start, stop.Start, stop.End)
	}
	late, other := r.of("A", "write "), r.of("B", "write ")
	if late.Start.Before(stop.Start) || !strings.Contains(late.Error, "is stale") || other.Error != "" {
		t.Errorf("A's last write at %v has error %q, B's %q; want A's refused and B's not", late.Start, late.Error, other.Error)
	}
	if got, want := b.Attributes["zookeeper.predecessor.token"], a.Attributes["zookeeper.token"]; got != want {
		t.Errorf("the predecessor of B has token %q, want %q", got, want)
	}
}

func TestExpiredClaimEndsBeforeTheNextOne(t *testing.T) {
	r := recordingOf(t, "expired-claim")
	a, b, put := r.of("A", "hold "), r.of("B", "hold "), r.of("Producer", "put")
	r.ended(a, "queue: time of the claim is up")
	if !a.End.Before(b.Start) || !r.of("A", "work").End.After(a.End) {
		t.Errorf("A's claim ended at %v, B's began at %v; want that order, and A's work to continue after its claim", a.End, b.Start)
	}
	if a.Links["put"] != put.ID || b.Links["put"] != put.ID {
		t.Errorf("the claims have links to %q and %q, want %q", a.Links["put"], b.Links["put"], put.ID)
	}
}
