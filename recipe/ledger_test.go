package recipe_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/crashpoint"
	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dir = "/queue"

// The function `put` returns an op that creates one more sequential znode each time that it is
// applied. So the number of znodes shows how often the op was applied.
func put(name string) session.Op {
	return session.CreateOp{Path: dir + "/" + name + "-", Mode: session.PersistentSequential}
}

// The test runs two transactions, and applies each fate of package crashpoint to each of their
// requests. If a transaction was reported as applied, it must have created its znode exactly once.
// If it was reported as failed, it must have created no znode. With any other outcome, it may have
// created the znode at most once.
func TestTransactionIsAppliedOnce(t *testing.T) {
	crashpoint.Run(t, func(p *crashpoint.Point) error {
		s, err := p.Open(session.Options{})
		if err != nil {
			return err
		}
		other, err := p.OpenOther(session.Options{})
		if err != nil {
			return err
		}
		if _, err := other.Create(p.Context(), dir, nil, session.Persistent); err != nil {
			return err
		}
		mark := recipe.NewLedger(s, "/marks", "put")
		told := map[string]session.Outcome{}
		if err := p.Break(func(ctx context.Context) error {
			for _, name := range []string{"first", "second"} {
				_, err := mark.Do(ctx, put(name))
				if told[name] = session.OutcomeOf(err); err != nil && !p.Fate.Loses() && ctx.Err() == nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			return nil
		}); err != nil {
			return err
		}
		if err := mark.Remove(p.Context()); err != nil && !p.Fate.Loses() {
			return fmt.Errorf("remove the ledger's znode: %w", err)
		}
		s.Close() // also deletes a znode that the ledger no longer uses
		return counted(p.Context(), other, told)
	})
}

// The function `counted` compares the znodes with the reported outcomes.
func counted(ctx context.Context, s *session.Session, told map[string]session.Outcome) error {
	if err := recipe.ReadBarrier(ctx, s, dir); err != nil {
		return err
	}
	listing, err := s.Children(ctx, dir)
	if err != nil {
		return err
	}
	there := map[string]int{}
	for _, name := range listing.Names {
		there[name[:len(name)-len("-0000000000")]]++
	}
	for name, effect := range told {
		n := there[name]
		if n > 1 || effect == session.OK && n == 0 || effect == session.Failed && n > 0 {
			return fmt.Errorf("%s: the outcome was %v, and the znode was created %d times, want 1 if OK, 0 if Failed, else at most 1",
				name, effect, n)
		}
	}
	return nil
}

// If an op is refused, the error has the index of that op, and the ledger can still be used.
func TestRefusedTransaction(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		mark := recipe.NewLedger(c.Session, "/marks", "put")
		create := session.CreateOp{Path: "/a", Mode: session.Persistent}
		_, err := mark.Do(t.Context(), create, session.CheckOp{Path: "/none", Version: session.AnyVersion})
		part := (*session.MultiError)(nil)
		if !errors.As(err, &part) || part.Index != 1 || part.Path != "/none" || !errors.Is(err, zk.ErrNoNode) || session.OutcomeOf(err) != session.Failed {
			t.Errorf("Do: got %v, want %v of op 1 on /none (%v)", err, zk.ErrNoNode, session.Failed)
		}
		if req := (*session.RequestError)(nil); !errors.As(err, &req) || req.Path != "/marks" {
			t.Errorf("Do: got the error %q, want one with the path /marks", err)
		}
		if results, err := mark.Do(t.Context(), create); err != nil || results[0].Path != "/a" {
			t.Errorf("the next Do: got %v, %v; want the path /a", results, err)
		}
		stat, err := c.Exists(t.Context(), "/a")
		if zxid, err2 := mark.Zxid(t.Context()); err != nil || err2 != nil || zxid != stat.Czxid {
			t.Errorf("Zxid: got %d (%v), want the czxid of the znode with stat %+v (%v)",
				zxid, err2, stat, err)
		}
	})
}

// If another client has deleted or set the ledger's znode, the next transaction fails as a whole.
// Do then creates a new ledger znode and repeats the transaction.
func TestLostLedgerIsRecreated(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		c := w.Client()
		mark := recipe.NewLedger(c.Session, "/marks", "put")
		for i, spoil := range []func(path string) error{
			func(string) error { return nil },
			func(path string) error { return c.Delete(t.Context(), path, session.AnyVersion) },
			func(path string) error { _, err := c.Set(t.Context(), path, nil, session.AnyVersion); return err },
		} {
			for _, path := range w.Nodes("/marks") {
				if err := spoil(path); err != nil {
					t.Fatal(err)
				}
			}
			path := fmt.Sprintf("/n%d", i)
			if _, err := mark.Do(t.Context(), session.CreateOp{Path: path, Mode: session.Persistent}); err != nil {
				t.Errorf("%s: Do: got %v, want no error", path, err)
			}
			if stat, err := c.Exists(t.Context(), path); stat == nil {
				t.Errorf("%s does not exist after Do (%v)", path, err)
			}
		}
	})
}

// An error that concerns the ledger's own znode contains no MultiError. The ledger's own op comes
// before the caller's ops, so a MultiError would have the index 0. The caller would take this index
// for the index of its own first op.
func TestLedgerErrorIsNoErrorOfTheOps(t *testing.T) {
	spoil := map[string]func(t *testing.T, w *recipetest.World, c *recipetest.Client, mark string) session.Outcome{
		"deleted after a lost reply": func(t *testing.T, w *recipetest.World, c *recipetest.Client, mark string) session.Outcome {
			w.Inject(zktest.Rule{Op: "multi", Session: c.ID(), Fate: zktest.CloseBeforeReply})
			w.Inject(zktest.Rule{Op: "multi", Session: c.ID(), Fate: zktest.DelayRequest, Delay: 2 * time.Second})
			time.AfterFunc(time.Second, func() { recipetest.Check(t, w.Admin().Delete(t.Context(), mark, session.AnyVersion)) })
			return session.Indeterminate
		},
		"not to be written": func(t *testing.T, _ *recipetest.World, c *recipetest.Client, mark string) session.Outcome {
			recipetest.Check(t, c.SetACL(t.Context(), mark, zk.WorldACL(zk.PermRead), session.AnyVersion))
			return session.Failed
		},
	}
	for name, spoil := range spoil {
		t.Run(name, func(t *testing.T) {
			recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
				c := w.Client()
				mark := recipe.NewLedger(c.Session, "/marks", "put")
				recipetest.Must(mark.Do(t.Context(), session.CreateOp{Path: "/a"}))
				want := spoil(t, w, c, w.Nodes("/marks")[0])
				_, err := mark.Do(t.Context(), session.CreateOp{Path: "/b"})
				synctest.Wait()
				if err == nil || session.OutcomeOf(err) != want {
					t.Errorf("got outcome %v, error %v; want outcome %v", session.OutcomeOf(err), err, want)
				}
				if part := (*session.MultiError)(nil); errors.As(err, &part) {
					t.Errorf("the error contains the MultiError %q, want none: %v", part, err)
				}
			})
		})
	}
}

// If another client has deleted the ledger's znode, Zxid and Try fail with ErrGone. Try applies
// nothing. Unlike Do, it does not create a new ledger znode, because its ops may depend on earlier
// reads.
func TestTryReportsThatTheLedgerIsGone(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		mark := recipe.NewLedger(w.Client().Session, "/marks", "take")
		recipetest.Check(t, mark.Make(t.Context()))
		recipetest.Must(mark.Try(t.Context(), session.CreateOp{Path: "/a"}))
		recipetest.Check(t, w.Admin().DeleteAll(t.Context(), "/marks"))
		if _, err := mark.Zxid(t.Context()); !errors.Is(err, recipe.ErrGone) || mark.Made() {
			t.Errorf("Zxid: got %v, made %v, want %v, false", err, mark.Made(), recipe.ErrGone)
		}
		recipetest.Check(t, mark.Make(t.Context()))
		recipetest.Check(t, w.Admin().DeleteAll(t.Context(), "/marks"))
		if _, err := mark.Try(t.Context(), session.CreateOp{Path: "/b"}); !errors.Is(err, recipe.ErrGone) || mark.Made() {
			t.Errorf("Try: got %v, made %v, want %v, false", err, mark.Made(), recipe.ErrGone)
		}
		if stat := recipetest.Must(w.Admin().Exists(t.Context(), "/b")); stat != nil {
			t.Error("Try applied its op without the ledger's znode, want nothing applied")
		}
	})
}

// After a refused deletion the ledger still has its znode, so that a later Remove can delete it.
func TestRefusedRemoveCanBeRepeated(t *testing.T) {
	recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
		mark := recipe.NewLedger(w.Client().Session, "/marks", "put")
		recipetest.Check(t, mark.Make(t.Context()))
		acl := func(perms int32) {
			recipetest.Check(t, w.Admin().SetACL(t.Context(), "/marks", zk.WorldACL(perms), session.AnyVersion))
		}
		acl(zk.PermRead | zk.PermAdmin)
		if err := mark.Remove(t.Context()); !errors.Is(err, session.ErrNoAuth) {
			t.Errorf("Remove without the permission: got %v, want %v", err, session.ErrNoAuth)
		}
		acl(zk.PermAll)
		recipetest.Check(t, mark.Remove(t.Context()))
		if left := w.Nodes("/marks"); len(left) > 0 || mark.Made() {
			t.Errorf("after the second Remove: left %q, made %v, want nothing, false",
				left, mark.Made())
		}
	})
}
