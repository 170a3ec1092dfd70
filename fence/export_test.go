package fence

import (
	"context"
	"os"
)

// WriteFileSync is like WriteFile, but calls the given function `sync` instead of os.File.Sync.
func WriteFileSync(ctx context.Context, sync func(*os.File) error, name string, token Token, data []byte) error {
	return disk{sync}.write(ctx, name, token, data, 0o600)
}
