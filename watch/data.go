package watch

import (
	"bytes"
	"context"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A DataChange is a state of a znode's data, and the kind of the change that
// led to it.
type DataChange struct {
	Path string
	Kind Kind // never Same
	Data []byte
	Stat *session.Stat // nil if there is no such znode

	// Event is the server's event, or the first one if there were several. It
	// is 0 if there was none, for example for the first state.
	Event session.EventType
}

// NewData returns a Watcher of the data of one znode. The znode need not exist.
// NewData sends no request.
func NewData(path string) *Watcher[DataChange] {
	return newWatcher[DataChange]("data of", path, &data{path: path})
}

type data struct {
	path     string
	reported bool
	last     session.Value // with its own copy of the data, because consumers may modify theirs
}

func (d *data) refresh(ctx context.Context, _ *session.Session, w *recipe.Watches, fired []recipe.Fired) (DataChange, bool, error) {
	now, err := readData(ctx, w, d.path)
	if err != nil {
		return DataChange{}, false, err
	}
	kind := kindOf(d.last, now)
	if !d.reported {
		kind = Initial
	}
	d.last, d.reported = session.Value{Data: bytes.Clone(now.Data), Stat: now.Stat}, true
	change := DataChange{Path: d.path, Kind: kind, Data: now.Data, Stat: now.Stat, Event: eventOf(fired)}
	return change, kind != Same, nil
}

// readData reads the data of a znode and sets a watch. If there is no such znode, it returns a nil
// stat, and the watch fires when the znode is created.
func readData(ctx context.Context, w *recipe.Watches, path string) (session.Value, error) {
	for {
		value, err := w.Get(ctx, path)
		if !isNoNode(err) {
			return value, err
		}
		// A Get that finds no znode sets no watch.
		stat, err := w.Exists(ctx, path)
		if err != nil || stat == nil {
			return session.Value{}, err
		}
	}
}
