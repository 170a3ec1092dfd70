package report

import (
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// fault is one as it stood, and what came of it.
type fault struct {
	Name, Target, Arg string
	Evidence, Error   string
	From, To          time.Duration
	Healed            bool
	// Silence is the longest time without any operation that succeeded, begun while it stood.
	Silence time.Duration
	// Recovery is from its heal to the next operation that succeeded; negative if none did.
	Recovery time.Duration
}

func (f fault) span() faultSpan {
	return faultSpan{micro(f.From), micro(f.To), f.Name, f.Target, f.Arg, f.Evidence, f.Error}
}

// newFaults returns the faults of a history in order of their starts.
func newFaults(h *history.History) []fault {
	var all []fault
	open := make(map[int32]int)
	var succeeded []time.Duration
	for i := range h.Events {
		e := &h.Events[i]
		switch {
		case e.Kind == history.OK:
			succeeded = append(succeeded, e.Time)
		case e.Kind == history.Fault && e.Op == history.FaultStart:
			open[e.Round] = len(all)
			all = append(all, fault{Name: e.Object, Target: e.Node, Arg: e.Arg, From: e.Time, To: h.End()})
		case e.Kind == history.Fault:
			at, known := open[e.Round]
			if !known {
				continue
			}
			f := &all[at]
			f.To, f.Healed, f.Evidence, f.Error = e.Time, true, e.Result, e.Error
			if e.Node != "" {
				f.Target = e.Node // what was really hit
			}
		}
	}
	for i := range all {
		all[i].measure(succeeded, h.End())
	}
	return all
}

// measure finds how long nothing succeeded. The times of what succeeded are in order.
func (f *fault) measure(succeeded []time.Duration, end time.Duration) {
	i, _ := slices.BinarySearch(succeeded, f.From)
	last := f.From
	for ; i < len(succeeded) && last <= f.To; i++ {
		f.Silence = max(f.Silence, succeeded[i]-last)
		last = succeeded[i]
	}
	if last <= f.To {
		f.Silence = max(f.Silence, end-last)
	}
	f.Recovery = -1
	if next, _ := slices.BinarySearch(succeeded, f.To); f.Healed && next < len(succeeded) {
		f.Recovery = succeeded[next] - f.To
	}
}
