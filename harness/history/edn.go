package history

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteEDN writes the operations and faults as a history of Jepsen, one map per line:
//
//	{:index 3, :time 1200, :type :ok, :process 0, :f :take, :value "a", ...}
//
// The value of an invocation is its argument. The value of a completion is the result, or the
// argument if there is no result. Faults are :info operations of the process :nemesis. Jepsen has
// no counterpart for the other kinds of events, so they are omitted. The written events keep their
// indexes, so the indexes have gaps.
func (h *History) WriteEDN(w io.Writer) error {
	out := bufio.NewWriter(w)
	args := make(map[int32]string) // process -> argument of its open operation
	for i := range h.Events {
		e := &h.Events[i]
		switch {
		case e.Kind == Invoke:
			args[e.Process] = e.Arg
			writeEDN(out, e, strconv.Itoa(int(e.Process)), e.Op, e.Arg)
		case e.Kind.Completion():
			value := e.Result
			if value == "" {
				value = args[e.Process]
			}
			writeEDN(out, e, strconv.Itoa(int(e.Process)), e.Op, value)
		case e.Kind == Fault:
			writeEDN(out, e, ":nemesis", e.Op+"-"+e.Object, e.Node)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("history: write: %w", err)
	}
	return nil
}

func writeEDN(out *bufio.Writer, e *Event, process, f, value string) {
	kind := e.Kind.String()
	if e.Kind == Fault {
		kind = "info"
	}
	fmt.Fprintf(out, "{:index %d, :time %d, :type :%s, :process %s, :f :%s, :value %s",
		e.Index, int64(e.Time), kind, process, keyword(f), ednValue(value))
	for _, field := range []struct{ name, value string }{{"key", e.Object}, {"error", e.Error}} {
		if field.value != "" {
			fmt.Fprintf(out, ", :%s %s", field.name, ednString(field.value))
		}
	}
	for _, field := range []struct {
		name  string
		value int64
	}{{"token", e.Token}, {"zxid", e.Zxid}} {
		if field.value != 0 {
			fmt.Fprintf(out, ", :%s %d", field.name, field.value)
		}
	}
	out.WriteString("}\n")
}

// ednValue writes numbers without quotes, because Jepsen's models compare them as numbers.
func ednValue(s string) string {
	if s == "" {
		return "nil"
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && strconv.FormatInt(n, 10) == s {
		return s
	}
	return ednString(s)
}

// ednString quotes s like strconv.Quote, but escapes only five characters, because EDN has fewer
// escapes than Go.
func ednString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}

// The function `keyword` replaces the characters that a keyword of EDN may not contain.
func keyword(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, s)
}
