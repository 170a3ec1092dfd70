// Package zookeeper provides the versions of ZooKeeper that zkcoord runs: container images of a
// node, and jars unpacked from Debian's packages. It embeds the files of its directory, so that a
// program installed without the repository can use them too.
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

// Image returns the name of a container image that runs a node of the given version. It ensures
// that the Docker engine has this image. If no earlier run of the script image.sh has provided the
// image, the script pulls or builds it, which takes minutes. The script's output goes to progress,
// line by line.
//
// If the version is empty, Image returns the image that ZKCOORD_IMAGE names. If ZKCOORD_IMAGE is
// empty too, it returns the image of the default version.
//
// If the script fails, the error is the last line of the script's output, which says what to
// install. If ctx ends first, the script ends too, and no image of that name remains.
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

// Unpack returns the directory into which unpack.sh has unpacked packages of Debian. The argument
// `name` is a name in the file docker/zookeeper/packages, such as "zookeeper-3.9.6". The first call
// with a given name on a machine takes seconds and needs a network. The unpacked files stay in the
// user's cache directory.
//
// The error gives the reason: an unknown name, no network, or a package without Debian's signature.
// If ctx ends before the packages are unpacked, no unpacked file remains.
func Unpack(ctx context.Context, name string, progress io.Writer) (dir string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("unpack %s: find the cache directory: %w", name, err)
	}
	if dir, err = run(ctx, progress, "unpack.sh", name, filepath.Join(cache, "zkcoord")); err != nil {
		return "", fmt.Errorf("unpack %s: %w", name, err)
	}
	return dir, nil
}

// The function `run` runs one of the scripts and returns its output.
func run(ctx context.Context, progress io.Writer, script string, args ...string) (string, error) {
	if runtime.GOOS == "windows" {
		return "", errors.New("this needs a shell script, which Windows cannot run: use WSL, or the embedded ensemble")
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
	// The script's children do the work, so an interrupt must reach them as well.
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

// lastWords returns the last line of the script's error output, without the script's name.
func lastWords(stderr, script string, err error) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if last := strings.TrimPrefix(lines[len(lines)-1], script+": "); last != "" {
		return last
	}
	return script + ": " + err.Error()
}
