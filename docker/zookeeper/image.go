// Package zookeeper gets the container image of a ZooKeeper node. It carries the files of its directory, so a program
// that was installed without the repository can make the image too.
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

//go:embed Dockerfile entrypoint.sh zk-ready image.sh
var files embed.FS

// Image returns the name of an image that the Docker engine has, after whatever image.sh had to do for it: nothing, if an
// earlier run did it, or a pull, or a build of minutes. What it does goes to progress, line by line.
//
// If that fails the error is the script's own last words, which say what to install. If ctx ends first the build ends with
// it, and no image of that name is left.
func Image(ctx context.Context, progress io.Writer) (string, error) {
	if runtime.GOOS == "windows" {
		return "", errors.New("image of a ZooKeeper node: a shell script makes it, which Windows cannot run: use WSL, or the embedded ensemble")
	}
	dir, err := owner.MkdirTemp("", "image")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := unpack(dir); err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "image.sh"))
	cmd.Stdout = &stdout
	cmd.Stderr = io.MultiWriter(&stderr, progress)
	// The script's children build the image: an interrupt has to reach them as well.
	procs.Group(cmd)
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", fmt.Errorf("image of a ZooKeeper node: %s", lastWords(stderr.String(), err))
	}
	return strings.TrimSpace(stdout.String()), nil
}

func unpack(dir string) error {
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
func lastWords(stderr string, err error) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if last := strings.TrimPrefix(lines[len(lines)-1], "image.sh: "); last != "" {
		return last
	}
	return err.Error()
}
