package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/harness/netfault"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// A Finding is one requirement of the protocol, with the result for a client.
type Finding struct {
	Requirement string `json:"requirement"`
	OK          bool   `json:"ok"`
	// Advice means that the requirement is optional.
	Advice bool   `json:"advice,omitempty"`
	Got    string `json:"got,omitempty"` // if it is not OK: what the client did instead
}

const (
	checkTimeout = 4 * time.Second  // session timeout of clients under check
	checkTime    = 20 * time.Second // limit for an answer, on a busy machine
)

// Check runs the program as clients of an embedded ensemble. It calls `report` for one requirement
// after another. Check stops after a failed requirement on which later requirements depend. The
// standard error of clients is written to log. Check returns false if a requirement was not met. An
// error means that nothing could be checked, or that ctx ended during the check.
func Check(ctx context.Context, p Program, r Recipe, log io.Writer, report func(Finding)) (met bool, err error) {
	if r.Operations() == nil {
		return false, fmt.Errorf("client: unknown recipe %q: the recipes are %v", r, Recipes())
	}
	e, err := zktest.New(zktest.Options{Servers: 3, TickTime: 500 * time.Millisecond, SyncLimit: 5})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	s, err := session.Open(ctx, session.Options{Servers: e.Servers(), Dial: e.DialContext})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	k := &check{program: p, recipe: r, log: log, report: report, ensemble: e, admin: s, met: true}
	defer k.end()
	switch r {
	case Queue, PriorityQueue:
		k.two(ctx, k.queue)
	case Claims:
		k.two(ctx, k.claims)
	case Barrier:
		k.two(ctx, k.barrier)
	case Group:
		k.two(ctx, k.group)
	case Counter:
		k.two(ctx, k.counter)
	default:
		k.grants(ctx)
	}
	return k.met, ctx.Err()
}

type check struct {
	program  Program
	recipe   Recipe
	log      io.Writer
	report   func(Finding)
	ensemble *zktest.Ensemble
	admin    *session.Session
	started  []*checked
	met      bool
}

type checked struct {
	*Client
	proxy *netfault.Proxy

	mu      sync.Mutex
	session Session // the last session that a server gave to the client
}

func (c *checked) last() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

const checkPath = "/check/it"

// The method `find` reports a requirement. The requirement is met if `got` is empty.
func (k *check) find(requirement, got string) bool {
	k.met = k.met && got == ""
	k.report(Finding{Requirement: requirement, OK: got == "", Got: got})
	return got == ""
}

// advise reports an optional requirement.
func (k *check) advise(requirement, got string) {
	k.report(Finding{Requirement: requirement, OK: got == "", Advice: true, Got: got})
}

// The method `start` starts another client. If the client does not start, the method reports a
// requirement that is not met, and returns nil.
func (k *check) start(ctx context.Context) *checked {
	c := &checked{proxy: netfault.New(k.ensemble.DialContext)}
	s := Setup{Servers: k.ensemble.Servers(), Timeout: checkTimeout, Path: checkPath, Recipe: k.recipe, Permits: 1, Number: len(k.started)}
	var err error
	c.Client, err = Start(ctx, k.program, s, Options{Dial: c.proxy.DialContext, Log: k.log, HelloTime: checkTime, AnswerTime: checkTime, Session: func(s Session) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.session = s
	}})
	if err != nil {
		if len(k.started) > 0 {
			k.find("a second client starts while the first one runs", err.Error())
		} else {
			k.find(k.greets(), strings.TrimPrefix(err.Error(), "client "+k.program.Name+": "))
		}
		return nil
	}
	if len(k.started) == 0 {
		k.find(k.greets(), "")
	}
	k.started = append(k.started, c)
	return c
}

func (k *check) greets() string {
	return fmt.Sprintf("it sends hello with protocol %d and the operations %s", Version, strings.Join(k.recipe.Operations(), ", "))
}

// end closes all clients.
func (k *check) end() {
	for _, c := range k.started {
		c.proxy.Heal()
		c.Close()
	}
}

// The function `wait` returns d as the value of Request.WaitMS.
func wait(d time.Duration) *int64 {
	ms := d.Milliseconds()
	return &ms
}

// The method `grants` reports whether a client of the recipe acquires and holds something, such as
// a lock.
func (r Recipe) grants() bool {
	return slices.Contains([]Recipe{Lock, RWLock, Semaphore, Election}, r)
}

// The methods `acquires` and `releases` return the names of the operations that acquire and release
// what the recipe grants.
func (r Recipe) acquires() string { return r.Operations()[len(r.Operations())-2] }
func (r Recipe) releases() string { return r.Operations()[len(r.Operations())-1] }

// The function `expect` sends a request. If the reply has the type `typed`, the function returns
// "". If the reply has another type, or if there is no reply, it returns what was received instead.
func expect(ctx context.Context, c *checked, r Request, typed string) (Reply, string) {
	reply, err := c.Do(ctx, r)
	return reply, unlike(reply, err, typed)
}

func unlike(reply Reply, err error, typed string) string {
	switch {
	case reply.Type == typed:
		return ""
	case reply.Type == "":
		return err.Error()
	case err != nil:
		return fmt.Sprintf("%q: %v", reply.Type, err)
	}
	return fmt.Sprintf("%q", reply.Type)
}

// The method `grants` checks a recipe that grants something.
func (k *check) grants(ctx context.Context) {
	acquire, release := k.recipe.acquires(), k.recipe.releases()
	first := k.start(ctx)
	if first == nil {
		return
	}
	reply, _, err := first.Grant(ctx, Request{Op: acquire, WaitMS: wait(checkTime)})
	if !k.find(acquire+" succeeds with ok while nothing is held", unlike(reply, err, OK)) {
		return
	}
	if !k.find("it opens a session at the addresses in "+serversVariable, absent(first.last().ID == 0, "it opened no session there")) {
		return
	}
	k.find("its session requests the timeout in "+timeoutVariable, absent(first.last().Timeout != checkTimeout, fmt.Sprintf("%v, want %v", first.last().Timeout, checkTimeout)))
	if !k.owns(ctx, first.last().ID, reply) {
		return
	}

	second := k.start(ctx)
	if second == nil {
		return
	}
	_, got := expect(ctx, second, Request{Op: acquire, WaitMS: wait(500 * time.Millisecond)}, Fail)
	if !k.find("another client's "+acquire+" with wait_ms 500 fails with fail while the first one holds it", got) {
		return
	}
	_, got = expect(ctx, first, Request{Op: "no-such-operation"}, Fail)
	k.find("an unknown operation fails with fail", got)
	_, got = expect(ctx, first, Request{Op: release}, OK)
	k.find(release+" is answered with ok", got)
	again, grant, err := second.Grant(ctx, Request{Op: acquire, WaitMS: wait(checkTime)})
	if !k.find("after that, the other client is granted it", unlike(again, err, OK)) {
		return
	}
	if reply.Token != 0 {
		k.find("tokens rise", absent(again.Token <= reply.Token, fmt.Sprintf("%d after %d", again.Token, reply.Token)))
	}
	k.losses(ctx, first, second, grant)
}

// The method `owns` checks that the session `id` has an ephemeral znode while its client holds a
// grant. If the reply has a token, the token must be the czxid of such a znode.
func (k *check) owns(ctx context.Context, id int64, reply Reply) bool {
	znodes, err := k.znodes(ctx, id)
	got := absent(len(znodes) == 0, fmt.Sprintf("session 0x%x has no ephemeral znode there", uint64(id)))
	if err != nil {
		got = err.Error()
	}
	if !k.find("while it holds something, its session has an ephemeral znode below "+pathVariable, got) {
		return false
	}
	const token = "the token of the reply is the czxid of this znode"
	if reply.Token == 0 {
		k.advise(token, "no token: properties that need one are not judged")
		return true
	}
	_, name := znode.Split(reply.Node)
	for found, czxid := range znodes {
		if czxid == reply.Token && (name == found || reply.Node == "") {
			return k.find(token, "")
		}
	}
	return k.find(token, fmt.Sprintf("token %d, node %q; the znodes are %v", reply.Token, reply.Node, znodes))
}

// The method `losses` checks that clients report losses. First it expires the session of the second
// client. Then it stalls the connection of the first client, so that no server answers that client.
func (k *check) losses(ctx context.Context, first, second *checked, grant context.Context) {
	acquire, release := k.recipe.acquires(), k.recipe.releases()
	lost := func(grant context.Context, within time.Duration) string {
		select {
		case <-grant.Done():
			return ""
		case <-time.After(within):
			return fmt.Sprintf("no lost within %v", within)
		case <-ctx.Done():
			return "interrupted"
		}
	}
	if err := k.ensemble.Expire(second.last().ID); err != nil {
		k.find("its session lives while it holds something", err.Error())
		return
	}
	k.find("it sends lost, or ends, when its session has expired", lost(grant, checkTime))
	if second.Err() == nil {
		reply, err := second.Do(ctx, Request{Op: release})
		k.find(release+" after a loss gets a reply of any outcome", absent(reply.Type == "", fmt.Sprint(err)))
	}
	reply, grant, err := first.Grant(ctx, Request{Op: acquire, WaitMS: wait(checkTime)})
	if !k.find("after that, the first client is granted it again", unlike(reply, err, OK)) {
		return
	}
	first.proxy.Stall()
	k.find("it sends lost when no server has answered for longer than the session timeout", lost(grant, 3*checkTimeout))
	first.proxy.Resume()
	if first.Err() == nil {
		_, _ = first.Do(ctx, Request{Op: release})
	}
	k.leaves(ctx, second)
}

// The method `leaves` closes the input of the client c, and checks that the client closes its
// session and ends. If c has already ended, a new client is used.
func (k *check) leaves(ctx context.Context, c *checked) {
	if c.Err() != nil {
		if c = k.start(ctx); c == nil {
			return
		}
	}
	var got string
	if k.recipe.grants() {
		_, got = expect(ctx, c, Request{Op: k.recipe.acquires(), WaitMS: wait(checkTime)}, OK)
		if !k.find("it is granted again after a loss", got) {
			return
		}
	}
	before := time.Now()
	c.Close()
	k.find(fmt.Sprintf("it ends within %v of the end of its standard input", Grace), absent(time.Since(before) > Grace, "it had to be killed"))
	if k.recipe.grants() {
		left, err := k.znodes(ctx, c.last().ID)
		k.find("it closes its session before it ends, so that nothing is left", absent(err != nil || len(left) > 0, fmt.Sprintf("%d znodes are left, %v", len(left), err)))
	}
}

// The method `znodes` returns the ephemeral znodes that a session has below checkPath. For each
// name, the map has the czxid of the znode.
func (k *check) znodes(ctx context.Context, id int64) (map[string]int64, error) {
	found := make(map[string]int64)
	var below func(path string) error
	below = func(path string) error {
		listing, err := k.admin.Children(ctx, path)
		if errors.Is(err, session.ErrNoNode) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range listing.Names {
			child := znode.Join(path, name)
			stat, err := k.admin.Exists(ctx, child)
			if err == nil && stat != nil && stat.EphemeralOwner == id {
				found[name] = stat.Czxid
			}
			if err := errors.Join(err, below(child)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := k.admin.Sync(ctx, "/"); err != nil {
		return nil, err
	}
	return found, below(checkPath)
}

// The method `two` starts two clients and calls `check` with them. If `check` returns true, `two`
// also checks how a client answers an unknown operation, and how it ends.
func (k *check) two(ctx context.Context, check func(ctx context.Context, first, second *checked) bool) {
	first := k.start(ctx)
	if first == nil {
		return
	}
	second := k.start(ctx)
	if second == nil || !check(ctx, first, second) {
		return
	}
	_, got := expect(ctx, first, Request{Op: "no-such-operation"}, Fail)
	k.find("an operation that it does not know is answered with fail", got)
	k.leaves(ctx, second)
}

// The method `answered` expects that a request is answered with ok.
func (k *check) answered(ctx context.Context, c *checked, requirement string, r Request) bool {
	_, got := expect(ctx, c, r, OK)
	return k.find(requirement+" is answered with ok", got)
}

// The method `valued` expects that a request is answered with ok and the value `want`.
func (k *check) valued(ctx context.Context, c *checked, requirement string, r Request, want string) bool {
	reply, got := expect(ctx, c, r, OK)
	if got == "" && reply.Value != want {
		got = fmt.Sprintf("ok with the value %q, when %q was expected", reply.Value, want)
	}
	if want == "" {
		return k.find(requirement+" is answered with ok, without a value", got)
	}
	return k.find(fmt.Sprintf("%s is answered with ok and the value %s", requirement, want), got)
}

func (k *check) queue(ctx context.Context, producer, consumer *checked) bool {
	if !k.valued(ctx, consumer, "take with wait_ms 0 of an empty queue", Request{Op: OpTake, WaitMS: wait(0)}, "") {
		return false
	}
	order := []string{"a", "b", "c"}
	for i, value := range order {
		r, put := Request{Op: OpPut, Value: value}, "put of "+value
		if k.recipe == PriorityQueue { // the last item is the most urgent
			r.Priority = len(order) - 1 - i
			put += fmt.Sprintf(" with priority %d", r.Priority)
		}
		if !k.answered(ctx, producer, put, r) {
			return false
		}
	}
	if k.recipe == PriorityQueue {
		slices.Reverse(order)
	}
	for i, value := range order {
		by, who := consumer, "another client"
		if i == 1 {
			by, who = producer, "the same client"
		}
		k.valued(ctx, by, "take by "+who, Request{Op: OpTake, WaitMS: wait(checkTime)}, value)
	}
	return k.valued(ctx, producer, "then take with wait_ms 0", Request{Op: OpTake, WaitMS: wait(0)}, "")
}

func (k *check) claims(ctx context.Context, first, second *checked) bool {
	now, later := Request{Op: OpClaim, WaitMS: wait(0)}, Request{Op: OpClaim, WaitMS: wait(checkTime)}
	return k.valued(ctx, first, "claim with wait_ms 0 of an empty queue", now, "") &&
		k.answered(ctx, first, "put of a", Request{Op: OpPut, Value: "a"}) &&
		k.valued(ctx, first, "claim", later, "a") &&
		k.valued(ctx, second, "another client's claim with wait_ms 0, while the first one has the item", now, "") &&
		k.answered(ctx, first, "release", Request{Op: OpRelease}) &&
		k.valued(ctx, second, "then the other client's claim", later, "a") &&
		k.answered(ctx, second, "ack", Request{Op: OpAck}) &&
		k.valued(ctx, first, "then claim with wait_ms 0", now, "")
}

func (k *check) barrier(ctx context.Context, first, second *checked) bool {
	passes, short := Request{Op: OpWait, WaitMS: wait(checkTime)}, Request{Op: OpWait, WaitMS: wait(500 * time.Millisecond)}
	if !k.answered(ctx, first, "wait at a barrier that is not set", passes) || !k.answered(ctx, first, "set", Request{Op: OpSet}) {
		return false
	}
	_, got := expect(ctx, second, short, Fail)
	return k.find("another client's wait with wait_ms 500 is answered with fail, while the barrier is set", got) &&
		k.answered(ctx, first, "set of a barrier that is set", Request{Op: OpSet}) &&
		k.answered(ctx, first, "remove", Request{Op: OpRemove}) &&
		k.answered(ctx, second, "then the other client's wait", passes) &&
		k.answered(ctx, second, "remove of a barrier that is not set", Request{Op: OpRemove})
}

func (k *check) group(ctx context.Context, first, second *checked) bool {
	lists := func(c *checked, requirement string, want ...string) bool {
		reply, got := expect(ctx, c, Request{Op: OpMembers, Fresh: true}, OK)
		if slices.Sort(reply.Members); got == "" && !slices.Equal(reply.Members, want) {
			got = fmt.Sprintf("ok with the members %v", reply.Members)
		}
		return k.find(fmt.Sprintf("%s, fresh members are %v", requirement, want), got)
	}
	if !k.answered(ctx, first, "join of a", Request{Op: OpJoin, Value: "a"}) || !k.answered(ctx, second, "join of b", Request{Op: OpJoin, Value: "b"}) {
		return false
	}
	lists(second, "then", "a", "b")
	k.answered(ctx, first, "leave", Request{Op: OpLeave})
	lists(second, "then", "b")
	return k.answered(ctx, first, "a second join of a", Request{Op: OpJoin, Value: "a"})
}

func (k *check) counter(ctx context.Context, first, second *checked) bool {
	return k.valued(ctx, first, "get of a counter that is not there", Request{Op: OpGet, Name: "x"}, "0") &&
		k.valued(ctx, first, "add of 3", Request{Op: OpAdd, Name: "x", Value: "3"}, "3") &&
		k.valued(ctx, second, "another client's add of -1", Request{Op: OpAdd, Name: "x", Value: "-1"}, "2") &&
		k.valued(ctx, first, "get", Request{Op: OpGet, Name: "x"}, "2") &&
		k.valued(ctx, second, "add of 5 to another counter", Request{Op: OpAdd, Name: "y", Value: "5"}, "5")
}

// The function `absent` returns `got` if `applies` is true, and "" otherwise.
func absent(applies bool, got string) string {
	if applies {
		return got
	}
	return ""
}
