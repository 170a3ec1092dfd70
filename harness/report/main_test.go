package report

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(saveMark); dir != "" {
		saveForEver(dir)
	}
	goleak.VerifyTestMain(m)
}
