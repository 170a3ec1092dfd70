package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/session"
)

// connectFlags are those of the commands that open a session of their own.
type connectFlags struct {
	servers []string
	timeout time.Duration
	chroot  string
}

// Where the flags are not given, the environment decides. Credentials are taken from there alone: a command line can be
// seen by everybody on the machine.
const (
	serversVar = "ZKCOORD_SERVERS"
	authVar    = "ZKCOORD_AUTH"
)

func (f *connectFlags) define(c *cobra.Command) {
	servers := "127.0.0.1:21810"
	if set := os.Getenv(serversVar); set != "" {
		servers = set
	}
	c.Flags().StringSliceVar(&f.servers, "servers", strings.Split(servers, ","), "addresses of the ensemble, host:port,... (or "+serversVar+")")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for a server")
	c.Flags().StringVar(&f.chroot, "chroot", "", "put this before every path")
}

// options are those of a session, with the credential of the environment.
func (f *connectFlags) options() (session.Options, error) {
	o := session.Options{Servers: f.servers, Chroot: f.chroot}
	if set := os.Getenv(authVar); set != "" {
		scheme, data, ok := strings.Cut(set, ":")
		if !ok {
			return o, fmt.Errorf("%s is not of the form scheme:credential", authVar)
		}
		o.Auth = []session.Auth{{Scheme: scheme, Data: []byte(data)}}
	}
	return o, nil
}

// with opens a session, calls do and closes it.
func (f *connectFlags) with(ctx context.Context, do func(context.Context, *session.Session) error) error {
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, s), s.Close())
}

func (f *connectFlags) open(ctx context.Context) (*session.Session, error) {
	opts, err := f.options()
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("no answer in %v", f.timeout))
	defer cancel()
	s, err := session.Open(bounded, opts)
	if err != nil {
		return nil, fmt.Errorf("no session at %s: %w", strings.Join(f.servers, ","), err)
	}
	return s, nil
}
