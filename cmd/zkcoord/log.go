package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// logger returns a logger that prints a session's messages for operators: connections, losses, and
// failed attempts.
func (a *app) logger() *slog.Logger { return slog.New(noteHandler{a}) }

// noteHandler writes a record as a line for the user.
type noteHandler struct{ a *app }

func (h noteHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

func (h noteHandler) Handle(_ context.Context, r slog.Record) error {
	var parts []string
	r.Attrs(func(attr slog.Attr) bool {
		parts = append(parts, fmt.Sprintf("%s %v", attr.Key, attr.Value))
		return true
	})
	h.a.note("%s: %s", r.Message, strings.Join(parts, ", "))
	return nil
}

// WithAttrs and WithGroup do nothing, because sessions attach attributes only to single records.
func (h noteHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h noteHandler) WithGroup(string) slog.Handler      { return h }
