package quorum

import "time"

// A clock is a server's own, which starts anywhere within a tick and may run
// fast or slow. All of a server's timers are in its own time.
type clock struct {
	rate  float64       // seconds of its own in one of the cluster
	since time.Duration // the cluster's time when the rate was set
	local time.Duration // its own time then
}

// now is the server's own time.
func (s *server) now() time.Duration { return s.clock.at(s.c.now) }

func (k *clock) at(global time.Duration) time.Duration {
	if k.rate == 1 {
		return k.local + global - k.since
	}
	return k.local + time.Duration(float64(global-k.since)*k.rate)
}

// global returns the cluster's time at which the clock shows a time at least.
func (k *clock) global(local time.Duration) time.Duration {
	if k.rate == 1 {
		return k.since + local - k.local
	}
	g := k.since + time.Duration(float64(local-k.local)/k.rate)
	for k.at(g) < local { // rounded down
		g++
	}
	return g
}

// ClockRate sets how fast the clock of a server runs from now on.
func (c *Cluster) ClockRate(i int, rate float64) {
	s := c.servers[i]
	s.clock = clock{rate: rate, since: c.now, local: s.now()}
}
