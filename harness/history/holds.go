package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// WriteHolds writes the holds of all clients in the form of a program's log of holds, see
// session.Options.HoldLog. The command zkcoord audit compares such a log with the servers'
// transaction logs. Holds that do not name their znodes are left out, because their objects need
// not be paths.
func (h *History) WriteHolds(w io.Writer) error {
	out := slog.NewJSONHandler(w, nil)
	write := func(e *Event, message string, of *Event) error {
		r := slog.NewRecord(h.Start.Add(e.Time), slog.LevelInfo, message, 0)
		r.AddAttrs(slog.String("path", of.Object), slog.Int64("token", of.Token),
			slog.String("session", fmt.Sprintf("%#x", uint64(of.Session))), slog.String("client", of.Who()))
		if e != of {
			r.AddAttrs(slog.String("cause", cmp.Or(e.Op, e.Kind.String())))
		}
		return out.Handle(context.Background(), r)
	}
	ends := make(map[int32][]*Event) // the starts of holds, by the index of the event that ended them
	for _, hold := range h.Holds() {
		if hold.End != nil && hold.Begin.Node != "" {
			ends[hold.End.Index] = append(ends[hold.End.Index], hold.Begin)
		}
	}
	for i := range h.Events {
		e := &h.Events[i]
		var errs []error
		for _, begin := range ends[e.Index] {
			errs = append(errs, write(e, "hold ends", begin))
		}
		if e.Kind == Hold && e.Op == HoldBegin && e.Node != "" {
			errs = append(errs, write(e, "hold begins", e))
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("history: write: %w", err)
		}
	}
	return nil
}
