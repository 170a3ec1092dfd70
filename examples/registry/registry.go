package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/zkcoord/zkcoord/group"
	"github.com/zkcoord/zkcoord/session"
	"github.com/zkcoord/zkcoord/watch"
)

// Paths of the instances and of their configuration.
const (
	instances = "/greeter/instances"
	config    = "/greeter/config"
)

// The type `settings` is the configuration that an operator can change while instances run.
type settings struct{ Greeting string }

func newSettings() *watch.Value[settings] {
	return watch.NewValue(config, watch.ValueOptions[settings]{
		Default: settings{Greeting: "Hello"},
		Validate: func(s settings) error {
			if s.Greeting == "" {
				return errors.New("the greeting is empty")
			}
			return nil
		},
	})
}

// The function `serve` answers requests on l, and registers the instance `id`, until ctx ends.
func serve(ctx context.Context, opts session.Options, id string, l net.Listener) error {
	current := newSettings()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s, %s, says %s", current.Load().Greeting, r.FormValue("name"), id)
	})}
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		defer context.AfterFunc(ctx, func() { server.Close() })()
		err := server.Serve(l)
		return cmp.Or(context.Cause(ctx), err)
	})
	work.Go(func() error { return session.Run(ctx, opts, current.Keep) })
	work.Go(func() error { return group.Run(ctx, opts, instances, id, []byte(l.Addr().String()), nil) })
	return work.Wait()
}

// The function `configure` changes the greeting of all instances.
func configure(ctx context.Context, opts session.Options, greeting string) error {
	return session.Run(ctx, opts, func(ctx context.Context, s *session.Session) error {
		_, err := newSettings().Update(ctx, s, func(settings) (settings, error) { return settings{greeting}, nil })
		return err
	})
}

// The function `call` sends a request to one of the instances.
func call(ctx context.Context, opts session.Options, name string) (answer string, err error) {
	err = session.Run(ctx, opts, func(ctx context.Context, s *session.Session) error {
		members, err := group.New(s, instances).Members(ctx)
		if err != nil {
			return err
		}
		answer, err = ask(ctx, http.DefaultClient, members, group.Random(), name)
		return err
	})
	return answer, err
}

// The function `ask` sends a request to the member that `next` picks. If this fails, it tries the
// other members, each at most once.
func ask(ctx context.Context, client *http.Client, members []group.Member, next group.Picker, name string) (string, error) {
	failed := fmt.Errorf("no instance in the group %s", instances)
	for len(members) > 0 {
		m := next(members)
		answer, err := get(ctx, client, "http://"+string(m.Data)+"/?name="+url.QueryEscape(name))
		if err == nil {
			return answer, nil
		}
		failed = err
		members = slices.DeleteFunc(members, func(other group.Member) bool { return other.ID == m.ID })
	}
	return "", failed
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}
