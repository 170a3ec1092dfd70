package watch

import (
	"bytes"
	"context"

	"github.com/zkcoord/zkcoord/recipe"
	"github.com/zkcoord/zkcoord/session"
)

// A DataChange is a state of a znode's data, and how it came to be.
type DataChange struct {
	Path string
	Kind Kind // never Same
	Data []byte
	Stat *session.Stat // nil if there is no such znode

	// Event is what the server told, the first of them if there were more;
	// 0 where nothing was told, as for the first state.
	Event session.EventType
}

// NewData returns a Watcher of the data of one znode, which need not exist. No
// request is made.
func NewData(path string) *Watcher[DataChange] {
	return newWatcher[DataChange]("data of", path, &data{path: path})
}

type data struct {
	path string
	told bool
	last session.Value // its data is a copy, since the consumer may change its own
}

func (d *data) look(ctx context.Context, _ *session.Session, w *recipe.Watches, fired []recipe.Fired) (DataChange, bool, error) {
	now, err := readData(ctx, w, d.path)
	if err != nil {
		return DataChange{}, false, err
	}
	kind := kindOf(d.last, now)
	if !d.told {
		kind = Initial
	}
	d.last, d.told = session.Value{Data: bytes.Clone(now.Data), Stat: now.Stat}, true
	change := DataChange{Path: d.path, Kind: kind, Data: now.Data, Stat: now.Stat, Event: eventOf(fired)}
	return change, kind != Same, nil
}

// readData reads the data of a znode and leaves a watch. Without such a znode
// the stat is nil, and the watch waits for it.
func readData(ctx context.Context, w *recipe.Watches, path string) (session.Value, error) {
	for {
		value, err := w.Get(ctx, path)
		if !isNoNode(err) {
			return value, err
		}
		// A Get that finds nothing leaves no watch.
		stat, err := w.Exists(ctx, path)
		if err != nil || stat == nil {
			return session.Value{}, err
		}
	}
}
