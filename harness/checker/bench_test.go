package checker

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/internal/procs"
)

// The cost of checkers:
//
//	go test ./harness/checker -run '^$' -bench Checkers -benchtime 1x
//	go test ./harness/checker -run '^$' -bench Porcupine -benchtime 1x
//
// The histories are legal. Operations and holds are parsed before the measurement, because only the
// first checker of a run has to parse them.

// perOperation is the number of bytes that a checker may allocate for each operation.
const perOperation = 300

// Checkers that search for an order may allocate more than perOperation: `searching` has their
// limits, in bytes for each operation. They judge one object after the other, so most of this
// memory is free again when they begin with the next object.
var searching = map[string]uint64{"counter/linearizable": 2000}

// The type `work` is a function that returns the next operation of a client. The returned function
// `complete` returns the events that complete the operation. It is called when the operation takes
// effect.
type work func(c int16) (invoke history.Event, complete func() []history.Event)

// The function `busy` returns a history of n operations in groups of four. All operations of a
// group begin before one of them completes.
func busy(n int, next work) *history.History {
	events := make([]history.Event, 0, 2*n+n/4)
	r := rand.New(rand.NewPCG(1, 1))
	for begun := 0; begun < n; {
		var completes []func() []history.Event
		for _, c := range r.Perm(8)[:min(4, n-begun)] {
			e, complete := next(int16(c))
			e.Kind, e.Client, e.Process = history.Invoke, int16(c), int32(c)
			events = append(events, e)
			completes = append(completes, func() []history.Event {
				all := complete()
				for i := range all {
					all[i].Op, all[i].Object = orOp(all[i], e), orObject(all[i], e)
					all[i].Client, all[i].Process, all[i].Round = e.Client, e.Process, max(all[i].Round, e.Round)
				}
				return all
			})
			begun++
		}
		for _, complete := range completes {
			events = append(events, complete()...)
		}
	}
	return history.New(append(events, end())...)
}

func orOp(e, invoke history.Event) string {
	if e.Op != "" {
		return e.Op
	}
	return invoke.Op
}

func orObject(e, invoke history.Event) string {
	if e.Object != "" {
		return e.Object
	}
	return invoke.Object
}

func ok(e history.Event) []history.Event {
	e.Kind = history.OK
	return []history.Event{e}
}

// familyOf returns the first part of a property's name: "lock" for lock/no-overlap.
func familyOf(id string) string {
	family, _, _ := strings.Cut(id, "/")
	return family
}

// benchHistories returns, for each family of checkers, a function that makes a history of n
// operations.
func benchHistories() map[string]func(n int) *history.History {
	locks := func(n int) *history.History {
		return history.New(append(lockHistory(rand.New(rand.NewPCG(1, 1)), n/2), end())...)
	}
	return map[string]func(int) *history.History{
		"lock": locks, "rwlock": locks, "semaphore": locks, "run": locks, "client": locks,
		"queue": queued, "register": registered, "barrier": barred, "counter": counting, "double-barrier": doubled, "election": elected, "session": sessioned, "watch": watched, "group": grouped,
	}
}

func queued(n int) *history.History {
	r := rand.New(rand.NewPCG(2, 2))
	put := 0
	var items []string
	return busy(n, func(int16) (history.Event, func() []history.Event) {
		if r.IntN(2) == 0 {
			put++
			item := fmt.Sprint(put)
			return history.Event{Object: "/q", Op: OpPut, Arg: item}, func() []history.Event {
				items = append(items, item)
				return ok(history.Event{})
			}
		}
		return history.Event{Object: "/q", Op: OpTake}, func() []history.Event {
			e := history.Event{}
			if len(items) > 0 {
				e.Result, items = items[0], items[1:]
			}
			return ok(e)
		}
	})
}

func registered(n int) *history.History {
	r := rand.New(rand.NewPCG(2, 2))
	zxid, added, begun, value, at := int64(0), 0, 0, "", int64(0)
	return busy(n, func(int16) (history.Event, func() []history.Event) {
		begun++
		switch mine := fmt.Sprint(begun); r.IntN(4) {
		case 0:
			return history.Event{Object: "/x", Op: OpSetValue, Arg: mine}, func() []history.Event {
				zxid++
				value, at = mine, zxid
				return ok(history.Event{Zxid: zxid})
			}
		case 1:
			return history.Event{Object: "/n", Op: OpAdd}, func() []history.Event {
				zxid++
				added++
				return ok(history.Event{Zxid: zxid, Result: fmt.Sprint(added)})
			}
		}
		return history.Event{Object: "/x", Op: OpRead, Arg: "sync", Session: 1}, func() []history.Event {
			return ok(history.Event{Zxid: at, Result: value, Session: 1})
		}
	})
}

// The function `counting` returns a history of many counters with 20 calls each.
func counting(n int) *history.History {
	r := rand.New(rand.NewPCG(2, 3))
	begun := 0
	values := make(map[string]int64)
	return busy(n, func(int16) (history.Event, func() []history.Event) {
		begun++
		object := fmt.Sprintf("/n%d", begun/20)
		if delta := int64(r.IntN(5)); delta > 0 {
			return history.Event{Object: object, Op: OpAdd, Arg: fmt.Sprint(delta)}, func() []history.Event {
				values[object] += delta
				return ok(history.Event{Result: fmt.Sprint(values[object])})
			}
		}
		return history.Event{Object: object, Op: OpGet}, func() []history.Event {
			return ok(history.Event{Result: fmt.Sprint(values[object])})
		}
	})
}

func barred(n int) *history.History {
	begun := 0
	return busy(n, func(int16) (history.Event, func() []history.Event) {
		begun++
		done := func() []history.Event { return ok(history.Event{}) }
		// Four operations are open at a time. One group of four has an OpSet and three operations
		// that do nothing. The next group has an OpRemove and three OpWaits. Each wait overlaps the
		// remove, so the wait can pass.
		op := OpWait
		switch begun % 8 {
		case 1:
			op = OpSet
		case 5:
			op = OpRemove
		case 2, 3, 4:
			op = "nothing"
		}
		return history.Event{Object: "/b", Op: op}, done
	})
}

// The function `doubled` returns a history of two double barriers. Members of /d know their round
// at the invocation. Members of /u learn their round at the completion, and some get no answer.
func doubled(n int) *history.History {
	events := numbered(n / 2).Events
	events = events[:len(events)-1]
	for i := range n / 16 {
		for _, op := range []string{OpEnter, OpLeave} {
			for _, kind := range []history.Kind{history.Invoke, history.OK} {
				for c := range 4 {
					e := history.Event{Kind: kind, Op: op, Object: "/u", Client: int16(c), Process: int32(c), Session: int64(c + 1)}
					// Members 0 and 1 are always answered, because the round is known only from the
					// answers to enters.
					silent := i%4 == 0 && c > 1
					switch {
					case silent && op == OpLeave:
						continue
					case silent:
						e.Process += int32(4 * (i + 1))
						if kind == history.OK {
							e.Kind = history.Info
						}
					case kind == history.OK || op == OpLeave:
						e.Round = int32(i + 1)
					}
					events = append(events, e)
				}
			}
		}
	}
	for i := range events {
		events[i].Time = 0 // history.New sets it
	}
	return history.New(append(events, end())...)
}

func numbered(n int) *history.History {
	var events []history.Event
	for i := range n / 8 {
		for _, op := range []string{OpEnter, OpLeave} {
			for _, kind := range []history.Kind{history.Invoke, history.OK} {
				for c := range 4 {
					events = append(events, history.Event{Kind: kind, Op: op, Object: "/d", Round: int32(i), Client: int16(c), Process: int32(c)})
				}
			}
		}
	}
	return history.New(append(events, end())...)
}

func elected(n int) *history.History {
	var events []history.Event
	both := func(c int16, e history.Event, done history.Event) {
		e.Kind, e.Client, e.Process, e.Object = history.Invoke, c, int32(c), "/e"
		done.Kind, done.Client, done.Process, done.Object, done.Op = history.OK, c, int32(c), "/e", e.Op
		events = append(events, e, done)
	}
	hold := func(c int16, op string, token int64) {
		events = append(events, history.Event{Kind: history.Hold, Op: op, Client: c, Process: int32(c), Object: "/e", Token: token})
	}
	last := ""
	for token := int64(1); token <= int64(n/5); token++ {
		c, value := int16(token%8), fmt.Sprint(token)
		both(c, history.Event{Op: OpCampaign}, history.Event{Token: token})
		hold(c, history.HoldBegin, token)
		both(c, history.Event{Op: OpInherit, Token: token}, history.Event{Result: last})
		both(c, history.Event{Op: OpProclaim, Token: token, Arg: value}, history.Event{})
		events = append(events, history.Event{Kind: history.Write, Op: history.WriteAccepted, Object: "/r", Arg: "write", Token: token, Result: value, Client: c})
		for range 2 {
			both(8, history.Event{Op: OpLeader, Arg: "sync"}, history.Event{Token: token})
		}
		hold(c, history.HoldEnd, token)
		last = value
	}
	return history.New(append(events, end())...)
}

func sessioned(n int) *history.History {
	var events []history.Event
	both := func(c int16, e history.Event, done history.Event) {
		e.Kind, e.Client, e.Process = history.Invoke, c, int32(c)
		done.Kind, done.Client, done.Process, done.Object, done.Op, done.Session = history.OK, c, int32(c), e.Object, e.Op, e.Session
		events = append(events, e, done)
	}
	for i := range n / 10 {
		id, path := int64(i+1), fmt.Sprintf("/s/%d", i)
		events = append(events, history.Event{Kind: history.Session, Op: history.SessionNew, Session: id, Arg: "1ms"})
		both(0, history.Event{Op: OpEphemeral, Object: path, Session: id}, history.Event{})
		for range 3 {
			both(1, history.Event{Op: OpPresent, Object: path, Arg: "sync"}, history.Event{Result: fmt.Sprintf("0x%x", id)})
		}
		both(0, history.Event{Op: OpSetValue, Object: path, Session: id}, history.Event{})
		events = append(events, history.Event{Kind: history.Session, Op: history.SessionExpired, Session: id})
		resume := history.Event{Kind: history.Invoke, Op: OpResume, Arg: fmt.Sprintf("0x%x", id), Client: 2, Process: 2}
		refused := resume
		refused.Kind, refused.Arg = history.Fail, ""
		events = append(events, resume, refused)
		for range 4 {
			both(1, history.Event{Op: OpPresent, Object: path, Arg: "sync"}, history.Event{})
		}
	}
	return history.New(append(events, end())...)
}

func watched(n int) *history.History {
	var events []history.Event
	both := func(c int16, op string, done history.Event) {
		events = append(events, history.Event{Kind: history.Invoke, Op: op, Object: "/x", Client: c, Process: int32(c), Session: int64(c + 1)})
		done.Kind, done.Op, done.Object, done.Client, done.Process, done.Session = history.OK, op, "/x", c, int32(c), int64(c+1)
		events = append(events, done)
	}
	watch := func(e history.Event) {
		e.Kind, e.Object, e.Client, e.Process, e.Session = history.Watch, "/x", 1, 1, 2
		events = append(events, e)
	}
	zxid := int64(1)
	both(0, OpCreate, history.Event{Zxid: 1})
	watch(history.Event{Op: WatchState, Zxid: 1, Token: 1, Arg: "initial"})
	for i := range int32(n / 4) {
		// One client sets a watch with each read of a znode that never changes.
		events = append(events, history.Event{Kind: history.Watch, Op: WatchSet, Object: "/y", Client: 2, Process: 2, Session: 3, Watch: i + 1})
		for _, kind := range []history.Kind{history.Invoke, history.OK} {
			events = append(events, history.Event{Kind: kind, Op: OpRead, Object: "/y", Client: 2, Process: 2, Session: 3})
		}
		watch(history.Event{Op: WatchSet, Zxid: zxid, Watch: i + 1})
		both(1, OpRead, history.Event{Zxid: zxid})
		zxid++
		both(0, OpSetValue, history.Event{Zxid: zxid})
		watch(history.Event{Op: WatchFired, Watch: i + 1, Arg: "NodeDataChanged"})
		both(1, OpRead, history.Event{Zxid: zxid})
		watch(history.Event{Op: WatchState, Zxid: zxid, Token: 1, Arg: "changed"})
	}
	events = append(events, history.Event{Kind: history.Fact, Op: FactFinal, Object: "/x", Zxid: zxid, Token: 1, Client: history.Nobody, Process: history.Nobody})
	return history.New(append(events, end())...)
}

func grouped(n int) *history.History {
	var events []history.Event
	both := func(c int16, op, arg, result string) {
		e := history.Event{Kind: history.Invoke, Op: op, Object: "/g", Arg: arg, Client: c, Process: int32(c)}
		events = append(events, e)
		e.Kind, e.Arg, e.Result = history.OK, "", result
		events = append(events, e)
	}
	for i := range n / 5 {
		c := int16(i % 4)
		both(c, OpJoin, fmt.Sprint(i), "")
		both(4, OpMembers, Present, fmt.Sprint(i))
		both(c, OpUpdate, fmt.Sprint(i), "")
		both(c, OpLeave, fmt.Sprint(i), "")
		both(5, OpMembers, Present, "")
	}
	return history.New(append(events, end())...)
}

// The function `prepared` returns the history after its operations and holds were parsed.
func prepared(t testing.TB, name string, draw func(int) *history.History, n int) *history.History {
	t.Helper()
	if draw == nil {
		t.Fatalf("%s: got no function in benchHistories that makes a history for its family, "+
			"want one", name)
	}
	// Some checkers judge only what happens after the heal, so the history begins with the heal.
	h := history.New(slices.Insert(draw(n).Events, 0, history.Event{Kind: history.Phase, Op: history.PhaseHealed, Client: history.Nobody, Process: history.Nobody})...)
	if _, err := h.Operations(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	h.Holds()
	return h
}

// The function `allocated` returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// The function `cpu` returns the processor time of this process.
func cpu() time.Duration {
	user, system := procs.CPUTime()
	return user + system
}

// The test limits the sum of all memory that a checker allocates. The sum also counts memory that
// the checker no longer uses.
func TestCheckersAllocateLittleForEachOperation(t *testing.T) {
	const n = 20_000
	histories := make(map[string]*history.History)
	for id, c := range sorted(underTest()) {
		family := familyOf(id)
		if histories[family] == nil {
			histories[family] = prepared(t, id, benchHistories()[family], n)
		}
		var r Result
		bytes := allocated(func() { r = c.Check(t.Context(), histories[family])[0] })
		if r.Verdict == Invalid {
			t.Errorf("%s: verdict on a legal history: got %v, want no violation: %s", id, r.Verdict, r.Reason)
		}
		if allowed := cmp.Or(searching[id], perOperation); bytes > allowed*n {
			t.Errorf("%s: allocates %d bytes for each operation, want at most %d", id, bytes/n, allowed)
		}
	}
}

func BenchmarkCheckers(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		histories := make(map[string]*history.History)
		for id, c := range sorted(underTest()) {
			family := familyOf(id)
			b.Run(fmt.Sprintf("%s/%d", id, n), func(b *testing.B) {
				if histories[family] == nil {
					clear(histories) // a million operations of one family fit into memory, but those of all families might not
					histories[family] = prepared(b, id, benchHistories()[family], n)
				}
				var verdict Verdict
				bytes, spent := uint64(0), cpu()
				for b.Loop() {
					bytes = allocated(func() { verdict = c.Check(b.Context(), histories[family])[0].Verdict })
				}
				spent = cpu() - spent
				if verdict == Invalid {
					b.Fatal("the verdict on a legal history is invalid, want no violation")
				}
				b.ReportMetric(float64(bytes)/float64(n), "B/operation")
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/operation")
				b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N)/float64(n), "cpu-ns/operation")
			})
		}
	}
}

// BenchmarkOperations measures the parsing of operations. Only the first checker of a run has to
// parse them.
func BenchmarkOperations(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			events := slices.Clone(registered(n).Events)
			for b.Loop() {
				if _, err := history.New(events...).Operations(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/operation")
		})
	}
}

// BenchmarkPorcupine measures porcupine on histories of the same kind as in BenchmarkCheckers. The
// search over one object may take at most a minute.
func BenchmarkPorcupine(b *testing.B) {
	for _, m := range []struct {
		model Model
		draw  func(int) *history.History
	}{{RegisterModel, registered}, {QueueModel, queued}, {MutexModel, benchHistories()["lock"]}} {
		for _, n := range []int{100, 1_000, 10_000, 100_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", m.model.Name, n), func(b *testing.B) {
				h := prepared(b, m.model.Name, m.draw, n)
				var r Result
				for b.Loop() {
					r = Referee("X", m.model, n, time.Minute).Check(context.Background(), h)[0]
				}
				if r.Verdict == Unknown {
					b.Skip(r.Reason)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/operation")
			})
		}
	}
}
