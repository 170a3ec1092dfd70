package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/fence"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

// workerMark is the variable of the environment of a process that is a peer.
const workerMark = "ZKCOORD_PEER"

// Work makes this process a peer of library Zkcoord, and ends it, if it was started to be one: a client of package lock that can be
// stopped by itself. Programs that start such peers call it first thing.
func Work() {
	if os.Getenv(workerMark) == "" {
		return
	}
	if err := work(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// work takes a command a line, as the programs of other libraries do: see peers.go. Arguments are the servers, the session timeout in
// milliseconds, the path of the lock, and the recipe, of which it has one.
func work(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 4 {
		return errors.New("a peer has four arguments")
	}
	a, err := openAccount(Recipe(args[3]))
	if err != nil || a == nil && args[3] != string(Mutex) {
		return errors.Join(fmt.Errorf("recipe %s", args[3]), err)
	}
	ms, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(words ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(out, words...)
	}
	ctx := context.Background()
	s, err := session.Open(ctx, session.Options{Servers: strings.Split(args[0], ","), Timeout: time.Duration(ms) * time.Millisecond})
	if err != nil {
		return err
	}
	defer s.Close()
	say("ready", s.ID(), fmt.Sprintf("%x", s.Password()))
	m := lock.NewMutex(s, args[2], lock.Options{})
	var grant *lock.Grant
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch command := strings.TrimSpace(lines.Text()); {
		case command == "acquire":
			if grant, err = m.Lock(ctx); err != nil {
				if s.Err() != nil {
					say("lost", oneLine(s.Err()))
				}
				say("error", oneLine(err))
				continue
			}
			say("acquired", int64(grant.Token()), grant.Path())
			granted := grant.Context()
			context.AfterFunc(granted, func() {
				if cause := context.Cause(granted); !errors.Is(cause, lock.ErrReleased) {
					say("lost", oneLine(cause))
				}
			})
		case command == "release" && grant != nil:
			if err := grant.Unlock(ctx); err != nil {
				say("error", oneLine(err))
				continue
			}
			say("released")
		case a != nil && grant != nil && (strings.HasPrefix(command, "read ") || strings.HasPrefix(command, "write ")):
			say(a.command(ctx, fence.TokenOf(grant), strings.Fields(command)))
		default:
			say("error unknown command")
		}
	}
	return nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
