// Package procstat parses the files /proc/<pid>/stat of Linux.
package procstat

import (
	"bytes"
	"strings"
)

// Fields returns the fields of a file /proc/<pid>/stat from the third one on. The third field is
// the state. The second field is the name of the process in parentheses. The name may contain any
// characters, also spaces and parentheses. So Fields begins after the last closing parenthesis.
func Fields(text []byte) []string {
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}
