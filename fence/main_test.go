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
	if name := os.Getenv(limitedMark); name != "" {
		writeLimited(name)
	}
	goleak.VerifyTestMain(withServer{m})
}

// withServer stops the database server before goleak checks for goroutines.
type withServer struct{ *testing.M }

func (m withServer) Run() int {
	code := m.M.Run()
	if server.Server != nil {
		_ = server.Close()
	}
	return code
}
