package history

import (
	"strings"
	"testing"
)

func TestEDN(t *testing.T) {
	h := parse(t, `
		1ms c0 invoke put /q arg=7
		2ms - fault start object=link-stall node=c0 step=1
		3ms c0 info put /q error="cut \"here\""
		4ms c1 hold begin /q token=1
		5ms c1/p4 invoke take /q
		6ms c1/p4 ok take /q result="a\nb" zxid=0x10
	`)
	var b strings.Builder
	if err := h.WriteEDN(&b); err != nil {
		t.Fatal(err)
	}
	want := `{:index 0, :time 1000000, :type :invoke, :process 0, :f :put, :value 7, :key "/q"}
{:index 1, :time 2000000, :type :info, :process :nemesis, :f :start-link-stall, :value "c0", :key "link-stall"}
{:index 2, :time 3000000, :type :info, :process 0, :f :put, :value 7, :key "/q", :error "cut \"here\""}
{:index 4, :time 5000000, :type :invoke, :process 4, :f :take, :value nil, :key "/q"}
{:index 5, :time 6000000, :type :ok, :process 4, :f :take, :value "a\nb", :key "/q", :zxid 16}
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
