package harness

import "sync/atomic"

// Once is [sync.OnceFunc] for virtual time: whoever calls while f runs waits
// without a mutex, behind which a bubble of testing/synctest stands still. A
// zk.Conn takes up to a second to close.
func Once(f func()) func() {
	var begun atomic.Bool
	done := make(chan struct{})
	return func() {
		if begun.CompareAndSwap(false, true) {
			defer close(done)
			f()
			return
		}
		<-done
	}
}
