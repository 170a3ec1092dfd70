package checker

import (
	"fmt"
	"time"

	"github.com/zkcoord/zkcoord/harness/history"
)

// Verdict is the judgment of a property in a history. The zero value is Unknown. When verdicts are
// combined, Invalid outweighs Unknown, Unknown outweighs NotExercised, and NotExercised outweighs
// Valid.
type Verdict uint8

const (
	Unknown      Verdict = iota // nothing can be concluded
	NotExercised                // nothing happened that could have violated it
	Valid                       // it could have been violated and was not
	Invalid                     // it was violated
)

var verdictNames = [...]string{"unknown", "not exercised", "valid", "INVALID"}

func (v Verdict) String() string {
	if int(v) >= len(verdictNames) {
		return fmt.Sprintf("Verdict(%d)", uint8(v))
	}
	return verdictNames[v]
}

// MarshalText gives the name in lower case, for result files.
func (v Verdict) MarshalText() ([]byte, error) {
	if v == Invalid {
		return []byte("invalid"), nil
	}
	return []byte(v.String()), nil
}

// UnmarshalText parses the output of MarshalText.
func (v *Verdict) UnmarshalText(text []byte) error {
	for _, w := range []Verdict{Unknown, NotExercised, Valid, Invalid} {
		if name, _ := w.MarshalText(); string(name) == string(text) {
			*v = w
			return nil
		}
	}
	return fmt.Errorf("checker: unknown verdict %q", text)
}

// Passed reports whether v is Valid.
func (v Verdict) Passed() bool { return v == Valid }

func (v Verdict) weight() int { return [...]int{Unknown: 2, NotExercised: 1, Valid: 0, Invalid: 3}[v] }

// Worst returns the verdict that outweighs the others, or Unknown if there are no verdicts.
func Worst(verdicts ...Verdict) Verdict {
	if len(verdicts) == 0 {
		return Unknown
	}
	worst := verdicts[0]
	for _, v := range verdicts[1:] {
		if v.weight() > worst.weight() {
			worst = v
		}
	}
	return worst
}

// Property is a claim about histories.
type Property struct {
	ID    string `json:"id"`
	Claim string `json:"claim"` // one sentence, true of every legal history
}

// Result is the verdict on one property.
type Result struct {
	Property
	Verdict Verdict `json:"verdict"`
	// Reason says in one sentence, with names and times, why the verdict is not Valid. For Valid it
	// may say what was measured.
	Reason string `json:"reason,omitempty"`
	// Events are the few events that prove a violation, in order.
	Events []history.Event `json:"-"`
	// Checked counts the things that were judged. Violations counts those that violated the
	// property. Reason and Events describe the first violation.
	Checked    int `json:"checked"`
	Violations int `json:"violations,omitempty"`
	// Exposure is how long the property did not hold outside the scenario's envelope. The property
	// is not promised there.
	Exposure time.Duration `json:"exposure_ns,omitempty"`
	// Optional marks a property that need not be exercised, see [IfExercised].
	Optional bool `json:"optional,omitempty"`
}

// Overall returns the verdict on a run: the worst of its results. An optional result that is
// NotExercised does not count. If no result counts, the verdict is Unknown.
func Overall(results []Result) Verdict {
	var counted []Verdict
	for _, r := range results {
		if !r.Optional || r.Verdict != NotExercised {
			counted = append(counted, r.Verdict)
		}
	}
	return Worst(counted...)
}
