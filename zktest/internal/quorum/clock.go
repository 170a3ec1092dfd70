package quorum

import "time"

// A clock is the clock of one server. It starts at a random point of a tick and
// may run fast or slow. All of a server's timers use its own clock.
type clock struct {
	rate  float64       // local seconds for each second of the cluster
	since time.Duration // the cluster's time when the rate was set
	local time.Duration // the local time at that moment
}

// The method `now` returns the server's local time.
func (s *server) now() time.Duration { return s.clock.at(s.c.now) }

func (k *clock) at(global time.Duration) time.Duration {
	if k.rate == 1 {
		return k.local + global - k.since
	}
	return k.local + time.Duration(float64(global-k.since)*k.rate)
}

// The method `global` returns the earliest time of the cluster at which the server's clock shows at
// least the time `local`.
func (k *clock) global(local time.Duration) time.Duration {
	if k.rate == 1 {
		return k.since + local - k.local
	}
	g := k.since + time.Duration(float64(local-k.local)/k.rate)
	for k.at(g) < local { // because of rounding down
		g++
	}
	return g
}

// ClockRate sets the rate of a server's clock from now on.
func (c *Cluster) ClockRate(i int, rate float64) {
	s := c.servers[i]
	s.clock = clock{rate: rate, since: c.now, local: s.now()}
}
