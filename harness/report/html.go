package report

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/zkcoord/zkcoord/harness"
)

// HTMLFile is the name of the page of a run.
const HTMLFile = "report.html"

// The page is one file. uPlot draws the charts: it is small and made for many points. Its license
// is assets/uPlot.LICENSE.txt. Our own script draws the timeline, because no chart library can draw
// lanes to scale.
//
//go:embed assets
var assets embed.FS

var pageTemplates = template.Must(template.ParseFS(assets, "assets/report.tmpl.html", "assets/audit.tmpl.html"))

// The function `asset` returns the text of an embedded file. It panics if the file does not exist.
func asset(name string) string {
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// WriteHTML writes the page of a judged run: one file without references to other files.
func WriteHTML(w io.Writer, r *harness.Result) error {
	p := newPicture(r)
	return writePage(w, "report.tmpl.html", newWords(r, p), p)
}

// writePage writes a page with its scripts and the data that they draw.
func writePage(w io.Writer, name string, words any, p *picture) error {
	data, err := packed(p)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	page := struct {
		Words                             any
		UPlotCSS, CSS                     template.CSS
		UPlotJS, TimelineJS, ChartsJS, JS template.JS
		Data                              template.HTML
	}{
		Words:    words,
		UPlotCSS: template.CSS(asset("uPlot.min.css")), CSS: template.CSS(asset("report.css")),
		UPlotJS: template.JS(asset("uPlot.min.js")), TimelineJS: template.JS(asset("timeline.js")),
		ChartsJS: template.JS(asset("charts.js")), JS: template.JS(asset("report.js")),
		Data: template.HTML(data),
	}
	var out bytes.Buffer
	if err := pageTemplates.ExecuteTemplate(&out, name, page); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	text := out.String()
	if strings.Contains(text, asset("uPlot.min.js")) {
		// The license is inserted here, because html/template would remove a comment in the
		// template.
		text = strings.Replace(text, "</body>", "<!--\n"+asset("uPlot.LICENSE.txt")+"-->\n</body>", 1)
	}
	_, err = io.WriteString(w, text)
	return err
}

// The function `packed` returns v as compressed JSON in base64, which is safe inside a script
// element.
func packed(v any) (string, error) {
	var b strings.Builder
	encoded := base64.NewEncoder(base64.StdEncoding, &b)
	zipped := gzip.NewWriter(encoded)
	if err := json.NewEncoder(zipped).Encode(v); err != nil {
		return "", err
	}
	if err := zipped.Close(); err != nil {
		return "", err
	}
	err := encoded.Close()
	return b.String(), err
}
