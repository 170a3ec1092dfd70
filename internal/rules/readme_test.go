package rules

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

var errSent = errors.New("sent")

// sendInvoices waits for its context if there are many.
func sendInvoices(ctx context.Context, token lock.Token) error {
	if ctx.Err() != nil || token <= 0 {
		return errors.New("the lock is not held")
	}
	if begun, many := ctx.Value(manyInvoices{}).(chan<- struct{}); many {
		close(begun)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return errSent
}

type manyInvoices struct{}

// The README has the body of this function.
func invoicesAreSentOnce(ctx context.Context, servers []string) error {
	s, err := session.Open(ctx, session.Options{Servers: servers})
	if err != nil {
		return err
	}
	defer s.Close()

	invoices := lock.NewMutex(s, "/locks/invoices", lock.Options{})
	return invoices.Do(ctx, func(ctx context.Context, g *lock.Grant) error {
		// This context ends with the program's, and before anybody else can be
		// granted the lock. The token lets what is written to refuse a process
		// that was paused meanwhile.
		return sendInvoices(ctx, g.Token())
	})
}

func TestReadmeCodeRuns(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := invoicesAreSentOnce(ctx, e.Servers()); !errors.Is(err, errSent) {
		t.Error(err)
	}

	begun, ended := make(chan struct{}), make(chan error)
	ctx = context.WithValue(ctx, manyInvoices{}, (chan<- struct{})(begun))
	ctx, shutDown := context.WithCancel(ctx)
	go func() { ended <- invoicesAreSentOnce(ctx, e.Servers()) }()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("the program has ended: %v", err)
	}
	shutDown()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("shut down: %v, want %v", err, context.Canceled)
	}

	source, err := os.ReadFile("internal/rules/readme_test.go") // by the path from the root
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "servers []string) error {\n")
	body, _, _ = strings.Cut(body, "\n}\n")
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll("\n"+body+"\n", "\n\t", "\n"); !strings.Contains(string(readme), "```go"+want+"```") {
		t.Errorf("the README does not have this code:%s", want)
	}
}
