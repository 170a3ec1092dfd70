package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestErrorSaysHowToGiveServers(t *testing.T) {
	for _, args := range [][]string{nil, {"--servers", "zoo1"}} {
		var f connectFlags
		c := new(cobra.Command)
		f.define(c)
		if err := c.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		got, reason := f.noSession(errors.New("refused")).Error(), "no session at "+f.servers[0]+": refused"
		if !strings.HasPrefix(got, reason) || strings.Contains(got, "ZKCOORD_SERVERS") != (args == nil) {
			t.Errorf("with %q: got %s, want %s, and a hint about ZKCOORD_SERVERS only if the "+
				"flag is absent", args, got, reason)
		}
	}
}
