package audit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// otlp writes one record of a program's log as the file exporter of OpenTelemetry's collector does.
func otlp(t *testing.T, line string) string {
	t.Helper()
	var r map[string]any
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339Nano, r["time"].(string))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"timeUnixNano":"%d","severityNumber":9,"severityText":"INFO","body":{"stringValue":%q},"attributes":[`+
		`{"key":"hold","value":{"stringValue":"lock"}},{"key":"path","value":{"stringValue":%q}},{"key":"token","value":{"intValue":"%.0f"}},`+
		`{"key":"session","value":{"stringValue":%q}}],"traceId":"","spanId":""}`, at.UnixNano(), r["msg"], r["path"], r["token"], r["session"])
}

// A line of OpenTelemetry can have records of several programs. ReadClaims must find the same
// claims in such lines as in lines of log/slog.
func TestClaimsFromOpenTelemetry(t *testing.T) {
	const node0, node1 = "/l/x-lock-0000000000", "/l/x-lock-0000000001"
	one := []string{says(1001, holdBegins, node0, 3, 1), says(2000, "other", "", 0, 1), says(9500, holdEnds, node0, 3, 1)}
	two := []string{says(5001, holdBegins, node1, 4, 2), says(8999, holdEnds, node1, 4, 2)}
	want, err := ReadClaims("log", strings.NewReader(strings.Join(append(one, two...), "")))
	if err != nil {
		t.Fatal(err)
	}
	of := func(client string, lines []string) string {
		var all []string
		for _, line := range lines {
			all = append(all, otlp(t, line))
		}
		return fmt.Sprintf(`{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":%q}}]},"scopeLogs":[{"scope":{},"logRecords":[%s]}]}`,
			client, strings.Join(all, ","))
	}
	text := fmt.Sprintf("{\"resourceLogs\":[%s,%s]}\n{\"resourceMetrics\":[]}\n{\"resourceLogs\":[%s]}\n", of("c1", one[:2]), of("c2", two), of("c1", one[2:]))
	got, err := ReadClaims("log", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, claims := range [][]Claim{got, want} {
		for i := range claims {
			claims[i].Line, claims[i].From, claims[i].To = 1, claims[i].From.UTC(), claims[i].To.UTC()
		}
	}
	if len(want) != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// An exporter may change the order of records.
	lines := []string{of("c1", one[2:]), of("c2", two), of("c1", one[:2])}
	if again, err := ReadClaims("log", strings.NewReader("{\"resourceLogs\":["+strings.Join(lines, ",")+"]}")); err != nil || len(again) != 2 || !again[0].Ended ||
		!again[1].Ended || !again[1].To.Equal(ms(9500)) {
		t.Errorf("in another order: got %+v, %v; want two holds with their ends", again, err)
	}
	if got, want := strings.Join(conflictsOf(t, twoHolders, text), "; "), "line 1 outlived 5000-9500 2:5000-9000,true"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRecordsThatAreSomethingElse(t *testing.T) {
	for _, text := range []string{
		"", "text", "[]", "{}", `{"time":"yesterday","msg":"hold begins","path":"/l"}`, `{"resourceLogs":1}`, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}`,
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1.5","body":{"stringValue":"hold begins"}}]}]}]}`,
	} {
		if got := records([]byte(text)); len(got) > 0 {
			t.Errorf("%s: got %+v, want nothing", text, got)
		}
	}
}
