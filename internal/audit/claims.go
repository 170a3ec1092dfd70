package audit

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/times"
	"github.com/zkcoord/zkcoord/internal/waits"
)

// A Claim is an entry of a client's own log. It says that the client held something for a time.
type Claim struct {
	Source  string // the name of the log
	Line    int    // of the start, from 1
	Path    string // of the znode, or of the lock, election or queue
	Token   int64  // 0 if the client did not know it
	Session int64  // 0 if the client did not know it
	Client  string // its name, if it gave one
	From    time.Time
	To      time.Time // the end; if the log has none, the time of the last line
	Ended   bool      // the log has the end
	Cause   string    // why it ended, in the client's words
}

// The messages of the lines that ReadClaims reads.
const (
	holdBegins = "hold begins"
	holdEnds   = "hold ends"
)

// ReadClaims reads the log of a client. Each line is a JSON object, in the format of log/slog or of
// the file exporter of OpenTelemetry's collector. docs/audit.md describes the fields. Other lines
// are ignored.
func ReadClaims(source string, r io.Reader) ([]Claim, error) {
	type hold struct {
		path           string
		token, session int64
	}
	var claims []Claim
	open := make(map[hold]int)
	// The map `ends` has the ends of holds whose starts were not read yet. Exporters may change the
	// order of records.
	ends := make(map[hold]record)
	var last time.Time
	add := func(number int, r record) {
		session, _ := strconv.ParseUint(strings.TrimPrefix(r.Session, "0x"), 16, 64)
		h := hold{r.Path, r.Token, int64(session)}
		at, is := open[h]
		last = times.Later(last, r.Time)
		switch {
		case r.Path == "":
		case r.Message == holdBegins:
			one := Claim{Source: source, Line: number, Path: h.path, Token: h.token, Session: h.session, Client: r.Client, From: r.Time}
			if end, early := ends[h]; early && !end.Time.Before(r.Time) {
				one.To, one.Ended, one.Cause = end.Time, true, end.Cause
				delete(ends, h)
			} else {
				open[h] = len(claims)
			}
			claims = append(claims, one)
		case r.Message == holdEnds && is:
			claims[at].To, claims[at].Ended, claims[at].Cause = r.Time, true, r.Cause
			delete(open, h)
		case r.Message == holdEnds:
			ends[h] = r
		}
	}
	in := bufio.NewReader(r)
	for number := 1; ; number++ {
		text, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("audit: %s: %w", source, err)
		}
		for _, r := range records(text) {
			add(number, r)
		}
		if err != nil {
			break
		}
	}
	for i := range claims {
		if !claims[i].Ended {
			claims[i].To = last
		}
	}
	return claims, nil
}

// A Conflict is a claim that the servers' logs contradict.
type Conflict struct {
	Claim Claim
	Why   Why
	Span  *Span // the span that matches the claim; nil if there is none in the logs
	// The claim is wrong in the time between From and To.
	From, To time.Time
	Others   []Other // the other holders in that time
}

// An Other is another holder during the time in which the claim of a Conflict is wrong.
type Other struct {
	Span     Span
	From, To time.Time // when it held, limited to From and To of the Conflict
	Claims   bool      // a client's log also says that the other holder held
}

// Why is the kind of a conflict.
type Why string

// The kinds of conflicts.
const (
	Outlived Why = "outlived" // the znode was deleted before the claim ended
	Early    Why = "early"    // the claim began before the znode was served
	Unknown  Why = "unknown"  // there is no such znode
)

// Compare compares claims with spans. `clock` is the maximum difference between the clocks of
// clients and servers. The servers' logs cover the time from `from` to `to`. A claim that matches
// no span is a conflict only if it certainly began in that time.
func Compare(claims []Claim, spans []Span, clock time.Duration, from, to time.Time) []Conflict {
	c := comparison{byPath: make(map[string][]*Span), byPlace: make(map[string][]*Span), claimed: make(map[*Span]Claim), clock: clock, now: to}
	for i := range spans {
		s := &spans[i]
		c.byPath[s.Path] = append(c.byPath[s.Path], s)
		c.byPlace[s.Place] = append(c.byPlace[s.Place], s)
	}
	claims = slices.Clone(claims)
	slices.SortStableFunc(claims, func(a, b Claim) int { return a.From.Compare(b.From) })
	found := make([]*Span, len(claims))
	for i, claim := range claims {
		if found[i] = c.spanOf(claim); found[i] != nil {
			c.claimed[found[i]] = claim
		}
	}
	var all []Conflict
	for i, claim := range claims {
		if found[i] == nil && (claim.From.Before(from.Add(clock)) || claim.From.After(to.Add(-clock))) {
			continue
		}
		if one, wrong := c.judge(claim, found[i]); wrong {
			all = append(all, one)
		}
	}
	return all
}

// Relevant returns a function that reports whether Compare needs a span to judge claims.
func Relevant(claims []Claim) func(Span) bool {
	places := make(map[string]bool)
	for _, c := range claims {
		places[c.Path] = true
		if role, ok := waits.Recognize(c.Path); ok {
			places[role.Place] = true
		}
	}
	return func(s Span) bool { return places[s.Place] || places[s.Path] }
}

type comparison struct {
	byPath, byPlace map[string][]*Span
	claimed         map[*Span]Claim
	clock           time.Duration
	now             time.Time // the end of the logs
}

// spanOf returns the span that matches a claim, or nil. A span can match only if it was served, and
// if the claim names the path of the span's znode or of the span's place.
//
// Each of these spans matches if it has the token of the claim. If none of them has this token, a
// span matches if all of the following is true:
//   - The claim has no token, or the token of the span is not known.
//   - The span did not match an earlier claim.
//   - If the claim names the place, the span has the session of the claim, and was created before
//     the claim begins.
//
// If several spans match, spanOf prefers those that were served when the claim began. Of these it
// returns the span whose Served is closest to the start of the claim.
//
// Several claims can match one span by the span's token. For example, if a client loses a lock
// while it changes from writer to reader, the client's log has two holds, but there is only one
// span.
func (c *comparison) spanOf(claim Claim) *Span {
	var best *Span
	distance := func(s *Span) time.Duration {
		d := claim.From.Sub(s.Served).Abs()
		if s.Served.After(claim.From.Add(c.clock)) || s.End != Stands && s.Ended.Before(claim.From.Add(-c.clock)) {
			d += 1 << 62
		}
		return d
	}
	consider := func(s *Span, fits bool) {
		if !fits || s.Served.IsZero() {
			return
		}
		if best == nil || distance(s) < distance(best) {
			best = s
		}
	}
	at, place := c.byPath[claim.Path], c.byPlace[claim.Path]
	if len(at) > 0 {
		place = nil
	}
	for _, s := range slices.Concat(at, place) {
		consider(s, claim.Token != 0 && s.Token == claim.Token)
	}
	if best != nil {
		return best
	}
	tokenless := func(s *Span) bool {
		_, taken := c.claimed[s]
		return !taken && (claim.Token == 0 || s.foreign)
	}
	for _, s := range at {
		consider(s, tokenless(s))
	}
	for _, s := range place {
		consider(s, tokenless(s) && claim.Session == s.Session && !s.Created.After(claim.From.Add(c.clock)))
	}
	return best
}

// The method `judge` compares a claim with s, the matching span of the servers' logs. s is nil if
// no span matches. The method reports whether the servers' logs contradict the claim, and how.
func (c *comparison) judge(claim Claim, s *Span) (Conflict, bool) {
	one := Conflict{Claim: claim, Span: s, From: claim.From, To: claim.To}
	if s == nil {
		one.Why = Unknown
		return one, true
	}
	last := s
	if s.End == Downgraded { // the claim continues with the reader
		for _, o := range c.byPath[s.Path] {
			if o.Token == s.Token && o.Shared {
				last = o
			}
		}
	}
	switch {
	case last.End != Stands && last.End != Downgraded && claim.To.After(last.Ended.Add(c.clock)):
		one.Span, one.Why, one.From = last, Outlived, times.Later(last.Ended, claim.From)
	case claim.From.Before(s.Served.Add(-c.clock)):
		one.Why, one.To = Early, times.Earlier(s.Served, claim.To)
	default:
		return one, false
	}
	one.Others = c.others(one.Span, one.From, one.To)
	return one, true
}

// The method `others` returns the other holders that held the same lock, election, item or member
// as s at some time between `from` and `to`. They are in the order of the field From. The method
// leaves out holders that are allowed to hold at the same time as s: readers if s is a reader, and
// all holders of a semaphore.
func (c *comparison) others(s *Span, from, to time.Time) []Other {
	if s.Kind == waits.Semaphore {
		return nil
	}
	many := s.Kind == waits.Queue || s.Kind == waits.Group // all holders of one item or member have the same path
	var all []Other
	for _, o := range c.byPlace[s.Place] {
		if o == s || o.Path == s.Path && o.Token == s.Token || o.Served.IsZero() || o.Shared && s.Shared || many && o.Path != s.Path {
			continue
		}
		end := o.Ended
		if o.End == Stands {
			end = c.now
			if to.After(end) {
				end = to
			}
		}
		other := Other{Span: *o, From: times.Later(o.Served, from), To: times.Earlier(end, to)}
		if !other.From.Before(other.To) {
			continue
		}
		_, other.Claims = c.claimed[o]
		all = append(all, other)
	}
	slices.SortFunc(all, func(a, b Other) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Span.Token, b.Span.Token)) })
	return all
}
