package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/harness/ensemble"
	"github.com/zkcoord/zkcoord/harness/ensemble/embedded"
	"github.com/zkcoord/zkcoord/internal/kinds"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/zktest"
)

// closeTime is the maximum time for the removal of an ensemble after an interrupt.
const closeTime = time.Minute

func (a *app) ensembleCommand() *cobra.Command {
	var kind, version, logs string
	var config ensemble.Config
	var model zktest.Options
	c := &cobra.Command{
		Use:   "ensemble",
		Short: "Serve an ensemble until interrupted",
		Long: `Start an ensemble on loopback ports for any ZooKeeper client, and remove it when interrupted. The
embedded ensemble is ready at once, and loses all data when it ends.`,
		Example: `  zkcoord ensemble
  zkcoord ensemble --ensemble container --nodes 5 --port 2181
  zkcoord ensemble --ensemble process --zookeeper 3.8
  zkcoord ensemble --superuser super:secret --ttl-nodes
  zkcoord znode ls / --servers 127.0.0.1:21810`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if config.Nodes < 1 || config.TickTime <= 0 {
				return fmt.Errorf("--nodes %d, --tick %v: both must be positive", config.Nodes, config.TickTime)
			}
			if model.Superuser != "" && !strings.Contains(model.Superuser, ":") {
				return errors.New("--superuser must be a user and a password with a colon between, such as super:secret")
			}
			start, err := serving(kind, version, logs, model, a)
			if err != nil {
				return err
			}
			config.JVMFlags = flagsOf(model)
			return a.serveEnsemble(c.Context(), config, start)
		},
	}
	flags := c.Flags()
	flags.StringVarP(&kind, "ensemble", "e", "embedded", "kind of ensemble: "+strings.Join(kinds.Names(), ", "))
	defineZooKeeper(c, &version)
	flags.IntVarP(&config.Nodes, "nodes", "n", 3, "nodes of the ensemble")
	flags.IntVarP(&config.Port, "port", "p", 21810, "port of node 0; the other nodes use the next ports (0: any free ports)")
	flags.DurationVar(&config.TickTime, "tick", 2*time.Second, "ZooKeeper's tickTime; session timeouts are 2 to 20 ticks")
	flags.StringVar(&logs, "logs", "", "directory for the nodes' logs")
	flags.StringVar(&model.Superuser, "superuser", "", "user:password that passes all ACLs, as a credential of the scheme digest")
	flags.BoolVar(&model.TTLNodes, "ttl-nodes", false, "allow znodes with a time to live")
	_ = c.RegisterFlagCompletionFunc("ensemble", fixed(kinds.Names()...))
	return c
}

// The function `serving` returns a starter of ensembles that other processes can connect to. The
// argument `model` has the options of the embedded ensemble.
func serving(kind, version, logs string, model zktest.Options, a *app) (ensemble.Starter, error) {
	if kind == "embedded" {
		model.TCP = true
		return embedded.Starter(embedded.Options{Config: ensemble.Config{Version: version}, Model: model}), nil
	}
	return kinds.Starter(kind, version, logs, notes{a})
}

// flagsOf returns the JVM flags that give a ZooKeeper server the same options as `model`.
func flagsOf(model zktest.Options) (flags []string) {
	if user, password, ok := strings.Cut(model.Superuser, ":"); ok {
		flags = append(flags, "-Dzookeeper.DigestAuthenticationProvider.superDigest="+session.DigestACL(0, user, password)[0].ID)
	}
	if model.TTLNodes {
		flags = append(flags, "-Dzookeeper.extendedTypesEnabled=true")
	}
	return flags
}

func (a *app) serveEnsemble(ctx context.Context, config ensemble.Config,
	start ensemble.Starter) (err error) {
	e, err := start(ctx, config)
	if err != nil {
		return a.interruptedOr(ctx, err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		err = errors.Join(err, e.Close(closing))
	}()
	if err := e.Ready(ctx); err != nil {
		return a.interruptedOr(ctx, err)
	}
	servers, err := ensemble.Addresses(ctx, e)
	if err != nil {
		return a.interruptedOr(ctx, err)
	}
	connect := strings.Join(servers, ",")
	if a.json {
		err = a.printJSON(map[string]any{"ensemble": e.Kind(), "servers": servers, "connect": connect})
	} else {
		_, err = fmt.Fprintf(a.out, "%s\n", connect)
	}
	a.note("%s ensemble of %d nodes ready at %s; interrupt to stop it", e.Kind(), len(servers), connect)
	if err == nil {
		<-ctx.Done()
	}
	return err
}
