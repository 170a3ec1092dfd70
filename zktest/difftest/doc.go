// Package difftest holds zktest against ZooKeeper.
package difftest
