package zkcoord

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

func sendInvoices(ctx context.Context, token lock.Token) error {
	if ctx.Err() != nil || token <= 0 {
		return errors.New("the lock is not held")
	}
	return errSent
}

// The README has the body of this function.
func invoicesAreSentOnce(ctx context.Context, servers []string) error {
	s, err := session.Open(ctx, session.Options{Servers: servers})
	if err != nil {
		return err
	}
	defer s.Close()

	grant, err := lock.NewMutex(s, "/locks/invoices", lock.Options{}).Lock(ctx)
	if err != nil {
		return err // nothing is held, and no znode remains
	}
	defer grant.Unlock(context.WithoutCancel(ctx))

	// The context ends before anybody else can be granted the lock. The token
	// lets what is written to refuse a process that was paused meanwhile.
	return sendInvoices(grant.Context(), grant.Token())
}

func TestReadmeCodeRuns(t *testing.T) {
	e := zktest.Start(t, zktest.Options{TCP: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := invoicesAreSentOnce(ctx, e.Servers()); !errors.Is(err, errSent) {
		t.Error(err)
	}

	source, err := os.ReadFile("readme_test.go")
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
