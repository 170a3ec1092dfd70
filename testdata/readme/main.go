// Command readme is the program of the README, with something to do under the lock.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"

	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, servers []string) error {
	// Without a logger, Open waits for a server in silence until ctx ends.
	s, err := session.Open(ctx, session.Options{Servers: servers, Logger: slog.Default()})
	if err != nil {
		return err
	}
	defer s.Close()

	invoices := lock.NewMutex(s, "/locks/invoices", lock.Options{})
	return invoices.Do(ctx, func(ctx context.Context, g *lock.Grant) error {
		// This ctx ends when the program's ctx ends, and before another client can be
		// granted the lock. With the token, a database can refuse the late write
		// of a process that was paused.
		return sendInvoices(ctx, g.Token())
	})
}

func sendInvoices(ctx context.Context, token lock.Token) error {
	fmt.Println("sending invoices, token", token)
	<-ctx.Done()
	return context.Cause(ctx)
}
