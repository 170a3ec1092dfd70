package bench

import (
	"fmt"
	"time"
)

// A Row is one line of the table: a job, and the unit of its value.
type Row struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	Job  Job    `json:"job"`
}

const milliseconds = "ms"

// lessIsBetter reports whether the row's value is a latency.
func (r Row) lessIsBetter() bool { return r.Unit == milliseconds }

func (r Row) value(s Sample) float64 {
	if r.lessIsBetter() {
		return float64(s.Latency) / float64(time.Millisecond)
	}
	return s.Rate()
}

// queueItems is the maximum number of items that the clients put in a queue in one round. Curator
// lists all items for each item that it takes, so the cost of its queue grows with this number.
const queueItems = 2000

// The constant `batch` is the number of items in a batch. In the rows with batches, clients put or
// take the items of a batch together.
const batch = 50

// Rows returns all rows. The fields Time and Warm of each job are those for an Options.Time of one
// second. For another Options.Time, Run scales both fields in proportion.
func Rows() []Row {
	var rows []Row
	add := func(name, unit string, j Job) {
		if j.Time == 0 {
			j.Time = time.Second
		}
		if j.Kind != Put && j.Kind != Take {
			j.Warm = j.Time / 4
		}
		rows = append(rows, Row{name, unit, j})
	}
	for _, n := range []int{1, 8, 64} {
		add(fmt.Sprintf("lock %d", n), "cycles/s", Job{Kind: Lock, Clients: n, Width: 1})
	}
	add("lock 512", "cycles/s", Job{Kind: Lock, Clients: 512, Width: 1, Time: 3 * time.Second})
	add("lock 32 on 32 paths", "cycles/s", Job{Kind: Lock, Clients: 32, Width: 32})
	add("rwlock 8", "cycles/s", Job{Kind: ReadWrite, Clients: 8})
	add("semaphore 8 for 3", "cycles/s", Job{Kind: Semaphore, Clients: 8, Width: 3})
	for _, n := range []int{1, 8} {
		add(fmt.Sprintf("counter %d", n), "adds/s", Job{Kind: Count, Clients: n})
	}
	add("election 3", milliseconds, Job{Kind: Election, Clients: 3})
	for _, n := range []int{1, 4, 16} {
		for _, size := range []int{1, batch} {
			suffix := ""
			if size > 1 {
				suffix = fmt.Sprintf(" by %d", size)
			}
			job := Job{Kind: Put, Clients: n, Items: queueItems, Batch: size, Time: 2 * time.Second}
			add(fmt.Sprintf("queue %d+%d puts%s", n, n, suffix), "items/s", job)
			job.Kind = Take
			add(fmt.Sprintf("queue %d+%d takes%s", n, n, suffix), "items/s", job)
			job.Relaxed = true
			if n == 4 {
				add(fmt.Sprintf("queue %d+%d takes%s, relaxed", n, n, suffix), "items/s", job)
			}
		}
	}
	for _, n := range []int{8, 64} {
		add(fmt.Sprintf("watch 1 by %d", n), milliseconds, Job{Kind: Watch, Clients: n + 1})
	}
	add("barrier 8", "rounds/s", Job{Kind: Barrier, Clients: 8})
	return rows
}

// The method `timed` returns the row's job for one round.
func (r Row) timed(path string, round time.Duration) Job {
	j := r.Job
	j.Path = path
	scale := func(d time.Duration) time.Duration { return time.Duration(float64(d) * round.Seconds()) }
	j.Time, j.Warm = scale(j.Time), scale(j.Warm)
	return j
}

// The method `counted` returns the row's job with a fixed number of operations instead of a time.
// It is for counting the requests of an operation.
func (r Row) counted(path string) Job {
	j := r.Job
	j.Path, j.Time, j.Warm = path, 0, 0
	j.Each = max(1, 100/j.Clients)
	j.Items = min(j.Items, 400)
	return j
}
