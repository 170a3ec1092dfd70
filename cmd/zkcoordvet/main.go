// Command zkcoordvet finds work that continues after its lock, term or claim was lost. It is a tool
// for go vet:
//
//	go vet -vettool=$(which zkcoordvet) ./...
//
// The documentation of package vet says what zkcoordvet finds and what it does not find.
package main

import (
	"golang.org/x/tools/go/analysis/unitchecker"

	"github.com/zkcoord/zkcoord/vet"
)

func main() { unitchecker.Main(vet.Analyzer) }
