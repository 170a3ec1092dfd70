package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// The constant `format` distinguishes a history from other JSON.
const format = "zkcoord-history"

type headerLine struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Header
}

// The type `line` is the schema of one event. Session, zxid and token are hex strings, because
// readers that store numbers as doubles would round them.
type line struct {
	Index    int32  `json:"i"`
	Time     int64  `json:"t"`
	Kind     string `json:"kind"`
	Process  *int32 `json:"process"`
	Client   *int16 `json:"client"`
	Session  hex64  `json:"session"`
	Op       string `json:"op"`
	Object   string `json:"object"`
	Arg      string `json:"arg"`
	Result   string `json:"result"`
	Error    string `json:"error"`
	Zxid     hex64  `json:"zxid"`
	Token    hex64  `json:"token"`
	Node     string `json:"node"`
	Round    int32  `json:"round"`
	Step     int32  `json:"step"`
	Priority int32  `json:"priority"`
	Watch    int32  `json:"watch"`
}

type hex64 int64

func (x *hex64) UnmarshalText(text []byte) error {
	v, err := ParseID(string(text))
	*x = hex64(v)
	return err
}

// ParseID parses a 64-bit id, decimal or hexadecimal with 0x.
func ParseID(s string) (int64, error) {
	if v, err := strconv.ParseInt(s, 0, 64); err == nil {
		return v, nil
	}
	v, err := strconv.ParseUint(s, 0, 64) // an id with the top bit set
	return int64(v), err
}

// WriteJSON writes h as JSON Lines.
func (h *History) WriteJSON(w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<16)
	head, err := json.Marshal(headerLine{format, Version, h.Header})
	if err != nil {
		return fmt.Errorf("history: write header: %w", err)
	}
	out.Write(head)
	out.WriteByte('\n')
	var buf []byte
	for i := range h.Events {
		buf = appendJSON(buf[:0], &h.Events[i])
		// A bufio.Writer keeps its first error, which Flush returns.
		out.Write(buf)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("history: write: %w", err)
	}
	return nil
}

// appendJSON appends the same text as encoding/json, but faster. The speed matters because a user
// waits for the verdict while a history of millions of events is written.
func appendJSON(b []byte, e *Event) []byte {
	b = append(b, `{"i":`...)
	b = strconv.AppendInt(b, int64(e.Index), 10)
	b = append(b, `,"t":`...)
	b = strconv.AppendInt(b, int64(e.Time), 10)
	b = append(b, `,"kind":"`...)
	b = append(b, e.Kind.String()...)
	b = append(b, '"')
	if e.Process != Nobody {
		b = append(b, `,"process":`...)
		b = strconv.AppendInt(b, int64(e.Process), 10)
	}
	if e.Client != Nobody {
		b = append(b, `,"client":`...)
		b = strconv.AppendInt(b, int64(e.Client), 10)
	}
	b = appendHex(b, "session", e.Session)
	b = appendField(b, "op", e.Op)
	b = appendField(b, "object", e.Object)
	b = appendField(b, "arg", e.Arg)
	b = appendField(b, "result", e.Result)
	b = appendField(b, "error", e.Error)
	b = appendHex(b, "zxid", e.Zxid)
	b = appendHex(b, "token", e.Token)
	b = appendField(b, "node", e.Node)
	for _, n := range e.numbers() {
		if *n.at != 0 {
			b = append(b, ',', '"')
			b = append(b, n.name...)
			b = append(b, '"', ':')
			b = strconv.AppendInt(b, int64(*n.at), 10)
		}
	}
	return append(b, '}', '\n')
}

func appendHex(b []byte, name string, v int64) []byte {
	if v == 0 {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, `":"0x`...)
	b = strconv.AppendUint(b, uint64(v), 16)
	return append(b, '"')
}

func appendField(b []byte, name, v string) []byte {
	if v == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, `":`...)
	return appendString(b, v)
}

// appendString quotes s. It leaves strings with special characters to encoding/json.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// ReadJSON reads the form of WriteJSON. If a crash has cut the history off in the middle of a line,
// ReadJSON returns the events before that line, and [History.Complete] reports false. Any other
// malformed line is an error with the number of the line.
func ReadJSON(r io.Reader) (*History, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	first, err := in.ReadBytes('\n')
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("history: read: %w", err)
	}
	var head headerLine
	if json.Unmarshal(first, &head) != nil || head.Format != format {
		return nil, errors.New("history: line 1 is not the header of a history: " +
			"want the file history.jsonl of a run")
	}
	if head.Version != Version {
		return nil, fmt.Errorf("history: schema version %d, but this program reads only version %d", head.Version, Version)
	}
	h := &History{Header: head.Header}
	intern := make(interner)
	for number := 2; ; number++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return h, nil // no newline: the end, or a line cut short
		}
		if err != nil {
			return nil, fmt.Errorf("history: read: %w", err)
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		e, err := parseJSON(text, intern)
		if err != nil {
			return nil, fmt.Errorf("history: line %d: %w", number, err)
		}
		if int(e.Index) != len(h.Events) {
			return nil, fmt.Errorf("history: line %d: index %d, want %d", number, e.Index, len(h.Events))
		}
		if e.Time < h.End() {
			return nil, fmt.Errorf("history: line %d: time %v is before the previous one, %v", number, e.Time, h.End())
		}
		h.Events = append(h.Events, e)
	}
}

func parseJSON(text []byte, intern interner) (Event, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return Event{}, err
	}
	kind, ok := parseKind(l.Kind)
	if !ok {
		return Event{}, fmt.Errorf("unknown kind %q", l.Kind)
	}
	e := Event{
		Index: l.Index, Time: time.Duration(l.Time), Kind: kind, Process: Nobody, Client: Nobody,
		Session: int64(l.Session), Zxid: int64(l.Zxid), Token: int64(l.Token),
		Round: l.Round, Step: l.Step, Priority: l.Priority, Watch: l.Watch,
		Op: intern.of(l.Op), Object: intern.of(l.Object), Node: intern.of(l.Node),
		Arg: l.Arg, Result: l.Result, Error: intern.of(l.Error),
	}
	if l.Process != nil {
		e.Process = *l.Process
	}
	if l.Client != nil {
		e.Client = *l.Client
	}
	return e, nil
}

// interner makes equal strings share memory, because a history repeats the same few strings.
type interner map[string]string

func (in interner) of(s string) string {
	if s == "" {
		return ""
	}
	if known, ok := in[s]; ok {
		return known
	}
	in[s] = s
	return s
}
