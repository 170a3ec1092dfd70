package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness/checker"
	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/external"
	"github.com/zkcoord/zkcoord/internal/conform"
	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

func (a *app) conformCommand() *cobra.Command {
	var connect connectFlags
	var o conform.Options
	var release string
	c := &cobra.Command{
		Use:   "conform",
		Short: "Check that servers have the properties that zkcoord needs",
		Args:  cobra.NoArgs,
		Example: `  zkcoord conform --servers zoo1:2181,zoo2:2181,zoo3:2181
  zkcoord conform --servers zoo1:2181 --traces 1000 --json
  zkcoord conform --zookeeper 3.8.0`,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Release = zktest.Version(release)
			if o.Traces < 0 {
				return fmt.Errorf("--traces %d: it must not be negative", o.Traces)
			}
			return a.conform(c.Context(), &connect, o)
		},
	}
	c.Long = `Check that servers have the properties that zkcoord needs. Do this before you use zkcoord with those servers. Give the
addresses of all servers of one ensemble.

The first part checks what the lease assumes (docs/decisions/0001-lease.md) and what recipes need: sessions, expiry,
writes, reads and watches. The second part sends random traces of requests, and compares the answers with those of zktest.
Each line is an operation and its answer. A wrong answer is followed by the expected one. Below each requirement are the
guarantees (docs/guarantees.md) and the recipes that depend on it.

The command injects no faults, so it does not show how the servers behave under faults: zkcoord run --ensemble external
does. All its znodes are in one directory, which it creates below --chroot and deletes at the end. It changes nothing else.
The check takes about half a minute if the servers' shortest session timeout is 4 s, the default. A longer timeout makes the
check take longer.

Exit codes: 0 the servers conform, 1 a guarantee does not hold, 2 a requirement could not be checked, 3 it could not run.`
	connect.define(c)
	c.Flags().IntVar(&o.Traces, "traces", 200, "number of random traces")
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of the first trace; each further trace adds 1")
	c.Flags().StringVar(&release, "zookeeper", "", "release of ZooKeeper whose answers to the traces are expected, for example 3.8.0 (default: the release that the servers report, or the newest)")
	return c
}

// conform creates a directory for o, checks the servers, and deletes the directory.
func (a *app) conform(ctx context.Context, connect *connectFlags, o conform.Options) error {
	opts, err := connect.options()
	if err != nil {
		return err
	}
	if o.Release != "" {
		if err := modeled(o.Release); err != nil {
			return fmt.Errorf("--zookeeper: %w", err)
		}
	}
	user, secret := "zkcoord-conform", rand.Text()
	o.Owner = wire.ID{Scheme: "digest", ID: session.DigestACL(session.PermAll, user, secret)[0].ID}
	opts.Auth = append(opts.Auth, session.Auth{Scheme: "digest", Data: []byte(user + ":" + secret)})
	servers, err := external.New(external.Options{Servers: opts.Servers, TLS: opts.TLS})
	if err != nil {
		return err
	}
	s, err := connect.openWith(ctx, opts)
	if err != nil {
		return err
	}
	name := "/zkcoord-conform-" + strings.ToLower(rand.Text()[:8])
	o.Root = strings.TrimSuffix(connect.chroot, "/") + name
	if _, err := s.Create(ctx, name, nil, session.Persistent); err != nil {
		if errors.Is(err, session.ErrNoNode) {
			err = cmp.Or(connect.chrootMissing(ctx, s), err)
		}
		return errors.Join(connect.auth.explain(err), s.Close())
	}
	o.Dial = servers.DialContext
	a.expecting(ctx, &o, servers.Servers())
	report := &conformReport{app: a}
	err = conform.Run(ctx, o, report.add)
	left := errors.Join(a.removed(ctx, s, name), s.Close())
	switch {
	case left != nil:
		return errors.Join(err, left)
	case ctx.Err() != nil:
		a.note("interrupted: only the requirements above were checked")
		return codeError(exitUnknown)
	case err != nil:
		return err
	}
	return report.end()
}

// The method `removed` deletes the directory that conform has created, even after an interrupt.
func (a *app) removed(ctx context.Context, s *session.Session, dir string) error {
	const patience = time.Minute
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := s.DeleteAll(ctx, dir); err != nil {
		return fmt.Errorf("%s is left behind: delete it with zkcoord znode delete -r: %w", dir, err)
	}
	return nil
}

// The method `expecting` puts the leader first in o.Servers, and chooses the release of ZooKeeper
// with which the servers are compared.
func (a *app) expecting(ctx context.Context, o *conform.Options, servers []string) {
	o.Servers = slices.Clone(servers)
	said := ""
	for i, status := range ensemble.Survey(ctx, o.Dial, servers, func(int) bool { return true }) {
		said = cmp.Or(status.Version, said)
		if status.Leads() {
			o.Servers = slices.Concat(servers[i:], servers[:i])
		}
	}
	if o.Traces == 0 || o.Release != "" {
		return
	}
	o.Release = cmp.Or(zktest.Version(said), zktest.V39)
	if modeled(o.Release) != nil {
		a.note("the servers report ZooKeeper %s, which zktest does not model: their answers are compared with %s", said, zktest.V39)
		o.Release = zktest.V39
	}
}

// The function `modeled` returns an error if zktest does not model the release.
func modeled(release zktest.Version) error {
	e, err := zktest.New(zktest.Options{Version: release})
	if err != nil {
		return err
	}
	return e.Close()
}

// A conformReport prints each finding as soon as it is available.
type conformReport struct {
	app *app
	all []conform.Finding
}

func (r *conformReport) add(f conform.Finding) error {
	r.all = append(r.all, f)
	if r.app.json {
		return r.app.printJSON(f)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %s: %s\n", conformWord(f), f.Requirement, f.What)
	for _, s := range f.Steps {
		fmt.Fprintf(&b, "         %s\n", conformStep(s))
	}
	if f.Reason != "" {
		fmt.Fprintf(&b, "         %s\n", strings.ReplaceAll(f.Reason, "\n", "\n         "))
	}
	if len(f.Guarantees) > 0 {
		fmt.Fprintf(&b, "         %s\n", standing(f))
	}
	_, err := fmt.Fprint(r.app.out, b.String())
	return err
}

func conformWord(f conform.Finding) string {
	switch f.Verdict {
	case checker.Valid:
		return "ok"
	case checker.Invalid:
		return "FAILS"
	}
	return "unknown"
}

// conformStep formats an operation with its answer, which may have several lines, and the expected
// answer.
func conformStep(s conform.Step) string {
	const below = "\n             "
	text := s.Operation + ": " + strings.ReplaceAll(s.Answer, "\n", below)
	if !s.OK {
		text += "\n           expected: " + strings.ReplaceAll(s.Expected, "\n", below)
	}
	return text
}

func standing(f conform.Finding) string {
	// A guarantee may depend on other requirements too. So if this requirement is met, that alone
	// does not prove that the guarantee holds.
	text := "these guarantees depend on it"
	if f.Verdict == checker.Invalid {
		text = "these guarantees do not hold"
	}
	text += ": " + strings.Join(f.Guarantees, ", ")
	if len(f.Recipes) > 0 {
		text += "; recipes: " + strings.Join(f.Recipes, ", ")
	}
	return text
}

// A conformSummary lists the guarantees that depend on servers: those that hold, those that do not,
// and those that could not be checked.
type conformSummary struct {
	Verdict checker.Verdict    `json:"verdict"`
	Recipes []conform.Standing `json:"recipes"`
}

// end prints the summary and returns the exit code for the verdict as an error.
func (r *conformReport) end() error {
	sum := conformSummary{Recipes: conform.Summary(r.all), Verdict: checker.Valid}
	for _, f := range r.all {
		if f.Verdict == checker.Invalid || f.Verdict == checker.Unknown && sum.Verdict != checker.Invalid {
			sum.Verdict = f.Verdict
		}
	}
	if r.app.json {
		return r.app.worst(codeOf(sum.Verdict), r.app.printJSON(sum))
	}
	w := tabwriter.NewWriter(r.app.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nPACKAGE\tHOLD\tDO NOT HOLD\tUNKNOWN")
	list := func(names []string) string { return cmp.Or(strings.Join(names, " "), "-") }
	for _, s := range sum.Recipes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Package, list(s.Stand), list(s.Fall), list(s.Unknown))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	text := map[checker.Verdict]string{
		checker.Valid:   "The servers do what zkcoord needs, as far as this can be checked without faults.",
		checker.Invalid: "Do not rely on the guarantees that do not hold. Guarantees that are not listed depend on the client alone.",
	}[sum.Verdict]
	fmt.Fprintf(r.app.out, "\n%s\n", cmp.Or(text, "Some requirements could not be checked: see above, and try again."))
	return codeOf(sum.Verdict)
}
