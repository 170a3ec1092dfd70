package ensemble

import "testing"

func TestCheckNode(t *testing.T) {
	for node, want := range map[int]string{
		-1: "kill node -1: the ensemble has 3 nodes",
		0:  "",
		2:  "",
		3:  "kill node 3: the ensemble has 3 nodes",
	} {
		got := ""
		if err := CheckNode("kill", node, 3); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("node %d: got %q, want %q", node, got, want)
		}
	}
}
