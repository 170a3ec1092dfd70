package report

import "testing"

func TestCutsAreToldAsWhoIsCutOffFromWhom(t *testing.T) {
	for target, want := range map[string]string{
		"":                                    "",
		"n2":                                  "n2",
		"n2,n0,n1":                            "n2, n0, n1",
		"session 0x1 of c3":                   "session 0x1 of c3",
		"n0|n1":                               "n0 cut off from n1",
		"n0|n1,n0|n2":                         "n0 cut off from n1 and n2",
		"n0|n2,n1|n2":                         "n2 cut off from n0 and n1",
		"n0|n2,n0|n3,n0|n4,n1|n2,n1|n3,n1|n4": "n0 and n1 cut off from n2, n3 and n4",
		"n0|n1,n2|n3":                         "links n0|n1, n2|n3", // not a cut between two groups
		"n0>n1,n0>n2":                         "n0 not reaching n1 and n2",
		"n1>n0,n2>n0":                         "n1 and n2 not reaching n0",
	} {
		if got := targetWords(target); got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
}
