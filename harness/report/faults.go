package report

import (
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/history"
)

// A fault is one injected fault and its consequences.
type fault struct {
	Name, Target, Arg string
	Evidence, Error   string
	From, To          time.Duration
	Healed            bool
	// Silence is the longest gap without a successful operation. Only gaps that begin during the
	// fault count. The first one begins with the fault. Each gap ends with the next successful
	// operation, or at the end of the history if there is none.
	Silence  time.Duration
	Recovery time.Duration // see checker.FaultStats
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
			open[e.Step] = len(all)
			all = append(all, fault{Name: e.Object, Target: e.Node, Arg: e.Arg, From: e.Time, To: h.End(), Recovery: -1})
		case e.Kind == history.Fault:
			at, known := open[e.Step]
			if !known {
				continue
			}
			f := &all[at]
			f.To, f.Healed, f.Evidence, f.Error = e.Time, true, e.Result, e.Error
			if e.Node != "" {
				f.Target = e.Node // the actual target
			}
		}
	}
	for i := range all {
		all[i].measure(succeeded, h.End())
	}
	for i, f := range checker.Measure(h).Faults {
		all[i].Recovery = f.Recovery
	}
	return all
}

// The method `measure` computes Silence. The argument `succeeded` has the times of successful
// operations in ascending order, and `end` is the end of the history.
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
}
