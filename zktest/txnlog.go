package zktest

import (
	"io"
	"slices"

	"github.com/zkcoord/zkcoord/internal/txnlog"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest/internal/tree"
)

// WriteLog writes the transaction log of a server, which may be down, in the form of ZooKeeper's
// files log.<zxid>. The log is complete if Options.KeepLog is set. Otherwise its start may be
// missing. The transaction of SetSequence is written as a refused request, because ZooKeeper has no
// such transaction.
func (e *Ensemble) WriteLog(server int, w io.Writer) error {
	e.check(server)
	var txns []*tree.Txn
	e.do(func() { txns = slices.Clone(e.cluster.Log(server)) })
	log := txnlog.NewWriter(w)
	for _, t := range txns {
		header := wire.TxnHeader{Session: t.Session, Cxid: t.Cxid, Zxid: t.Zxid, Time: t.Time, Op: t.Op}
		record := t.Record()
		if record == nil { // no record: SetSequence used this zxid
			header.Op, record = wire.OpError, &wire.ErrorTxn{}
		}
		if err := log.Append(header, record); err != nil {
			return err
		}
	}
	return nil
}
