// Package browser drives a headless Chromium over its debugging pipe, for tests of pages. It has
// only the few commands that tests need. A library for all commands would be a dependency of every
// user of this module.
package browser

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/zkcoord/zkcoord/internal/owner"
	"github.com/zkcoord/zkcoord/internal/procs"
)

// ErrNone reports that PATH has no Chromium. To install it, run: apt-get install chromium.
var ErrNone = errors.New("browser: no chromium in PATH (on Debian: apt-get install chromium)")

var names = []string{"chromium", "chromium-browser", "google-chrome", "chrome"}

// Find returns the path of a Chromium, or ErrNone.
func Find() (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNone
}

// Browser is a running Chromium with its own profile.
type Browser struct {
	child   *procs.Child
	profile string
	out     *os.File // to the browser
	read    sync.WaitGroup

	mu      sync.Mutex
	next    int
	waiting map[int]chan message
	pages   map[string]*Page // by session
	ended   error
}

// The type `message` is a message of the protocol, in either direction.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// The type `incoming` keeps the parameters of an event undecoded.
type incoming struct {
	message
	Params json.RawMessage `json:"params"`
}

// Start starts a browser, which the caller must close. If no Chromium is installed, the error is
// ErrNone.
func Start() (*Browser, error) {
	path, err := Find()
	if err != nil {
		return nil, err
	}
	profile, err := owner.MkdirTemp("", "browser")
	if err != nil {
		return nil, err
	}
	b := &Browser{profile: profile, waiting: make(map[int]chan message), pages: make(map[string]*Page)}
	if err := b.run(path); err != nil {
		os.RemoveAll(profile)
		return nil, fmt.Errorf("browser: start %s: %w", path, err)
	}
	return b, nil
}

func (b *Browser) run(path string) error {
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return err
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		theirIn.Close()
		ourOut.Close()
		return err
	}
	b.out = ourOut
	cmd := exec.Command(path, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--hide-scrollbars", "--force-color-profile=srgb", "--user-data-dir="+b.profile,
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	b.child, err = procs.Start(cmd)
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		ourIn.Close()
		ourOut.Close()
		return err
	}
	b.read.Go(func() { b.receive(ourIn) })
	return nil
}

// Close ends the browser with all its processes and removes the profile.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = b.call(ctx, "", "Browser.close", nil, nil) // a killed browser would leave a directory outside its profile
	select {
	case <-b.child.Ended():
	case <-ctx.Done():
	}
	b.child.KillGroup()
	b.out.Close()
	b.read.Wait()
	var err error
	for range 50 { // its processes may still write while they end
		if err = os.RemoveAll(b.profile); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// receive dispatches the browser's messages until the browser ends.
func (b *Browser) receive(in *os.File) {
	defer in.Close()
	r := bufio.NewReaderSize(in, 1<<20)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			b.end(err)
			return
		}
		var m incoming
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.waiting[m.ID]; c != nil {
			delete(b.waiting, m.ID)
			c <- m.message
		} else if p := b.pages[m.Session]; p != nil {
			p.heard(m)
		}
		b.mu.Unlock()
	}
}

func (b *Browser) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = fmt.Errorf("browser: ended: %w", err)
	if errors.Is(err, io.EOF) {
		b.ended = errors.New("browser: ended")
	}
	for id, c := range b.waiting {
		delete(b.waiting, id)
		close(c)
	}
}

// The method `call` sends a command and decodes its result into `out`, unless `out` is nil.
func (b *Browser) call(ctx context.Context, session, method string, params, out any) error {
	b.mu.Lock()
	if b.ended != nil {
		b.mu.Unlock()
		return b.ended
	}
	b.next++
	id, answer := b.next, make(chan message, 1)
	b.waiting[id] = answer
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.waiting, id)
	}()
	text, err := json.Marshal(message{ID: id, Session: session, Method: method, Params: params})
	if err == nil {
		_, err = b.out.Write(append(text, 0))
	}
	if err != nil {
		return fmt.Errorf("browser: %s: %w", method, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("browser: %s: %w", method, ctx.Err())
	case m, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("browser: %s: the browser ended", method)
		case m.Error != nil:
			return fmt.Errorf("browser: %s: %s", method, m.Error.Message)
		case out == nil:
			return nil
		}
		return json.Unmarshal(m.Result, out)
	}
}

// Page is an open page.
type Page struct {
	b       *Browser
	session string

	mu       sync.Mutex
	problems []string // errors and warnings of the console, and exceptions
	requests []string // addresses of all requests
}

// View describes how a page is displayed. The zero value is a desktop with a light color scheme.
type View struct {
	Width, Height int // 1280 by 900 if zero
	Dark, Phone   bool
	Print         bool // with the styles for print
}

// Open opens address and returns when the page has loaded.
func (b *Browser) Open(ctx context.Context, address string, v View) (*Page, error) {
	var target struct{ TargetID string }
	if err := b.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	var attached struct{ SessionID string }
	if err := b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		return nil, err
	}
	p := &Page{b: b, session: attached.SessionID}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, enable := range []string{"Page.enable", "Runtime.enable", "Log.enable", "Network.enable"} {
		if err := p.call(ctx, enable, nil, nil); err != nil {
			return nil, err
		}
	}
	if err := p.Look(ctx, v); err != nil {
		return nil, err
	}
	if err := p.call(ctx, "Page.navigate", map[string]any{"url": address}, nil); err != nil {
		return nil, err
	}
	return p, p.Await(ctx, "document.readyState === 'complete'")
}

// Look changes how the page is displayed.
func (p *Page) Look(ctx context.Context, v View) error {
	if v.Width == 0 {
		v.Width, v.Height = 1280, 900
	}
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	media := "screen"
	if v.Print {
		media = "print"
	}
	return errors.Join(
		p.call(ctx, "Emulation.setDeviceMetricsOverride", map[string]any{"width": v.Width, "height": v.Height, "deviceScaleFactor": 1, "mobile": v.Phone}, nil),
		p.call(ctx, "Emulation.setEmulatedMedia", map[string]any{"media": media, "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil),
	)
}

func (p *Page) call(ctx context.Context, method string, params, out any) error {
	return p.b.call(ctx, p.session, method, params, out)
}

func (p *Page) heard(m incoming) {
	var e struct {
		Type             string
		Request          struct{ URL string }
		Entry            struct{ Level, Text string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
		Args []struct{ Value, Description any }
	}
	_ = json.Unmarshal(m.Params, &e) // other events lack these fields and match no case below
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case m.Method == "Network.requestWillBeSent":
		p.requests = append(p.requests, e.Request.URL)
	case m.Method == "Runtime.exceptionThrown":
		p.problems = append(p.problems, e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
	case m.Method == "Log.entryAdded" && e.Entry.Level == "error":
		p.problems = append(p.problems, e.Entry.Text)
	case m.Method == "Runtime.consoleAPICalled" && (e.Type == "error" || e.Type == "warning"):
		p.problems = append(p.problems, fmt.Sprint(e.Args))
	}
}

// Problems returns the errors and warnings of the console, and the uncaught exceptions, so far.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.problems...)
}

// Requests returns the addresses requested so far, first the address of the page.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.requests...)
}

// Eval evaluates a JavaScript expression and decodes its value into `out`, unless `out` is nil. If
// the value is a promise, Eval waits for its result.
func (p *Page) Eval(ctx context.Context, expression string, out any) error {
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := p.call(ctx, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	switch {
	case err != nil:
		return err
	case r.ExceptionDetails != nil:
		return fmt.Errorf("browser: %s: %s %s", expression, r.ExceptionDetails.Text, r.ExceptionDetails.Exception.Description)
	case out == nil || len(r.Result.Value) == 0:
		return nil
	}
	return json.Unmarshal(r.Result.Value, out)
}

// Await waits until a JavaScript expression is true.
func (p *Page) Await(ctx context.Context, expression string) error {
	for {
		var done bool
		if err := p.Eval(ctx, "!!("+expression+")", &done); err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("browser: waiting for %s: %w", expression, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Screenshot returns the visible part of the page as PNG, or the whole page if `whole` is set.
func (p *Page) Screenshot(ctx context.Context, whole bool) ([]byte, error) {
	var shot struct{ Data string }
	if err := p.call(ctx, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}, &shot); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(shot.Data)
}
