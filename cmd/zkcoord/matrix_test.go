package main

import (
	"slices"
	"testing"
)

func TestColumnsOfTheMatrix(t *testing.T) {
	for _, c := range []struct {
		kinds, versions string
		want            []string
	}{
		{"embedded", "", []string{"EMBEDDED"}},
		{"container", "3.8,3.9.3,3.9.6", []string{"CONTAINER 3.8", "CONTAINER 3.9.3", "CONTAINER 3.9.6"}},
		{"embedded,process", "3.8,3.8+3.9.6", []string{"EMBEDDED 3.8", "EMBEDDED 3.8+3.9.6", "PROCESS 3.8", "PROCESS 3.8+3.9.6"}},
		{"embedded,embedded", "", []string{"EMBEDDED"}},
	} {
		var got []string
		for _, one := range columns(c.kinds, c.versions) {
			got = append(got, one.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("kinds %s and versions %s: got %q, want %q", c.kinds, c.versions, got, c.want)
		}
	}
}
