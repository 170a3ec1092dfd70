package audit

import (
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/internal/waits"
)

// Owner names the owner of a span.
func (s *Span) Owner() string {
	name := sessionName(s.Session)
	if s.Label != "" {
		name = fmt.Sprintf("%q, %s", s.Label, name)
	}
	return name
}

func sessionName(id int64) string { return fmt.Sprintf("session 0x%x", uint64(id)) }

// Subject returns a word and a name: for example "item a" for a claim, or "member a". It returns ""
// for other spans, and for a span without a name.
func (s *Span) Subject() string {
	switch {
	case s.Name != "" && s.Kind == waits.Queue:
		return "item " + s.Name
	case s.Name != "" && s.Kind == waits.Group:
		return "member " + s.Name
	}
	return ""
}

// How says how a span ended.
func (s *Span) How() string {
	switch s.End {
	case Stands:
		if s.Served.IsZero() {
			return "still waits"
		}
		return "stands"
	case Expired:
		text := "expired"
		if s.Timeout > 0 {
			text += fmt.Sprintf(" (timeout %v)", s.Timeout)
		}
		return text
	case Revoked:
		return "deleted by " + sessionName(s.By)
	}
	if s.Served.IsZero() {
		return "gave up"
	}
	return string(s.End)
}

// Takeover describes how a span took over from s.After, which must not be nil.
func (s *Span) Takeover() string {
	later := s.Served.Sub(s.After.Ended)
	text := fmt.Sprintf("%s took over from %s, which %s: %v later", s.Owner(), s.After.Owner(), s.After.How(), later)
	if s.After.Silent > 0 {
		text += fmt.Sprintf(", %v after its last transaction", later+s.After.Silent)
	}
	return text
}

// Holder names the client of a claim.
func (c *Claim) Holder() string {
	if c.Client == "" {
		return sessionName(c.Session)
	}
	return c.Client + ", " + sessionName(c.Session)
}

// String describes the claim and what is wrong with it.
func (c *Conflict) String() string {
	claim := &c.Claim
	says := fmt.Sprintf("%s: line %d of %s says that %s held it from %s to %s", claim.Path, claim.Line, claim.Source,
		claim.Holder(), Day(claim.From), Clock(claim.To))
	switch c.Why {
	case Outlived:
		return fmt.Sprintf("%s, but its znode was deleted at %s (%s): %v too long", says, Clock(c.Span.Ended), c.Span.How(), short(c.To.Sub(c.From)))
	case Early:
		return fmt.Sprintf("%s, but its znode was not served before %s: %v too early", says, Clock(c.Span.Served), short(c.To.Sub(c.From)))
	}
	return says + ", and the servers' logs have no znode for that"
}

// Overlap describes another holder at the time of the conflict.
func (c *Conflict) Overlap(o Other) string {
	source := "by the servers' logs"
	if o.Claims {
		source += " and its own"
	}
	return fmt.Sprintf("TWO HOLDERS for %v: %s and %s, which held it from %s to %s %s", short(o.To.Sub(o.From)), c.Span.Owner(), o.Span.Owner(),
		Day(o.From), Clock(o.To), source)
}

const clockForm = "15:04:05.000"

// Day formats a time in UTC with its day.
func Day(t time.Time) string { return t.UTC().Format("2006-01-02 " + clockForm) }

// Clock formats a time in UTC without its day.
func Clock(t time.Time) string { return t.UTC().Format(clockForm) }

func short(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
