package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// The environment of a client.
const (
	protocolVariable = "ZKCOORD_PROTOCOL"
	serversVariable  = "ZKCOORD_SERVERS"
	timeoutVariable  = "ZKCOORD_SESSION_TIMEOUT_MS"
	pathVariable     = "ZKCOORD_PATH"
	recipeVariable   = "ZKCOORD_RECIPE"
	permitsVariable  = "ZKCOORD_PERMITS"
	numberVariable   = "ZKCOORD_CLIENT"
)

// Dial is the type of net.Dialer.DialContext.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// A Setup is what the harness passes to a client at its start, in environment variables.
type Setup struct {
	Servers []string      // host:port
	Timeout time.Duration // session timeout to request
	Path    string        // path of what the recipe works on, for example of the lock
	Recipe  Recipe
	Permits int // permits of a semaphore
	Number  int // number of the client, from 0
	// Dial connects a client in this process to the servers. A client in another process connects
	// to local addresses instead.
	Dial Dial
}

// environment returns the setup as environment variables.
func (s Setup) environment() []string {
	of := func(name string, value any) string { return fmt.Sprintf("%s=%v", name, value) }
	return []string{
		of(protocolVariable, Version),
		of(serversVariable, strings.Join(s.Servers, ",")),
		of(timeoutVariable, s.Timeout.Milliseconds()),
		of(pathVariable, s.Path),
		of(recipeVariable, s.Recipe),
		of(permitsVariable, s.Permits),
		of(numberVariable, s.Number),
	}
}

// FromEnvironment returns the setup of this process, which was started as a client.
func FromEnvironment() (Setup, error) {
	s := Setup{
		Servers: strings.Split(os.Getenv(serversVariable), ","), Path: os.Getenv(pathVariable),
		Recipe: Recipe(os.Getenv(recipeVariable)), Dial: (&net.Dialer{}).DialContext,
	}
	var errs []error
	number := func(name string) int {
		n, err := strconv.Atoi(cmp.Or(os.Getenv(name), "0"))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		return n
	}
	if v := number(protocolVariable); v != Version {
		errs = append(errs, fmt.Errorf("%s is %q, want %d: the harness sets it", protocolVariable, os.Getenv(protocolVariable), Version))
	}
	s.Timeout = time.Duration(number(timeoutVariable)) * time.Millisecond
	s.Permits, s.Number = number(permitsVariable), number(numberVariable)
	return s, errors.Join(errs...)
}

// A Program is a program that Start can run as a client.
type Program struct {
	Name string   // the command, for messages
	Args []string // the program and its arguments
	Env  []string // in addition to the environment of this process and the setup
	// Inside, unless nil, is a function that runs the client in this process, for example on a
	// virtual clock. The function returns when its input ends.
	Inside func(s Setup, in io.Reader, out io.Writer) error
}

// Shell returns the program that a shell command starts.
func Shell(command string) Program {
	return Program{Name: command, Args: []string{"sh", "-c", command}}
}
