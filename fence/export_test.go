package fence

import (
	"context"
	"os"
)

// WriteFileSync is WriteFile with another sync.
func WriteFileSync(ctx context.Context, sync func(*os.File) error, name string, token Token, data []byte) error {
	return disk{sync}.write(ctx, name, token, data, 0o600)
}
