package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

func TestPictureIsThatOfTheHistories(t *testing.T) {
	want, err := picture(".")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/isolated-follower.svg")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/isolated-follower.svg is out of date; draw it again with: go run ./internal/timeline (%v)", err)
	}
	for _, says := range []string{"both hold", "before B is granted"} {
		if !strings.Contains(string(got), says) {
			t.Errorf("the picture does not contain %q", says)
		}
	}
}

func hand(at time.Duration, kind history.Kind, op string, client int16, token int64) history.Event {
	return history.Event{Time: at, Kind: kind, Op: op, Client: client, Token: token, Object: "/lock"}
}

func TestFirstCutWithATakeoverIsFound(t *testing.T) {
	s := time.Second
	h := history.New(
		hand(1*s, history.Hold, history.HoldBegin, 0, 1),
		hand(2*s, history.Fault, history.FaultStart, history.Nobody, 0), // no other client takes over
		hand(3*s, history.Fault, history.FaultStop, history.Nobody, 0),
		hand(4*s, history.Fault, history.FaultStart, history.Nobody, 0),
		hand(6*s, history.Hold, history.HoldLost, 0, 1),
		hand(9*s, history.Hold, history.HoldBegin, 1, 2),
		hand(10*s, history.Hold, history.HoldEnd, 1, 2),
		hand(14*s, history.Fault, history.FaultStop, history.Nobody, 0),
		hand(50*s, history.Hold, history.HoldBegin, 1, 3),
		hand(51*s, history.Hold, history.HoldEnd, 1, 3),
	)
	c, err := find(h)
	if want := (cut{at: 4 * s, mended: 14 * s, told: 6 * s, granted: 9 * s}); err != nil || c != want {
		t.Fatalf("%+v, %v; want %+v", c, err, want)
	}
	part := c.part(h)
	if n := len(part.Events); n != 6 {
		t.Errorf("got %d events in the part, want 6", n)
	}
	if again, err := find(part); err != nil || again != c {
		t.Errorf("the cut of the part: got %+v, error %v, want the same cut", again, err)
	}
	if _, err := find(history.New(h.Events[0])); err == nil {
		t.Error("find: got no error for a history without a cut")
	}
}
