package zktest_test

import (
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/zktest"
)

func Example() {
	e, err := zktest.New(zktest.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()

	conn, _, err := zk.Connect(e.Servers(), 10*time.Second,
		zk.WithDialer(e.Dialer), zk.WithLogInfo(false))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	name, err := conn.Create("/greeting", []byte("hello"), 0, zk.WorldACL(zk.PermAll))
	fmt.Println(name, err)
	data, _, err := conn.Get("/greeting")
	fmt.Println(string(data), err)
	// Output:
	// /greeting <nil>
	// hello <nil>
}

// In this example the write is committed, but its reply is lost.
func ExampleEnsemble_Inject() {
	e, err := zktest.New(zktest.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	conn, _, err := zk.Connect(e.Servers(), 10*time.Second,
		zk.WithDialer(e.Dialer), zk.WithLogInfo(false))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	e.Inject(zktest.Rule{Op: "create", Path: "/job", Fate: zktest.CloseBeforeReply})
	_, err = conn.Create("/job", nil, 0, zk.WorldACL(zk.PermAll))
	fmt.Println(err)
	exists, _, err := conn.Exists("/job")
	fmt.Println(exists, err)
	// Output:
	// zk: connection closed
	// true <nil>
}

// This example cuts the leader off from the other servers. The old leader still answers reads, but
// no server acknowledges a write until another server leads.
func ExampleEnsemble_Cut() {
	e, err := zktest.New(zktest.Options{TickTime: 20 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	old := e.Leader()
	for i := range e.Servers() {
		if i != old {
			e.Cut(zktest.Link{From: old, To: i}, zktest.Link{From: i, To: old})
		}
	}
	for e.Leader() == old || e.Leader() < 0 {
		time.Sleep(10 * time.Millisecond)
	}
	e.Mend()
	for !e.Ready() {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("the old one leads:", e.Leader() == old)
	// Output:
	// the old one leads: false
}

// This example connects a client to a given server first, without DNS.
func ExampleHostProvider() {
	e, err := zktest.New(zktest.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	conn, _, err := zk.Connect(e.Servers(), 10*time.Second, zk.WithLogInfo(false),
		zk.WithDialer(e.Dialer), zk.WithHostProvider(e.HostProvider(1)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	if _, err := conn.Sync("/"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(conn.Server() == e.Servers()[1])
	// Output:
	// true
}
