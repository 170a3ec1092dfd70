package history

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// WriteText writes one event per line, for people and for testdata:
//
//	12.5ms c1 ok acquire /lock token=0x7 node=lock-0000000003
//
// A line has the time, the client, the kind and the op, then the object if it is a path. All other
// fields follow with their names. Values with spaces or quotes are quoted like in Go. If the
// numbers of client and process differ, both are written, for example c1/p7.
func (h *History) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	for i := range h.Events {
		fmt.Fprintln(out, h.Events[i].String())
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("history: write: %w", err)
	}
	return nil
}

// String returns the event's line in the form of [History.WriteText].
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %s", e.Time, e.Who())
	if e.Process != int32(e.Client) {
		fmt.Fprintf(&b, "/p%d", e.Process)
	}
	fmt.Fprintf(&b, " %v", e.Kind)
	if strings.HasPrefix(e.Op, "/") {
		fmt.Fprintf(&b, " %s", strconv.Quote(e.Op))
	} else if e.Op != "" {
		fmt.Fprintf(&b, " %s", quote(e.Op))
	}
	if bare(e.Object) {
		fmt.Fprintf(&b, " %s", e.Object)
	} else {
		field(&b, "object", e.Object)
	}
	field(&b, "arg", e.Arg)
	field(&b, "result", e.Result)
	field(&b, "error", e.Error)
	id(&b, "token", e.Token)
	id(&b, "zxid", e.Zxid)
	id(&b, "session", e.Session)
	field(&b, "node", e.Node)
	for _, n := range e.numbers() {
		if *n.at != 0 {
			fmt.Fprintf(&b, " %s=%d", n.name, *n.at)
		}
	}
	return b.String()
}

// The function `bare` reports whether an object is written without its field name: it begins with
// "/" and needs no quotes.
func bare(object string) bool {
	return strings.HasPrefix(object, "/") && quote(object) == object
}

func field(b *strings.Builder, name, v string) {
	if v != "" {
		fmt.Fprintf(b, " %s=%s", name, quote(v))
	}
}

func id(b *strings.Builder, name string, v int64) {
	if v != 0 {
		fmt.Fprintf(b, " %s=0x%x", name, uint64(v))
	}
}

func quote(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\"\\=#") || strconv.Quote(s) != `"`+s+`"` {
		return strconv.Quote(s)
	}
	return s
}

// ParseText reads the form of [History.WriteText]. It skips empty lines and lines that begin with
// "#". A time may be "-". The time of that event is then its index in the history, in milliseconds:
// 0 ms for the first event, 1 ms for the second. Errors have the number of the line.
func ParseText(r io.Reader) (*History, error) {
	var events []Event
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	number := 1
	for ; in.Scan(); number++ {
		text := strings.TrimSpace(in.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		e, err := parseLine(text, len(events))
		if err != nil {
			return nil, fmt.Errorf("history: line %d: %w", number, err)
		}
		events = append(events, e)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("history: line %d: %w", number, err)
	}
	return &History{Events: events}, nil
}

func parseLine(text string, index int) (Event, error) {
	words, err := split(text)
	if err != nil {
		return Event{}, err
	}
	if len(words) < 3 {
		return Event{}, fmt.Errorf("%q: want time, client and kind", text)
	}
	e := Event{Index: int32(index), Time: time.Duration(index) * time.Millisecond}
	if words[0] != "-" {
		if e.Time, err = time.ParseDuration(words[0]); err != nil {
			return Event{}, err
		}
	}
	if e.Client, e.Process, err = parseWho(words[1]); err != nil {
		return Event{}, err
	}
	var ok bool
	if e.Kind, ok = parseKind(words[2]); !ok {
		return Event{}, fmt.Errorf("unknown kind %q", words[2])
	}
	for _, word := range words[3:] {
		if err := e.set(word); err != nil {
			return Event{}, fmt.Errorf("%s: %w", word, err)
		}
	}
	return e, nil
}

func parseWho(s string) (client int16, process int32, err error) {
	if s == "-" {
		return Nobody, Nobody, nil
	}
	name, proc, own := strings.Cut(s, "/p")
	if name == "-" {
		client = Nobody
	} else if _, err := fmt.Sscanf(name, "c%d", &client); err != nil {
		return 0, 0, fmt.Errorf("client %q: want c1, c1/p7 or -", s)
	}
	if !own {
		return client, int32(client), nil
	}
	p, err := strconv.ParseInt(proc, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("client %q: want c1, c1/p7 or -", s)
	}
	return client, int32(p), nil
}

// The method `set` applies one word of a line: a name=value pair, a path, or the operation.
func (e *Event) set(word string) error {
	name, value, named := strings.Cut(word, "=")
	if word[0] == '"' || !named {
		value, err := unquote(word)
		if err != nil {
			return err
		}
		if word[0] == '/' {
			e.Object = value
		} else {
			e.Op = value
		}
		return nil
	}
	value, err := unquote(value)
	if err != nil {
		return err
	}
	switch name {
	case "object":
		e.Object = value
	case "arg":
		e.Arg = value
	case "result":
		e.Result = value
	case "error":
		e.Error = value
	case "node":
		e.Node = value
	case "token":
		e.Token, err = ParseID(value)
	case "zxid":
		e.Zxid, err = ParseID(value)
	case "session":
		e.Session, err = ParseID(value)
	default:
		for _, n := range e.numbers() {
			if n.name == name {
				v, err := strconv.ParseInt(value, 10, 32)
				*n.at = int32(v)
				return err
			}
		}
		err = fmt.Errorf("unknown field %q", name)
	}
	return err
}

func unquote(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		return s, nil
	}
	v, err := strconv.Unquote(s)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s, err)
	}
	return v, nil
}

// The function `split` cuts a line at spaces outside quotes.
func split(text string) ([]string, error) {
	var words []string
	for text = strings.TrimLeft(text, " \t"); text != ""; text = strings.TrimLeft(text, " \t") {
		end := 0
		for end < len(text) && text[end] != ' ' && text[end] != '\t' {
			if text[end] != '"' {
				end++
				continue
			}
			quoted, err := strconv.QuotedPrefix(text[end:])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", text[end:], err)
			}
			end += len(quoted)
		}
		words, text = append(words, text[:end]), text[end:]
	}
	return words, nil
}
