package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

var stat = Stat{Czxid: 1, Mzxid: 2, Ctime: 3, Mtime: 4, Version: 5, Cversion: 6, Aversion: 7, EphemeralOwner: 8, DataLength: 9, NumChildren: 10, Pzxid: 11}

// records has one complete value of each type of record.
var records = []Record{
	&ConnectRequest{0, 7, 4000, -1, []byte("0123456789abcdef"), true, false},
	&ConnectRequest{Password: []byte{}, NoReadOnly: true},
	&ConnectResponse{0, 4000, 5, []byte("0123456789abcdef"), true, false},
	&ConnectResponse{NoReadOnly: true},
	&RequestHeader{3, OpCreate},
	&ReplyHeader{3, 1 << 40, NoNode},
	&stat,
	&CreateRequest{"/a", []byte{}, []ACL{{PermAll, ID{"world", "anyone"}}}, 3},
	&CreateTTLRequest{CreateRequest{"/a", nil, []ACL{}, 3}, 9},
	&PathVersion{"/a", -1},
	&PathWatch{"/a", true},
	&Path{"/a"},
	&SetDataRequest{"/a", []byte("x"), 3},
	&SetACLRequest{"/a", []ACL{{1, ID{"ip", "127.0.0.1"}}}, 2},
	&ReconfigRequest{"a", "b", "c", 4},
	&AuthRequest{0, "digest", []byte("u:p")},
	&SetWatchesRequest{7, []string{"/a"}, []string{}, []string{"/b", "/c"}},
	&SetWatches2Request{SetWatchesRequest{7, []string{"/a"}, []string{}, []string{}}, []string{"/d"}, []string{"/e"}},
	&AddWatchRequest{"/a", 1},
	&WatchesRequest{"/a", 3},
	&Create2Response{"/a", stat},
	&GetDataResponse{[]byte("x"), stat},
	&Strings{[]string{"a", "b"}},
	&GetChildren2Response{[]string{"a"}, stat},
	&GetACLResponse{[]ACL{{1, ID{"world", "anyone"}}}, stat},
	&Int32{5},
	&WhoAmIResponse{[]ID{{"ip", "127.0.0.1"}}},
	&AuthToken{[]byte("x")},
	&WatcherEvent{EventDeleted, StateConnected, "/a"},
	&MultiHeader{OpCheck, false, -1},
	&MultiRequest{[]MultiOp{
		{OpCheck, &PathVersion{"/a", 1}}, {OpCreate, &CreateRequest{Path: "/a", ACL: []ACL{}}}, {OpSetData, &SetDataRequest{Path: "/a"}},
		{OpCreateTTL, &CreateTTLRequest{CreateRequest{ACL: []ACL{}}, 5}}, {OpGetData, &PathWatch{"/a", false}},
	}},
	&MultiResponse{[]MultiResult{
		{OpCreate, OK, &Path{"/a"}}, {OpDelete, OK, nil}, {OpSetData, OK, &stat}, {OpError, NoNode, nil},
		{OpGetData, OK, &GetDataResponse{nil, stat}}, {OpGetChildren, OK, &Strings{[]string{}}}, {OpCreate2, OK, &Create2Response{"/a", stat}},
	}},
}

func fresh(r Record) Record { return reflect.New(reflect.TypeOf(r).Elem()).Interface().(Record) }

func TestRecordsDecodeToWhatWasEncoded(t *testing.T) {
	for _, r := range records {
		got := fresh(r)
		rest, err := Decode(Append(nil, r), got)
		if err != nil || len(rest) != 0 || !reflect.DeepEqual(got, r) {
			t.Errorf("%T: got %+v, %d bytes left, error %v; want %+v", r, got, len(rest), err, r)
		}
	}
}

func TestEveryPrefixOfARecordIsTruncated(t *testing.T) {
	for _, r := range records {
		b := Append(nil, r)
		for n := range b {
			_, err := Decode(b[:n], fresh(r))
			if _, optional := r.(*ConnectRequest); optional && n == len(b)-1 {
				continue
			}
			if _, optional := r.(*ConnectResponse); optional && n == len(b)-1 {
				continue
			}
			if err == nil {
				t.Errorf("%T cut at %d of %d bytes was decoded, want an error", r, n, len(b))
			}
		}
	}
}

func TestHugeLengthsCostNoMemory(t *testing.T) {
	for _, b := range [][]byte{{0x7f, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xfe}, {0, 0x10, 0, 0, 1, 2, 3}} {
		allocs := testing.AllocsPerRun(10, func() {
			if _, err := Decode(b, &Strings{}); !errors.Is(err, ErrLength) {
				t.Errorf("%x: got error %v, want ErrLength", b, err)
			}
		})
		if allocs > 10 {
			t.Errorf("%x: got %v allocations, want at most 10", b, allocs)
		}
	}
}

func TestFramesCutsAStreamOfAnyChunks(t *testing.T) {
	var stream []byte
	var want [][]byte
	for i := range 20 {
		p := bytes.Repeat([]byte{byte(i)}, i*7%50)
		stream = AppendFrame(stream, raw(p))
		want = append(want, p)
	}
	for chunk := 1; chunk < 60; chunk++ {
		for _, keep := range []int{0, 5} {
			s := Frames{Keep: keep}
			i := 0
			for b := stream; len(b) > 0; {
				n := min(chunk, len(b))
				err := s.Feed(b[:n], func(f Frame) error {
					head := want[i]
					if keep > 0 && len(head) > keep {
						head = head[:keep]
					}
					if f.Size != len(want[i]) || !bytes.Equal(f.Head, head) {
						t.Fatalf("chunks of %d bytes, keep %d, frame %d: got %x of %d bytes, want %x of %d bytes",
							chunk, keep, i, f.Head, f.Size, head, len(want[i]))
					}
					i++
					return nil
				})
				if err != nil {
					t.Fatalf("chunks of %d bytes, keep %d: got error %v, want nil",
						chunk, keep, err)
				}
				b = b[n:]
			}
			if i != len(want) {
				t.Fatalf("chunks of %d bytes, keep %d: got %d frames, want %d",
					chunk, keep, i, len(want))
			}
		}
	}
}

type raw []byte

func (r raw) Fields(f *Fields) { f.buf = append(f.buf, r...) }

func TestEmptyFrameNeedsNoFurtherByte(t *testing.T) {
	var s Frames
	frames := 0
	if err := s.Feed([]byte{0, 0, 0, 0}, func(Frame) error { frames++; return nil }); err != nil || frames != 1 {
		t.Fatalf("got %d frames, error %v; want 1, nil", frames, err)
	}
}

func TestFrameBytesAreRefusedPastTheLimit(t *testing.T) {
	for _, b := range [][]byte{{0xff, 0xff, 0xff, 0xff}, {0, 0x10, 0, 0}} {
		var s Frames
		if err := s.Feed(b, func(Frame) error { return nil }); !errors.Is(err, ErrLength) {
			t.Errorf("Feed %x: got error %v, want ErrLength", b, err)
		}
		if _, err := ReadFrame(bytes.NewReader(b), nil, 0); !errors.Is(err, ErrLength) {
			t.Errorf("ReadFrame %x: got error %v, want ErrLength", b, err)
		}
	}
}

func TestReadFrame(t *testing.T) {
	stream := AppendFrame(AppendFrame(nil), &Path{string(make([]byte, 5000))})
	r := bytes.NewReader(stream)
	a, err := ReadFrame(r, nil, 0)
	if err != nil || len(a) != 0 {
		t.Fatalf("got frame %x, error %v; want an empty frame", a, err)
	}
	b, err := ReadFrame(r, a, 0)
	if err != nil || len(b) != 5004 {
		t.Fatalf("got a frame of %d bytes, error %v; want 5004, nil", len(b), err)
	}
	if _, err := ReadFrame(r, b, 0); err != io.EOF {
		t.Fatalf("at the end of the stream: got error %v, want io.EOF", err)
	}
	for n := 1; n < 4; n++ {
		if _, err := ReadFrame(bytes.NewReader(stream[:n]), nil, 0); err != io.ErrUnexpectedEOF {
			t.Fatalf("after %d bytes: got error %v, want io.ErrUnexpectedEOF", n, err)
		}
	}
	if _, err := ReadFrame(bytes.NewReader(stream[4:100]), nil, 0); err != io.ErrUnexpectedEOF {
		t.Fatalf("got error %v for a short frame, want io.ErrUnexpectedEOF", err)
	}
}

func TestFirstPath(t *testing.T) {
	for _, c := range []struct {
		op   Op
		r    Record
		want string
	}{
		{OpCreate, &CreateRequest{Path: "/a/b"}, "/a/b"},
		{OpMulti, &MultiRequest{[]MultiOp{{OpCheck, &PathVersion{"/m", -1}}}}, "/m"},
		{OpMulti, &MultiRequest{}, ""},
		{OpSetWatches, &SetWatchesRequest{}, ""},
		{OpGetEphemerals, &Path{""}, ""},
	} {
		if got := FirstPath(c.op, Append(nil, c.r)); got != c.want {
			t.Errorf("%v: got path %q, want %q", c.op, got, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for i, r := range records {
		f.Add(byte(i), Append(nil, r))
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		r := fresh(records[int(kind)%len(records)])
		_, err := Decode(b, r)
		FirstPath(Op(kind), b)
		if err != nil {
			return
		}
		// b may be one of several encodings of the record. enc is the canonical one, so decoding
		// and encoding it must give enc again.
		again := fresh(r)
		enc := Append(nil, r)
		if left, err := Decode(enc, again); err != nil || len(left) != 0 {
			t.Fatalf("%T: decoding its encoding: got error %v, %d bytes left of %d; want nil, 0",
				r, err, len(left), len(enc))
		}
		if !bytes.Equal(enc, Append(nil, again)) {
			t.Fatalf("%T: a second encoding: got %x, want the first one, %x",
				r, Append(nil, again), enc)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add(AppendFrame(AppendFrame(nil, &Path{"/a"}), &RequestHeader{}), byte(3))
	f.Fuzz(func(t *testing.T, stream []byte, chunk byte) {
		cut := func(n int) (frames [][]byte, failed bool) {
			s := Frames{Max: 1 << 10}
			for b := stream; len(b) > 0; {
				n := min(n, len(b))
				if s.Feed(b[:n], func(f Frame) error { frames = append(frames, bytes.Clone(f.Head)); return nil }) != nil {
					return frames, true
				}
				b = b[n:]
			}
			return frames, false
		}
		whole, failedWhole := cut(len(stream) + 1)
		parts, failedParts := cut(int(chunk) + 1)
		if failedWhole != failedParts || !reflect.DeepEqual(whole, parts) {
			t.Fatalf("chunks of %d bytes gave different frames", chunk+1)
		}
	})
}

func BenchmarkCreateRequest(b *testing.B) {
	r := &CreateRequest{"/a/b/c", make([]byte, 100), []ACL{{PermAll, ID{"world", "anyone"}}}, 3}
	var buf []byte
	var got CreateRequest
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendFrame(buf[:0], &RequestHeader{1, OpCreate}, r)
		if _, err := Decode(buf[12:], &got); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCuttingHeadersAllocatesNothing(t *testing.T) {
	request := Append(nil, &RequestHeader{Xid: 7, Op: OpGetData}, &Int32{Value: 1})
	reply := Append(nil, &ReplyHeader{Xid: 7, Zxid: 8, Err: NoNode}, &Int32{Value: 1})
	allocs := testing.AllocsPerRun(100, func() {
		if h, body, err := CutRequest(request); h != (RequestHeader{Xid: 7, Op: OpGetData}) || len(body) != 4 || err != nil {
			t.Fatalf("CutRequest: got %+v, body of %d bytes, error %v; want xid 7, %v, 4 bytes, nil",
				h, len(body), err, OpGetData)
		}
		if h, body, err := CutReply(reply); h != (ReplyHeader{Xid: 7, Zxid: 8, Err: NoNode}) || len(body) != 4 || err != nil {
			t.Fatalf("CutReply: got %+v, body of %d bytes, error %v; want xid 7, zxid 8, %v, 4 bytes, nil",
				h, len(body), err, NoNode)
		}
		if _, _, err := CutRequest(request[:5]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("CutRequest of a short header: got error %v, want ErrTruncated", err)
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations, want none", allocs)
	}
}

func TestNullStringIsNotTheEmptyOne(t *testing.T) {
	for text, want := range map[string]string{Null: "\xff\xff\xff\xff", "": "\x00\x00\x00\x00"} {
		b := Append(nil, &Path{Path: text})
		if string(b) != want {
			t.Errorf("encode %q: got %x, want %x", text, b, want)
		}
		var p Path
		if rest, err := Decode(b, &p); p.Path != text || len(rest) > 0 || err != nil {
			t.Errorf("decode %x: got %q, %x left, error %v; want %q", b, p.Path, rest, err, text)
		}
	}
}
