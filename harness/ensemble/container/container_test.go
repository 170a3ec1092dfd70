package container

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/docker/zookeeper"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/ensembletest"
	"github.com/zkcoord/zkcoord/internal/needs"
	"github.com/zkcoord/zkcoord/internal/owner"
	"github.com/zkcoord/zkcoord/internal/zkversion"
)

func TestMain(m *testing.M) {
	if os.Getenv("ZKCOORD_TEST_ORPHANS") != "" {
		orphans()
	}
	if file := os.Getenv("ZKCOORD_TEST_BREAK"); file != "" {
		breakAndStay(file)
	}
	goleak.VerifyTestMain(m)
}

// The function `orphans` runs in a separate process. It starts an ensemble that nothing closes, and
// then prints the id of the ensemble.
func orphans() {
	e, err := Start(context.Background(), Options{Config: ensemble.Config{Nodes: 1, Disk: 16 << 20}})
	if err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(1)
	}
	state, err := e.engine.ContainerInspect(context.Background(), e.nodes[0], client.ContainerInspectOptions{})
	if err != nil {
		os.Exit(1)
	}
	os.Stdout.WriteString(state.Container.Config.Labels[labelEnsemble] + "\n")
	select {}
}

func TestWhatAKilledRunLeavesIsSweptByTheNextStart(t *testing.T) {
	e := needEngine(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ZKCOORD_TEST_ORPHANS=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, _ := bufio.NewReader(out).ReadString('\n')
	id := strings.TrimSpace(said)
	defer e.remove(context.Background(), labelled(labelEnsemble, id))
	if what := remaining(t, e, labelled(labelEnsemble, id)); len(what) != 4 { // node, disks, volume, network
		t.Errorf("ensemble %q: got %v, want a node, the disks, a volume and a network", said, what)
	}
	cmd.Process.Kill() // kill -9
	cmd.Wait()
	if what := remaining(t, e, labelled(labelEnsemble, id)); len(what) == 0 {
		t.Error("the killed run left nothing, want leftovers to sweep")
	}
	if err := e.sweep(t.Context()); err != nil { // Start begins with this call
		t.Fatal(err)
	}
	if what := remaining(t, e, labelled(labelEnsemble, id)); len(what) > 0 {
		t.Errorf("the sweep left %v, want nothing", what)
	}
}

// needEngine skips the test if no Docker engine answers. In CI, which must have an engine, it fails
// the test instead.
func needEngine(t *testing.T) *engine {
	t.Helper()
	e, err := connect(t.Context())
	needs.Installed(t, err)
	t.Cleanup(func() { e.Close() })
	return e
}

// With Config.Clocks and Config.Disk, nodes start more slowly. So the test sets these two options
// only if ZKCOORD_TEST_NEMESIS=container is set.
func TestContract(t *testing.T) {
	docker := needEngine(t)
	logs := t.TempDir()
	config := ensemble.Config{LogDir: logs, Later: []string{zkversion.Oldest}}
	if os.Getenv("ZKCOORD_TEST_NEMESIS") == "container" {
		config.Clocks, config.Disk = true, 64<<20
	}
	e, err := Start(t.Context(), Options{Config: config, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	var volumes []string
	for _, node := range e.nodes {
		state, err := docker.ContainerInspect(t.Context(), node, client.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range state.Container.Mounts {
			if m.Type == mount.TypeVolume {
				volumes = append(volumes, m.Name)
			}
		}
	}
	if len(volumes) < 2*len(e.nodes) {
		t.Errorf("got the volumes %v, want at least two for each of %d nodes", volumes, len(e.nodes))
	}
	ensembletest.Contract(t, e)
	if what := remaining(t, docker, e.remove); len(what) > 0 {
		t.Errorf("Close left %v, want nothing", what)
	}
	// The volumes of a node are deleted too, even after changes of its version.
	for _, name := range volumes {
		if _, err := docker.VolumeInspect(t.Context(), name, client.VolumeInspectOptions{}); !errdefs.IsNotFound(err) {
			t.Errorf("Close left the volume %s (%v), want it to be deleted", name, err)
		}
	}
	for _, name := range []string{"node0.log", "node1.log", "node2.log"} {
		if text, err := os.ReadFile(filepath.Join(logs, name)); err != nil || !strings.Contains(string(text), "QuorumPeer") {
			t.Errorf("log %s: got %d bytes, %v; want one that contains QuorumPeer", name, len(text), err)
		}
	}
}

func TestMembersLeaveAndJoin(t *testing.T) {
	needEngine(t)
	e, err := Start(t.Context(), Options{Config: ensembletest.MembersConfig, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	ensembletest.Members(t, e)
}

func TestMembersNeedTheirConfiguration(t *testing.T) {
	e := &Ensemble{cluster: newCluster(nil, "container", 1)}
	if err := e.SetRole(t.Context(), 0, ensemble.Removed); !errors.Is(err, ensemble.ErrUnable) {
		t.Errorf("got %v, want %v", err, ensemble.ErrUnable)
	}
}

// The function `remaining` returns the names of the containers, networks and volumes that a filter
// selects.
func remaining(t *testing.T, e *engine, what client.Filters) (names []string) {
	t.Helper()
	containers, err := e.ContainerList(context.Background(), client.ContainerListOptions{All: true, Filters: what})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers.Items {
		names = append(names, c.Names...)
	}
	networks, err := e.NetworkList(context.Background(), client.NetworkListOptions{Filters: what})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks.Items {
		names = append(names, n.Name)
	}
	volumes, err := e.VolumeList(context.Background(), client.VolumeListOptions{Filters: what})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes.Items {
		names = append(names, v.Name)
	}
	return names
}

// The function `ours` selects everything that this process has created and not removed.
func ours() client.Filters { return labelled(labelOwner, owner.Self()) }

func TestInterruptedStartLeavesNothing(t *testing.T) {
	e := needEngine(t)
	for _, after := range []time.Duration{0, 100 * time.Millisecond, 400 * time.Millisecond, time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			interrupted := errors.New("interrupted")
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := time.AfterFunc(after, func() { cancel(interrupted) })
			defer stop.Stop()
			got, err := Start(ctx, Options{})
			if err == nil {
				got.Close(context.Background())
				t.Skip("Start returned before the interrupt")
			}
			if !errors.Is(err, interrupted) && !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want %v or %v", err, interrupted, context.Canceled)
			}
			if what := remaining(t, e, ours()); len(what) > 0 {
				t.Errorf("Start left %v, want nothing", what)
			}
		})
	}
}

func TestLeftoversOfADeadRunAreSweptAndThoseOfALiveRunStay(t *testing.T) {
	e := needEngine(t)
	parts := strings.Split(owner.Self(), ".")
	parts[3] = "1" // A process with our id that started at another time. It no longer exists.
	dead := makeNetwork(t, e, "swept", strings.Join(parts, "."))
	live := makeNetwork(t, e, "kept", owner.Self())
	// A volume may be the only thing that is left of an ensemble.
	deadVolume := makeVolume(t, e, "swept-volume", strings.Join(parts, "."))
	liveVolume := makeVolume(t, e, "kept", owner.Self())
	defer e.remove(context.Background(), labelled(labelEnsemble, "kept"))
	if err := e.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.NetworkInspect(t.Context(), dead, client.NetworkInspectOptions{}); err == nil {
		t.Error("the sweep left the network of the dead run, want it removed")
	}
	if _, err := e.NetworkInspect(t.Context(), live, client.NetworkInspectOptions{}); err != nil {
		t.Errorf("the sweep removed the network of the live run: %v", err)
	}
	if _, err := e.VolumeInspect(t.Context(), deadVolume, client.VolumeInspectOptions{}); err == nil {
		t.Error("the sweep left the volume of the dead run, want it removed")
	}
	if _, err := e.VolumeInspect(t.Context(), liveVolume, client.VolumeInspectOptions{}); err != nil {
		t.Errorf("the sweep removed the volume of the live run: %v", err)
	}
}

func makeVolume(t *testing.T, e *engine, id, mark string) string {
	t.Helper()
	v, err := e.VolumeCreate(t.Context(), client.VolumeCreateOptions{
		Name: "zkcoord-test-" + id + "-" + strconv.Itoa(os.Getpid()), Labels: map[string]string{labelEnsemble: id, labelOwner: mark},
	})
	if err != nil {
		t.Fatal(err)
	}
	return v.Volume.Name
}

func makeNetwork(t *testing.T, e *engine, id, mark string) string {
	t.Helper()
	n, err := e.NetworkCreate(t.Context(), "zkcoord-test-"+id+"-"+strconv.Itoa(os.Getpid()), client.NetworkCreateOptions{
		Labels: map[string]string{labelEnsemble: id, labelOwner: mark},
	})
	if err != nil {
		t.Fatal(err)
	}
	return n.ID
}

// The function `one` checks that a call has failed within 30 s. The call began at the time `start`
// and returned `err`. The error must be one paragraph and contain the argument `what`.
func one(t *testing.T, start time.Time, err error, what string) {
	t.Helper()
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("the error took %v, want at most 30s", took)
	}
	if err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got error %v; want one paragraph that contains %q", err, what)
	}
}

func TestATakenPortIsSaid(t *testing.T) {
	e := needEngine(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	start := time.Now()
	_, err = Start(t.Context(), Options{Config: ensemble.Config{Port: l.Addr().(*net.TCPAddr).Port}})
	one(t, start, err, "choose another port")
	if what := remaining(t, e, ours()); len(what) > 0 {
		t.Errorf("Start left %v, want nothing", what)
	}
}

func TestADeadNodeIsSaidWithItsLog(t *testing.T) {
	e := needEngine(t)
	start := time.Now()
	_, err := Start(t.Context(), Options{Config: ensemble.Config{JVMFlags: []string{"-XX:+NoSuchFlag"}}})
	one(t, start, err, "NoSuchFlag")
	if what := remaining(t, e, ours()); len(what) > 0 {
		t.Errorf("Start left %v, want nothing", what)
	}
}

func TestAMissingImageIsSaid(t *testing.T) {
	needEngine(t)
	start := time.Now()
	t.Setenv("ZKCOORD_IMAGE", "zkcoord/there-is-none:1")
	_, err := Start(t.Context(), Options{})
	one(t, start, err, "ZKCOORD_IMAGE")
}

func TestAMissingEngineIsSaid(t *testing.T) {
	if os.Getenv("ZKCOORD_TEST_WITHOUT_ENGINE") != "" {
		start := time.Now()
		_, err := Start(t.Context(), Options{})
		one(t, start, err, "no Docker engine answers")
		_, err = zookeeper.Image(t.Context(), "", t.Output())
		if _, none := exec.LookPath("docker"); none != nil {
			one(t, start, err, "there is no docker command")
			return
		}
		one(t, start, err, "no Docker engine answers")
		return
	}
	// Use a separate process, because testcontainers finds the engine only once per process.
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAMissingEngineIsSaid$")
	cmd.Env = append(os.Environ(), "ZKCOORD_TEST_WITHOUT_ENGINE=1", "DOCKER_HOST=unix:///nowhere/docker.sock")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the process without an engine failed: %v: %s", err, out)
	}
}
