package container

import (
	"context"
	"errors"
	"testing"
	"time"

	mobycontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/zkcoord/zkcoord/docker/zookeeper"
	"github.com/zkcoord/zkcoord/internal/owner"
	"github.com/zkcoord/zkcoord/internal/virtual"
)

// Regression: on a busy machine the engine answered "unable to freeze". The fault was not injected,
// so the verdict on the run was Unknown.
func TestPauseIsRepeatedWhileTheReasonPasses(t *testing.T) {
	var (
		frozen  = errors.New("OCI runtime pause failed: unable to freeze: unknown")
		already = errors.New("container 1 is already paused")
		gone    = errors.New("no such container")
	)
	for name, c := range map[string]struct {
		answers []error // the engine's answers, in order; the last one is repeated
		want    error
		calls   int // minimum number of calls
		least   time.Duration
	}{
		"at once":              {[]error{nil}, nil, 1, 0},
		"too busy twice":       {[]error{frozen, frozen, nil}, nil, 3, 0},
		"always too busy":      {[]error{frozen}, frozen, 3, 20 * time.Second},
		"a late event":         {[]error{already, nil}, nil, 2, 0},
		"paused by others":     {[]error{already}, nil, 2, 2 * time.Second},
		"another reason":       {[]error{gone}, gone, 1, 0},
		"busy, then no longer": {[]error{frozen, gone}, gone, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				calls, began := 0, time.Now()
				err := untilPaused(t.Context(), func() error {
					calls++
					return c.answers[min(calls, len(c.answers))-1]
				})
				if !errors.Is(err, c.want) || calls < c.calls || time.Since(began) < c.least {
					t.Errorf("got %v after %d calls and %v, want %v after at least %d calls and %v",
						err, calls, time.Since(began), c.want, c.calls, c.least)
				}
			})
		})
	}
	virtual.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := untilPaused(ctx, func() error { return frozen }); !errors.Is(err, frozen) {
			t.Errorf("got %v with a canceled context, want %v", err, frozen)
		}
	})
}

// Regression: Kill returned an error if the node's server had already ended by itself, for example
// because its disk was full.
func TestKillOfAServerThatHasEnded(t *testing.T) {
	e := newCluster(needEngine(t), "container", 1)
	e.nodes[0] = ended(t, e.engine)
	for i := range 2 {
		if err := e.Kill(t.Context(), 0); err != nil {
			t.Errorf("kill %d: got error %v, want none", i+1, err)
		}
	}
	if !e.is(e.down, 0) {
		t.Error("the node is not down after Kill, want it down")
	}
}

// Regression: if a Kill failed, the next Kill returned nil and killed nothing.
func TestKillThatFailedIsTriedAgain(t *testing.T) {
	e := newCluster(needEngine(t), "container", 1)
	e.nodes[0] = "zkcoord-there-is-none"
	for i := range 2 {
		if err := e.Kill(t.Context(), 0); err == nil {
			t.Errorf("kill %d of a container that does not exist: got no error, want one", i+1)
		}
	}
}

// The function `ended` returns a container whose process has ended.
func ended(t *testing.T, e *engine) string {
	t.Helper()
	image, err := zookeeper.Image(t.Context(), "", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Config: &mobycontainer.Config{
			Image: image, Entrypoint: []string{"true"}, Healthcheck: noHealthCheck,
			Labels: map[string]string{labelEnsemble: "ended", labelOwner: owner.Self()},
		},
		HostConfig: &mobycontainer.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	removeAtEnd(t, e, c.ID)
	if err := newCluster(e, "container", 1).runOnce(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	return c.ID
}

// removeAtEnd removes a container and its volumes when the test ends. Regression: the volumes
// stayed, eight of them for each run of the tests.
func removeAtEnd(t *testing.T, e *engine, id string) {
	t.Cleanup(func() {
		if _, err := e.ContainerRemove(context.Background(), id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Errorf("remove container %s: got error %v, want none", id, err)
		}
	})
}
