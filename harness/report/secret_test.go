package report_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/fault"
	"github.com/zkcoord/zkcoord/harness/history"
	"github.com/zkcoord/zkcoord/harness/report"
	"github.com/zkcoord/zkcoord/internal/virtual"
	"github.com/zkcoord/zkcoord/session"
)

// Faults use the passwords of sessions, and clients have credentials. A run must store neither the
// passwords nor the credentials.
func TestNothingStoredHasACredential(t *testing.T) {
	const credential = "user:3Rz-secret"
	var mu sync.Mutex
	secrets := [][]byte{[]byte(credential)}
	faults, err := fault.Named("session-close")
	if err != nil {
		t.Fatal(err)
	}
	scenario := harness.Scenario{
		Name: "secrets", Clients: 2, Faults: faults, Checkers: []checker.Checker{checker.OperationsSucceeded()},
		Workload: func(env *harness.Env) harness.Workload {
			return harness.Workload{Work: func(ctx context.Context, c *harness.Client) error {
				s, err := c.Open(ctx, session.Options{Timeout: 4 * time.Second, Auth: []session.Auth{{Scheme: "digest", Data: []byte(credential)}}})
				if err != nil {
					return err
				}
				defer s.Close()
				mu.Lock()
				secrets = append(secrets, s.Password())
				mu.Unlock()
				for c.Next(ctx) {
					_, err := c.Do(ctx, history.Event{Op: "exists"}, func(ctx context.Context) (history.Event, error) {
						_, err := s.Exists(ctx, env.Root())
						return history.Event{}, err
					})
					if s.Err() != nil {
						return err
					}
					c.Pause(ctx, 100*time.Millisecond)
				}
				return nil
			}}
		},
	}
	dir := t.TempDir()
	virtual.Test(t, func(t *testing.T) {
		result := harness.RunT(t, scenario, harness.Options{
			Seed: 1, Time: 30 * time.Second, Store: report.Open(dir),
			Ensemble: func(_ context.Context, config ensemble.Config) (ensemble.Ensemble, error) {
				return embedded.Start(embedded.Options{Config: config})
			},
		})
		if !result.Verdict.Passed() {
			t.Errorf("got verdict %v, want one that passes: perhaps no session was closed from "+
				"outside", result.Verdict)
		}
	})
	if len(secrets) < 4 {
		t.Errorf("got %d sessions, want at least 3", len(secrets)-1)
	}
	files := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, secret := range secrets {
			for _, form := range []string{string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret)} {
				if strings.Contains(string(text), form) {
					t.Errorf("%s contains a secret as %q", filepath.Base(path), form)
				}
			}
		}
		return err
	})
	if err != nil || files < 6 {
		t.Errorf("read %d files with error %v, want at least 6 files", files, err)
	}
}
