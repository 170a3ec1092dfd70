// Package procstat parses the files /proc/<pid>/stat of Linux.
package procstat

import (
	"bytes"
	"strings"
)

// Fields returns all fields of a file /proc/<pid>/stat except the first two. The first result is
// the state of the process. The second field of the file is the name of the process in parentheses,
// and may itself contain spaces and parentheses. So Fields begins after the last closing
// parenthesis.
func Fields(text []byte) []string {
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}
