package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zkcoord/zkcoord/session"
)

// connectFlags are the flags of commands that open their own session.
type connectFlags struct {
	servers []string
	timeout time.Duration
	chroot  string
	auth    authFlags
	tls     tlsFlags

	sessionTimeout time.Duration // to request; 0 means the default

	cmd *cobra.Command
}

// authVar is the environment variable that contains a credential. There is no flag for a
// credential, because every user of the machine can see command lines.
const authVar = "ZKCOORD_AUTH"

const connectHelp = `

Each connection flag can be set by an environment variable instead, for example --tls-ca by ZKCOORD_TLS_CA. ` + authHelp

const authHelp = `A credential
is never on the command line: ZKCOORD_AUTH contains one (digest:user:password), and --auth-file names a file with one per line.`

func (f *connectFlags) define(c *cobra.Command) {
	c.Long = cmp.Or(c.Long, c.Short+".") + connectHelp
	f.cmd = c
	flags := c.Flags()
	flags.StringSliceVar(&f.servers, "servers", []string{"127.0.0.1:21810"}, "addresses of the ensemble, host:port,...")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "maximum time to wait until a session is open")
	flags.StringVar(&f.chroot, "chroot", "", "prefix of every path (default: none)")
	f.auth.define(c)
	f.tls.define(c)
}

// authFlags select the credentials to send.
type authFlags struct{ file string }

func (f *authFlags) define(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "auth-file", "", "file of credentials, one scheme:credential per line")
}

// tlsFlags describe how to connect to servers that use TLS.
type tlsFlags struct {
	on                  bool
	ca, cert, key, name string
}

func (f *tlsFlags) define(c *cobra.Command) {
	flags := c.Flags()
	flags.BoolVar(&f.on, "tls", false, "connect with TLS; implied by any other TLS flag")
	flags.StringVar(&f.ca, "tls-ca", "", "PEM file with the trusted certificates (default: those of the system)")
	flags.StringVar(&f.cert, "tls-cert", "", "PEM file with the client certificate")
	flags.StringVar(&f.key, "tls-key", "", "PEM file with the key of --tls-cert")
	flags.StringVar(&f.name, "tls-server-name", "", "expected name in the servers' certificates (default: the host of the address)")
}

// The method `used` reports whether connections use TLS.
func (f *tlsFlags) used() bool {
	return f.on || f.ca != "" || f.cert != "" || f.key != "" || f.name != ""
}

// config returns the TLS configuration of connections, or nil if they do not use TLS.
func (f *tlsFlags) config() (*tls.Config, error) {
	if !f.used() {
		return nil, nil
	}
	config := &tls.Config{ServerName: f.name, MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--tls-ca: %s contains no PEM certificate", f.ca)
		}
	}
	if (f.cert == "") != (f.key == "") {
		return nil, errors.New("--tls-cert and --tls-key must be given together")
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", f.cert, f.key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// For each named flag that was not given, fromEnvironment takes the value of an environment
// variable, for example ZKCOORD_TLS_CA for --tls-ca.
func fromEnvironment(c *cobra.Command, names ...string) error {
	for _, name := range names {
		variable := "ZKCOORD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		set := os.Getenv(variable)
		if set == "" || c.Flags().Changed(name) {
			continue
		}
		if err := c.Flags().Set(name, set); err != nil {
			return fmt.Errorf("environment variable %s: %w", variable, err)
		}
	}
	return nil
}

// authName and tlsNames name flags that can also be set by an environment variable: see
// fromEnvironment.
const authName = "auth-file"

var tlsNames = []string{"tls", "tls-ca", "tls-cert", "tls-key", "tls-server-name"}

// options returns the options of a session.
func (f *connectFlags) options() (o session.Options, err error) {
	if err := fromEnvironment(f.cmd, append([]string{"servers", "timeout", "chroot", authName}, tlsNames...)...); err != nil {
		return o, err
	}
	if f.timeout <= 0 {
		return o, fmt.Errorf("--timeout %v: it must be positive", f.timeout)
	}
	servers, chroot, err := session.ParseConnectString(strings.Join(f.servers, ","))
	if err != nil {
		return o, fmt.Errorf("--servers %s: %w", strings.Join(f.servers, ","), err)
	}
	if chroot != "" && f.chroot != "" && f.chroot != chroot { // equal values are fine: the first call of options sets f.chroot
		return o, fmt.Errorf("--chroot %s: --servers has the chroot %s already", f.chroot, chroot)
	}
	f.chroot = cmp.Or(chroot, f.chroot)
	o = session.Options{Servers: servers, Chroot: f.chroot, Timeout: f.sessionTimeout}
	if o.TLS, err = f.tls.config(); err != nil {
		return o, err
	}
	o.Auth, err = f.auth.credentials()
	return o, err
}

// credentials returns the credentials of the environment and of the file. Its errors never contain
// a credential.
func (f *authFlags) credentials() (all []session.Auth, err error) {
	add := func(from, line string) error {
		scheme, data, ok := strings.Cut(line, ":")
		if !ok || scheme == "" {
			return fmt.Errorf("%s is not of the form scheme:credential, for example digest:user:password", from)
		}
		all = append(all, session.Auth{Scheme: scheme, Data: []byte(data)})
		return nil
	}
	if set := os.Getenv(authVar); set != "" {
		if err := add("environment variable "+authVar, set); err != nil {
			return nil, err
		}
	}
	if f.file == "" {
		return all, nil
	}
	text, err := os.ReadFile(f.file)
	if err != nil {
		return nil, fmt.Errorf("--auth-file: %w", err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimRight(line, "\r\n"); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := add(fmt.Sprintf("%s: line %d", f.file, n), line); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// The method `with` opens a session, calls `do` and closes the session.
func (f *connectFlags) with(ctx context.Context, do func(context.Context, *session.Session) error) error {
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	err = do(ctx, s)
	switch {
	case errors.Is(err, session.ErrNoNode):
		err = cmp.Or(f.chrootMissing(ctx, s), err)
	default:
		err = f.auth.explain(err)
	}
	return errors.Join(err, s.Close())
}

// explain adds to an ErrNoAuth a description of the credentials that the session has used. The text
// "not authenticated" alone is misleading for a session with credentials.
func (f *authFlags) explain(err error) error {
	if errors.Is(err, session.ErrNoAuth) {
		return fmt.Errorf("%w: the ACL denies access with %s", err, f.identity())
	}
	return err
}

// identity describes the session's credentials without their secrets.
func (f *authFlags) identity() string {
	all, _ := f.credentials() // they were read successfully before
	if len(all) == 0 {
		return fmt.Sprintf("no credential (set %s or --auth-file)", authVar)
	}
	var names []string
	for _, one := range all {
		name := one.Scheme
		if user, _, ok := strings.Cut(string(one.Data), ":"); ok && one.Scheme == "digest" {
			name += ":" + user
		}
		names = append(names, name)
	}
	return "the credential of " + strings.Join(names, ", ") + ", or its password is wrong"
}

// chrootMissing returns an error if the chroot does not exist, and nil otherwise. The command
// reports this error instead of "node does not exist".
func (f *connectFlags) chrootMissing(ctx context.Context, s *session.Session) error {
	if f.chroot == "" || f.chroot == "/" {
		return nil
	}
	if st, err := s.Exists(ctx, "/"); err != nil || st != nil {
		return nil
	}
	return fmt.Errorf("the chroot %s does not exist: create it first with zkcoord znode create, without a chroot", f.chroot)
}

// open opens a session and makes sure that the servers accept its credentials. The servers reject
// credentials only after the session was opened.
func (f *connectFlags) open(ctx context.Context) (*session.Session, error) {
	opts, err := f.options()
	if err != nil {
		return nil, err
	}
	return f.openWith(ctx, opts)
}

func (f *connectFlags) openWith(ctx context.Context, opts session.Options) (*session.Session, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("gave up after %v", f.timeout))
	defer cancel()
	s, err := session.Open(bounded, opts)
	if err != nil {
		return nil, f.noSession(err)
	}
	if _, err := s.Exists(bounded, "/"); err != nil && !errors.Is(err, session.ErrNoAuth) {
		return nil, errors.Join(f.noSession(err), s.Close())
	}
	return s, nil
}

func (f *connectFlags) noSession(err error) error {
	if errors.Is(err, session.ErrAuthRequired) {
		return fmt.Errorf("%s requires a credential that was not given (set %s or --auth-file): %w", strings.Join(f.servers, ","), authVar, err)
	}
	if errors.Is(err, session.ErrCredentials) {
		return fmt.Errorf("%s rejected a credential of %s or --auth-file: %w", strings.Join(f.servers, ","), authVar, err)
	}
	hint := ""
	if f.cmd != nil && !f.cmd.Flags().Changed("servers") {
		hint = " (set the addresses with --servers or ZKCOORD_SERVERS)"
	}
	return fmt.Errorf("no session at %s: %w%s", strings.Join(f.servers, ","), err, hint)
}
