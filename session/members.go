package session

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

// configPath is the znode with the servers' own configuration. It is never below a chroot.
const configPath = "/zookeeper/config"

// configPause is the pause after a failed attempt to read the configuration.
const configPause = time.Second

// followMembers keeps the list of servers equal to the servers' own configuration, for
// Options.FollowMembers. It runs until the session ends.
func (s *Session) followMembers() {
	for {
		data, w, err := s.config(s.life.ctx)
		switch {
		case err == nil:
			if list := members(string(data)); len(list) > 0 && s.servers.follow(list) {
				s.reports.log(slog.LevelInfo, "zookeeper servers changed", "servers", list)
			}
			_, err = w.Wait(s.life.ctx)
		case errors.Is(err, zk.ErrNoAuth), errors.Is(err, zk.ErrNoNode): // a later read would fail too
			s.reports.log(slog.LevelWarn, "zookeeper servers are not followed: the configuration cannot be read", "error", err)
			return
		}
		if s.Err() != nil || err != nil && sleep(s.life.ctx, configPause) != nil {
			return
		}
	}
}

func (s *Session) config(ctx context.Context) ([]byte, *Watch, error) {
	w := s.watches.watchKey(watchKey{path: configPath})
	data, err := read(ctx, s, request{op: "get", path: configPath}, func(r request) ([]byte, error) {
		data, _, err := r.zk.Get(r.ticket.mark(configPath))
		return data, err
	})
	if err != nil {
		w.Stop()
		return nil, nil, err
	}
	return data, w, nil
}

// The function `members` returns the client addresses in a configuration, which has lines such as
// server.1=zoo1:2888:3888:participant;0.0.0.0:2181. A server that listens on all addresses is
// reached at the host of its quorum address. If a server has no client address, because it sets
// clientPort separately, members returns nil.
func members(config string) (list []string) {
	for line := range strings.Lines(config) {
		key, entry, _ := strings.Cut(strings.TrimSpace(line), "=")
		quorum, client, _ := strings.Cut(entry, ";")
		if !strings.HasPrefix(key, "server.") {
			continue
		}
		if client == "" {
			return nil
		}
		if !strings.Contains(client, ":") {
			client = ":" + client
		}
		host, port, err := net.SplitHostPort(client)
		if err != nil {
			return nil
		}
		if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
			host = quorumHost(quorum)
		}
		if host, port, err = parseServer(net.JoinHostPort(host, port)); err != nil {
			return nil
		}
		list = append(list, net.JoinHostPort(host, port))
	}
	return list
}

// quorumHost returns the host of the first address in an entry such as
// "zoo1:2888:3888|zoo1b:2888:3888:participant". An IPv6 address is in brackets.
func quorumHost(entry string) string {
	first, _, _ := strings.Cut(entry, "|")
	if end := strings.IndexByte(first, ']'); strings.HasPrefix(first, "[") && end > 0 {
		return first[1:end]
	}
	host, _, _ := strings.Cut(first, ":")
	return host
}

// follow replaces the list of servers, unless the new list has the same servers. It reports whether
// it has replaced the list.
func (h *servers) follow(list []string) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Equal(slices.Sorted(slices.Values(list)), slices.Sorted(slices.Values(h.list))) {
		return false
	}
	list = slices.Clone(list)
	shuffle(list, h.rand)
	h.list = list
	return true
}

// returnLocked adds the servers of Options.Servers to the list again. It is called after a whole
// round in which no server was reached.
func (h *servers) returnLocked() {
	for _, server := range h.given {
		if !slices.Contains(h.list, server) {
			h.list = append(h.list, server)
		}
	}
}
