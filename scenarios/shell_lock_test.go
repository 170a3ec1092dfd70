package scenarios

import (
	"fmt"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
)

// The checker stoppedInTime writes a note. The note gives the number of commands that lost the
// lock. If there are any, the note also gives the shortest time between the death of such a command
// and the start of the next command.
//
// Regression: the note gave the number twice. If no command had lost the lock, the note gave one
// hour as the shortest time, because one hour was the initial value of the minimum.
func TestNoteAboutStoppedCommands(t *testing.T) {
	type span struct {
		first, last time.Duration
		lost        bool
	}
	for _, c := range []struct {
		spans []span
		want  string
	}{
		{[]span{{1, 2, false}, {3, 4, false}}, "2 commands; commands that lost the lock: 0"},
		{[]span{{1, 2, true}, {5, 6, true}, {8, 9, true}}, "3 commands; commands that lost the lock: 2, dead at least 2ns before the next one started"},
		{[]span{{1, 2, false}, {3, 4, true}, {5, 6, false}}, "3 commands; commands that lost the lock: 1, dead at least 1ns before the next one started"},
	} {
		var events []history.Event
		for i, s := range c.spans {
			e := history.Event{Kind: history.Invoke, Op: opCommand, Process: int32(i)}
			events = append(events, e)
			e.Kind, e.Token, e.Result = history.OK, int64(i+1), fmt.Sprint(int64(s.first), int64(s.last), s.lost)
			events = append(events, e)
		}
		events = append(events, history.Event{Kind: history.Phase, Op: history.PhaseEnd, Client: history.Nobody, Process: history.Nobody})
		for _, one := range checker.Run(t.Context(), history.New(events...), stoppedInTime()) {
			if one.Verdict != checker.Valid || one.Reason != c.want {
				t.Errorf("%v: got %v, %q; want valid, %q", c.spans, one.Verdict, one.Reason, c.want)
			}
		}
	}
}
