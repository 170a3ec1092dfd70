// Package zookeeper gets the versions of ZooKeeper that zkcoord runs: container images of a node, and jars unpacked from
// Debian's packages. It carries the files of its directory, so a program that was installed without the repository can
// get them too.
package zookeeper

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/owner"
	"github.com/zkcoord/zkcoord/internal/procs"
)

//go:embed Dockerfile entrypoint.sh zk-ready image.sh unpack.sh lib.bash packages
var files embed.FS

// Image returns the name of an image of a node of that version that the Docker engine has, after whatever image.sh had to do
// for it: nothing, if an earlier run did it, or a pull, or a build of minutes. The empty version is the image that
// ZKCOORD_IMAGE names, else the default version. What the script does goes to progress, line by line.
//
// If that fails the error is the script's own last words, which say what to install. If ctx ends first the build ends with
// it, and no image of that name is left.
func Image(ctx context.Context, version string, progress io.Writer) (string, error) {
	var args []string
	if version != "" {
		args = []string{"--zookeeper", version}
	}
	image, err := run(ctx, progress, "image.sh", args...)
	if err != nil {
		return "", fmt.Errorf("image of a ZooKeeper node: %w", err)
	}
	return image, nil
}

// Unpack returns the directory below which unpack.sh has unpacked Debian's packages of a name in the file packages, such as
// "zookeeper-3.9.6". The first time on a machine this takes seconds and a network; the cache directory of the user keeps them.
//
// If that fails the error says why: there is no such name, no network, or a package that is not signed by Debian. If ctx ends
// first nothing of it is left.
func Unpack(ctx context.Context, name string, progress io.Writer) (dir string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("unpack %s: there is no cache directory: %w", name, err)
	}
	if dir, err = run(ctx, progress, "unpack.sh", name, filepath.Join(cache, "zkcoord")); err != nil {
		return "", fmt.Errorf("unpack %s: %w", name, err)
	}
	return dir, nil
}

// run runs one of the scripts and returns what it put out.
func run(ctx context.Context, progress io.Writer, script string, args ...string) (string, error) {
	if runtime.GOOS == "windows" {
		return "", errors.New("a shell script makes it, which Windows cannot run: use WSL, or the embedded ensemble")
	}
	dir, err := owner.MkdirTemp("", "scripts")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := write(dir); err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(dir, script), args...)
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	if progress != nil {
		cmd.Stderr = io.MultiWriter(&stderr, progress)
	}
	// The script's children do the work: an interrupt has to reach them as well.
	procs.Group(cmd)
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", errors.New(lastWords(stderr.String(), script, err))
	}
	return strings.TrimSpace(stdout.String()), nil
}

func write(dir string) error {
	return fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), text, 0o755)
	})
}

// lastWords is the last line of what the script said, without its name.
func lastWords(stderr, script string, err error) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if last := strings.TrimPrefix(lines[len(lines)-1], script+": "); last != "" {
		return last
	}
	return err.Error()
}
