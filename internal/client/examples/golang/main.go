// This program is an example of a client that zkcoord runs. It acquires and releases a lock of
// package lock.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
)

var mu sync.Mutex

func say(message map[string]any) {
	mu.Lock()
	defer mu.Unlock()
	json.NewEncoder(os.Stdout).Encode(message)
}

func main() {
	ctx := context.Background()
	ms, err := strconv.Atoi(os.Getenv("ZKCOORD_SESSION_TIMEOUT_MS"))
	if err != nil {
		log.Fatalf("ZKCOORD_SESSION_TIMEOUT_MS: %v", err)
	}
	s, err := session.Open(ctx, session.Options{
		Servers: strings.Split(os.Getenv("ZKCOORD_SERVERS"), ","),
		Timeout: time.Duration(ms) * time.Millisecond,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	mutex := lock.NewMutex(s, os.Getenv("ZKCOORD_PATH"), lock.Options{})
	say(map[string]any{"type": "hello", "protocol": 1, "operations": []string{"acquire", "release"}})

	var grant *lock.Grant
	for in := bufio.NewScanner(os.Stdin); s.Err() == nil && in.Scan(); {
		var request struct {
			ID     int64  `json:"id"`
			Op     string `json:"op"`
			WaitMS *int64 `json:"wait_ms"`
		}
		if err := json.Unmarshal(in.Bytes(), &request); err != nil {
			log.Fatal(err)
		}
		reply := map[string]any{"id": request.ID, "type": "ok"}
		switch request.Op {
		case "acquire":
			waiting, cancel := ctx, context.CancelFunc(func() {})
			if request.WaitMS != nil {
				waiting, cancel = context.WithTimeout(ctx, time.Duration(*request.WaitMS)*time.Millisecond)
			}
			grant, err = mutex.Lock(waiting)
			cancel()
			if err == nil {
				reply["token"], reply["node"] = grant.Token(), grant.Path()
				held := grant.Context()
				context.AfterFunc(held, func() {
					if cause := context.Cause(held); !errors.Is(cause, lock.ErrReleased) {
						say(map[string]any{"type": "lost", "error": cause.Error()})
					}
				})
			}
		case "release":
			err = grant.Unlock(ctx)
		default:
			reply["type"], err = "fail", errors.New("unknown operation")
		}
		if errors.Is(err, context.DeadlineExceeded) {
			reply["type"] = "fail" // nothing is held, and no znode remains
		} else if err != nil && reply["type"] == "ok" {
			reply["type"] = "info"
		}
		if err != nil {
			reply["error"] = err.Error()
		}
		say(reply)
	}
}
