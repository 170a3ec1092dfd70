// Command scheduler runs a command once in every period, on one of the machines
// on which the scheduler runs. It is like cron, but does not depend on a single
// machine.
//
//	scheduler -servers zk1:2181,zk2:2181 -path /backup -every 1h backup.sh
//
// All schedulers are candidates in an election, and the leader runs the command. Before each run
// the leader records the period, in a transaction that is applied only while it leads. So no period
// has two runs. If a leader fails during a run, the next leader does not repeat the run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/session"
)

func main() {
	log.SetFlags(0)
	servers := flag.String("servers", "127.0.0.1:2181", "addresses of the ensemble, host:port,...")
	path := flag.String("path", "/scheduler", "path of the election; the schedulers of one command share it")
	every := flag.Duration("every", time.Minute, "the period")
	flag.Parse()
	if flag.NArg() == 0 || *every <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s := scheduler{name: name, path: *path, every: *every, job: command(flag.Args())}
	err = session.Run(ctx, session.Options{Servers: strings.Split(*servers, ",")}, s.run)
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

// The function `command` returns a job that runs the command `args`, and kills the process when ctx
// ends.
func command(args []string) func(context.Context, int64) {
	return func(ctx context.Context, period int64) {
		c := exec.CommandContext(ctx, args[0], args[1:]...)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			fmt.Fprintf(os.Stderr, "%s in period %d: %v\n", args[0], period, err)
		}
	}
}
