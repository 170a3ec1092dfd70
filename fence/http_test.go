package fence_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/zkcoord/zkcoord/fence"
)

// The function `post` sends a request with the token. It returns the status, the body and the error
// of the response.
func post(t *testing.T, s *httptest.Server, token fence.Token) (status int, body string, err error) {
	t.Helper()
	transport := &fence.Transport{Base: s.Client().Transport}
	r, err := http.NewRequestWithContext(fence.WithToken(t.Context(), token), http.MethodPost, s.URL, strings.NewReader("data"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(r)
	if r.Header.Get(fence.Header) != "" {
		t.Error("the transport has modified the caller's request")
	}
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), fence.ResponseError(response)
}

// The handler of a Gate serves requests with equal and larger tokens. It refuses a request with a
// smaller token, and the response has both tokens.
//
// Covers F1, F2, F3.
func TestHTTPRefusesSmallerTokens(t *testing.T) {
	gate, served := &fence.Gate{Name: "account"}, 0
	s := httptest.NewServer(gate.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served++
		if token, ok := fence.FromContext(r.Context()); !ok || token != gate.Largest() {
			t.Errorf("the handler got token %d, %t, want %d, true", token, ok, gate.Largest())
		}
	})))
	defer s.Close()
	for _, token := range []fence.Token{5, 5, 7} {
		if status, _, err := post(t, s, token); status != http.StatusOK || err != nil {
			t.Fatalf("token %d: got status %d, error %v; want 200, nil", token, status, err)
		}
	}
	status, body, err := post(t, s, 6)
	var stale *fence.StaleError
	if !errors.As(err, &stale) || stale.Token != 6 || stale.Largest != 7 || status != http.StatusPreconditionFailed {
		t.Errorf("token 6 after 7: got status %d, error %v; want 412 and a StaleError with both tokens", status, err)
	}
	if !strings.Contains(body, "account: token 6 is stale: the largest token accepted is 7") {
		t.Errorf("got body %q, want both tokens in it", body)
	}
	if served != 3 {
		t.Errorf("got %d requests served, want 3", served)
	}
}

// The server refuses requests without a valid token, and the client does not send requests without
// a token.
//
// Covers F6.
func TestHTTPRefusesRequestsWithoutAToken(t *testing.T) {
	s := httptest.NewServer(fence.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request without a valid token was served")
	})))
	defer s.Close()
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{nil, 428}, {[]string{""}, 400}, {[]string{"0"}, 400}, {[]string{"-5"}, 400}, {[]string{"5x"}, 400},
		{[]string{"0x5"}, 400}, {[]string{"9223372036854775808"}, 400}, {[]string{"5", "6"}, 400}, {[]string{"5, 6"}, 400},
		{[]string{"+5"}, 400}, {[]string{"05"}, 400}, {[]string{"5.0"}, 400}, {[]string{"5e3"}, 400}, {[]string{"1_000"}, 400},
		{[]string{"5\u00a0"}, 400}, {[]string{"٥"}, 400}, {[]string{"5", "5"}, 400}, {[]string{"", "5"}, 400},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header[fence.Header] = c.headers
		response, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != c.status {
			t.Errorf("headers %q: got status %d, want %d", c.headers, response.StatusCode, c.status)
		}
		if err := fence.ResponseError(response); (c.status == 428) != errors.Is(err, fence.ErrNoToken) {
			t.Errorf("headers %q: got error %v, want ErrNoToken only for status 428", c.headers, err)
		}
	}
	if _, _, err := post(t, s, 0); !errors.Is(err, fence.ErrNoToken) {
		t.Errorf("request with token 0: got %v, want %v", err, fence.ErrNoToken)
	}
	response, err := (&http.Client{Transport: &fence.Transport{}}).Post(s.URL, "", strings.NewReader("data"))
	if err == nil {
		response.Body.Close()
	}
	if !errors.Is(err, fence.ErrNoToken) {
		t.Errorf("request whose context has no token: got %v, want %v", err, fence.ErrNoToken)
	}
}

// A proxy may respond with 412 for a reason other than a stale token. If such a response has no
// header Fencing-Token, ResponseError returns nil.
func TestOtherResponsesAreNoErrors(t *testing.T) {
	for _, status := range []int{200, 400, 412, 500} {
		if err := fence.ResponseError(&http.Response{StatusCode: status, Header: http.Header{}}); err != nil {
			t.Errorf("status %d: got error %v, want nil", status, err)
		}
	}
	w := httptest.NewRecorder()
	if fence.WriteError(w, errHere) || w.Body.Len() > 0 {
		t.Errorf("another error was written: got body %q, want none", w.Body)
	}
}

func TestRequestOfAClientThatHasGoneIsNotServed(t *testing.T) {
	var gate fence.Gate
	h := gate.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request of a client that has gone was served") }))
	_ = gate.Do(t.Context(), 5, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
		r.Header.Set(fence.Header, "6")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("got status %d, want 503", w.Code)
		}
		return nil
	})
}
