package report

import (
	"errors"
	"fmt"
	"os"

	"github.com/zkcoord/zkcoord/harness"
)

// elsewhere stores a run in a directory for temporary files, after its own store failed to take
// all of it: a run of hours must not be lost. It returns an error that says where the run is, or
// why it could not be stored.
func (s *Store) elsewhere(r *harness.Result) error {
	dir, err := os.MkdirTemp("", "zkcoord-store-")
	if err != nil {
		return fmt.Errorf("report: it cannot be stored elsewhere either: %w", err)
	}
	other := Open(dir)
	if err := other.save(r); err != nil {
		return errors.Join(fmt.Errorf("report: it cannot be stored elsewhere either: %w", err), os.RemoveAll(dir))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirs[key(r)] = other.Dir(r)
	return fmt.Errorf("report: it is in %s instead", other.Dir(r))
}
