package main

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/times"
)

// These are the dimensions of a picture, in pixels.
const (
	width, left, right = 900, 130, 24
	rowHeight, bar     = 36, 12
	titleHeight        = 58
	groupGap           = 12
)

const style = `text{font:12px system-ui,sans-serif;fill:#1f2328}` +
	`.t{font-weight:600;font-size:15px}.g{font-weight:600}.s{fill:#57606a;font-size:11px}.e{fill:#cf222e;font-size:11px}` +
	`.fault{fill:#eaeef2}.acquire{fill:#8c959f}.hold{fill:#1a7f37}.other{fill:#8250df}.request{fill:#0969da}.error,.both{fill:#cf222e}` +
	`line,path{stroke:#d0d7de;fill:none}.link{stroke:#bc4c00}`

// A row is a line of the picture. It shows either all spans of one trace that have the same name,
// or all requests of one trace.
type row struct {
	label string
	spans []span
	y     int
}

// A canvas is a picture in progress.
type canvas struct {
	bytes.Buffer
	begin, end time.Time
	spans      []span
	at         map[string]int // the vertical middle of a span's bar, by the id of the span
}

// The function `draw` returns a picture of the spans of one run, with a group of rows for each
// trace. Time 0 is the start of the first span.
func draw(title string, spans []span) []byte {
	c := &canvas{begin: spans[0].Start, spans: spans, at: map[string]int{}}
	for _, s := range spans {
		c.begin = times.Earlier(c.begin, s.Start)
		if s.End.After(c.end) {
			c.end = s.End
		}
	}
	y := titleHeight
	var groups [][]row
	for _, trace := range traces(spans) {
		rows := rowsOf(trace)
		for i := range rows {
			rows[i].y = y
			for _, s := range rows[i].spans {
				c.at[s.ID] = y + rowHeight - bar/2
			}
			y += rowHeight
		}
		y += groupGap
		groups = append(groups, rows)
	}
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`+"\n", width, y+30)
	fmt.Fprintf(c, "<style>%s</style>\n", style)
	c.WriteString(`<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8" class="link"/></marker></defs>` + "\n")
	fmt.Fprintf(c, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, y+30)
	c.text("t", 12, 22, "start", title)
	for _, s := range spans {
		if what, isFault := strings.CutPrefix(s.Name, faultPrefix); isFault {
			c.box("fault", s.Start, s.End, titleHeight-16, y-titleHeight+16)
			c.text("s", c.x(s.Start)+4, titleHeight-4, "start", what)
		}
	}
	for _, rows := range groups {
		for _, r := range rows {
			c.row(r)
		}
	}
	c.bothHold()
	c.links()
	c.axis(y)
	c.WriteString("</svg>\n")
	return c.Bytes()
}

// The function `traces` groups the spans by trace, without the faults. The traces are in the order
// of their starts. The first span of a trace is its root.
func traces(spans []span) (all [][]span) {
	roots := slices.DeleteFunc(slices.Clone(spans), func(s span) bool { return s.Parent != "" || strings.HasPrefix(s.Name, faultPrefix) })
	slices.SortFunc(roots, func(a, b span) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Name, b.Name)) })
	for _, root := range roots {
		trace := []span{root}
		for _, s := range spans {
			if s.Trace == root.Trace && s.ID != root.ID {
				trace = append(trace, s)
			}
		}
		all = append(all, trace)
	}
	return all
}

// rowsOf returns the rows of a trace. The label of the first row begins with the name of the trace.
func rowsOf(trace []span) (rows []row) {
	requests := row{label: "requests"}
	for _, s := range trace[1:] {
		switch i := slices.IndexFunc(rows, func(r row) bool { return r.label == s.Name }); {
		case isRequest(s):
			requests.spans = append(requests.spans, s)
		case i >= 0:
			rows[i].spans = append(rows[i].spans, s)
		default:
			rows = append(rows, row{label: s.Name, spans: []span{s}})
		}
	}
	if len(requests.spans) > 0 {
		rows = append(rows, requests)
	}
	rows[0].label = trace[0].Name + ": " + rows[0].label
	return rows
}

func isRequest(s span) bool { return s.Attributes["db.system.name"] != "" }

func isHold(s span) bool { return strings.HasPrefix(s.Name, "hold ") }

func (c *canvas) row(r row) {
	c.text("g", 12, float64(r.y+rowHeight-1), "start", r.label)
	for _, s := range r.spans {
		class, note, says := "other", "s", s.Error
		switch {
		case isRequest(s):
			// The picture does not show the errors of requests, because some of them are expected.
			// For example, a new lock has no directory.
			class, says = "request", ""
		case isHold(s):
			class, says = "hold", "token "+s.Attributes["zookeeper.token"]+", ended: "+s.Attributes["zookeeper.hold.ended"]
		case strings.HasPrefix(s.Name, "acquire "):
			class = "acquire"
		case s.Error != "":
			class = "error"
		}
		if s.Error != "" {
			note = "e"
		}
		c.box(class, s.Start, s.End, r.y+rowHeight-bar, bar)
		if x := c.x(s.Start); x < width*0.6 {
			c.text(note, x, float64(r.y+rowHeight-bar-4), "start", says)
		} else {
			c.text(note, width-right, float64(r.y+rowHeight-bar-4), "end", says)
		}
	}
}

// bothHold marks the times in which two traces have a hold at the same time.
func (c *canvas) bothHold() {
	for _, a := range c.spans {
		for _, b := range c.spans {
			if isHold(a) && isHold(b) && a.Trace != b.Trace && !b.Start.Before(a.Start) && b.Start.Before(a.End) {
				end := times.Earlier(a.End, b.End)
				c.box("both", b.Start, end, c.at[a.ID]-bar/2, bar)
				c.box("both", b.Start, end, c.at[b.ID]-bar/2, bar)
			}
		}
	}
}

// The method `links` draws arrows: from the put of an item to each claim of the item, and from a
// hold to the hold that follows it. A hold may be in another process than its predecessor, so the
// predecessor is found by its token.
func (c *canvas) links() {
	for _, to := range c.spans {
		token := to.Attributes["zookeeper.predecessor.token"]
		for _, from := range c.spans {
			put, byToken := from.ID == to.Links["put"], isHold(from) && token != "" && from.Attributes["zookeeper.token"] == token
			if !put && !byToken {
				continue
			}
			start := from.End
			if start.After(to.Start) {
				start = to.Start // the predecessor noticed its end only after this hold began
			}
			x1, y1, x2, y2 := c.x(start), c.at[from.ID], c.x(to.Start), c.at[to.ID]
			fmt.Fprintf(c, `<path class="link" marker-end="url(#to)" d="M%.1f %dC%.1f %d %.1f %d %.1f %d"/>`+"\n", x1, y1, x1, (y1+y2)/2, x2-24, y2, x2, y2)
		}
	}
}

func (c *canvas) axis(y int) {
	fmt.Fprintf(c, `<line x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n", left, y, width-right, y)
	for t := time.Duration(0); !c.begin.Add(t).After(c.end); t += time.Second {
		c.text("s", c.x(c.begin.Add(t)), float64(y+16), "middle", fmt.Sprintf("%d s", int(t.Seconds())))
	}
}

func (c *canvas) x(t time.Time) float64 {
	return left + float64(width-left-right)*float64(t.Sub(c.begin))/float64(c.end.Sub(c.begin))
}

func (c *canvas) box(class string, from, to time.Time, y, height int) {
	fmt.Fprintf(c, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"/>`+"\n", class, c.x(from), y, max(c.x(to)-c.x(from), 2), height)
}

func (c *canvas) text(class string, x, y float64, anchor, text string) {
	fmt.Fprintf(c, `<text class="%s" x="%.1f" y="%.0f" text-anchor="%s">%s</text>`+"\n", class, x, y, anchor, html.EscapeString(text))
}
