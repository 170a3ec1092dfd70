package conform

import (
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/internal/trace"
	"github.com/zkcoord/zkcoord/internal/wire"
)

// ofReads returns the requirements for reads and watches.
func ofReads() []requirement {
	return []requirement{
		{"read-after-write", "at each server, a read after a quorum write returns everything that was committed before the write", []string{"S3", "E5", "Q5", "B1", "C2", "C4"}, readAfterWrite},
		{"newer-client", "a server refuses a client that has seen a zxid which the server has not", []string{"S6", "W2"}, newerClient},
		{"event-first", "a client gets the event before it can read the change", []string{"S6", "W2", "W4"}, eventFirst},
		{"event-zxid", "an event has the zxid of its change, or none at all before 3.9", []string{"S6"}, eventZxid},
		{"every-event", "each kind of watch fires once, for each kind of change that it reports", []string{"S6", "L3", "W4", "W5", "B2"}, everyEvent},
		{"set-again", "watches that are set again fire for what the client missed", []string{"S6", "W6", "B2"}, setAgain},
		{"watch-removed", "a watch that was removed does not fire", []string{"S6", "W7"}, watchRemoved},
	}
}

// rounds is how many times each pair of servers is checked. Each check creates a znode at one
// server, and then makes a quorum write and a read at the other.
const rounds = 10

func readAfterWrite(p *probe) error {
	return p.each(func(server int) error {
		reader, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		return p.each(func(other int) error {
			writer, err := p.open(other, time.Minute)
			if err != nil {
				return err
			}
			stale := 0
			for i := range rounds {
				node := p.path(fmt.Sprintf("read-%d-%d-%d", server, other, i))
				if h, _, err := writer.create(node, wire.ModePersistent); err != nil || h.Err != wire.OK {
					return p.sawReply(err, "create", said(h.Err), said(wire.OK))
				}
				if _, err := reader.barrier(node); err != nil {
					return err
				}
				_, h, err := reader.exists(node, false)
				if err != nil {
					return err
				}
				if h.Err != wire.OK {
					stale++
				}
			}
			p.saw(fmt.Sprintf("%d times: create at %s, then check and read at %s", rounds, p.at(other), p.at(server)),
				fmt.Sprintf("%d stale reads", stale), "0 stale reads")
			return writer.close()
		})
	})
}

func newerClient(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.connect(server, wire.ConnectRequest{Timeout: 60000, Password: make([]byte, 16), LastZxidSeen: 1 << 62})
		if err != nil {
			return err
		}
		answer := refused
		if c != nil {
			answer = "accepted"
		}
		p.saw("open a session at "+p.at(server)+" as a client that has seen a future zxid", answer, refused)
		return c.close()
	})
}

// The method `watching` opens a client with a watch on a new znode, and another client.
func (p *probe) watching(server int, node string) (watcher, other *client, err error) {
	if watcher, err = p.open(server, time.Minute); err != nil {
		return nil, nil, err
	}
	if other, err = p.open(server+1, time.Minute); err != nil {
		return nil, nil, err
	}
	h, _, err := other.create(node, wire.ModePersistent)
	if err := failed("create "+node, h, err); err != nil {
		return nil, nil, err
	}
	if _, err := watcher.barrier(node); err != nil {
		return nil, nil, err
	}
	h, err = watcher.get(node, true)
	if err := failed("read "+node, h, err); err != nil {
		return nil, nil, err
	}
	return watcher, other, nil
}

func (c *client) get(node string, watch bool) (wire.ReplyHeader, error) {
	return c.do(wire.OpGetData, &wire.PathWatch{Path: node, Watch: watch}, nil)
}

func eventFirst(p *probe) error {
	return p.each(func(server int) error {
		node := p.path(fmt.Sprint("first", server))
		watcher, other, err := p.watching(server, node)
		if err != nil {
			return err
		}
		changed, err := other.set(node, "changed")
		if err := failed("change "+node, changed, err); err != nil {
			return err
		}
		for began := time.Now(); ; {
			stat, h, err := watcher.exists(node, false)
			if err := failed("read "+node+" at "+p.at(server), h, err); err != nil {
				return err
			}
			if time.Since(began) > p.servers.Patience {
				return fmt.Errorf("the change of %s did not reach %s within %v", node, p.at(server), p.servers.Patience)
			}
			if stat.Mzxid < changed.Zxid {
				continue
			}
			answer := "the event came before"
			if len(watcher.link.Events()) == 0 {
				answer = "no event"
			}
			p.saw(fmt.Sprintf("read at %s the data that were changed at %s", p.at(server), p.at(server+1)), answer, "the event came before")
			return nil
		}
	})
}

func eventZxid(p *probe) error {
	return p.each(func(server int) error {
		node := p.path(fmt.Sprint("zxid", server))
		watcher, other, err := p.watching(server, node)
		if err != nil {
			return err
		}
		changed, err := other.set(node, "changed")
		if err := failed("change "+node, changed, err); err != nil {
			return err
		}
		e, err := watcher.event()
		if err != nil {
			return err
		}
		answer := "no event"
		switch {
		case e == nil:
		case e.Zxid == changed.Zxid:
			answer = "its zxid"
		case e.Zxid == -1:
			answer = "none"
		default:
			answer = "another zxid"
		}
		p.sawThat(answer == "its zxid" || answer == "none", "wait for an event at "+p.at(server), answer, "its zxid, or none")
		return nil
	})
}

func everyEvent(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		node := p.path(fmt.Sprint("event", server))
		watch := func(op wire.Op) func() (wire.ReplyHeader, error) {
			return func() (wire.ReplyHeader, error) { return c.do(op, &wire.PathWatch{Path: node, Watch: true}, nil) }
		}
		child := func() (wire.ReplyHeader, error) {
			h, _, err := c.create(node+"/child", wire.ModePersistent)
			return h, err
		}
		for _, of := range []struct {
			what        string
			set, change func() (wire.ReplyHeader, error)
			want        wire.EventType
		}{
			{"watch by exists, then create", watch(wire.OpExists), func() (wire.ReplyHeader, error) { h, _, err := c.create(node, wire.ModePersistent); return h, err }, wire.EventCreated},
			{"watch by exists, then write", watch(wire.OpExists), func() (wire.ReplyHeader, error) { return c.set(node, "1") }, wire.EventDataChanged},
			{"watch by getData, then write", watch(wire.OpGetData), func() (wire.ReplyHeader, error) { return c.set(node, "2") }, wire.EventDataChanged},
			{"watch by getChildren, then create a child", watch(wire.OpGetChildren2), child, wire.EventChildrenChanged},
			{"watch by getChildren, then delete the child", watch(wire.OpGetChildren2), func() (wire.ReplyHeader, error) { return c.delete(node + "/child") }, wire.EventChildrenChanged},
			{"watch by getData, then delete", watch(wire.OpGetData), func() (wire.ReplyHeader, error) { return c.delete(node) }, wire.EventDeleted},
		} {
			if _, err := of.set(); err != nil {
				return err
			}
			if h, err := of.change(); err != nil || h.Err != wire.OK {
				return p.sawReply(err, of.what+" at "+p.at(server), said(h.Err), said(wire.OK))
			}
			h, err := c.barrier(node)
			if err := failed("check", h, err); err != nil {
				return err
			}
			p.saw(of.what+" at "+p.at(server), events(c.link.Events()), eventNames[of.want])
		}
		return c.close()
	})
}

var eventNames = map[wire.EventType]string{
	wire.EventCreated: "created", wire.EventDeleted: "deleted", wire.EventDataChanged: "data changed", wire.EventChildrenChanged: "children changed",
}

func events(all []trace.Event) string {
	if len(all) == 0 {
		return "no event"
	}
	text := eventNames[all[0].Type]
	if len(all) > 1 {
		text += fmt.Sprintf(", and %d more", len(all)-1)
	}
	return text
}

func setAgain(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		node := p.path(fmt.Sprint("again", server))
		before, _, err := c.create(node, wire.ModePersistent)
		if err != nil {
			return err
		}
		if h, err := c.set(node, "missed"); err != nil || h.Err != wire.OK {
			return p.sawReply(err, "write", said(h.Err), said(wire.OK))
		}
		for _, of := range []struct {
			what string
			req  wire.SetWatchesRequest
			want string
		}{
			{"after a missed write, set the watch on data again", wire.SetWatchesRequest{Data: []string{node}}, "data changed"},
			{"without a change of children, set the watch on children again", wire.SetWatchesRequest{Child: []string{node}}, "no event"},
			{"after a missed creation, set the watch on it again", wire.SetWatchesRequest{Exist: []string{node}}, "created"},
			{"after a missed deletion, set the watch on data again", wire.SetWatchesRequest{Data: []string{node + "-gone"}}, "deleted"},
		} {
			of.req.RelativeZxid = before.Zxid
			h, err := c.do(wire.OpSetWatches, &of.req, nil)
			if err != nil {
				return err
			}
			if h.Err != wire.OK {
				p.saw(of.what+" at "+p.at(server), said(h.Err), said(wire.OK))
				return nil
			}
			if _, err := c.barrier(node); err != nil {
				return err
			}
			p.saw(of.what+" at "+p.at(server), events(c.link.Events()), of.want)
		}
		return nil
	})
}

func watchRemoved(p *probe) error {
	return p.each(func(server int) error {
		node := p.path(fmt.Sprint("removed", server))
		watcher, other, err := p.watching(server, node)
		if err != nil {
			return err
		}
		h, err := watcher.do(wire.OpRemoveWatches, &wire.WatchesRequest{Path: node, Type: wire.WatcherData}, nil)
		if err != nil {
			return err
		}
		p.saw("remove a watch on data at "+p.at(server), said(h.Err), said(wire.OK))
		if _, err := other.set(node, "changed"); err != nil {
			return err
		}
		if h.Err != wire.OK {
			return nil
		}
		if _, err := watcher.barrier(node); err != nil {
			return err
		}
		p.saw("write at "+p.at(server+1), events(watcher.link.Events()), "no event")
		return nil
	})
}
