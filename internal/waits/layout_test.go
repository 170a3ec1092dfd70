package waits

import (
	"slices"
	"testing"
)

func TestLayoutsOfThreeLibraries(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	for path, want := range map[string]struct {
		kind  Kind
		place string
	}{
		"/l/" + id + "-lock-0000000003":                                      {Lock, "/l"},
		"/l/_c_0a1b2c3d-0000-1111-2222-333344445555-lock-0000000003":         {Lock, "/l"},
		"/l/" + id + "__lock__0000000001":                                    {Lock, "/l"},
		"/l/" + id + "-__READ__0000000001":                                   {Lock, "/l"},
		"/l/x-lock--2147483648":                                              {Lock, "/l"},
		"/" + id + "-lock-0000000003":                                        {Lock, "/"},
		"/e/" + id + "-latch-0000000003":                                     {Election, "/e"},
		"/e/_c_0a1b2c3d-0000-1111-2222-333344445555-latch-0000000003":        {Election, "/e"},
		"/s/leases/" + id + "-lease-3":                                       {Semaphore, "/s"},
		"/s/leases/_c_0a1b2c3d-0000-1111-2222-333344445555-lease-0000000003": {Semaphore, "/s"},
		"/g/" + id + "-worker-7-0000000002":                                  {Group, "/g"},
		"/g/" + id + "__party__":                                             {Group, "/g"},
		"/g/" + id + "-host":                                                 {Group, "/g"},
		"/q/taken/entry-100-0000000004":                                      {Queue, "/q"},
		"/q/items/0/0000000001/3.3-0000000004/c":                             {Queue, "/q"},
		"/q/items/-3/0000000001/3.3-0000000004/c":                            {Queue, "/q"},
		"/q/marks/" + id + "-put-0000000004":                                 {Internal, "/q"},
		"/q/waiters/" + id + "-take-0000000004":                              {Internal, "/q"},
		"/b/7/" + id + "-member-0000000004":                                  {Internal, "/b"},
		"/n/" + id + "-add-0000000004":                                       {Internal, "/n"},
		"/a/c":                                                               {}, "/q/items/0/1/c/d": {}, "/config": {}, "/x-0000000001": {}, "/": {}, "": {}, "/g/" + id + "-0000000001": {}, "/g/" + id: {},
	} {
		got, ok := Recognize(path)
		if got.Kind != want.kind || got.Place != want.place || ok != (want.kind != "") {
			t.Errorf("%s: got %q at %q, %v; want %q at %q", path, got.Kind, got.Place, ok, want.kind, want.place)
		}
	}
}

// If the path of a znode does not show its role, Layouts recognizes the role by the znode's data or
// by other znodes.
func TestLayoutsThatPathsDoNotTell(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	var l Layouts
	lease, member, lock := Znode{Path: "/s/" + id, Ephemeral: true}, Znode{Path: "/g/m", Ephemeral: true}, Znode{Path: "/x", Data: []byte(id + " web"), Ephemeral: true}
	roles := func() (all []Kind) {
		for _, z := range []Znode{lease, member, lock, {Path: lock.Path, Data: lock.Data}, {Path: "/g/n", Ephemeral: false}, {Path: "/f/m", Ephemeral: true}} {
			role, _ := l.Create(z)
			all = append(all, role.Kind)
		}
		return all
	}
	want := func(when string, want ...Kind) {
		t.Helper()
		if got := roles(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
	want("without directories", "", "", Lock, "", "", "")
	for _, z := range []Znode{{Path: "/s"}, {Path: "/s-__lock__"}, {Path: "/g", Container: true}, {Path: "/f"}} {
		if role, ok := l.Create(z); ok {
			t.Errorf("%s: got %q, want nothing", z.Path, role.Kind)
		}
	}
	want("with directories", Semaphore, Group, Lock, "", "", "")
	l.Delete("/s-__lock__")
	l.Delete("/g")
	want("after their deletion", "", "", Lock, "", "", "")
}
