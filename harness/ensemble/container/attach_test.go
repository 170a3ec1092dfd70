package container

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mobycontainer "github.com/moby/moby/api/types/container"
	mobymount "github.com/moby/moby/api/types/mount"
	mobynetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/zkcoord/zkcoord/docker/zookeeper"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/ensembletest"
	"github.com/zkcoord/zkcoord/internal/owner"
)

// The function `compose` returns the command of either generation of docker-compose, or skips the
// test.
func compose(t *testing.T) []string {
	t.Helper()
	if path, err := exec.LookPath("docker-compose"); err == nil {
		return []string{path}
	}
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	t.Skip("docker-compose is not installed")
	return nil
}

func TestARunningComposeProjectIsAnEnsemble(t *testing.T) {
	engine := needEngine(t)
	command := compose(t)
	image, err := zookeeper.Image(t.Context(), "", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	// Use a copy of the repository's file, so that the test does not affect a project that
	// someone runs.
	text, err := os.ReadFile("../../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "docker-compose.yml")
	text = []byte(strings.ReplaceAll(string(text), "build: docker/zookeeper", ""))
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Attach(t.Context(), file); err == nil || !strings.Contains(err.Error(), "up -d") {
		t.Errorf("Attach to a project that does not run: got error %v, want one with \"up -d\"", err)
	}
	environment := append(os.Environ(), "ZKCOORD_IMAGE="+image, "ZOO_TICK_TIME=500")
	for i := range 3 {
		environment = append(environment, fmt.Sprintf("ZKCOORD_PORT_%d=%d", i+1, freePort(t)))
	}
	project := fmt.Sprintf("zkcoord-test-%d", os.Getpid())
	run := func(args ...string) {
		cmd := exec.CommandContext(context.Background(), command[0], append(append(command[1:], "-p", project, "-f", file), args...)...)
		cmd.Env = environment
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", cmd, err, out)
		}
	}
	defer run("down", "-v", "-t", "0")
	run("up", "-d")
	e, err := Attach(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	ensembletest.Contract(t, e) // it cuts edges, and closes e
	for node, id := range e.nodes {
		if rules, err := engine.exec(t.Context(), id, "iptables -w -S"); err != nil || strings.Contains(rules, "ZKCOORD") {
			t.Errorf("node %d after Close: got rules %s, %v; want no chain of zkcoord", node, rules, err)
		}
	}
	whole(t, file) // Close must leave the project running
	t.Run("the next run heals the faults of a killed run", func(t *testing.T) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "ZKCOORD_TEST_BREAK="+file)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if said, _ := bufio.NewReader(out).ReadString('\n'); said != "broken\n" {
			t.Errorf("got output %q, want %q", said, "broken\n")
		}
		cmd.Process.Kill() // kill -9
		cmd.Wait()
		left, err := engine.ContainerCreate(t.Context(), client.ContainerCreateOptions{Config: &mobycontainer.Config{
			Image: image, Labels: map[string]string{composeProject: project, composeFiles: file, temporary: "true"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		whole(t, file)
		if _, err := engine.ContainerInspect(t.Context(), left.ID, client.ContainerInspectOptions{}); err == nil {
			t.Error("the temporary container of the killed run is still there")
			removeAtEnd(t, engine, left.ID)
		}
	})
}

// The function `whole` attaches to the project of a file. It checks that three nodes serve, and
// that no node has iptables rules of zkcoord.
func whole(t *testing.T, file string) {
	t.Helper()
	e, err := Attach(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := e.Ready(ctx); err != nil || len(e.Servers()) != 3 {
		t.Errorf("got servers %v, Ready: %v; want 3 servers and no error", e.Servers(), err)
	}
	for node := range e.Servers() {
		if rules, err := e.exec(ctx, node, "iptables -w -S"); err != nil || strings.Contains(rules, "ZKCOORD") {
			t.Errorf("node %d: got rules %s, %v; want no chain of zkcoord", node, rules, err)
		}
	}
}

// breakAndStay runs in a separate process. It injects a different fault into each node of a
// project, and then prints "broken".
func breakAndStay(file string) {
	ctx := context.Background()
	e, err := Attach(ctx, file)
	if err == nil {
		err = errors.Join(e.Cut(ctx, ensemble.Edge{From: 0, To: 1}, ensemble.Edge{From: 2, To: 0}), e.Pause(ctx, 1), e.Kill(ctx, 2))
	}
	if err != nil {
		fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(1)
	}
	fmt.Println("broken")
	select {}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Regression: if a container could not be healed, its error was reported again for each later
// container that needed no healing.
func TestErrorOfOneContainerIsReportedOnce(t *testing.T) {
	e := needEngine(t)
	image, err := zookeeper.Image(t.Context(), "", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "docker-compose.yml")
	mounted := filepath.Join(dir, "mounted")
	if err := os.Mkdir(mounted, 0o755); err != nil {
		t.Fatal(err)
	}
	create := func(script string, host mobycontainer.HostConfig) (id string) {
		host.NetworkMode = "none"
		c, err := e.ContainerCreate(t.Context(), client.ContainerCreateOptions{
			Config: &mobycontainer.Config{
				Image: image, Entrypoint: []string{"bash", "-c", script}, Healthcheck: noHealthCheck,
				Labels: map[string]string{
					composeProject: "zkcoord-test", composeFiles: file, labelEnsemble: "once", labelOwner: owner.Self(),
				},
			},
			HostConfig: &host,
		})
		if err != nil {
			t.Fatal(err)
		}
		removeAtEnd(t, e, c.ID)
		return c.ID
	}
	// The engine lists the newest container first. So the broken container, which is created last,
	// is healed before these two.
	for range 2 {
		id := create("sleep infinity", mobycontainer.HostConfig{})
		if _, err := e.ContainerStart(t.Context(), id, client.ContainerStartOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	broken := create(fmt.Sprintf("exit %d", killed), mobycontainer.HostConfig{
		PortBindings: mobynetwork.PortMap{mobynetwork.MustParsePort(fmt.Sprint(clientPort)): nil},
		Mounts:       []mobymount.Mount{{Type: mobymount.TypeBind, Source: mounted, Target: "/mounted"}},
	})
	if err := newCluster(e, "container", 1).runOnce(t.Context(), broken); err == nil {
		t.Fatalf("the container ended with status 0, want %d", killed)
	}
	if err := os.Remove(mounted); err != nil { // now the engine cannot start the container
		t.Fatal(err)
	}
	err = e.heal(t.Context(), file)
	if err == nil || strings.Count(err.Error(), mounted) != 1 {
		t.Errorf("got error %v, want one that names %s once", err, mounted)
	}
}
