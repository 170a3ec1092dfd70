package queue_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/zkcoord/zkcoord/internal/recipetest"
	"github.com/zkcoord/zkcoord/queue"
	"github.com/zkcoord/zkcoord/session"
)

// The map `loops` contains two kinds of loops over the items of a queue. The loop "items" uses
// Items. The loop "claims" uses Claims and acks each claim.
var loops = map[string]func(context.Context, *queue.Queue[string]) iter.Seq2[string, error]{
	"items": func(ctx context.Context, q *queue.Queue[string]) iter.Seq2[string, error] { return q.Items(ctx) },
	"claims": func(ctx context.Context, q *queue.Queue[string]) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for c, err := range q.Claims(ctx) {
				value := ""
				if err == nil {
					value, err = c.Value(), c.Ack(context.WithoutCancel(ctx))
				}
				if !yield(value, err) {
					return
				}
			}
		}
	},
}

// When a loop ends because of its context, Close or the end of the session, it yields this reason
// once, as an error. Regression: the loop ended without an error.
func TestLoopEndsWithTheReasonOnce(t *testing.T) {
	errOwn := errors.New("the program stops")
	type world struct {
		cancel context.CancelCauseFunc
		q      *queue.Queue[string]
		s      *session.Session
	}
	ends := map[string]struct {
		end  func(world)
		want error
	}{
		"ctx":     {func(w world) { w.cancel(errOwn) }, errOwn},
		"close":   {func(w world) { _ = w.q.Close(context.Background()) }, queue.ErrClosed},
		"session": {func(w world) { _ = w.s.Close() }, session.ErrClosed},
	}
	for kind, loop := range loops {
		for how, end := range ends {
			// If inBody is false, the loop ends while it waits for an item.
			for _, inBody := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/body=%v", kind, how, inBody), func(t *testing.T) {
					recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
						q, c := newQueue(w, queue.Options[string]{Prefetch: 2})
						recipetest.Check(t, q.Put(t.Context(), "first"))
						ctx, cancel := context.WithCancelCause(t.Context())
						defer cancel(nil)
						all := world{cancel, q, c.Session}
						if !inBody {
							go func() { synctest.Wait(); end.end(all) }()
						}
						var values []string
						var errs []error
						for value, err := range loop(ctx, q) {
							if err != nil {
								errs = append(errs, err)
								if value != "" {
									t.Errorf("value with an error: got %q, want %q", value, "")
								}
								continue
							}
							values = append(values, value)
							if inBody {
								end.end(all)
							}
						}
						if !slices.Equal(values, []string{"first"}) || len(errs) != 1 || !errors.Is(errs[0], end.want) {
							t.Errorf("got values %q, errors %v, want %q and %v once", values, errs, "first", end.want)
						}
					})
				})
			}
		}
	}
}

// The codec `picky` decodes all items except "bad".
type picky struct{}

func (picky) Encode(v string) ([]byte, error) { return []byte(v), nil }
func (picky) Decode(data []byte) (string, error) {
	if string(data) == "bad" {
		return "half", errors.New("bad item")
	}
	return string(data), nil
}

// A loop yields an error for an item that does not decode, and then continues. Regression: the loop
// skipped such items without an error.
//
// Covers Q11.
func TestLoopGoesOnAfterAnItemThatDoesNotDecode(t *testing.T) {
	for kind, loop := range loops {
		for _, prefetch := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/%d", kind, prefetch), func(t *testing.T) {
				recipetest.Run(t, func(t *testing.T, w *recipetest.World) {
					q, _ := newQueue(w, queue.Options[string]{Codec: picky{}, Prefetch: prefetch})
					recipetest.Check(t, q.Put(t.Context(), "a", "bad", "b"))
					var got []string
					for value, err := range loop(t.Context(), q) {
						var undecoded *queue.DecodeError
						switch {
						case errors.As(err, &undecoded):
							got = append(got, fmt.Sprintf("%q undecoded: %s", value, undecoded.Data))
						case err != nil:
							t.Fatal(err)
						default:
							got = append(got, value)
						}
						if value == "b" {
							break
						}
					}
					if want := []string{"a", `"" undecoded: bad`, "b"}; !slices.Equal(got, want) {
						t.Errorf("got %q, want %q", got, want)
					}
					bytes := w.Client()
					dead := drainBytes(t, queue.New(bytes.Session, path, queue.Options[[]byte]{Codec: queue.Bytes()}).DeadLetters())
					if !slices.Equal(dead, []string{"bad"}) {
						t.Errorf("dead letters: got %q, want %q", dead, "bad")
					}
				})
			})
		}
	}
}
