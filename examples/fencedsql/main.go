// Command fencedsql sends each invoice once, from any number of machines. It is
// the complete version of the program in the README.
//
//	fencedsql -servers zk1:2181,zk2:2181 -db 'host=db dbname=shop user=shop'
//
// The lock lets one process send at a time. If a process was paused and another
// process has been granted the lock, the fencing token prevents the paused
// process from marking invoices. Sent mail cannot be undone, so the program
// marks each invoice before it sends it. An invoice that was marked and never
// confirmed needs a person's decision: -doubtful lists such invoices.
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

	_ "github.com/lib/pq" // the database driver

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
		log.Fatalf("create the tables: %v", err)
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

// The function `printed` takes the place of the mail server.
func printed(_ context.Context, id int64) error {
	_, err := fmt.Println("invoice", id)
	return err
}
