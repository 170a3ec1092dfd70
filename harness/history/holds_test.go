package history

import (
	"strings"
	"testing"
	"time"
)

func TestHoldsAreWrittenAsALog(t *testing.T) {
	h, err := ParseText(strings.NewReader(`
1s c0 hold begin /l token=0x3 node=a-0 session=0xa
1s c0 hold begin /m token=0x4 node=b-0 session=0xa
2s c1 hold begin /q/item token=0x5
3s c0 crash
4s c1 hold end /q/item token=0x5
5s c1 hold begin /l token=0x6 node=a-1 session=0xb
6s c1 hold lost /l token=0x6
`))
	if err != nil {
		t.Fatal(err)
	}
	h.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var b strings.Builder
	if err := h.WriteHolds(&b); err != nil {
		t.Fatal(err)
	}
	const want = `{"time":"2026-01-01T00:00:01Z","level":"INFO","msg":"hold begins","path":"/l","token":3,"session":"0xa","client":"c0"}
{"time":"2026-01-01T00:00:01Z","level":"INFO","msg":"hold begins","path":"/m","token":4,"session":"0xa","client":"c0"}
{"time":"2026-01-01T00:00:03Z","level":"INFO","msg":"hold ends","path":"/l","token":3,"session":"0xa","client":"c0","cause":"crash"}
{"time":"2026-01-01T00:00:03Z","level":"INFO","msg":"hold ends","path":"/m","token":4,"session":"0xa","client":"c0","cause":"crash"}
{"time":"2026-01-01T00:00:05Z","level":"INFO","msg":"hold begins","path":"/l","token":6,"session":"0xb","client":"c1"}
{"time":"2026-01-01T00:00:06Z","level":"INFO","msg":"hold ends","path":"/l","token":6,"session":"0xb","client":"c1","cause":"lost"}
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
