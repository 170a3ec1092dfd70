package external

import (
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/harness/ensemble/ensembletest"
	"github.com/zkcoord/zkcoord/zktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	servers, err := embedded.Start(embedded.Options{Model: zktest.Options{TCP: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Close(t.Context())
	e, err := New(Options{Servers: servers.Servers()})
	if err != nil {
		t.Fatal(err)
	}
	ensembletest.Contract(t, e)
	if err := servers.Ready(t.Context()); err != nil {
		t.Errorf("Ready of the servers after Close: got error %v, want none", err)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	e, err := New(Options{Servers: []string{"zoo1", "zoo2:2182", " [::1]"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"zoo1:2181", "zoo2:2182", "[::1]:2181"}; !slices.Equal(e.Servers(), want) {
		t.Errorf("got servers %v, want %v", e.Servers(), want)
	}
	for _, wrong := range [][]string{nil, {""}, {":2181"}, {"a", "a:2181"}, {"a:99999"}, {"a", "b/app"}} {
		if _, err := New(Options{Servers: wrong}); err == nil {
			t.Errorf("servers %q: got no error, want one", wrong)
		}
	}
}
