package zktest

// Gates returns the number of connections whose messages Step delivers.
func (e *Ensemble) Gates() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.stepper.gates)
}
