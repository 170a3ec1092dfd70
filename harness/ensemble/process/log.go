package process

import (
	"bytes"
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// A logPipe copies the output of one run of a server to its log file. It is a named pipe, so that
// the method `stall` can also open it for writing, and fill it. While the pipe is full, every
// thread of the server that writes a line blocks, as if a log collector had stopped reading.
type logPipe struct {
	path   string
	reader *os.File
	gate   gate          // cut while the log stalls, so that the method `copy` waits
	closed chan struct{} // closed by the method `end`; a stall then ends
	done   chan struct{} // closed when everything is in the file
}

// The constant `filler` is the byte that fills the pipe. A server writes no such bytes to its log.
// The method `copy` omits them from the file.
const filler = "\x00"

// newLogPipe creates a pipe at path. A goroutine copies the contents of the pipe to file, and
// closes file when the copy is complete. The caller passes `writer` to the server, and then closes
// `writer`.
func newLogPipe(path string, file *os.File) (p *logPipe, writer *os.File, err error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	reader, err := openFIFO(path)
	if err != nil {
		return nil, nil, err
	}
	writer, err = os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, nil, errors.Join(err, reader.Close())
	}
	p = &logPipe{path: path, reader: reader, closed: make(chan struct{}), done: make(chan struct{})}
	go p.copy(file)
	return p, writer, nil
}

// The method `copy` copies the contents of the pipe to file. It ends when no process has the pipe
// open for writing.
func (p *logPipe) copy(file *os.File) {
	defer close(p.done)
	defer file.Close()
	defer p.reader.Close()
	chunk := make([]byte, 4<<10)
	for {
		p.gate.pass(p.closed)
		n, err := p.reader.Read(chunk)
		_, _ = file.Write(bytes.ReplaceAll(chunk[:n], []byte(filler), nil))
		if err != nil {
			return
		}
	}
}

// The method `stall` fills the pipe, and stops reading from it.
func (p *logPipe) stall(ctx context.Context) error {
	before := p.gate.stopped.Load()
	if p.gate.standing() != nil {
		return nil
	}
	p.gate.cut()
	w, err := os.OpenFile(p.path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return errors.Join(err, p.flow())
	}
	defer w.Close()
	// The goroutine of the method `copy` may be in the middle of a read. It then takes one more
	// chunk from the pipe, so the pipe must be filled again.
	for waiting := false; !waiting; {
		waiting = p.gate.stopped.Load() > before
		if err := fill(w); err != nil {
			return errors.Join(err, p.flow())
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(err, p.flow())
		}
	}
	return nil
}

// The function `fill` writes until the pipe has accepted no further byte for 5 ms.
func fill(w *os.File) error {
	const patience = 5 * time.Millisecond
	for size := 4 << 10; size > 0; size /= 8 {
		chunk := bytes.Repeat([]byte(filler), size)
		for {
			if err := w.SetWriteDeadline(time.Now().Add(patience)); err != nil {
				return err
			}
			_, err := w.Write(chunk)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// The method `flow` reads from the pipe again.
func (p *logPipe) flow() error {
	p.gate.mend()
	return nil
}

// The method `end` waits until all output of the server is in the file. Call it after the server
// has ended.
func (p *logPipe) end() {
	close(p.closed)
	<-p.done
}
