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

// The page is one file. Charts are drawn by uPlot, which is made for many points and small; assets/uPlot.LICENSE.txt is its
// licence. The timeline is drawn by our own script, since lanes to scale are no chart that a library has.
//
//go:embed assets
var assets embed.FS

var pageTemplate = template.Must(template.New("report.tmpl.html").ParseFS(assets, "assets/report.tmpl.html"))

// asset returns the text of an embedded file; that there is none is a bug.
func asset(name string) string {
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// WriteHTML writes the page of a run that has been judged: one file that needs nothing else.
func WriteHTML(w io.Writer, r *harness.Result) error {
	p := newPicture(r)
	data, err := packed(p)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	page := struct {
		words
		UPlotCSS, CSS                     template.CSS
		UPlotJS, TimelineJS, ChartsJS, JS template.JS
		Data                              template.HTML
	}{
		words:    newWords(r, p),
		UPlotCSS: template.CSS(asset("uPlot.min.css")), CSS: template.CSS(asset("report.css")),
		UPlotJS: template.JS(asset("uPlot.min.js")), TimelineJS: template.JS(asset("timeline.js")),
		ChartsJS: template.JS(asset("charts.js")), JS: template.JS(asset("report.js")),
		Data: template.HTML(data),
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, page); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	// html/template takes comments out of a page, and the licence is one.
	text := strings.Replace(out.String(), "</body>", "<!--\n"+asset("uPlot.LICENSE.txt")+"-->\n</body>", 1)
	_, err = io.WriteString(w, text)
	return err
}

// packed is v as JSON, compressed, in base64: what a script element may hold, whatever v says.
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
