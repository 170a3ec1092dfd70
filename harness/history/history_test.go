package history

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/zkcoord/zkcoord/session"
)

func TestEventStaysSmall(t *testing.T) {
	if size := unsafe.Sizeof(Event{}); size > 160 {
		t.Errorf("an event takes %d bytes, want at most 160", size)
	}
}

func TestIndexAndTimeRiseTogetherUnderConcurrency(t *testing.T) {
	const clients, each = 8, 2 * chunk
	r := NewRecorder()
	var group sync.WaitGroup
	for c := range clients {
		group.Go(func() {
			last := int32(-1)
			for range each {
				e := r.Record(Event{Kind: Invoke, Client: int16(c), Process: int32(c)})
				if e.Index <= last {
					t.Errorf("client %d: got index %d after %d, want a larger one", c, e.Index, last)
				}
				last = e.Index
			}
		})
	}
	group.Wait()
	h := r.History()
	if len(h.Events) != clients*each || r.Count(Invoke) != clients*each {
		t.Fatalf("got %d events, %d counted, want %d", len(h.Events), r.Count(Invoke), clients*each)
	}
	for i := range h.Events {
		if int(h.Events[i].Index) != i || i > 0 && h.Events[i].Time < h.Events[i-1].Time {
			t.Fatalf("event %d: got index %d, time %v after %v; want index %d and a time that "+
				"does not fall",
				i, h.Events[i].Index, h.Events[i].Time, h.Events[max(i-1, 0)].Time, i)
		}
	}
}

func TestSealedRecorderKeepsNothing(t *testing.T) {
	r := NewRecorder()
	r.Record(Event{Kind: Phase, Op: PhaseEnd})
	r.Seal()
	if late := r.Record(Event{Kind: OK}); late.Index != -1 {
		t.Errorf("a late event got index %d, want -1", late.Index)
	}
	if h := r.History(); len(h.Events) != 1 || !h.Complete() {
		t.Errorf("got %d events, complete %v; want 1 event, complete", len(h.Events), h.Complete())
	}
}

func parse(t *testing.T, text string) *History {
	t.Helper()
	h, err := ParseText(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPairing(t *testing.T) {
	h := parse(t, `
		- c0 invoke acquire /lock
		- c1 invoke acquire /lock
		- c1 ok acquire /lock token=5
		- c0 info acquire /lock error="connection closed"
		- c0/p2 invoke acquire /lock
	`)
	ops, err := h.Operations()
	if err != nil {
		t.Fatal(err)
	}
	var got []session.Outcome
	for _, o := range ops {
		got = append(got, o.Outcome())
	}
	if want := []session.Outcome{session.Indeterminate, session.OK, session.Indeterminate}; !slices.Equal(got, want) {
		t.Errorf("got outcomes %v, want %v", got, want)
	}
	if ops[2].Complete != nil || ops[2].End() != 1<<31-1 || ops[1].End() != 2 {
		t.Errorf("got ends %d and %d, and a completion of the last operation: %v; want %d and 2, "+
			"and none", ops[2].End(), ops[1].End(), ops[2].Complete, 1<<31-1)
	}
}

func TestPairingRefusesWhatNoClientDoes(t *testing.T) {
	for name, text := range map[string]string{
		"two at once":             "- c0 invoke a\n- c0 invoke b",
		"completed twice":         "- c0 invoke a\n- c0 ok a\n- c0 ok a",
		"completed unasked":       "- c0 ok a",
		"another one's operation": "- c0 invoke a\n- c0 ok b",
	} {
		if _, err := parse(t, text).Operations(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got error %v, want ErrMalformed", name, err)
		}
	}
}

func TestHoldsEndWithTheFirstOfEndLostAndCrash(t *testing.T) {
	h := parse(t, `
		- c0 hold begin /lock token=1
		- c0 hold lost /lock token=1
		- c0 hold end /lock token=1
		- c1 hold begin /lock token=2
		- c1 hold begin /other token=3
		- c1 crash
		- c2 hold begin /lock token=4
		- c2 hold end /lock token=4
		- c2 hold begin /lock token=5
	`)
	type interval struct {
		token int64
		last  int32
		lost  bool
	}
	var got []interval
	for _, i := range h.Holds() {
		got = append(got, interval{i.Begin.Token, i.Last(), i.Lost()})
	}
	want := []interval{{1, 1, true}, {2, 5, true}, {3, 5, true}, {4, 7, false}, {5, 1<<31 - 1, false}}
	if !slices.Equal(got, want) {
		t.Errorf("got holds %v, want %v", got, want)
	}
}

// The function `full` returns a history with every field set, and with values that need quotes.
func full() *History {
	h := New(
		Event{Kind: Phase, Op: PhaseWork, Client: Nobody, Process: Nobody},
		Event{Kind: Invoke, Op: "put", Object: "/q", Arg: `a "b" = c\`, Client: 3, Process: 17, Session: -2, Zxid: 1 << 62, Token: 9, Node: "/q/n-1", Round: 4, Step: 5, Priority: -6, Watch: 7},
		Event{Kind: Info, Op: "put", Object: "no path", Error: "tab\tnew\nline é \x00", Client: 3, Process: 17, Result: "r"},
		Event{Kind: Fault, Op: FaultStart, Object: "/a=b", Node: "c1", Client: Nobody, Process: 0},
		Event{Kind: Phase, Op: PhaseEnd, Client: Nobody, Process: Nobody},
	)
	h.Header = Header{Scenario: "s", Seed: 1<<64 - 1, Ensemble: "embedded"}
	return h
}

func TestJSONRoundTrip(t *testing.T) {
	want := full()
	var buf bytes.Buffer
	if err := want.WriteJSON(&buf); err != nil {
		t.Fatal(err)
	}
	got, err := ReadJSON(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Events, want.Events) || got.Header != want.Header {
		t.Errorf("got  %+v %#v\nwant %+v %#v", got.Header, got.Events, want.Header, want.Events)
	}
}

func TestTextRoundTrip(t *testing.T) {
	want := full()
	var buf bytes.Buffer
	if err := want.WriteText(&buf); err != nil {
		t.Fatal(err)
	}
	got, err := ParseText(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Events, want.Events) {
		t.Errorf("got  %#v\nwant %#v", got.Events, want.Events)
	}
}

func FuzzTextRoundTrip(f *testing.F) {
	f.Add("acquire", "/lock", "a b", "lock-1", int64(7), int16(1), int32(5))
	f.Add("/", "=", "\"", "#", int64(-1), int16(-1), int32(-1))
	f.Fuzz(func(t *testing.T, op, object, arg, node string, token int64, client int16, process int32) {
		if client < Nobody || process < Nobody {
			t.Skip("not a valid client")
		}
		want := New(Event{Kind: OK, Op: op, Object: object, Arg: arg, Node: node, Token: token, Client: client, Process: process})
		got, err := ParseText(strings.NewReader(want.Events[0].String()))
		if err != nil {
			t.Fatalf("%v: %v", want.Events[0], err)
		}
		if !reflect.DeepEqual(got.Events, want.Events) {
			t.Errorf("got  %#v\nwant %#v", got.Events[0], want.Events[0])
		}
	})
}

func TestHistoryCutShortIsReadAndKnownToBe(t *testing.T) {
	var buf bytes.Buffer
	if err := full().WriteJSON(&buf); err != nil {
		t.Fatal(err)
	}
	whole := buf.Len()
	for n := bytes.IndexByte(buf.Bytes(), '\n') + 1; n < whole; n++ {
		h, err := ReadJSON(bytes.NewReader(buf.Bytes()[:n]))
		if err != nil {
			t.Fatalf("first %d bytes: got error %v, want none", n, err)
		}
		if h.Complete() {
			t.Fatalf("first %d of %d bytes: got a complete history, want an incomplete one", n, whole)
		}
	}
}

func TestReadJSONRefuses(t *testing.T) {
	const head = `{"format":"zkcoord-history","version":1}` + "\n"
	for name, text := range map[string]string{
		"nothing":           "",
		"another format":    `{"format":"x","version":1}` + "\n",
		"another version":   `{"format":"zkcoord-history","version":2}` + "\n",
		"unknown kind":      head + `{"i":0,"t":0,"kind":"x"}` + "\n",
		"a gap":             head + `{"i":1,"t":0,"kind":"ok"}` + "\n",
		"no JSON":           head + "x\n",
		"a time below 0":    head + `{"i":0,"t":-1,"kind":"ok"}` + "\n",
		"a time that falls": head + `{"i":0,"t":2,"kind":"invoke"}` + "\n" + `{"i":1,"t":1,"kind":"ok"}` + "\n",
	} {
		if _, err := ReadJSON(strings.NewReader(text)); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	r := NewRecorder()
	for b.Loop() {
		r.Record(Event{Kind: OK, Op: "acquire", Object: "/lock"})
	}
}
