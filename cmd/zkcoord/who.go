package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/internal/waits"
	"github.com/zkcoord/zkcoord/internal/znode"
	"github.com/zkcoord/zkcoord/session"
)

func (a *app) whoCommand() *cobra.Command {
	var connect connectFlags
	var under string
	var watch bool
	c := &cobra.Command{
		Use:   "who PATH",
		Short: "List the holders and the waiters of a lock, a semaphore or an election",
		Example: `  zkcoord who /locks/backup
  zkcoord who --under /            # all locks, semaphores, elections, groups and queues, and deadlocks
  zkcoord who --under /locks --watch`,
		Args: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("under") == (len(args) > 0) || len(args) > 1 {
				return errors.New("give either a path or --under")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			w := whoRun{app: a, connect: &connect, path: under, deep: true}
			if len(args) > 0 {
				w.path, w.deep = args[0], false
			}
			if err := znode.Check(w.path); err != nil {
				return err
			}
			return connect.with(c.Context(), func(ctx context.Context, s *session.Session) error {
				if !watch {
					return w.print(ctx, s)
				}
				return w.watch(ctx, s)
			})
		},
	}
	c.Long = `List the contenders of a lock, a semaphore or an election in the order in which they are served, including those of Curator
and kazoo (without kazoo's semaphores).

The list shows the holders and, for each waiter, the contenders that it waits for, with label, session, age and token. It
shows the addresses of clients if the servers answer the four-letter word "cons", and marks dead sessions if the leader
answers "dump". Both must be in the servers' 4lw.commands.whitelist.

With --under, list all locks, semaphores, elections, groups and queues below a path, and report each deadlock: a cycle of
sessions that wait for each other. A session with several threads may still resolve such a cycle by itself.`
	connect.define(c)
	c.Flags().StringVar(&under, "under", "", "show everything below this path, and deadlocks")
	c.Flags().BoolVar(&watch, "watch", false, "show the list again every two seconds, until interrupted")
	return c
}

// A whoRun is one execution of the command who: its flags, and the znodes that it has read.
type whoRun struct {
	app     *app
	connect *connectFlags
	path    string
	deep    bool

	all    []waits.Contender
	places []place
	known  sessions
}

// A place is a lock, a semaphore, an election, a group or a queue.
type place struct {
	path       string
	kind       waits.Kind
	contenders []waits.Contender
	members    []waits.Node // of a group
}

// The type `sessions` has what the servers report about sessions.
type sessions struct {
	address map[int64]string // session id -> address of its client
	living  map[int64]bool   // by session id: the session has not ended; nil if no leader reports the sessions
}

// These types are the JSON output: one document for each place and for each deadlock.
type (
	shownPlace struct {
		Path       string           `json:"path"`
		Kind       waits.Kind       `json:"kind"`
		Contenders []shownContender `json:"contenders,omitempty"`
		Members    []shownContender `json:"members,omitempty"`
	}
	shownContender struct {
		Node    string    `json:"node"`
		Label   string    `json:"label,omitempty"`
		Session string    `json:"session"`
		Dead    bool      `json:"dead,omitempty"`
		Client  string    `json:"client,omitempty"`
		Since   time.Time `json:"since"`
		Token   int64     `json:"token,omitempty"`
		Permits int       `json:"permits,omitempty"`
		Shared  bool      `json:"shared,omitempty"`
		Holds   bool      `json:"holds,omitempty"`
		Waits   []string  `json:"waits_for,omitempty"`
	}
	shownWait struct {
		Session string `json:"session"`
		Label   string `json:"label,omitempty"`
		At      string `json:"waits_at"`
		For     string `json:"for_session"`
	}
	shownDeadlock struct {
		Deadlock []shownWait `json:"deadlock"`
	}
)

// watch prints the list repeatedly.
func (w *whoRun) watch(ctx context.Context, s *session.Session) error {
	for {
		if _, onTerminal := terminal(w.app.out); onTerminal && !w.app.json {
			fmt.Fprint(w.app.out, "\x1b[H\x1b[2J")
		}
		if err := w.print(ctx, s); err != nil {
			return err
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return nil
		case <-s.Done():
			return s.Err()
		}
	}
}

func (w *whoRun) print(ctx context.Context, s *session.Session) error {
	w.all, w.places = nil, nil
	if err := w.read(ctx, s, w.path, true); err != nil {
		return err
	}
	w.known = w.ask(ctx)
	deadlocks := waits.Deadlocks(w.all)
	if !w.deep {
		deadlocks = nil
	}
	if w.app.json {
		return w.printJSON(deadlocks)
	}
	for _, p := range w.places {
		w.printPlace(p)
	}
	if len(w.places) == 0 {
		fmt.Fprintf(w.app.out, "%s: no holders and no waiters\n", w.path)
	}
	for _, circle := range deadlocks {
		fmt.Fprintf(w.app.out, "DEADLOCK of %s:\n", count(len(circle), "session"))
		for _, wait := range circle {
			fmt.Fprintf(w.app.out, "  %s waits at %s for %s\n", w.name(wait.Contender.Node), wait.Contender.Dir, w.name(wait.For.Node))
		}
	}
	return nil
}

// The method `read` reads a directory and, if w.deep is set, everything below it. Unless `first` is
// set, it skips a directory that was deleted meanwhile, or that the session is not allowed to read.
func (w *whoRun) read(ctx context.Context, s *session.Session, dir string, first bool) error {
	listing, err := s.Children(ctx, dir)
	switch {
	case errors.Is(err, session.ErrNoNode) && !first:
		return nil
	case errors.Is(err, session.ErrNoAuth) && !first:
		w.app.note("skipped: %v", err)
		return nil
	case err != nil:
		return err
	}
	if slices.Contains(listing.Names, "leases") && slices.Contains(listing.Names, waits.Gate) {
		return w.readSemaphore(ctx, s, dir)
	}
	p := place{path: dir, kind: waits.Lock}
	names := listing.Names
	if waits.IsQueue(names) {
		p.kind, names = waits.Queue, nil
	}
	kind := func(name string) waits.Kind {
		if role, ok := waits.Recognize(znode.Join(dir, name)); ok && role.Place == dir {
			return role.Kind
		}
		return waits.Internal
	}
	children, err := nodes(ctx, s, dir, slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return kind(name) == waits.Internal
	}))
	if err != nil {
		return err
	}
	p.contenders = waits.Contenders(dir, children)
	for _, child := range children {
		switch kind(child.Name) {
		case waits.Election:
			p.kind = waits.Election
		case waits.Group:
			if child.Session != 0 {
				p.members = append(p.members, child)
			}
		}
	}
	if len(p.contenders) > 0 {
		p.members = nil
	} else if p.kind == waits.Lock {
		p.kind = waits.Group
	}
	if len(p.contenders)+len(p.members) > 0 || p.kind == waits.Queue {
		w.places = append(w.places, p)
		w.all = append(w.all, p.contenders...)
	}
	if !w.deep {
		return nil
	}
	slices.Sort(names)
	for _, name := range names {
		if _, _, sequential := znode.ParseSeq(name); sequential || dir == "/" && name == "zookeeper" {
			continue
		}
		if err := w.read(ctx, s, znode.Join(dir, name), false); err != nil {
			return err
		}
	}
	return nil
}

// readSemaphore reads a semaphore of zkcoord or of Curator. A wait for a semaphore is never counted
// as part of a deadlock, because any of several holders can end it.
func (w *whoRun) readSemaphore(ctx context.Context, s *session.Session, dir string) error {
	var parts [2][]waits.Node
	for i, part := range []string{"leases", waits.Gate} {
		listing, err := s.Children(ctx, znode.Join(dir, part))
		if errors.Is(err, session.ErrNoNode) || errors.Is(err, session.ErrNoAuth) {
			continue
		}
		if err == nil {
			parts[i], err = nodes(ctx, s, znode.Join(dir, part), listing.Names)
		}
		if err != nil {
			return err
		}
	}
	p := place{path: dir, kind: "semaphore", contenders: waits.SemaphoreContenders(dir, parts[0], parts[1])}
	if len(p.contenders) > 0 {
		w.places = append(w.places, p)
	}
	return nil
}

// The function `nodes` reads children of a directory. It skips children that are deleted meanwhile,
// or that the session is not allowed to read.
func nodes(ctx context.Context, s *session.Session, dir string, names []string) (all []waits.Node, _ error) {
	for _, name := range names {
		v, err := s.Get(ctx, znode.Join(dir, name))
		if errors.Is(err, session.ErrNoNode) || errors.Is(err, session.ErrNoAuth) {
			continue
		}
		if err != nil {
			return nil, err
		}
		label, _ := asText(v.Data)
		all = append(all, waits.Node{Name: name, Label: label, Version: v.Stat.Version, Session: v.Stat.EphemeralOwner, Czxid: v.Stat.Czxid, Created: v.Stat.Ctime})
	}
	return all, nil
}

// The method `ask` queries each server for its sessions, and the leader for all sessions. If
// servers do not answer, the output has less detail.
func (w *whoRun) ask(ctx context.Context) sessions {
	known := sessions{address: make(map[int64]string)}
	if w.connect.tls.used() {
		return known
	}
	servers, _, err := session.ParseConnectString(strings.Join(w.connect.servers, ","))
	if err != nil {
		return known
	}
	for _, server := range servers {
		text, _ := ensemble.FourLetters(ctx, new(net.Dialer).DialContext, server, "cons")
		for _, m := range consLine.FindAllStringSubmatch(text, -1) {
			known.address[sessionID(m[2])] = m[1]
		}
		text, _ = ensemble.FourLetters(ctx, new(net.Dialer).DialContext, server, "dump")
		if living := livingIn(text); living != nil {
			known.living = living
		}
	}
	return known
}

// livingIn returns the living sessions in a server's answer to the four-letter command "dump". The
// result is nil if the answer does not have the whole list of sessions. Followers send no such
// list, and an answer may be truncated.
func livingIn(dump string) map[int64]bool {
	_, sets, leads := strings.Cut(dump, "Session Sets")
	sets, _, whole := strings.Cut(sets, "ephemeral nodes dump")
	if !leads || !whole {
		return nil
	}
	living := make(map[int64]bool)
	for _, id := range dumpID.FindAllString(sets, -1) {
		living[sessionID(id)] = true
	}
	return living
}

var (
	consLine = regexp.MustCompile(`(?m)^ ?/(\S+)\[\d+\]\(.*?\bsid=(0x[0-9a-f]+)`)
	dumpID   = regexp.MustCompile(`0x[0-9a-f]+`)
)

func sessionID(hex string) int64 {
	id, _ := strconv.ParseUint(strings.TrimPrefix(hex, "0x"), 16, 64)
	return int64(id)
}

func (k sessions) dead(id int64) bool { return k.living != nil && id != 0 && !k.living[id] }

// The method `name` describes the owner of a znode in one phrase. The phrase has the label, the
// session and the address, as far as they are known. It also says if the session is dead.
func (w *whoRun) name(n waits.Node) string {
	name := "session " + hex(n.Session)
	if n.Session == 0 {
		name = "no session"
	}
	if n.Label != "" {
		name = excerpt(n.Label) + ", " + name
	}
	if address := w.known.address[n.Session]; address != "" {
		name += " of " + address
	}
	if w.known.dead(n.Session) {
		name += ", which is dead"
	}
	return name
}

func (w *whoRun) printPlace(p place) {
	fmt.Fprintf(w.app.out, "%s: %s\n", p.path, p.kind)
	number := make(map[string]int)
	for i, c := range p.contenders {
		number[c.Path()] = i + 1
		fmt.Fprintf(w.app.out, "  %d. %s: %s, %s%s\n", i+1, does(c, number), w.name(c.Node), aged(c.Node), token(c))
	}
	for _, m := range p.members {
		fmt.Fprintf(w.app.out, "  %s: %s, %s, token %d\n", m.Name, w.name(m), aged(m), m.Czxid)
	}
}

// The function `does` describes what a contender holds or waits for. The map `number` has, for the
// path of each znode, its number in the output.
func does(c waits.Contender, number map[string]int) string {
	text := "holds"
	switch {
	case c.Permits > 0:
		text = "holds " + count(c.Permits, "permit")
	case c.AnyOf:
		text = "waits for permits"
	case !c.Holds():
		before := make([]string, len(c.Waits))
		for i, path := range c.Waits {
			before[i] = strconv.Itoa(number[path])
		}
		text = "waits for " + strings.Join(before, ", ")
	}
	if c.Shared {
		text += ", shared"
	}
	return text
}

func aged(n waits.Node) string {
	return fmt.Sprintf("for %v", time.Since(time.UnixMilli(n.Created)).Round(time.Second))
}

// The function `token` formats the fencing token of c, usually the czxid of c's znode.
//
// If c holds permits of a semaphore, the result is empty. In this case the token is the czxid of
// another znode: the one with which c waited at the semaphore's gate. The znode of the permits does
// not contain this czxid.
func token(c waits.Contender) string {
	if c.Permits > 0 {
		return ""
	}
	return fmt.Sprintf(", token %d", c.Node.Czxid)
}

func (w *whoRun) printJSON(deadlocks [][]waits.Wait) error {
	for _, p := range w.places {
		one := shownPlace{Path: p.path, Kind: p.kind}
		for _, c := range p.contenders {
			s := w.shown(c.Node)
			s.Shared, s.Holds, s.Waits, s.Permits = c.Shared, c.Holds(), c.Waits, c.Permits
			if c.Permits > 0 { // see the function `token`
				s.Token = 0
			}
			one.Contenders = append(one.Contenders, s)
		}
		for _, m := range p.members {
			one.Members = append(one.Members, w.shown(m))
		}
		if err := w.app.printJSON(one); err != nil {
			return err
		}
	}
	for _, circle := range deadlocks {
		var one shownDeadlock
		for _, wait := range circle {
			one.Deadlock = append(one.Deadlock, shownWait{
				Session: hex(wait.Contender.Node.Session), Label: wait.Contender.Node.Label, At: wait.Contender.Dir, For: hex(wait.For.Node.Session)})
		}
		if err := w.app.printJSON(one); err != nil {
			return err
		}
	}
	return nil
}

func (w *whoRun) shown(n waits.Node) shownContender {
	return shownContender{Node: n.Name, Label: n.Label, Session: hex(n.Session), Dead: w.known.dead(n.Session),
		Client: w.known.address[n.Session], Since: time.UnixMilli(n.Created).UTC(), Token: n.Czxid}
}
