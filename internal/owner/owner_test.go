package owner

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestALiveProcessIsNotGone(t *testing.T) {
	if Gone(Self()) {
		t.Errorf("this process, %s, is said to be gone", Self())
	}
}

func TestAnEndedProcessIsGone(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Skip(err)
	}
	if mark := edit(2, strconv.Itoa(cmd.Process.Pid)); !Gone(mark) {
		t.Errorf("%s is said to live", mark)
	}
}

func TestAProcessIDUsedAgainIsGone(t *testing.T) {
	if mark := edit(3, "1"); !Gone(mark) {
		t.Errorf("%s, of another start time, is said to live", mark)
	}
}

func TestAnotherBootIsGone(t *testing.T) {
	if mark := edit(0, "another"); !Gone(mark) {
		t.Errorf("%s is said to live", mark)
	}
}

func TestWhatCannotBeToldIsNotGone(t *testing.T) {
	for _, mark := range []string{"", "x", "1.2.3", "....", edit(1, "1"), edit(2, "x"), edit(0, "")} {
		if Gone(mark) {
			t.Errorf("%q is said to be gone", mark)
		}
	}
}

// edit returns the mark of this process with one part changed.
func edit(part int, value string) string {
	parts := strings.Split(Self(), ".")
	parts[part] = value
	return strings.Join(parts, ".")
}
