// Command vet is a program outside of this module with a mistake that zkcoordvet
// finds.
package main

import (
	"context"
	"log"
	"os"

	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, servers []string) error {
	s, err := session.Open(ctx, session.Options{Servers: servers})
	if err != nil {
		return err
	}
	defer s.Close()
	grant, err := lock.NewMutex(s, "/locks/invoices", lock.Options{}).Lock(ctx)
	if err != nil {
		return err
	}
	defer grant.Unlock(ctx)
	return send(ctx)
}

func send(ctx context.Context) error { return ctx.Err() }
