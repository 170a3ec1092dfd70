// Command fencedsql sends invoices, each once, from any number of machines: the program of the README, whole.
//
//	fencedsql -servers zk1:2181,zk2:2181 -db 'host=db dbname=shop user=shop'
//
// The lock has one process send at a time. The fencing token keeps a process that was paused from marking
// invoices when another one has the lock. Mail that has been sent cannot be called back, so each invoice is
// marked before it is sent. One that was marked and never confirmed is left for a person: with -doubtful
// the command lists them.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"

	_ "github.com/lib/pq" // the driver

	"github.com/zkcoord/zkcoord/session"
)

func main() {
	log.SetFlags(0)
	servers := flag.String("servers", "127.0.0.1:2181", "addresses of the ensemble, host:port,...")
	source := flag.String("db", "", "data source name of the PostgreSQL database")
	doubtful := flag.Bool("doubtful", false, "list the invoices that may have been sent")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	db, err := sql.Open("postgres", *source)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	i := newInvoices(db, printed)
	if err := i.create(ctx); err != nil {
		log.Fatal(err)
	}
	if *doubtful {
		err = i.doubtful(ctx, func(id int64) { fmt.Println(id) })
	} else {
		err = session.Run(ctx, session.Options{Servers: strings.Split(*servers, ",")}, i.run)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

// printed stands for the mail server.
func printed(_ context.Context, id int64) error {
	_, err := fmt.Println("invoice", id)
	return err
}
