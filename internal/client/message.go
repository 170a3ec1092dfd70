package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Version is the version of the protocol that this package speaks.
const Version = 1

// MaxLine is the maximum length of a line in bytes, including its end.
const MaxLine = 64 << 10

// The operations that a request can have.
const (
	OpAcquire       = "acquire"
	OpAcquireRead   = "acquire-read"
	OpAcquireWrite  = "acquire-write"
	OpAcquirePermit = "acquire-permit"
	OpRelease       = "release"
	OpCampaign      = "campaign"
	OpResign        = "resign"
	OpPut           = "put"
	OpTake          = "take"
	OpClaim         = "claim"
	OpAck           = "ack"
	OpSet           = "set"
	OpRemove        = "remove"
	OpWait          = "wait"
	OpJoin          = "join"
	OpLeave         = "leave"
	OpMembers       = "members"
	OpAdd           = "add"
	OpGet           = "get"
)

// A Recipe is the role of a client, for example a contender for a lock or a candidate.
type Recipe string

// The recipes.
const (
	Lock          Recipe = "lock"
	RWLock        Recipe = "rwlock"
	Semaphore     Recipe = "semaphore"
	Election      Recipe = "election"
	Queue         Recipe = "queue"
	PriorityQueue Recipe = "priority-queue"
	Claims        Recipe = "claims" // a queue whose items are claimed, and then acknowledged or released
	Barrier       Recipe = "barrier"
	Group         Recipe = "group"
	Counter       Recipe = "counter"
)

// Recipes returns the recipes, in the order of the protocol's document.
func Recipes() []Recipe {
	return []Recipe{Lock, RWLock, Semaphore, Election, Queue, PriorityQueue, Claims, Barrier, Group, Counter}
}

// Operations returns the operations that a client of the recipe must support.
func (r Recipe) Operations() []string {
	return map[Recipe][]string{
		Lock:          {OpAcquire, OpRelease},
		RWLock:        {OpAcquireRead, OpAcquireWrite, OpRelease},
		Semaphore:     {OpAcquirePermit, OpRelease},
		Election:      {OpCampaign, OpResign},
		Queue:         {OpPut, OpTake},
		PriorityQueue: {OpPut, OpTake},
		Claims:        {OpPut, OpAck, OpClaim, OpRelease},
		Barrier:       {OpSet, OpRemove, OpWait},
		Group:         {OpJoin, OpLeave, OpMembers},
		Counter:       {OpAdd, OpGet},
	}[r]
}

// A Request is a line to the client.
type Request struct {
	ID int64  `json:"id"` // number of this request; Client.Do sets it
	Op string `json:"op"`
	// WaitMS is how long the operation may wait, in milliseconds. Nil means no limit.
	WaitMS *int64 `json:"wait_ms,omitempty"`
	// Value is the item to put, the id of the member that joins, or the number to add.
	Value    string `json:"value,omitempty"`
	Priority int    `json:"priority,omitempty"` // of a put; 0 comes first
	Name     string `json:"name,omitempty"`     // of the counter, below the path of the setup
	Fresh    bool   `json:"fresh,omitempty"`    // the list of members must not be older than the request
}

// Waits reports whether the operation waits for other clients.
func (r Request) Waits() bool {
	switch r.Op {
	case OpAcquire, OpAcquireRead, OpAcquireWrite, OpAcquirePermit, OpCampaign, OpTake, OpClaim, OpWait:
		return true
	}
	return false
}

// The types of replies.
const (
	Hello = "hello" // the first line
	OK    = "ok"    // the operation took effect
	Fail  = "fail"  // the operation had no effect, and will have none
	Info  = "info"  // the operation may have had an effect, or may still have one
	Lost  = "lost"  // the client's grant is lost
)

// A Reply is a line from the client.
type Reply struct {
	Type string `json:"type"`
	ID   int64  `json:"id,omitempty"` // number of the request; zero for Hello and Lost
	// Token is the fencing token of a grant: the czxid of the grant's znode. Zero means that the
	// client has no token.
	Token int64 `json:"token,omitempty"`
	// Node is the name or the path of the grant's znode, if the client has such a znode.
	Node string `json:"node,omitempty"`
	// Value is the value of a counter, or the item that a take or a claim returns. It is empty if
	// there is no item.
	Value   string   `json:"value,omitempty"`
	Members []string `json:"members,omitempty"` // of a group
	Error   string   `json:"error,omitempty"`   // why, for people

	// Only for Hello.
	Protocol   int      `json:"protocol,omitempty"`
	Operations []string `json:"operations,omitempty"`

	// Last makes Serve return after this reply.
	Last bool `json:"-"`
}

// A ProtocolError says how a client broke the protocol.
type ProtocolError struct {
	Line    string // the line, shortened; empty if there was no line
	Problem string
}

// Error describes the problem with the line.
func (e *ProtocolError) Error() string {
	if e.Line == "" {
		return e.Problem
	}
	return fmt.Sprintf("%s: %s", e.Problem, e.Line)
}

// parse parses a line of a client. The error is a *ProtocolError.
func parse(line []byte) (Reply, error) {
	var r Reply
	broken := func(problem string) (Reply, error) {
		return Reply{}, &ProtocolError{Line: shortened(line), Problem: problem}
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return broken(reason(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return broken("more than one JSON object on a line")
	}
	switch r.Type {
	case OK, Fail, Info:
		if r.ID == 0 {
			return broken("a reply without the id of its request")
		}
	case Lost, Hello:
		if r.ID != 0 {
			return broken(fmt.Sprintf("a line of type %q must have no id", r.Type))
		}
	case "":
		return broken(`no "type"`)
	default:
		return broken(fmt.Sprintf("unknown type %q", r.Type))
	}
	return r, nil
}

// reason describes what is wrong with a line that is not a Reply.
func reason(err error) string {
	if typed := (*json.UnmarshalTypeError)(nil); errors.As(err, &typed) && typed.Field != "" {
		return fmt.Sprintf("%q must be %s, not %s", typed.Field, kindOf(typed.Type.Kind().String()), typed.Value)
	}
	if text, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		return "unknown field " + text
	}
	return "not a JSON object (print for people to standard error)"
}

func kindOf(kind string) string {
	switch kind {
	case "int", "int64":
		return "a whole number"
	case "slice":
		return "a list"
	}
	return "a " + kind
}

// The function `shortened` quotes the beginning of a line.
func shortened(line []byte) string {
	const most = 120
	if len(line) > most {
		return fmt.Sprintf("%.*q...", most, line)
	}
	return fmt.Sprintf("%q", line)
}
