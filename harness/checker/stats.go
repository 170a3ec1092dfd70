package checker

import (
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/session"
)

// Stats has the duration of a run, and the measurements of its operations and faults.
type Stats struct {
	Took       time.Duration `json:"took_ns"`
	Operations []OpStats     `json:"operations"`
	Faults     []FaultStats  `json:"faults,omitempty"`
}

// OpStats counts the operations that have the same name, by outcome. P50, P95, P99 and Max are
// latencies of the successful operations.
type OpStats struct {
	Op     string         `json:"op"`
	OK     int            `json:"ok"`
	Fail   int            `json:"fail"`
	Info   int            `json:"info"`    // indeterminate, or never answered
	Rate   float64        `json:"per_sec"` // successes per second, over the whole history
	P50    time.Duration  `json:"p50_ns"`
	P95    time.Duration  `json:"p95_ns"`
	P99    time.Duration  `json:"p99_ns"`
	Max    time.Duration  `json:"max_ns"`
	Errors map[string]int `json:"errors,omitempty"` // number of operations with an error, by the text of the error
}

// FaultStats has the times and the effect of one fault of a plan.
type FaultStats struct {
	Step     int32         `json:"step"` // from 1
	Fault    string        `json:"fault"`
	Target   string        `json:"target,omitempty"`
	Start    time.Duration `json:"start_ns"`
	Stop     time.Duration `json:"stop_ns"`
	Evidence string        `json:"evidence,omitempty"` // what shows that it had an effect
	// Recovery is the time from the heal to the completion of the first successful operation that
	// began after the heal. It is negative if there was no such operation.
	Recovery time.Duration `json:"recovery_ns"`
}

// Measure computes the numbers of h. If h is malformed, it computes only Took.
func Measure(h *history.History) Stats {
	ops, err := h.Operations()
	if err != nil {
		return Stats{Took: h.End()}
	}
	s := Stats{Took: h.End()}
	latencies := make(map[string][]time.Duration)
	byName := make(map[string]*OpStats)
	for _, o := range ops {
		one := byName[o.Invoke.Op]
		if one == nil {
			one = &OpStats{Op: o.Invoke.Op, Errors: make(map[string]int)}
			byName[o.Invoke.Op] = one
		}
		if o.Complete != nil && o.Complete.Error != "" {
			one.Errors[o.Complete.Error]++
		}
		switch o.Outcome() {
		case session.OK:
			one.OK++
			latencies[one.Op] = append(latencies[one.Op], o.Complete.Time-o.Invoke.Time)
		case session.Failed:
			one.Fail++
		default:
			one.Info++
		}
	}
	for name, one := range sorted(byName) {
		if h.End() > 0 {
			one.Rate = float64(one.OK) / h.End().Seconds()
		}
		one.quantiles(latencies[name])
		s.Operations = append(s.Operations, *one)
	}
	s.Faults = measureFaults(h, ops)
	return s
}

func (o *OpStats) quantiles(latencies []time.Duration) {
	if len(latencies) == 0 {
		return
	}
	slices.Sort(latencies)
	at := func(q float64) time.Duration { return latencies[int(q*float64(len(latencies)-1)+0.5)] }
	o.P50, o.P95, o.P99, o.Max = at(0.5), at(0.95), at(0.99), latencies[len(latencies)-1]
}

func measureFaults(h *history.History, ops []history.Operation) []FaultStats {
	var all []FaultStats
	open := make(map[int32]int)
	for i := range h.Events {
		e := &h.Events[i]
		if e.Kind != history.Fault {
			continue
		}
		if e.Op == history.FaultStart {
			open[e.Step] = len(all)
			all = append(all, FaultStats{Step: e.Step, Fault: e.Object, Target: e.Node, Start: e.Time, Stop: h.End(), Recovery: -1})
		} else if at, ok := open[e.Step]; ok {
			f := &all[at]
			f.Stop, f.Evidence, f.Target = e.Time, e.Result, e.Node
			f.Recovery = recovery(ops, e)
			delete(open, e.Step)
		}
	}
	return all
}

// The function `recovery` returns the time from the heal to the first success of an operation that
// began after the heal, or -1. The operations must be in order of their invocations.
func recovery(ops []history.Operation, heal *history.Event) time.Duration {
	i, _ := slices.BinarySearchFunc(ops, heal.Index, func(o history.Operation, at int32) int { return int(o.Invoke.Index - at) })
	best := time.Duration(-1)
	for _, o := range ops[i:] {
		if best >= 0 && o.Invoke.Time-heal.Time > best {
			break // this operation and the later ones end later than the best one
		}
		if d := time.Duration(0); o.Outcome() == session.OK {
			if d = o.Complete.Time - heal.Time; best < 0 || d < best {
				best = d
			}
		}
	}
	return best
}
