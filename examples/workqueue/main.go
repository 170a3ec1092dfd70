// Command workqueue distributes jobs to workers on any number of machines.
//
//	workqueue -path /thumbnails put  7=cat.jpg 8=dog.jpg
//	workqueue -path /thumbnails work convert.sh
//	workqueue -path /thumbnails show 7
//
// A worker claims a job, runs the command with the job's input as its argument,
// and acknowledges the job in the transaction that stores the output. So a job
// has one output, even if workers crash and the command runs twice. If the
// command fails three times, the job is moved to the dead letters.
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

	"github.com/zkcoord/zkcoord/session"
)

func main() {
	log.SetFlags(0)
	servers := flag.String("servers", "127.0.0.1:2181", "addresses of the ensemble, host:port,...")
	path := flag.String("path", "/workqueue", "path of the queue")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	verb, args := flag.Arg(0), flag.Args()[min(1, flag.NArg()):]
	err := session.Run(ctx, session.Options{Servers: strings.Split(*servers, ",")}, func(ctx context.Context, s *session.Session) error {
		w := open(s, *path)
		switch {
		case verb == "put" && len(args) > 0:
			return w.put(ctx, args)
		case verb == "work" && len(args) > 0:
			return w.work(ctx, func(ctx context.Context, input string) ([]byte, error) {
				return exec.CommandContext(ctx, args[0], append(args[1:], input)...).Output()
			})
		case verb == "show" && len(args) == 1:
			output, err := w.output(ctx, args[0])
			fmt.Printf("%s", output)
			return err
		}
		return errors.New("usage: workqueue [flags] put ID=INPUT... | work COMMAND... | show ID")
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}
