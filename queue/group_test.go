package queue

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// The last claim of a closed queue ended while the group looked whether it had:
// the mark stayed for as long as the session lived.
//
// Covers Q8.
func TestTidyAgainWhileTidying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := zktest.Start(t, zktest.Options{})
		s, err := session.Open(t.Context(), session.Options{Servers: w.Servers(), Dial: w.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		tidied := 0
		g := &group[int]{s: s}
		g.tidy = func(context.Context) error {
			if tidied++; tidied == 1 {
				g.again()
			}
			return nil
		}
		if err := g.close(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if tidied != 2 {
			t.Errorf("tidied %d times", tidied)
		}
	})
}
