package harness

import "sync/atomic"

// Once is [sync.OnceFunc] for virtual time. A caller that arrives while f runs waits without a
// mutex. In a bubble of testing/synctest, virtual time does not advance while a goroutine waits for
// a mutex. But time must advance if f itself waits. For example, the Close of a zk.Conn waits for
// up to a second.
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
