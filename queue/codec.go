package queue

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// A Codec encodes items to bytes and decodes bytes to items. It must be safe for concurrent use.
// The bytes that Encode returns must never change. They may still be sent after the call that puts
// them has returned.
type Codec[T any] interface {
	Encode(T) ([]byte, error)
	Decode([]byte) (T, error)
}

// JSON stores items as JSON. It is the default.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) Encode(v T) ([]byte, error) { return json.Marshal(v) }

func (jsonCodec[T]) Decode(data []byte) (v T, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}

// Bytes stores items unchanged.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) Encode(v []byte) ([]byte, error)    { return bytes.Clone(v), nil }
func (bytesCodec) Decode(data []byte) ([]byte, error) { return bytes.Clone(data), nil }

// A DecodeError is an item that the codec could not decode. The item was moved to the dead letters.
// If the move is not confirmed, the DecodeError is joined with another error that says why.
type DecodeError struct {
	Data []byte
	Err  error
}

func (e *DecodeError) Error() string { return fmt.Sprintf("queue: item does not decode: %v", e.Err) }
func (e *DecodeError) Unwrap() error { return e.Err }
