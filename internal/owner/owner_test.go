package owner

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/internal/needs"
)

func TestALiveProcessIsNotGone(t *testing.T) {
	if Gone(Self()) {
		t.Errorf("Gone(%s) is true for this process, want false", Self())
	}
}

func TestAnEndedProcessIsGone(t *testing.T) {
	cmd := exec.Command("true")
	needs.Installed(t, cmd.Run())
	if mark := edit(2, strconv.Itoa(cmd.Process.Pid)); !Gone(mark) {
		t.Errorf("Gone(%s) is false for an ended process, want true", mark)
	}
}

func TestAProcessIDUsedAgainIsGone(t *testing.T) {
	if mark := edit(3, "1"); !Gone(mark) {
		t.Errorf("Gone(%s) is false for another start time, want true", mark)
	}
}

func TestAnotherBootIsGone(t *testing.T) {
	if mark := edit(0, "another"); !Gone(mark) {
		t.Errorf("Gone(%s) is false for another boot, want true", mark)
	}
}

func TestWhatCannotBeToldIsNotGone(t *testing.T) {
	for _, mark := range []string{"", "x", "1.2.3", "....", edit(1, "1"), edit(2, "x"), edit(0, "")} {
		if Gone(mark) {
			t.Errorf("Gone(%q) is true for an unreadable mark, want false", mark)
		}
	}
}

// edit returns the mark of this process with one part replaced.
func edit(part int, value string) string {
	parts := strings.Split(Self(), ".")
	parts[part] = value
	return strings.Join(parts, ".")
}
