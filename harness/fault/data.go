package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/harness"
	"github.com/zkcoord/zkcoord/harness/ensemble"
)

// dataFaults returns the faults that change znodes below the root of a run, like an administrator
// or another program. They require only that the ensemble answers, except data-counter, which also
// requires a Sequencer.
func dataFaults() []harness.Fault {
	number := func(r *rand.Rand, _ *harness.Env) harness.Step {
		return harness.Step{Target: "znodes", Arg: strconv.Itoa(r.IntN(1000))}
	}
	lasting := func(r *rand.Rand, env *harness.Env) harness.Step {
		s := number(r, env)
		s.For = between(r, time.Second, 6*time.Second)
		return s
	}
	return []harness.Fault{
		fault{name: "data-delete-node", does: "another program deletes the ephemeral znode of a client", beyond: true, exposes: true, deletes: true,
			draw: number, inject: onBusy(deleteNode)},
		fault{name: "data-delete-parent", does: "another program deletes a directory with all its contents", beyond: true, exposes: true, deletes: true,
			draw: number, inject: onBusy(deleteParent)},
		fault{name: "data-foreign-children", does: "another program creates children with other names next to those of clients",
			draw: lasting, inject: foreignChildren},
		fault{name: "data-counter", does: "the sequence numbers of a directory are nearly used up; then another program deletes the directory",
			expect: "calls fail with ErrExhausted until the heal; ", beyond: true, exposes: true, deletes: true,
			able: able[ensemble.Sequencer]("set the counters of znodes", 1), draw: lasting, inject: onBusy(useUp)},
	}
}

// onBusy returns a function for the field fault.inject. The returned function uses the step's Arg
// to select an ephemeral znode below the root of the run, and calls `inject` with this znode.
func onBusy(inject func(ctx context.Context, env *harness.Env, conn *zk.Conn, node string) (harness.Injected, error)) func(context.Context, *harness.Env, harness.Step) (harness.Injected, error) {
	return func(ctx context.Context, env *harness.Env, s harness.Step) (w harness.Injected, err error) {
		ctx, cancel := context.WithTimeout(ctx, healPatience)
		defer cancel()
		err = asAdmin(ctx, env, func(conn *zk.Conn) error {
			node, err := busy(ctx, env, conn, s.Arg)
			if err == nil {
				w, err = inject(ctx, env, conn, node)
			}
			return err
		})
		return w, err
	}
}

// asAdmin calls f with a session that does not go through a client's proxy. If the connection
// breaks or the session expires, asAdmin calls f again with a new session, until ctx ends.
func asAdmin(ctx context.Context, env *harness.Env, f func(conn *zk.Conn) error) error {
	for {
		conn, err := env.Admin(ctx)
		if err == nil {
			end := harness.Once(conn.Close)
			stop := context.AfterFunc(ctx, end)
			err = f(conn)
			stop()
			end()
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return fmt.Errorf("%w: %w", errNobody, err)
		case !errors.Is(err, zk.ErrConnectionClosed) && !errors.Is(err, zk.ErrSessionExpired):
			return err
		}
	}
}

// The function `busy` parses a number n from arg. It returns the path of the n-th ephemeral znode
// below the root, counted modulo the number of such znodes. If no such znode exists, the function
// waits up to the time `patience` for one.
func busy(ctx context.Context, env *harness.Env, conn *zk.Conn, arg string) (string, error) {
	n, err := strconv.ParseUint(arg, 10, 31)
	if err != nil {
		return "", fmt.Errorf("the number of an ephemeral znode is %q: must be a number from 0 to %d",
			arg, 1<<31-1)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		all, err := ephemerals(conn, env.Root())
		if errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrSessionExpired) {
			return "", err // asAdmin connects again
		}
		if len(all) > 0 {
			return all[int(n)%len(all)], nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return "", errors.Join(errNobody, errors.New("no ephemeral znode exists"), err)
		}
	}
}

// The function `ephemerals` lists the sorted paths of the ephemeral znodes below the given path. It
// reads several stats concurrently, because clients may have created many thousands of other
// znodes.
func ephemerals(conn *zk.Conn, under string) ([]string, error) {
	children, _, err := conn.Children(under)
	if err != nil {
		return nil, err
	}
	slices.Sort(children)
	below := make([][]string, len(children))
	var looks errgroup.Group
	looks.SetLimit(64)
	for i, name := range children {
		looks.Go(func() error {
			child := path.Join(under, name)
			exists, stat, err := conn.Exists(child)
			switch {
			case err != nil || !exists:
				return err
			case stat.EphemeralOwner != 0:
				below[i] = []string{child}
			case stat.NumChildren > 0:
				below[i], err = ephemerals(conn, child)
			}
			if errors.Is(err, zk.ErrNoNode) {
				return nil // it was deleted meanwhile
			}
			return err
		})
	}
	err = looks.Wait()
	return slices.Concat(below...), err
}

func deleteNode(_ context.Context, _ *harness.Env, conn *zk.Conn, node string) (harness.Injected, error) {
	err := conn.Delete(node, -1)
	if err != nil {
		err = fmt.Errorf("delete %s: %w", node, err)
	}
	return harness.Injected{Target: path.Base(node), Evidence: node + " deleted"}, err
}

func deleteParent(ctx context.Context, _ *harness.Env, conn *zk.Conn, node string) (harness.Injected, error) {
	dir := path.Dir(node)
	n, err := deleteTree(ctx, conn, dir)
	return harness.Injected{Target: path.Base(dir), Evidence: count(int64(n), "znodes deleted, last "+path.Base(dir))}, err
}

// deleteTree deletes a znode and everything below it. Clients may create children meanwhile, so it
// repeats until the znode is gone or ctx ends.
func deleteTree(ctx context.Context, conn *zk.Conn, top string) (n int, err error) {
	for ctx.Err() == nil {
		children, _, err := conn.Children(top)
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			return n, fmt.Errorf("list the children of %s: %w", top, err)
		}
		for _, name := range children {
			m, err := deleteTree(ctx, conn, path.Join(top, name))
			if n += m; err != nil {
				return n, err
			}
		}
		switch err := conn.Delete(top, -1); {
		case err == nil:
			return n + 1, nil
		case errors.Is(err, zk.ErrNoNode):
			return n, nil
		case !errors.Is(err, zk.ErrNotEmpty):
			return n, fmt.Errorf("delete %s: %w", top, err)
		}
	}
	return n, context.Cause(ctx)
}

// The variable `foreign` has names that no primitive creates and that a careless primitive
// misinterprets.
var foreign = []string{"config", "0000000000", "x-0000000001", "lock-", "_c_x", "zzz-9999999999"}

// foreignChildren creates znodes next to an ephemeral znode, or below the root if clients have no
// ephemeral znodes. The heal deletes the created znodes. If the heal cannot delete them soon, they
// remain. They are harmless, and are deleted together with the root.
func foreignChildren(ctx context.Context, env *harness.Env, s harness.Step) (w harness.Injected, err error) {
	ctx, cancel := context.WithTimeout(ctx, healPatience)
	defer cancel()
	err = asAdmin(ctx, env, func(conn *zk.Conn) error {
		dir := env.Root()
		if node, err := busy(ctx, env, conn, s.Arg); err == nil {
			dir = path.Dir(node)
		}
		for _, name := range foreign {
			if _, err := conn.Create(path.Join(dir, name), nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				return fmt.Errorf("create %s in %s: %w", name, dir, err)
			}
		}
		w = harness.Injected{Target: path.Base(dir), Heal: func(ctx context.Context) (string, error) {
			bounded, cancel := context.WithTimeout(ctx, healPatience)
			defer cancel()
			_ = asAdmin(bounded, env, func(conn *zk.Conn) (err error) {
				for _, name := range foreign {
					err = errors.Join(err, conn.Delete(path.Join(dir, name), -1))
				}
				return err
			})
			return count(int64(len(foreign)), "foreign children created"), nil
		}}
		return nil
	})
	return w, err
}

// useUp sets the sequence counter of a directory, so that only eleven numbers are left in it. The
// directory is the parent of `node`, a client's ephemeral znode. The heal deletes the directory.
func useUp(ctx context.Context, env *harness.Env, _ *zk.Conn, node string) (harness.Injected, error) {
	dir := path.Dir(node)
	heal := func(ctx context.Context) (evidence string, err error) {
		err = asAdmin(ctx, env, func(conn *zk.Conn) error {
			_, stat, err := conn.Exists(dir)
			if err != nil {
				return err
			}
			// Cversion is twice the number of creates, minus the number of children.
			if next := (int64(uint32(stat.Cversion)) + int64(stat.NumChildren)) / 2; next > 1<<30 {
				evidence = fmt.Sprintf("%s reached sequence number %d", path.Base(dir), next)
			}
			_, err = deleteTree(ctx, conn, dir)
			return err
		})
		return evidence, err
	}
	return harness.Injected{Target: path.Base(dir), Heal: heal}, env.Ensemble.(ensemble.Sequencer).SetSequence(ctx, dir, 1<<31-11)
}
