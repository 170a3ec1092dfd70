package main

import (
	"bytes"
	"fmt"
	"time"
)

// A panel shows one history in the picture.
type panel struct {
	title string
	cut   cut
	holds []hold
}

// These are the dimensions of the picture, in pixels.
const (
	width, left, right   = 860, 110, 20
	rowHeight, barHeight = 34, 20
	titleHeight          = 52
	panelHeight          = titleHeight + 2*rowHeight + 34
)

const style = `text{font:13px system-ui,sans-serif;fill:#1f2328}` +
	`.t{font-weight:600;font-size:15px}.s{fill:#57606a;font-size:12px}` +
	`.cut{fill:#eaeef2}.a{fill:#0969da}.b{fill:#1a7f37}.both{fill:#cf222e}.red{fill:#cf222e;font-weight:600}.green{fill:#1a7f37;font-weight:600}` +
	`line{stroke:#d0d7de}`

// draw draws the panels below each other. The cut is at 0 on the time axis.
func draw(panels []panel) []byte {
	var b bytes.Buffer
	height := len(panels)*panelHeight + 8
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`+"\n", width, height)
	fmt.Fprintf(&b, "<style>%s</style>\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", style, width, height)
	for i, p := range panels {
		p.draw(&b, 8+i*panelHeight)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// x returns the horizontal position of a time relative to the cut.
func x(d time.Duration) float64 {
	d = min(max(d, -before), after)
	return left + float64(width-left-right)*float64(d+before)/float64(before+after)
}

func (p panel) draw(b *bytes.Buffer, top int) {
	c := p.cut
	fmt.Fprintf(b, `<text class="t" x="12" y="%d">%s</text>`+"\n", top+18, p.title)
	verdict, class := fmt.Sprintf("A's context ends %s before B is granted the lock", seconds(c.granted-c.told)), "green"
	if c.told > c.granted {
		verdict, class = fmt.Sprintf("A and B both hold the lock for %s", seconds(c.told-c.granted)), "red"
	}
	fmt.Fprintf(b, `<text class="%s" x="%d" y="%d" text-anchor="end">%s</text>`+"\n", class, width-right, top+18, verdict)

	rows := top + titleHeight
	bottom := rows + 2*rowHeight
	from, to := x(0), x(c.mended-c.at)
	fmt.Fprintf(b, `<rect class="cut" x="%.1f" y="%d" width="%.1f" height="%d"/>`+"\n", from, rows-20, to-from, bottom-rows+20)
	fmt.Fprintf(b, `<text class="s" x="%.1f" y="%d">the follower that A is connected to is cut off from its peers</text>`+"\n", from+4, rows-7)
	for row, name := range []string{"A holds", "B or C holds"} {
		fmt.Fprintf(b, `<text x="12" y="%d">%s</text>`+"\n", rows+row*rowHeight+20, name)
	}
	for _, h := range p.holds {
		row, class := 1, "b"
		if h.client == holder {
			row, class = 0, "a"
		}
		p.bar(b, rows+row*rowHeight, class, h.from, h.to)
		if lo, hi := max(h.from, c.granted), min(h.to, c.told); lo < hi {
			p.bar(b, rows+row*rowHeight, "both", lo, hi)
		}
	}
	fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n", left, bottom, width-right, bottom)
	for s := -before; s <= after; s += time.Second {
		if s%(2*time.Second) == 0 {
			fmt.Fprintf(b, `<text class="s" x="%.1f" y="%d" text-anchor="middle">%d s</text>`+"\n", x(s), bottom+16, int(s.Seconds()))
		}
	}
}

func (p panel) bar(b *bytes.Buffer, y int, class string, from, to time.Duration) {
	l, r := x(from-p.cut.at), x(to-p.cut.at)
	fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n", class, l, y+(rowHeight-barHeight)/2, max(r-l, 1), barHeight)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
