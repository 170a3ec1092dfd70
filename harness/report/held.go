package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/witness"
	"github.com/zkcoord/zkcoord/internal/audit"
	"github.com/zkcoord/zkcoord/internal/txnlog"
)

// The type `held` is a time in which a client held something according to the servers' logs. The
// client itself may have recorded another time.
type held struct {
	From, To time.Duration // on the clock of the history
	Client   int16         // history.Nobody if the session belongs to no client of the run
	Session  int64
	Object   string
	Token    int64
	End      string // how the hold ended, such as "expired"; empty if it did not end
}

// heldBy returns the times in which clients held objects according to the servers' logs, in the
// order of their starts. Objects for which no client recorded a hold are left out.
func heldBy(l *witness.Log, h *history.History) []held {
	if l == nil {
		return nil
	}
	objects, tokens, clients := make(map[string]bool), make(map[int64]string), make(map[int64]int16)
	for i := range h.Events {
		switch e := &h.Events[i]; {
		case e.Kind == history.Hold && e.Op == history.HoldBegin:
			objects[e.Object] = true
			if e.Token != 0 {
				tokens[e.Token] = e.Object
			}
		case e.Kind == history.Session && e.Op == history.SessionNew:
			clients[e.Session] = e.Client
		}
	}
	var all []held
	at := func(t time.Time) time.Duration { return min(max(0, t.Sub(h.Start)), h.End()) }
	for s := range audit.Spans(audit.Start{}, "/", func(yield func(txnlog.Txn, error) bool) {
		for _, t := range l.Txns {
			if !yield(t, nil) {
				return
			}
		}
	}) {
		object, known := tokens[s.Token]
		if objects[s.Place] {
			object, known = s.Place, true
		}
		if !known || s.Served.IsZero() {
			continue
		}
		client, ours := clients[s.Session]
		if !ours {
			client = history.Nobody
		}
		one := held{From: at(s.Served), To: h.End(), Client: client, Session: s.Session, Object: object, Token: s.Token, End: string(s.End)}
		if s.End != audit.Stands {
			one.To = at(s.Ended)
		}
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b held) int { return cmp.Compare(a.From, b.From) })
	return all
}
