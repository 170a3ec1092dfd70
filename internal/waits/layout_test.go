package waits

import "testing"

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
		"/g/" + id + "-__party__-0000000002":                                 {Group, "/g"},
		"/q/items/0/0000000001/3.3-0000000004/c":                             {Queue, "/q"},
		"/q/items/-3/0000000001/3.3-0000000004/c":                            {Queue, "/q"},
		"/q/marks/" + id + "-put-0000000004":                                 {Internal, "/q"},
		"/q/waiters/" + id + "-take-0000000004":                              {Internal, "/q"},
		"/b/7/" + id + "-member-0000000004":                                  {Internal, "/b"},
		"/n/" + id + "-add-0000000004":                                       {Internal, "/"},
		"/a/c":                                                               {}, "/q/items/0/1/c/d": {}, "/config": {}, "/x-0000000001": {}, "/": {}, "": {}, "/g/" + id + "-0000000001": {}, "/g/" + id: {},
	} {
		got, ok := Recognize(path)
		if got.Kind != want.kind || got.Place != want.place || ok != (want.kind != "") {
			t.Errorf("%s: got %q at %q, %v; want %q at %q", path, got.Kind, got.Place, ok, want.kind, want.place)
		}
	}
}
