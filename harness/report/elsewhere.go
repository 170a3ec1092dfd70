package report

import (
	"errors"
	"fmt"
	"os"

	"github.com/zkcoord/zkcoord/harness"
)

// elsewhere stores a run in a directory for temporary files, after its own store took it not or not whole: a run of hours
// is worth more than its place. It returns an error that says where the run is, or why it is nowhere.
func (s *Store) elsewhere(r *harness.Result) error {
	dir, err := os.MkdirTemp("", "zkcoord-store-")
	if err != nil {
		return fmt.Errorf("report: nor can it be stored elsewhere: %w", err)
	}
	other := Open(dir)
	if err := other.save(r); err != nil {
		return errors.Join(fmt.Errorf("report: nor can it be stored elsewhere: %w", err), os.RemoveAll(dir))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirs[key(r)] = other.Dir(r)
	return fmt.Errorf("report: it is in %s instead", other.Dir(r))
}
