package process

import (
	"runtime"
	"testing"
)

// Regression: two ensembles chose the same port, because a JVM binds its port seconds after the
// port was found free. The second JVM ended with "Leaving listener thread".
func TestReservedPortIsNotReservedAgain(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("ports are reserved only on Linux")
	}
	port, reservation, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reserve(port); err == nil {
		t.Errorf("port %d was reserved twice, want an error", port)
	}
	held := reservations{reservation}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := reserve(port)
	if err != nil {
		t.Fatalf("port %d was returned, but it cannot be reserved: %v", port, err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
