package session_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/lock"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// The log has a line when a hold begins and one when it ends. The time of a line is the time of the
// event, not the time of writing.
func TestHoldLogHasBeginAndEnd(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		e := zktest.Start(t, zktest.Options{})
		var text bytes.Buffer
		s, err := session.Open(t.Context(), session.Options{
			Servers: e.Servers(), Dial: e.DialContext, HoldLog: slog.New(slog.NewJSONHandler(&text, nil)).With("client", "web-1"),
		})
		if err != nil {
			t.Fatal(err)
		}
		g, err := lock.NewMutex(s, "/app/lock", lock.Options{}).Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		time.Sleep(3 * time.Second)
		ended := time.Now()
		if err := errors.Join(g.Unlock(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("got %d lines, want 2:\n%s", len(lines), text.String())
		}
		for i, want := range []struct {
			at         time.Time
			msg, cause string
		}{{begun, "hold begins", ""}, {ended, "hold ends", lock.ErrReleased.Error()}} {
			var got struct {
				Time                                    time.Time
				Msg, Hold, Path, Session, Client, Cause string
				Token                                   int64
			}
			if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
				t.Fatal(err)
			}
			if !got.Time.Equal(want.at) || got.Msg != want.msg || got.Cause != want.cause || got.Path != g.Path() || got.Token != int64(g.Token()) ||
				got.Session != fmt.Sprintf("0x%x", uint64(s.ID())) || got.Client != "web-1" || got.Hold != "lock" {
				t.Errorf("line %d: got %s, want %q of client web-1 at %v, path %s, token %d, session 0x%x, cause %q",
					i+1, lines[i], want.msg, want.at, g.Path(), g.Token(), uint64(s.ID()), want.cause)
			}
		}
	})
}
