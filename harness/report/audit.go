package report

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/internal/audit"
	"github.com/zkcoord/zkcoord/internal/waits"
)

// An Audit is the result of the command zkcoord audit: what the logs of servers and clients show.
// Only programs of this module can fill one, because some of its fields have internal types.
type Audit struct {
	Path        string // the audit is about the znodes at this path and below it
	Servers     int
	Txns        int
	From, To    time.Time // times of the first and the last transaction
	Notes       []string  // what is wrong with the logs
	Differences bool      // servers have different transactions under one zxid
	Summary     *audit.Summary
	Claims      []audit.Claim // what clients held according to their own logs
	Conflicts   []audit.Conflict
}

// mostLanes is the maximum number of paths on the timeline.
const mostLanes = 60

// WriteAudit writes the page of an audit: one file without references to other files.
func WriteAudit(w io.Writer, a Audit) error {
	places := a.Summary.Places()
	p := newAuditPicture(a, places)
	return writePage(w, "audit.tmpl.html", newAuditWords(a, places, p), p)
}

// newAuditPicture returns what the timeline of an audit shows. Each path has a lane, and the lanes
// are in the order of their paths. If there are more than mostLanes paths, paths with conflicts are
// chosen first, then paths with takeovers, then the paths with the most grants.
func newAuditPicture(a Audit, places []audit.Place) *picture {
	from, to := a.bounds(places)
	p := &picture{End: micro(to.Sub(from)), Begun: max(1, from.UnixMilli()), index: make(map[string]int)}
	p.name("")
	at := func(t time.Time) int64 { return min(max(0, micro(t.Sub(from))), p.End) }
	placeOf := make(map[string]string) // path of a znode -> path of its place
	for _, place := range places {
		placeOf[place.Path] = place.Path
		for _, s := range place.Last {
			placeOf[s.Path] = place.Path
		}
	}
	rank := make(map[string]int)
	for _, s := range a.Summary.Takeovers {
		rank[s.Place] = 1
	}
	for _, c := range a.Conflicts {
		rank[placeOf[c.Claim.Path]] = 2
	}
	shown := slices.SortedStableFunc(slices.Values(places), func(x, y audit.Place) int {
		return cmp.Or(cmp.Compare(rank[y.Path], rank[x.Path]), cmp.Compare(y.Granted, x.Granted))
	})
	p.Left = max(0, len(shown)-mostLanes)
	shown = shown[:len(shown)-p.Left]
	slices.SortFunc(shown, func(x, y audit.Place) int { return cmp.Compare(x.Path, y.Path) })

	marks := make(map[string]int)
	for i, place := range shown {
		marks[place.Path] = i
		truth := lane{Name: place.Path, Mark: i}
		for _, s := range place.Last {
			if s.Served.IsZero() {
				continue
			}
			one := heldSpan{From: at(s.Served), To: p.End, Client: -1, Object: p.name(cmp.Or(s.Subject(), s.Place)),
				Token: fmt.Sprintf("%x", uint64(s.Token)), Session: hexID(s.Session), Owner: s.Owner()}
			if s.End != audit.Stands {
				one.To, one.Ended = at(s.Ended), string(s.End)
			}
			truth.Spans = append(truth.Spans, one)
		}
		p.Lanes = append(p.Lanes, truth)
		if belief := beliefs(a, place.Path, placeOf, p, at); len(belief) > 0 {
			p.Lanes = append(p.Lanes, lane{Name: "clients' logs", Belief: true, Mark: i, Spans: belief})
		}
	}
	for _, c := range a.Conflicts {
		v := violation{ID: string(c.Why), From: at(c.From), To: at(c.To), ProofFrom: at(c.Claim.From), ProofTo: at(c.Claim.To), Clients: []int{}}
		if mark, ok := marks[placeOf[c.Claim.Path]]; ok {
			v.Clients = []int{mark}
		}
		p.Violations = append(p.Violations, v)
	}
	p.Series = activity(places, p.End, at)
	return p
}

// The function `beliefs` returns the holds of one lock, election or other place, according to
// clients' own logs.
func beliefs(a Audit, place string, placeOf map[string]string, p *picture, at func(time.Time) int64) (all []heldSpan) {
	for _, c := range a.Claims {
		if placeOf[c.Path] != place {
			continue
		}
		one := heldSpan{From: at(c.From), To: at(c.To), Client: -1, Object: p.name(c.Path), Session: hexID(c.Session), Owner: c.Holder(),
			Ended: fmt.Sprintf("line %d of %s", c.Line, c.Source)}
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(x, y heldSpan) int { return cmp.Compare(x.From, y.From) })
	return all
}

// The method `bounds` returns the start and the end of the time that the page shows. The time
// covers all spans and claims. If there are neither spans nor claims, it covers all transactions.
func (a Audit) bounds(places []audit.Place) (from, to time.Time) {
	add := func(t time.Time) {
		if !t.IsZero() && (from.IsZero() || t.Before(from)) {
			from = t
		}
		if t.After(to) {
			to = t
		}
	}
	for _, place := range places {
		for _, s := range place.Last {
			add(s.Served)
			if add(s.Ended); s.End == audit.Stands && !s.Served.IsZero() {
				add(a.To)
			}
		}
	}
	for _, c := range a.Claims {
		add(c.From)
		add(c.To)
	}
	if from.IsZero() {
		from, to = a.From, a.To
	}
	return from, to
}

// The function `activity` returns how many spans began in each window of time. The page shows these
// numbers above the timeline.
func activity(places []audit.Place, end int64, at func(time.Time) int64) series {
	s := series{Window: max(1, end/mostWindows), OK: make([]float64, mostWindows+1)}
	for _, place := range places {
		for _, one := range place.Last {
			if !one.Served.IsZero() {
				s.OK[min(at(one.Served)/s.Window, mostWindows)]++
			}
		}
	}
	return s
}

// auditWords are the texts of the page of an audit.
type auditWords struct {
	Audit
	Verdict, Class, Icon string
	VerdictIcon          template.HTML
	Figures              []figure
	Conflicts            []conflictRow
	Takeovers, Abandoned []auditRow
	Places               []placeRow
	Left                 int
	Believed             bool // the timeline has a lane with what clients' logs say
}

type conflictRow struct {
	Words, Link string
	Others      []string
}

type auditRow struct{ At, Where, Words string }

type placeRow struct {
	Path                   string
	Kind                   waits.Kind
	Granted, Expired, Wait string
	Left                   int // spans that are not shown
	Spans                  []spanRow
}

type spanRow struct{ From, To, Held, Owner, Subject, Token, Waited, How string }

func newAuditWords(a Audit, places []audit.Place, p *picture) auditWords {
	w := auditWords{Audit: a, Left: p.Left, Verdict: "no conflict", Class: classOf(checker.Valid), VerdictIcon: iconOf(checker.Valid), Icon: "%2317795a"}
	switch {
	case a.Differences:
		w.Verdict = "servers differ"
	case len(a.Conflicts) > 0:
		w.Verdict = "clients' logs are contradicted"
	case len(a.Claims) == 0:
		w.Verdict, w.Class, w.VerdictIcon, w.Icon = "servers' logs alone", classOf(checker.NotExercised), iconOf(checker.Unknown), "%239a6700"
	}
	if a.Differences || len(a.Conflicts) > 0 {
		w.Class, w.VerdictIcon, w.Icon = classOf(checker.Invalid), iconOf(checker.Invalid), "%23c2281f"
	}
	w.Figures = []figure{
		{"servers", Thousands(a.Servers), false}, {"transactions", Thousands(a.Txns), false}, {"paths", Thousands(len(places)), false},
		{"sessions expired", Thousands(a.Summary.Expired), false}, {"takeovers", Thousands(len(a.Summary.Takeovers)), false},
		{"conflicts", Thousands(len(a.Conflicts)), len(a.Conflicts) > 0},
	}
	for i := range a.Conflicts {
		c := &a.Conflicts[i]
		row := conflictRow{Words: c.String(), Link: fmt.Sprintf("#violation-%d", i)}
		for _, o := range c.Others {
			row.Others = append(row.Others, c.Overlap(o))
		}
		w.Conflicts = append(w.Conflicts, row)
	}
	for i := range a.Summary.Takeovers {
		s := &a.Summary.Takeovers[i]
		w.Takeovers = append(w.Takeovers, auditRow{audit.Day(s.Served), s.Place, s.Takeover()})
	}
	for i := range a.Summary.Abandoned {
		s := &a.Summary.Abandoned[i]
		w.Abandoned = append(w.Abandoned, auditRow{audit.Day(s.Created), s.Path, s.Owner() + ": " + s.Abandoned})
	}
	for _, place := range places {
		w.Places = append(w.Places, newPlaceRow(place, a.To))
	}
	w.Believed = slices.ContainsFunc(p.Lanes, func(l lane) bool { return l.Belief })
	return w
}

func newPlaceRow(place audit.Place, now time.Time) placeRow {
	row := placeRow{Path: place.Path, Kind: place.Kind, Granted: Thousands(place.Granted), Expired: Thousands(place.Ends[audit.Expired]),
		Wait: latencyText(place.Longest.Waited(now), 1), Left: place.Granted + place.Gave - len(place.Last)}
	for i := range place.Last {
		s := &place.Last[i]
		one := spanRow{Owner: s.Owner(), Subject: s.Subject(), Token: fmt.Sprint(s.Token), Waited: latencyText(s.Waited(now), 1), How: s.How(),
			From: audit.Day(s.Created), Held: "–"}
		if !s.Served.IsZero() {
			one.From, one.Held = audit.Day(s.Served), shortLength(s.Held(now))
		}
		if s.End != audit.Stands {
			one.To = audit.Clock(s.Ended)
		}
		if s.Shared {
			one.How += ", shared"
		}
		row.Spans = append(row.Spans, one)
	}
	return row
}
