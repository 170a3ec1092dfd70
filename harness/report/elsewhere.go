package report

import (
	"errors"
	"fmt"
	"os"

	"github.com/zkcoord/zkcoord/harness"
)

// The method `elsewhere` stores a run in a temporary directory after the store has failed, because
// a run of hours must not be lost. It returns an error that names the directory, or the reason why
// the run could not be stored.
func (s *Store) elsewhere(r *harness.Result) error {
	dir, err := os.MkdirTemp("", "zkcoord-store-")
	if err != nil {
		return fmt.Errorf("report: the run cannot be stored in a temporary directory either: %w", err)
	}
	other := Open(dir)
	if err := other.save(r); err != nil {
		err = fmt.Errorf("the run cannot be stored in a temporary directory either: %w", err)
		return errors.Join(err, os.RemoveAll(dir))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirs[key(r)] = other.Dir(r)
	return fmt.Errorf("report: the run is stored in %s instead", other.Dir(r))
}
