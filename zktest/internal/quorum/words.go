package quorum

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// version returns the server's version as four-letter words show it.
func (s *server) version() string { return s.c.cfg.Release + "-zkcoord, built on 2024-02-12 00:00 UTC" }

const notServing = "This ZooKeeper instance is not currently serving requests"

// The method `answer` returns the reply to a four-letter word, and to the bytes that follow it.
// If the server neither leads nor follows a leader, the reply to most words is the text notServing.
func (s *server) answer(word string, rest []byte) string {
	var b strings.Builder
	switch f := words[word]; {
	case word == "stmk": // ZooKeeper closes the connection if the mask is incomplete
		if len(rest) >= 8 {
			s.traceMask = int64(binary.BigEndian.Uint64(rest))
			fmt.Fprint(&b, s.traceMask)
		}
	case s.serving() || word == "ruok" || word == "envi" || word == "gtmk":
		f(s, &b)
	case word == "isro":
		b.WriteString("null")
	case word == "hash":
		b.WriteString(notServing)
	default:
		b.WriteString(notServing + "\n")
	}
	return b.String()
}

// IsWord reports whether the first four bytes of a connection are a four-letter
// word.
func IsWord(b []byte) bool {
	_, ok := words[string(b)]
	return ok
}

var words = map[string]func(*server, *strings.Builder){
	"ruok": func(_ *server, b *strings.Builder) { b.WriteString("imok") },
	"isro": func(_ *server, b *strings.Builder) { b.WriteString("rw") },
	"gtmk": func(s *server, b *strings.Builder) { fmt.Fprint(b, s.traceMask) },
	"stmk": nil,                                // needs bytes after the word
	"hash": func(*server, *strings.Builder) {}, // the digests of the tree are not modeled
	"srvr": func(s *server, b *strings.Builder) { s.srvr(b) },
	"stat": (*server).stat,
	"mntr": (*server).mntr,
	"conf": (*server).conf,
	"cons": func(s *server, b *strings.Builder) { s.cons(b, false); b.WriteByte('\n') },
	"dump": (*server).dump,
	"envi": func(s *server, b *strings.Builder) {
		fmt.Fprintf(b, "Environment:\nzookeeper.version=%s\nhost.name=localhost\n", s.version())
	},
	"dirs": func(s *server, b *strings.Builder) {
		fmt.Fprintf(b, "datadir_size: %d\nlogdir_size: 0\n", s.tree.Counts().Bytes)
	},
	"srst": func(s *server, b *strings.Builder) {
		s.received, s.sent = 0, 0
		b.WriteString("Server stats reset.\n")
	},
	"crst": func(s *server, b *strings.Builder) {
		for _, conn := range s.conns {
			conn.received, conn.sent = 0, 0
		}
		b.WriteString("Connection stats reset.\n")
	},
	"wchs": func(s *server, b *strings.Builder) {
		// Like ZooKeeper's wchs, this counts only watches on data. The four-letter word mntr also
		// counts watches on children.
		watchers, paths, watches := s.tree.Watches.OnData()
		fmt.Fprintf(b, "%d connections watching %d paths\nTotal watches:%d\n", watchers, paths, watches)
	},
	"wchp": func(s *server, b *strings.Builder) { s.watches(b, true) },
	"wchc": func(s *server, b *strings.Builder) { s.watches(b, false) },
}

// mode returns the role that srvr shows.
func (s *server) mode() string {
	switch {
	case s.c.cfg.Servers == 1:
		return "standalone"
	case s.term != nil:
		return "leader"
	}
	return "follower"
}

func (s *server) srvr(b *strings.Builder) {
	fmt.Fprintf(b, "Zookeeper version: %s\n", s.version())
	s.stats(b)
}

func (s *server) stats(b *strings.Builder) {
	fmt.Fprintf(b, "Latency min/avg/max: 0/0.0/0\nReceived: %d\nSent: %d\nConnections: %d\nOutstanding: %d\nZxid: 0x%x\nMode: %s\nNode count: %d\n",
		s.received, s.sent, len(s.conns), len(s.writes), s.tree.Zxid, s.mode(), s.tree.Counts().Nodes)
	if s.mode() == "leader" {
		b.WriteString("Proposal sizes last/min/max: -1/-1/-1\n")
	}
}

func (s *server) stat(b *strings.Builder) {
	fmt.Fprintf(b, "Zookeeper version: %s\nClients:\n", s.version())
	s.cons(b, true)
	b.WriteByte('\n')
	s.stats(b)
}

func (s *server) cons(b *strings.Builder, brief bool) {
	for _, conn := range s.ordered() {
		fmt.Fprintf(b, " /%s[1](queued=%d,recved=%d,sent=%d", conn.addr, len(conn.in), conn.received, conn.sent)
		if !brief && conn.session != 0 {
			fmt.Fprintf(b, ",sid=0x%x,lop=%.4s,est=%d,to=%d,lcxid=0x%x,lzxid=0x%x,lresp=%d,llat=0,minlat=0,avglat=0,maxlat=0",
				conn.session, strings.ToUpper(conn.lastOp), conn.since, conn.timeout, uint32(conn.lastXid), s.tree.Zxid, s.now().Milliseconds())
		}
		b.WriteString(")\n")
	}
}

func (s *server) mntr(b *strings.Builder) {
	n := s.tree.Counts()
	line := func(key string, value any) { fmt.Fprintf(b, "zk_%s\t%v\n", key, value) }
	line("version", s.version())
	line("server_state", s.mode())
	if s.c.cfg.Servers > 1 {
		line("peer_state", map[bool]string{true: "leading - broadcast", false: "following - broadcast"}[s.term != nil])
	}
	line("avg_latency", "0.0")
	line("max_latency", 0)
	line("min_latency", 0)
	line("packets_received", s.received)
	line("packets_sent", s.sent)
	line("num_alive_connections", len(s.conns))
	line("outstanding_requests", len(s.writes))
	line("znode_count", n.Nodes)
	line("watch_count", s.tree.Watches.Count())
	line("ephemerals_count", n.Ephemerals)
	line("approximate_data_size", n.Bytes)
	line("global_sessions", n.Sessions)
	line("local_sessions", 0)
	line("uptime", int64(s.now()/time.Millisecond))
	if s.term != nil && s.c.cfg.Servers > 1 {
		following := 0
		for _, p := range s.term.peers {
			if p != nil {
				following++
			}
		}
		line("learners", following)
		line("synced_followers", following)
		line("synced_non_voting_followers", 0)
		line("synced_observers", 0)
		line("pending_syncs", 0)
	}
}

// traceMask is the mask of trace messages that a server starts with.
const traceMask = 306

// conf writes the reply to the four-letter word of that name. It shows no directories, because
// there is no disk.
func (s *server) conf(b *strings.Builder) {
	cfg := &s.c.cfg
	line := func(key string, value any) { fmt.Fprintf(b, "%s=%v\n", key, value) }
	_, port, _ := net.SplitHostPort(cfg.Addrs[s.id])
	line("clientPort", port)
	line("secureClientPort", -1)
	line("dataDir", "")
	line("dataDirSize", s.tree.Counts().Bytes)
	line("dataLogDir", "")
	line("dataLogSize", 0)
	line("tickTime", cfg.Tick.Milliseconds())
	line("maxClientCnxns", cfg.MaxConns)
	line("minSessionTimeout", cfg.MinSession.Milliseconds())
	line("maxSessionTimeout", cfg.MaxSession.Milliseconds())
	line("clientPortListenBacklog", -1)
	if cfg.Servers == 1 {
		line("serverId", 0)
		return
	}
	line("serverId", s.id+1)
	line("initLimit", 2*cfg.SyncLimit)
	line("syncLimit", cfg.SyncLimit)
	line("electionAlg", 3)
	line("electionPort", electionPort+s.id)
	line("quorumPort", quorumPort+s.id)
	line("peerType", 0)
	fmt.Fprintf(b, "membership: \n%s", s.c.config)
}

func (s *server) dump(b *strings.Builder) {
	b.WriteString("SessionTracker dump:\n")
	ids, timeout := s.tree.Sessions()
	fmt.Fprintf(b, "Global Sessions(%d):\n", len(ids))
	owners := 0
	var eph strings.Builder
	for _, id := range ids {
		ms, _ := timeout(id)
		fmt.Fprintf(b, "0x%x\t%dms\n", id, ms)
		if paths := s.tree.Ephemerals(id, ""); len(paths) > 0 {
			owners++
			fmt.Fprintf(&eph, "0x%x:\n", id)
			for _, p := range paths {
				fmt.Fprintf(&eph, "\t%s\n", p)
			}
		}
	}
	fmt.Fprintf(b, "ephemeral nodes dump:\nSessions with Ephemerals (%d):\n%s", owners, eph.String())
	fmt.Fprintf(b, "Connections dump:\nConnections (%d):\n", len(s.conns))
}

// The method `watches` lists the watches on data, by path or by session. ZooKeeper does not sort
// the groups. Here they are sorted, so that the same seed gives the same bytes.
func (s *server) watches(b *strings.Builder, byPath bool) {
	groups := make(map[string][]string)
	s.tree.Watches.Each(func(path string, w tree.Watcher) {
		head, item := path, fmt.Sprintf("0x%x", w.(*Conn).session)
		if !byPath {
			head, item = item, head
		}
		groups[head] = append(groups[head], item)
	})
	for _, head := range slices.Sorted(maps.Keys(groups)) {
		fmt.Fprintf(b, "%s\n\t%s\n", head, strings.Join(groups[head], "\n\t"))
	}
	b.WriteByte('\n')
}
