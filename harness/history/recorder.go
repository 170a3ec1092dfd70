package history

import (
	"sync"
	"time"
)

// chunk is the number of events in each slice of a Recorder. The Recorder appends events under its
// lock. The growth of a single large slice would block every client while the slice is copied.
const chunk = 4096

// Recorder collects the events of a run. Its methods may be called from any number of goroutines.
// The zero value is not usable, because [NewRecorder] starts the clock.
type Recorder struct {
	start time.Time

	mu     sync.Mutex
	chunks [][]Event
	counts [kinds]int
	at     Progress
	sealed bool
}

// NewRecorder returns the recorder of a new history and starts its clock.
func NewRecorder() *Recorder {
	return &Recorder{start: time.Now()}
}

// Record assigns e the next index and the current time, stores it and returns it. After
// [Recorder.Seal] it stores nothing and returns e with Index -1, because a late event must not
// change a history that is being judged.
func (r *Recorder) Record(e Event) Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealed {
		e.Index = -1
		return e
	}
	last := len(r.chunks) - 1
	if last < 0 || len(r.chunks[last]) == chunk {
		r.chunks = append(r.chunks, make([]Event, 0, chunk))
		last++
	}
	e.Index = int32(last*chunk + len(r.chunks[last]))
	// The clock is read under the lock, so that times rise with indexes.
	e.Time = time.Since(r.start)
	r.chunks[last] = append(r.chunks[last], e)
	r.countLocked(&e)
	return e
}

func (r *Recorder) countLocked(e *Event) {
	r.counts[e.Kind]++
	switch {
	case e.Kind == Phase:
		r.at.Phase = e.Op
	case e.Kind == Fault && e.Op == FaultStart:
		r.at.Started++
	case e.Kind == Fault && e.Op == FaultStop:
		r.at.Stopped++
	case e.Kind == Hold && e.Op == HoldBegin:
		r.at.Holds++
	case e.Kind == Hold && e.Op == HoldLost:
		r.at.Lost++
	}
}

// Progress is the state of a recording.
type Progress struct {
	Phase            string // the latest phase
	Started, Stopped int    // faults
	Holds, Lost      int    // grants, and how many of them were lost
}

// Start returns the start of the history, which is its time zero.
func (r *Recorder) Start() time.Time { return r.start }

// Now returns the current time on the history's clock.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// Count returns the number of events of kind k that were recorded so far.
func (r *Recorder) Count(k Kind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[k]
}

// Progress returns the state of the recording.
func (r *Recorder) Progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

// Seal ends the recording. It may be called more than once.
func (r *Recorder) Seal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed = true
}

// History returns a copy of the events so far. The recording continues.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, c := range r.chunks {
		n += len(c)
	}
	events := make([]Event, 0, n)
	for _, c := range r.chunks {
		events = append(events, c...)
	}
	return &History{Header: Header{Start: r.start.UTC()}, Events: events}
}
