package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/zkcoord/zkcoord/fence"
)

// A grant has the method of lock.Grant that a fence needs.
type grant struct{ token int64 }

func (g grant) Token() int64 { return g.token }

func ExampleGate() {
	a, b := grant{5}, grant{7} // a was paused, and the lock was granted to b
	account := fence.Gate{Name: "account"}
	write := func(by grant) error {
		return account.Do(context.Background(), fence.TokenOf(by), func(context.Context) error { return nil })
	}
	fmt.Println(write(b))
	fmt.Println(write(a))
	// Output:
	// <nil>
	// fence: account: token 5 is stale: the largest token accepted is 7
}

func ExampleStaleError() {
	var g fence.Gate
	g.Raise(7)
	err := g.Do(context.Background(), 5, nil)
	if stale := (*fence.StaleError)(nil); errors.As(err, &stale) {
		fmt.Println(stale.Token, stale.Largest)
	}
	// Output: 5 7
}

func ExampleTransport() {
	var gate fence.Gate
	server := httptest.NewServer(gate.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := fence.FromContext(r.Context())
		fmt.Println("served with token", token)
	})))
	defer server.Close()
	client := &http.Client{Transport: &fence.Transport{}}
	send := func(token fence.Token) error {
		ctx := fence.WithToken(context.Background(), token)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(r)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		return fence.ResponseError(response)
	}
	fmt.Println(send(7))
	fmt.Println(errors.Is(send(5), fence.ErrStale))
	client.CloseIdleConnections()
	// Output:
	// served with token 7
	// <nil>
	// true
}

func ExampleWriteFile() {
	dir, err := os.MkdirTemp("", "fence")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "leader")
	fmt.Println(fence.WriteFile(context.Background(), name, 7, []byte("b"), 0o644))
	fmt.Println(errors.Is(fence.WriteFile(context.Background(), name, 5, []byte("a"), 0o644), fence.ErrStale))
	// Output:
	// <nil>
	// true
}

func ExampleUpdate() {
	object := &memory{} // a Store, for example an object with its ETag
	add := func(text string) func([]byte) ([]byte, error) {
		return func(data []byte) ([]byte, error) { return append(data, text...), nil }
	}
	fmt.Println(fence.Update(context.Background(), object, 7, add("b")))
	fmt.Println(fence.Update(context.Background(), object, 5, add("a")))
	// Output:
	// <nil>
	// fence: token 5 is stale: the largest token accepted is 7
}

// An invoice is marked as paid only if no later holder has written. The program opens db with the
// PostgreSQL driver of its choice.
func ExampleTable_Do() {
	pay := func(ctx context.Context, db *sql.DB, g grant, invoice int) error {
		payments := fence.Table{DB: db, Dialect: fence.PostgreSQL}
		return payments.Do(ctx, "invoices", fence.TokenOf(g), func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE invoices SET paid = true WHERE id = $1", invoice)
			return err
		})
	}
	_ = pay
}

func ExampleTokener() {
	type claim struct{ grant }
	fmt.Println(fence.TokenOf(grant{5}), fence.TokenOf(claim{grant{7}}))
	// Output: 5 7
}
