package session

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkcoord/zkcoord/internal/wire"
	"github.com/zkcoord/zkcoord/zktest"
)

// The function `forms` returns the forms in which a secret can appear in text.
func forms(secret []byte) []string {
	return []string{string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret), fmt.Sprint(secret), fmt.Sprintf("%q", secret),
		strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte")}
}

func tellsNothing(t *testing.T, what, text string, secrets ...[]byte) {
	t.Helper()
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			if strings.Contains(text, form) {
				t.Errorf("%s contains a secret, in the form %s", what, form)
			}
		}
	}
}

func TestCredentialsAreNotPrinted(t *testing.T) {
	secret := []byte("user:3Rz-secret")
	opts := Options{Auth: []Auth{{"digest", secret}}}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "auth", opts.Auth[0], "all", opts.Auth, "options", opts)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "auth", opts.Auth[0], "all", opts.Auth, "options", opts)
	document, err := json.Marshal(opts.Auth)
	must(t, err)
	for what, text := range map[string]string{
		"%v": fmt.Sprintf("%v", opts), "%+v": fmt.Sprintf("%+v", opts), "%#v": fmt.Sprintf("%#v", opts), "%s": fmt.Sprintf("%s", opts.Auth), "%x": fmt.Sprintf("%x", opts.Auth),
		"JSON": string(document), "a log": log.String(),
	} {
		tellsNothing(t, what, text, secret)
	}
}

// The test provokes many failures. No log record and no error contains the credential or the
// password of the session.
func TestCredentialsAreNotInLogsAndErrors(t *testing.T) {
	secret := []byte("user:3Rz-secret")
	var log bytes.Buffer
	var errs []error
	var password []byte
	inBubble(t, zktest.Options{}, func(t *testing.T, e *zktest.Ensemble) {
		ctx := t.Context()
		opts := on(e)
		opts.Auth = []Auth{{"digest", secret}}
		opts.ACL = zk.DigestACL(zk.PermRead, "somebody", "else")
		opts.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		s := open(t, opts)
		password = s.Password()
		_, err := s.Create(ctx, "/p", nil, Persistent)
		errs = append(errs, err)
		_, err = s.Set(ctx, "/p", nil, AnyVersion)
		errs = append(errs, err)
		for i := range e.Servers() {
			e.Kill(i)
		}
		time.Sleep(time.Minute)
		_, err = s.Get(ctx, "/p")
		errs = append(errs, err, s.Err(), s.Close())
	})
	sc := &script{reply: func(n int, h wire.RequestHeader, _ []byte) (wire.Code, bool) {
		if h.Op == wire.OpAuth {
			return wire.AuthFailed, true
		}
		return wire.OK, true
	}}
	opts := sc.options()
	opts.Auth = []Auth{{"digest", secret}}
	scripted(t, sc, func(t *testing.T) {
		s, refused := Open(t.Context(), opts)
		if refused == nil { // the refusal may arrive after Open has returned
			refused = cause(t, s.Context(), time.Second)
			errs = append(errs, s.Close())
		}
		if !errors.Is(refused, wire.AuthFailed) {
			t.Errorf("the session ended with %v, want %v", refused, wire.AuthFailed)
		}
		errs = append(errs, refused)
	})
	if log.Len() == 0 {
		t.Error("nothing was logged, want log records to inspect")
	}
	tellsNothing(t, "the log", log.String(), secret, password)
	tellsNothing(t, "an error", fmt.Sprintf("%v %+v", errors.Join(errs...), errs), secret, password)
}
