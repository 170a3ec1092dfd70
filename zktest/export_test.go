package zktest

// Gates counts the connections that Step looks at.
func (e *Ensemble) Gates() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.stepper.gates)
}
