// Package peers has clients of other libraries that use the protocol of package client. In
// scenarios, these clients share a lock with zkcoord. They also show which guarantees their
// libraries keep under the same faults. There is one program per language: Java with Curator,
// Python with kazoo, and Go with the packages of this module and with go-zookeeper.
package peers

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/zkcoord/zkcoord/internal/client"
	"github.com/zkcoord/zkcoord/internal/owner"
)

//go:embed Curator.java
var curatorSource []byte

//go:embed kazoo_peer.py
var kazooSource []byte

// Client returns the program of a client that uses the library. A Java program is compiled first.
func (l Library) Client(ctx context.Context) (client.Program, error) {
	switch l {
	case Curator:
		return Source{Curator, "Curator", curatorSource, []string{"-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}}.Program(ctx)
	case Kazoo:
		return Source{Kazoo, "kazoo_peer", kazooSource, nil}.Program(ctx)
	}
	if l != Zkcoord {
		return l.Inside(), nil
	}
	self, err := os.Executable()
	return client.Program{Name: l.String(), Args: []string{self}, Env: []string{workerMark + "=1"}}, err
}

// Inside returns the program of a client that runs in this process. The library must be in Go.
func (l Library) Inside() client.Program { return client.Program{Name: l.String(), Inside: l.serve} }

// A Source is a program in Java with Curator, or in Python with kazoo.
type Source struct {
	Library Library
	Name    string // in Java, the name of the class
	Text    []byte
	Flags   []string // flags of the JVM
}

// Program returns the program of a client. CleanUp removes the compiled files.
func (s Source) Program(ctx context.Context) (client.Program, error) {
	p := client.Program{Name: s.Name}
	if err := s.Library.Installed(); err != nil {
		return p, err
	}
	if s.Library == Kazoo {
		root, err := s.Library.root()
		if root != "/" {
			p.Env = []string{"PYTHONPATH=" + filepath.Join(root, modules)}
		}
		p.Args = []string{Python, "-c", string(s.Text)}
		return p, err
	}
	classes, err := s.compiled(ctx)
	p.Args = append(append([]string{"java"}, s.Flags...), "-cp", classes+":"+ClassPath(), s.Name)
	return p, err
}

// The variable `compile` has the Java programs that this process has compiled. A key of the map
// `dirs` is the name of a program. The value is the directory of the program's class files.
var compile struct {
	sync.Mutex
	dirs map[string]string
}

// The method `compiled` returns the directory of the class files of a Java program. It compiles the
// program once in this process.
func (s Source) compiled(ctx context.Context) (string, error) {
	compile.Lock()
	defer compile.Unlock()
	if dir := compile.dirs[s.Name]; dir != "" {
		return dir, nil
	}
	dir, err := owner.MkdirTemp("", "classes")
	if err != nil {
		return "", err
	}
	source := filepath.Join(dir, s.Name+".java")
	if err = os.WriteFile(source, s.Text, 0o600); err == nil {
		var out []byte
		if out, err = exec.CommandContext(ctx, "javac", "-cp", ClassPath(), "-d", dir, source).CombinedOutput(); err != nil {
			err = fmt.Errorf("javac: %w: %s", err, out)
		}
	}
	if err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	if compile.dirs == nil {
		compile.dirs = make(map[string]string)
	}
	compile.dirs[s.Name] = dir
	return dir, nil
}

// CleanUp removes the files of the programs that this process has compiled.
func CleanUp() error {
	compile.Lock()
	defer compile.Unlock()
	var errs []error
	for _, dir := range compile.dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	compile.dirs = nil
	return errors.Join(errs...)
}
