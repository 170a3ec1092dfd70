package conform

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// ofWrites returns the requirements for znodes and transactions.
func ofWrites() []requirement {
	return []requirement{
		{"token", "the answer to a create has the czxid of the znode as its zxid", []string{"L2", "E1", "F1"}, token},
		{"tokens-rise", "a later write has a larger zxid, whichever server receives it", []string{"L2", "E1", "Q4", "W2"}, tokensRise},
		{"sequence", "a sequential name ends in ten digits, which count the creates below the parent", []string{"L3", "E7", "Q4"}, sequence},
		{"atomic", "a transaction is applied as a whole or not at all", []string{"L6", "E4", "Q2", "Q10", "D1", "C1"}, atomic},
		{"conditional", "a conditional create, write or delete is applied only if its condition is true", []string{"S3", "L6", "Q3", "B3", "C1", "C2"}, conditional},
		{"in-order", "requests of one connection are executed and answered in their order", []string{"S3", "L3", "E5"}, inOrder},
		{"container", "the servers support container znodes, which they delete some time after the last child was deleted", []string{"L4", "E9", "G2", "Q8", "D6"}, container},
	}
}

func token(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		compare := func(what string, h wire.ReplyHeader, node string) error {
			stat, read, err := c.exists(node, false)
			if err != nil {
				return err
			}
			answer := "the czxid"
			switch {
			case h.Err != wire.OK:
				answer = said(h.Err)
			case read.Err != wire.OK:
				answer = "reading the znode: " + said(read.Err)
			case stat.Czxid != h.Zxid:
				answer = "another zxid"
			}
			p.saw(what+" at "+p.at(server), answer, "the czxid")
			return nil
		}
		h, node, err := c.create(p.path("token-"), wire.ModeEphemeralSequential)
		if err != nil {
			return err
		}
		if err := compare("create", h, node); err != nil {
			return err
		}
		path := p.path(fmt.Sprint("token-in-multi", server))
		h, _, err = c.multi(wire.MultiOp{Op: wire.OpCreate, Request: newCreate(path, wire.ModeEphemeral)})
		if err != nil {
			return err
		}
		if err := compare("create in a transaction", h, path); err != nil {
			return err
		}
		return c.close()
	})
}

func tokensRise(p *probe) error {
	var last int64
	node := p.path("rises")
	for i := range 3 * len(p.servers.Addresses) {
		c, err := p.open(i, time.Minute)
		if err != nil {
			return err
		}
		h, _, err := c.create(node, wire.ModePersistent)
		if err != nil {
			return err
		}
		rises := "a larger zxid"
		if h.Err != wire.OK {
			rises = said(h.Err)
		} else if h.Zxid <= last {
			rises = "no larger zxid"
		}
		p.saw("create, after the znode was deleted, at "+p.at(i), rises, "a larger zxid")
		if last = h.Zxid; h.Err != wire.OK {
			return nil
		}
		if _, err := c.delete(node); err != nil {
			return err
		}
		if err := c.close(); err != nil {
			return err
		}
	}
	return nil
}

func sequence(p *probe) error {
	c, err := p.open(0, time.Minute)
	if err != nil {
		return err
	}
	parent := p.path("numbers")
	if _, _, err := c.create(parent, wire.ModePersistent); err != nil {
		return err
	}
	for i, mode := range []int32{wire.ModePersistentSequential, wire.ModeEphemeralSequential, wire.ModePersistentSequential} {
		d, err := p.open(i, time.Minute)
		if err != nil {
			return err
		}
		h, name, err := d.create(parent+"/n-", mode)
		if err != nil {
			return err
		}
		want := fmt.Sprintf("n-%010d", i)
		answer := strings.TrimPrefix(name, parent+"/")
		if h.Err != wire.OK {
			answer = said(h.Err)
		}
		p.saw("create the next sequential znode at "+p.at(i), answer, want)
		if h.Err != wire.OK {
			return nil
		}
		if _, err := d.delete(name); err != nil { // the server must not use the sequence number of a deleted znode again
			return err
		}
	}
	return nil
}

func atomic(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		a, b := p.path(fmt.Sprint("a", server)), p.path(fmt.Sprint("b", server))
		create := func(path string) wire.MultiOp {
			return wire.MultiOp{Op: wire.OpCreate, Request: newCreate(path, wire.ModePersistent)}
		}
		_, results, err := c.multi(create(a), check(b), create(b))
		if err != nil {
			return err
		}
		p.saw("a transaction whose check fails at "+p.at(server), resultsText(results),
			"[error ok error no node error runtime inconsistency]")
		_, h, err := c.exists(a, false)
		if err != nil {
			return err
		}
		p.saw("read what its first part created", said(h.Err), said(wire.NoNode))
		_, results, err = c.multi(create(a), check(a), create(b))
		if err != nil {
			return err
		}
		p.saw("a transaction whose check succeeds", resultsText(results), "[create ok check ok create ok]")
		for _, node := range []string{a, b} {
			_, h, err := c.exists(node, false)
			if err != nil {
				return err
			}
			p.saw("read what the transaction created", said(h.Err), said(wire.OK))
		}
		return c.close()
	})
}

func conditional(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		node := p.path(fmt.Sprint("condition", server))
		for _, of := range []struct {
			what string
			op   wire.Op
			req  wire.Record
			want wire.Code
		}{
			{"create", wire.OpCreate, newCreate(node, wire.ModePersistent), wire.OK},
			{"create it again", wire.OpCreate, newCreate(node, wire.ModePersistent), wire.NodeExists},
			{"write version 0", wire.OpSetData, &wire.SetDataRequest{Path: node, Version: 0}, wire.OK},
			{"write version 0 again", wire.OpSetData, &wire.SetDataRequest{Path: node, Version: 0}, wire.BadVersion},
			{"delete version 0", wire.OpDelete, &wire.PathVersion{Path: node, Version: 0}, wire.BadVersion},
			{"delete version 1", wire.OpDelete, &wire.PathVersion{Path: node, Version: 1}, wire.OK},
			{"delete it again", wire.OpDelete, &wire.PathVersion{Path: node, Version: 1}, wire.NoNode},
		} {
			h, err := c.do(of.op, of.req, nil)
			if err != nil {
				return err
			}
			p.saw(of.what+" at "+p.at(server), said(h.Err), said(of.want))
		}
		return c.close()
	})
}

// inOrder sends four requests before it reads the first answer.
func inOrder(p *probe) error {
	return p.each(func(server int) error {
		c, err := p.open(server, time.Minute)
		if err != nil {
			return err
		}
		node := p.path(fmt.Sprint("order", server))
		err = errors.Join(
			c.send(wire.OpCreate, newCreate(node, wire.ModePersistent)),
			c.send(wire.OpExists, &wire.PathWatch{Path: node}),
			c.send(wire.OpDelete, &wire.PathVersion{Path: node, Version: -1}),
			c.send(wire.OpExists, &wire.PathWatch{Path: node}),
		)
		if err != nil {
			return err
		}
		var answers []string
		var last int32
		for range 4 {
			h, err := c.receive(nil)
			if err != nil {
				return err
			}
			if h.Xid < last {
				answers = append(answers, "out of order")
			}
			last = h.Xid
			answers = append(answers, said(h.Err))
		}
		p.saw("create, read, delete and read, sent together at "+p.at(server), strings.Join(answers, ", "), "ok, ok, ok, no node")
		return c.close()
	})
}

func container(p *probe) error {
	c, err := p.open(0, time.Minute)
	if err != nil {
		return err
	}
	h, err := c.do(wire.OpCreateContainer, newCreate(p.path("container"), wire.ModeContainer), nil)
	if err != nil {
		return err
	}
	p.saw("create a container", said(h.Err), said(wire.OK))
	return nil
}
