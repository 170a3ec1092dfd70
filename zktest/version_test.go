package zktest_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestVersionNamesALineOrARelease(t *testing.T) {
	for version, want := range map[zktest.Version]string{
		"": "3.9.6", zktest.V39: "3.9.6", zktest.V38: "3.8.6", "3.8.0": "3.8.0", "3.9.3": "3.9.3",
	} {
		virtual.Test(t, func(t *testing.T) {
			e := zktest.Start(t, zktest.Options{Version: version})
			if got := word(t, e, 0, "srvr"); !strings.HasPrefix(got, "Zookeeper version: "+want+"-") {
				t.Errorf("version %q: srvr returned %q, want version %s", version, got, want)
			}
		})
	}
	for _, version := range []zktest.Version{"3.7", "3.10", "3.8.7", "3.9.99", "latest"} {
		if e, err := zktest.New(zktest.Options{Version: version}); err == nil {
			e.Close()
			t.Errorf("version %q was accepted, want an error", version)
		}
	}
}

// Since 3.9, an event has the zxid of its transaction, even if the transaction closes a session. In
// 3.8, an event has no zxid.
func TestEventsCarryTheirZxid(t *testing.T) {
	for _, version := range []zktest.Version{zktest.V38, zktest.V39} {
		virtual.Test(t, func(t *testing.T) {
			e := zktest.Start(t, zktest.Options{Version: version})
			a, b := dialRaw(t, e, 0), dialRaw(t, e, 1)
			defer a.nc.Close()
			defer b.nc.Close()
			b.create("/e", wire.ModeEphemeral)
			synctest.Wait()
			a.call(wire.OpGetData, &wire.PathWatch{Path: "/e", Watch: true})
			h := b.call(wire.OpCloseSession, nil)
			want := h.Zxid
			if version == zktest.V38 {
				want = -1
			}
			if got, err := a.reply(); err != nil || got.Xid != wire.XidNotification || got.Zxid != want {
				t.Errorf("%s: got %+v, error %v, want a notification with zxid %d",
					version, got, err, want)
			}
		})
	}
}

// Since 3.9.6, a server closes the connection of a client that sends deleteContainer, because only
// the leader may delete containers. Before 3.9.6, clients could send it too.
func TestDeleteContainerOfAClientHangsUp(t *testing.T) {
	for version, want := range map[zktest.Version]bool{"3.9.5": false, "3.9.6": true} {
		virtual.Test(t, func(t *testing.T) {
			e := zktest.Start(t, zktest.Options{Version: version})
			a := dialRaw(t, e, 0)
			defer a.nc.Close()
			a.create("/c", wire.ModePersistent)
			h := a.call(wire.OpDeleteContainer, &wire.Path{Path: "/c"})
			if got := h.Err == wire.ConnectionLoss; got != want {
				t.Errorf("%s: connection closed %v (%v), want %v", version, got, h.Err, want)
			}
		})
	}
}
