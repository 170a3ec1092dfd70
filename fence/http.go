package fence

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// Header is the name of the header with the token of a request, in decimal,
// without a sign or leading zeros. In the response to a request with a stale
// token, it has the largest token.
const Header = "Fencing-Token"

// Transport adds the token of each request's context to the request: see
// [WithToken]. The zero value is ready for use. A request whose context has no
// token is not sent and fails with [ErrNoToken].
type Transport struct {
	Base http.RoundTripper // nil means http.DefaultTransport
}

// RoundTrip sends the request with the token. It returns the response
// unchanged: see [ResponseError].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	token, _ := FromContext(r.Context())
	if err := valid(r.URL.Redacted(), token); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set(Header, strconv.FormatInt(int64(token), 10))
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(r)
}

// ResponseError returns a *[StaleError] if the response says that the request's token was stale. If
// it says that the request had no token, the error is [ErrNoToken]. For any other response,
// ResponseError returns nil.
func ResponseError(r *http.Response) error {
	resource, sent := "", Token(0)
	if r.Request != nil {
		resource = r.Request.URL.Redacted()
		sent, _ = FromContext(r.Request.Context())
	}
	switch r.StatusCode {
	case http.StatusPreconditionRequired:
		return fmt.Errorf("%w: %s%s", ErrNoToken, prefix(resource), r.Status)
	case http.StatusPreconditionFailed:
		if largest, err := parse(r.Header); err == nil {
			return &StaleError{Resource: resource, Token: sent, Largest: largest}
		}
	}
	return nil
}

// Handler returns a handler that calls `next` for each request that has a token. The token is then
// in the request's context: see [FromContext]. The handler does not compare the token. Use it for a
// resource that compares the token in the step that writes, for example with [Table.Do]. For a
// resource in memory use [Gate.Handler]. A request without a token gets status 428. A request whose
// token is not a number above zero gets status 400.
func Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := parse(r.Header)
		if err != nil {
			WriteError(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(WithToken(r.Context(), token)))
	})
}

// Handler returns a handler that calls `next` within [Gate.Do], for one request at a time. A
// request with a stale token gets status 412, a request without a token gets 428, and a request
// whose token is not a number above zero gets 400. If the client disconnects while its request
// waits, the request is not served. A client that is paused while it sends the body makes the other
// requests wait: set http.Server.ReadTimeout.
func (g *Gate) Handler(next http.Handler) http.Handler {
	return Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := FromContext(r.Context())
		err := g.Do(r.Context(), token, func(context.Context) error {
			next.ServeHTTP(w, r)
			return nil
		})
		if err != nil && !WriteError(w, err) {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
}

// WriteError writes the response to a request that is refused with err: status
// 412 and the largest token for a [StaleError], and 428 or 400 for
// [ErrNoToken]. For any other error it writes nothing and returns false.
func WriteError(w http.ResponseWriter, err error) bool {
	var stale *StaleError
	var bad *strconv.NumError
	switch {
	case errors.As(err, &stale):
		w.Header().Set(Header, strconv.FormatInt(int64(stale.Largest), 10))
		http.Error(w, err.Error(), http.StatusPreconditionFailed)
	case errors.As(err, &bad):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, ErrNoToken):
		http.Error(w, err.Error(), http.StatusPreconditionRequired)
	default:
		return false
	}
	return true
}

var errFormat = errors.New("want one number above zero, without a sign or a leading zero")

// The function `parse` returns the token of a header. Two headers are an error, because a proxy
// that joins them and a proxy that uses the first one would disagree. A sign or a leading zero is
// an error, because other programs may read a different number.
func parse(h http.Header) (Token, error) {
	values := h.Values(Header)
	if len(values) == 0 {
		return 0, fmt.Errorf("%w: the header %s is missing", ErrNoToken, Header)
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	if err == nil && (n <= 0 || len(values) > 1 || values[0] != strconv.FormatInt(n, 10)) {
		err = &strconv.NumError{Func: "ParseInt", Num: fmt.Sprint(values), Err: errFormat}
	}
	if err != nil {
		return 0, fmt.Errorf("%w: the header %s: %w", ErrNoToken, Header, err)
	}
	return Token(n), nil
}
