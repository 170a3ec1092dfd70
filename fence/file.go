package fence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// WriteFile replaces the content of a file, unless a larger token was accepted for this file
// before. All processes that write the file must write with WriteFile. They must also be on one
// host, because WriteFile locks with flock(2), which not all network file systems support. Readers
// of the file need no lock. They see the old content or the new one.
//
// The guard file, name + ".fence", contains the largest token, in decimal, and serves as the lock.
// WriteFile creates the guard file when needed. If the guard file is deleted, the largest token is
// forgotten. WriteFile locks the guard file, compares and stores the token, writes the data to a
// temporary file in the same directory, and renames the temporary file. Each step is on the disk
// before the next begins. The new file has the permissions `perm`, minus those that the umask
// removes.
//
// If `name` is a symbolic link, WriteFile replaces the file that the link leads to, and the guard
// file is next to that file. So all symbolic links to one file share one guard file. If the file
// has other hard links, they keep the old content.
//
// If the error is a *[StaleError] or an [ErrNoToken], or if ctx ends while another process holds
// the lock, nothing was changed. After any other error, the token may have been stored, and the
// content is the old or the new one. Call WriteFile again with the same token. On systems without
// flock, the error is errors.ErrUnsupported.
func WriteFile(ctx context.Context, name string, token Token, data []byte, perm os.FileMode) error {
	if err := (disk{(*os.File).Sync}).write(ctx, name, token, data, perm); err != nil {
		if errors.Is(err, ErrStale) || errors.Is(err, ErrNoToken) {
			return err
		}
		return fmt.Errorf("fence: write %s: %w", name, err)
	}
	return nil
}

// The type `disk` carries out the steps of WriteFile. Each step that changes a file ends with calls
// of the function `sync`. A test replaces this function to observe what would be on the disk after
// a crash of the machine.
type disk struct {
	sync func(*os.File) error
}

func (d disk) write(ctx context.Context, name string, token Token, data []byte, perm os.FileMode) error {
	if err := valid(name, token); err != nil {
		return err
	}
	file, err := resolve(name)
	if err != nil {
		return err
	}
	guard, err := os.OpenFile(file+".fence", os.O_RDWR|os.O_CREATE, perm|0o600)
	if err != nil {
		return err
	}
	defer guard.Close() // this also releases the lock
	if err := lockFile(ctx, guard); err != nil {
		return err
	}
	largest, err := readToken(guard)
	if err != nil {
		return err
	}
	if err := check(name, token, largest); err != nil {
		return err
	}
	if token > largest {
		if _, err := guard.WriteAt(fmt.Appendf(nil, "%0*d\n", width-1, token), 0); err != nil {
			return err
		}
	}
	// Sync even if the guard file already had the token: the process that wrote the token may have
	// been killed before the token was on the disk.
	if err := errors.Join(d.sync(guard), d.syncDir(file)); err != nil {
		return err
	}
	return d.replace(file, data, perm)
}

// The function `resolve` follows the symbolic links in the path `name` and returns the path of the
// file. If there is nothing at `name`, it returns `name`.
func resolve(name string) (string, error) {
	if _, err := os.Lstat(name); errors.Is(err, os.ErrNotExist) {
		return name, nil
	}
	return filepath.EvalSymlinks(name)
}

// readToken reads the token of a guard file. If the file is empty, it is new, and the token is 0. A
// damaged file is an error: if it were treated as new, its token would be forgotten.
func readToken(guard *os.File) (Token, error) {
	text, err := io.ReadAll(guard)
	if err != nil || len(text) == 0 {
		return 0, err
	}
	largest, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || len(text) != width {
		return 0, fmt.Errorf("guard file %s is damaged: it has %q, want the largest token so far as %d digits and a newline", guard.Name(), text, width-1)
	}
	return Token(largest), nil
}

// The constant `width` is the length of a guard file in bytes. All guard files have the same
// length, so that a new token overwrites the old one in one sector of the disk.
const width = 20

// The method `replace` writes a temporary file and renames it.
func (d disk) replace(name string, data []byte, perm os.FileMode) (err error) {
	temporary, err := create(name, perm)
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	if err == nil {
		err = d.sync(temporary)
	}
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return d.syncDir(name)
}

// The function `create` creates the temporary file. The caller holds the lock, so no other process
// uses this file. If the file already exists, it was left by a process that was interrupted, and
// `create` replaces it.
func create(name string, perm os.FileMode) (*os.File, error) {
	temporary := name + ".fence-new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
}

// syncDir writes the directory entry of a file to the disk.
func (d disk) syncDir(name string) error {
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.sync(dir), dir.Close())
}
