package fence_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(writerMark); name != "" {
		writeForever(name)
	}
	goleak.VerifyTestMain(m)
}
