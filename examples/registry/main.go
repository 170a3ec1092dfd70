// Command registry is a service whose instances find each other and share their
// configuration through ZooKeeper.
//
//	registry serve -id greeter-1 -listen 127.0.0.1:8001
//	registry serve -id greeter-2 -listen 127.0.0.1:8002
//	registry configure 'Good morning'
//	registry call Ada
//
// An instance is a member of a group and publishes its address. It answers with
// the greeting that is configured. A caller picks one of the instances. An
// instance keeps the last configuration while ZooKeeper cannot be reached.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"

	"github.com/zkcoord/zkcoord/session"
)

func main() {
	log.SetFlags(0)
	flags := flag.NewFlagSet("registry", flag.ExitOnError)
	servers := flags.String("servers", "127.0.0.1:2181", "addresses of the ensemble, host:port,...")
	id := flags.String("id", "", "serve: name of the instance")
	listen := flags.String("listen", "127.0.0.1:0", "serve: address to listen on; others must be able to reach it")
	verb := ""
	if len(os.Args) > 1 {
		verb = os.Args[1]
		flags.Parse(os.Args[2:])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	opts := session.Options{Servers: strings.Split(*servers, ",")}
	err := errors.New("usage: registry serve -id NAME [flags] | configure [flags] GREETING | call [flags] NAME")
	switch {
	case verb == "serve" && *id != "":
		var l net.Listener
		if l, err = net.Listen("tcp", *listen); err == nil {
			err = serve(ctx, opts, *id, l)
		}
	case verb == "configure" && flags.NArg() == 1:
		err = configure(ctx, opts, flags.Arg(0))
	case verb == "call" && flags.NArg() == 1:
		var answer string
		if answer, err = call(ctx, opts, flags.Arg(0)); err == nil {
			fmt.Println(answer)
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}
