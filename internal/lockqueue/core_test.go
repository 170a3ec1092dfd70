package lockqueue

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/internal/znode"
)

var testNaming = Naming{
	Exclusive: []string{"lock-", "__WRIT__", "__lock__"},
	Shared:    []string{"__READ__", "__rlock__"},
	Changing:  []string{"__WRIT__"},
}

const id = "0123456789abcdef0123456789abcdef-"

// child returns the full name for an abbreviation of the testdata. For example, w0 is an exclusive
// contender, r1 is a shared one, and x2 is no contender.
func child(s string) string {
	n, err := strconv.ParseInt(s[1:], 10, 32)
	if err != nil {
		panic(err)
	}
	prefix := map[byte]string{'w': "lock-", 'r': "__READ__", 'x': "other-"}[s[0]]
	return id + prefix + znode.Seq(n).String()
}

// TestDecide runs the cases of testdata/decide.txt.
func TestDecide(t *testing.T) {
	file, err := os.Open("testdata/decide.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var title string
	var children []string
	cases := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		head, rest, pair := strings.Cut(lines.Text(), ": ")
		switch {
		case lines.Text() == "" || strings.HasPrefix(head, "#"):
		case !pair:
			title = head
		case head == "children":
			children = children[:0]
			for s := range strings.FieldsSeq(rest) {
				children = append(children, child(s))
			}
		default:
			cases++
			if got := decided(children, head); got != rest {
				t.Errorf("%s: contender %s: got %q, want %q", title, head, got, rest)
			}
		}
	}
	if cases < 20 {
		t.Errorf("got %d cases, want at least 20", cases)
	}
}

// The function `decided` describes the decision for the contender with the given number.
func decided(children []string, number string) string {
	n, _ := strconv.ParseInt(number, 10, 32)
	for _, name := range children {
		me, ok := testNaming.Parse(name)
		if !ok || me.Seq != znode.Seq(n) {
			continue
		}
		d := testNaming.Decide(me, children)
		switch {
		case d.Served():
			return "served"
		case d.Ahead == 1:
			return fmt.Sprintf("waits on %d", int32(d.Last.Seq))
		case d.Ahead > 1:
			return fmt.Sprintf("waits on %d (%d)", int32(d.Last.Seq), d.Ahead)
		}
	}
	return "is not there"
}

// TestParse checks that names of contenders are parsed, and that other names are not.
func TestParse(t *testing.T) {
	for name, want := range map[string]Contender{
		id + "lock-0000000007":                                       {Seq: 7},
		id + "__WRIT__0000000008":                                    {Seq: 8},
		id + "__READ__0000000009":                                    {Kind: Shared, Seq: 9},
		id + "__READ__-000000009":                                    {Kind: Shared, Seq: -9},
		id + "lock--1500000000":                                      {Seq: -1500000000},
		id + "lock-1500000000":                                       {Seq: 1500000000},
		id + "lock--2147483648":                                      {Seq: -1 << 31},
		id + "lock--000000001":                                       {Seq: -1},
		"_c_4e2b6a1a-4b0c-4f0e-8d2a-0c1d2e3f4a5b-lock-0000000003":    {Seq: 3},               // Curator's InterProcessMutex
		"_c_4e2b6a1a-4b0c-4f0e-8d2a-0c1d2e3f4a5b-__READ__0000000004": {Kind: Shared, Seq: 4}, // Curator's read-write lock
		"9f86d081884c7d659a2feaa0c55ad015__lock__0000000005":         {Seq: 5},               // kazoo's Lock
		"9f86d081884c7d659a2feaa0c55ad015__rlock__0000000006":        {Kind: Shared, Seq: 6}, // kazoo's ReadLock
		"lock-0000000001":                                            {Seq: 1},
		"config":                                                     {}, "lock-": {}, "lock-12": {}, "": {}, "lock-00000000x1": {}, "lock-+000000001": {}, "lock-00000000001": {},
	} {
		got, ok := testNaming.Parse(name)
		if want == (Contender{}) {
			if ok {
				t.Errorf("Parse(%q): got %+v, want no contender", name, got)
			}
			continue
		}
		want.Name, want.suffix = name, got.suffix
		if !ok || got != want {
			t.Errorf("Parse(%q): got %+v, %v, want %+v", name, got, ok, want)
		}
	}
}

// Only exclusive contenders of this package leave a release mark. Of these, only contenders whose
// suffix is in Naming.Changing may change their znode's data while they are served.
func TestSigns(t *testing.T) {
	for name, want := range map[string]string{
		id + "lock-0000000007":                                    "signs",
		id + "__WRIT__0000000007":                                 "signs changes",
		id + "__READ__0000000007":                                 "",
		"9f86d081884c7d659a2feaa0c55ad015__lock__0000000005":      "",
		"9f86d081884c7d659a2feaa0c55ad015__lock__-000000005":      "",
		"_c_4e2b6a1a-4b0c-4f0e-8d2a-0c1d2e3f4a5b-lock-0000000003": "",
		"lock-0000000003":                                         "",
		strings.ToUpper(id) + "lock-0000000007":                   "",
	} {
		c, _ := testNaming.Parse(name)
		var got []string
		if testNaming.leavesMark(c) {
			got = append(got, "signs")
		}
		if testNaming.changes(c) {
			got = append(got, "changes")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// The function `crowd` returns the names of n children. Their numbers begin at `start` and may
// overflow to negative ones.
func crowd(rng *rand.Rand, start znode.Seq, n int) (children []string) {
	for i := range n {
		kind := "wwrx"[rng.IntN(4)]
		children = append(children, child(fmt.Sprintf("%c%d", kind, int32(start+znode.Seq(i)))))
	}
	rng.Shuffle(n, func(i, j int) { children[i], children[j] = children[j], children[i] })
	return children
}

// checkCrowd removes contenders in a random order until none is left. It returns an error if a
// decision is wrong.
func checkCrowd(rng *rand.Rand, children []string) error {
	for {
		queue := testNaming.Queue(children)
		if len(queue) == 0 {
			return nil
		}
		served := served(queue, children)
		if err := compatible(served); err != nil {
			return fmt.Errorf("children %v: %w", children, err)
		}
		if !served[queue[0]] {
			return fmt.Errorf("children %v: the first contender %v is not served, want it served",
				children, queue[0].Name)
		}
		gone := queue[rng.IntN(len(queue))]
		rest := slices.DeleteFunc(slices.Clone(children), func(name string) bool { return name == gone.Name })
		if err := wakes(queue, children, rest, gone); err != nil {
			return fmt.Errorf("children %v: %w", children, err)
		}
		children = rest
	}
}

func served(queue []Contender, children []string) map[Contender]bool {
	served := make(map[Contender]bool)
	for _, c := range queue {
		if testNaming.Decide(c, children).Served() {
			served[c] = true
		}
	}
	return served
}

// The function `compatible` checks that an exclusive contender is served alone.
func compatible(served map[Contender]bool) error {
	for c := range served {
		if c.Kind == Exclusive && len(served) > 1 {
			return fmt.Errorf("exclusive contender %v is served with %d others, want none", c.Name, len(served)-1)
		}
	}
	return nil
}

// The function `wakes` checks how the departure of the contender `gone` affects the others. The
// departure wakes the contenders that waited on `gone`.
//
//   - If a contender is served after the departure but was not served before, it must be one of the
//     woken contenders.
//   - If a woken contender had only `gone` ahead of it, it must now be served.
//   - The departure must not wake two exclusive contenders. If `gone` is shared, it must not wake
//     two contenders of any kind.
func wakes(queue []Contender, before, after []string, gone Contender) error {
	woken, exclusive := 0, 0
	for _, c := range queue {
		if c == gone {
			continue
		}
		was, is := testNaming.Decide(c, before), testNaming.Decide(c, after)
		waited := was.Ahead > 0 && was.Last == gone
		if waited {
			if woken++; c.Kind == Exclusive {
				exclusive++
			}
		}
		if is.Served() && !was.Served() && !waited {
			return fmt.Errorf("departure of %v: %v is served but not woken, want both or neither",
				gone.Name, c.Name)
		}
		// If `gone` was the only contender ahead of c, Queue.wait serves c without a new list of
		// the children. So c must now be served according to Decide, too.
		if waited && was.Ahead == 1 && !is.Served() {
			return fmt.Errorf("departure of %v: %v had only this one ahead, but is not served among %v", gone.Name, c.Name, after)
		}
	}
	if exclusive > 1 || woken > 1 && gone.Kind == Shared {
		return fmt.Errorf("departure of %v: wakes %d contenders, %d of them exclusive; want at most one exclusive, and at most one at all if the departed one is shared",
			gone.Name, woken, exclusive)
	}
	return nil
}

func TestNeverTwoExclusiveServed(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		start := znode.Seq(rng.Int32())
		if seed%2 == 0 {
			start = 1<<31 - 1 - znode.Seq(rng.IntN(10)) // the wrap is near
		}
		if err := checkCrowd(rng, crowd(rng, start, 1+rng.IntN(12))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// If an exclusive contender is served, no other contender is ahead of it in the queue. Queue.wait
// relies on this: a contender that left a release mark had been served, so it was the first one in
// the queue. Therefore the contender just behind it is now the first one.
func TestServedHasNobodyBeforeIt(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		children := crowd(rng, znode.Seq(rng.Int32()), 1+rng.IntN(12))
		queue := testNaming.Queue(children)
		for _, c := range queue {
			if c.Kind != Exclusive || !testNaming.Decide(c, children).Served() {
				continue
			}
			for _, other := range queue {
				if Compare(other, c) < 0 {
					t.Fatalf("seed %d: exclusive contender %v is served while %v is before it", seed, c.Name, other.Name)
				}
			}
		}
	}
}

// FuzzDecide checks the decisions in a queue to which two children with arbitrary names are added.
func FuzzDecide(f *testing.F) {
	f.Add(id+"lock-0000000001", id+"__READ__0000000000", uint64(1))
	f.Add("_c_x", "lock--2147483648", uint64(2))
	f.Add("__lock__0000000000", "__lock__0000000000", uint64(3))
	f.Fuzz(func(t *testing.T, a, b string, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 2))
		children := append(crowd(rng, znode.Seq(rng.Int32()), 4), a, b)
		slices.Sort(children)
		children = slices.Compact(children)
		queue := testNaming.Queue(children)
		if !ordered(queue) {
			t.Skip("numbers half a circle apart have no order")
		}
		if err := checkCrowd(rng, children); err != nil {
			t.Error(err)
		}
	})
}

// The function `ordered` reports whether Compare agrees with the order of the queue for every pair
// of contenders.
func ordered(queue []Contender) bool {
	for i, c := range queue {
		for _, later := range queue[i+1:] {
			if Compare(c, later) >= 0 || Compare(later, c) <= 0 {
				return false
			}
		}
	}
	return true
}

func BenchmarkDecide(b *testing.B) {
	children := make([]string, 10_000)
	for i := range children {
		children[i] = child(fmt.Sprintf("w%d", i))
	}
	me, _ := testNaming.Parse(children[len(children)-1])
	for b.Loop() {
		testNaming.Decide(me, children)
	}
}
