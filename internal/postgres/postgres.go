// Package postgres starts a PostgreSQL server for tests and scenarios. It uses Debian's packages or
// the programs in PATH. The server has a new directory, listens only on a Unix socket, and does not
// sync its data to disk.
package postgres

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/zkcoord/zkcoord/internal/owner"
	"github.com/zkcoord/zkcoord/internal/procs"
)

// A Server is a running PostgreSQL server. It ends with this process.
type Server struct {
	dir   string
	child *procs.Child
	log   string
}

// Installed returns nil if a server can be started here. Otherwise the error says what is missing.
func Installed() error {
	if err := procs.Able(); err != nil {
		return err
	}
	_, err := program("initdb")
	return err
}

// The function `program` returns the path of one of the server's programs. Debian has a directory
// for each version, and `program` uses the newest version. If there is none, it searches PATH.
func program(name string) (string, error) {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return newest(found), nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("no PostgreSQL: %s is neither in /usr/lib/postgresql/*/bin nor in PATH (on Debian: apt-get install postgresql)", name)
}

// The function `newest` returns the path with the highest version. Each path is
// .../VERSION/bin/PROGRAM. The version is compared as a number, because 9.6 is older than 17.
func newest(paths []string) string {
	version := func(path string) float64 {
		n, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(filepath.Dir(path))), 64)
		return n
	}
	return slices.MaxFunc(paths, func(a, b string) int { return cmp.Compare(version(a), version(b)) })
}

// Start creates a database cluster, starts its server, and returns when the server accepts
// connections. The caller must close the server. If this process runs as root, the server runs as
// the user postgres or nobody, because PostgreSQL refuses to run as root.
func Start(ctx context.Context) (_ *Server, err error) {
	if err := Installed(); err != nil {
		return nil, err
	}
	s := &Server{}
	// The path of the server's socket is limited to 107 bytes. So its directory is in /tmp, and not
	// in the directory for temporary files, whose path can be long.
	if s.dir, err = owner.MkdirTemp("/tmp", "pg"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	data := filepath.Join(s.dir, "data")
	s.log = filepath.Join(s.dir, "log")
	if err := giveAway(s.dir); err != nil {
		return nil, err
	}
	if err := s.run(ctx, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"); err != nil {
		return nil, err
	}
	cmd, err := s.command("postgres", "-D", data, "-k", s.dir, "-p", port, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "max_connections=50", "-c", "shared_buffers=8MB", "-c", "autovacuum=off", "-c", "dynamic_shared_memory_type=mmap")
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(s.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if s.child, err = procs.Start(cmd); err != nil {
		return nil, err
	}
	if err = s.await(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// The constant `port` is a part of the socket's name.
const port = "1"

// The method `await` waits until the server answers.
func (s *Server) await(ctx context.Context) error {
	for {
		if s.run(ctx, "pg_isready", "-q", "-h", s.dir, "-p", port) == nil {
			return nil
		}
		select {
		case <-s.child.Ended():
			return fmt.Errorf("postgres: the server has ended: %s", s.Log())
		case <-ctx.Done():
			return fmt.Errorf("postgres: the server does not answer: %w: %s", context.Cause(ctx), s.Log())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// The method `run` runs one of the server's programs and waits until the program has ended.
func (s *Server) run(ctx context.Context, name string, args ...string) error {
	cmd, err := s.command(name, args...)
	if err != nil {
		return err
	}
	bounded := exec.CommandContext(ctx, cmd.Path, args...)
	bounded.SysProcAttr, bounded.Dir, bounded.Env = cmd.SysProcAttr, cmd.Dir, cmd.Env
	if out, err := bounded.CombinedOutput(); err != nil {
		return fmt.Errorf("postgres: %s: %w: %s", name, err, out)
	}
	return nil
}

func (s *Server) command(name string, args ...string) (*exec.Cmd, error) {
	path, err := program(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = s.dir, []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	return cmd, unprivileged(cmd)
}

// DSN returns the data source name of the database.
func (s *Server) DSN() string {
	return fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=disable", s.dir, port)
}

// Log returns the end of the server's log.
func (s *Server) Log() string {
	text, _ := os.ReadFile(s.log)
	return string(text[max(0, len(text)-1000):])
}

// Close ends the server immediately and removes its directory.
func (s *Server) Close() error {
	if s.runs() {
		// A server that is killed leaves its shared memory, so it gets the chance to end by itself.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.run(ctx, "pg_ctl", "stop", "-s", "-D", filepath.Join(s.dir, "data"), "-m", "immediate")
	}
	if s.runs() {
		s.child.KillGroup()
	}
	return os.RemoveAll(s.dir)
}

// The method `runs` reports whether the server was started and has not ended.
func (s *Server) runs() bool {
	if s.child == nil {
		return false
	}
	select {
	case <-s.child.Ended():
		return false
	default:
		return true
	}
}
