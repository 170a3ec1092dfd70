package wire

import "strconv"

// A Code is the outcome of a request, from the header of its reply. It implements error, but [OK]
// is not an error: where the code is OK, return nil as the error.
type Code int32

// The codes of ZooKeeper 3.8.
const (
	OK                       Code = 0
	SystemError              Code = -1
	RuntimeInconsistency     Code = -2
	DataInconsistency        Code = -3
	ConnectionLoss           Code = -4
	MarshallingError         Code = -5
	Unimplemented            Code = -6
	OperationTimeout         Code = -7
	BadArguments             Code = -8
	NewConfigNoQuorum        Code = -13
	ReconfigInProgress       Code = -14
	UnknownSession           Code = -12
	APIError                 Code = -100
	NoNode                   Code = -101
	NoAuth                   Code = -102
	BadVersion               Code = -103
	NoChildrenForEphemerals  Code = -108
	NodeExists               Code = -110
	NotEmpty                 Code = -111
	SessionExpired           Code = -112
	InvalidCallback          Code = -113
	InvalidACL               Code = -114
	AuthFailed               Code = -115
	SessionMoved             Code = -118
	NotReadOnly              Code = -119
	EphemeralOnLocalSession  Code = -120
	NoWatcher                Code = -121
	RequestTimeout           Code = -122
	ReconfigDisabled         Code = -123
	SessionClosedRequireSASL Code = -124
	QuotaExceeded            Code = -125
	ThrottledOp              Code = -127
)

var codeNames = map[Code]string{
	OK: "ok", SystemError: "system error", RuntimeInconsistency: "runtime inconsistency",
	DataInconsistency: "data inconsistency", ConnectionLoss: "connection loss",
	MarshallingError: "marshalling error", Unimplemented: "unimplemented",
	OperationTimeout: "operation timeout", BadArguments: "bad arguments",
	NewConfigNoQuorum: "new config no quorum", ReconfigInProgress: "reconfig in progress",
	UnknownSession: "unknown session", APIError: "api error", NoNode: "no node", NoAuth: "no auth",
	BadVersion: "bad version", NoChildrenForEphemerals: "no children for ephemerals",
	NodeExists: "node exists", NotEmpty: "not empty", SessionExpired: "session expired",
	InvalidCallback: "invalid callback", InvalidACL: "invalid acl", AuthFailed: "auth failed",
	SessionMoved: "session moved", NotReadOnly: "not read-only",
	EphemeralOnLocalSession: "ephemeral on local session", NoWatcher: "no watcher",
	RequestTimeout: "request timeout", ReconfigDisabled: "reconfig disabled",
	SessionClosedRequireSASL: "session closed, requires sasl", QuotaExceeded: "quota exceeded",
	ThrottledOp: "throttled operation",
}

func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return "code(" + strconv.Itoa(int(c)) + ")"
}

// Error implements error.
func (c Code) Error() string { return "zookeeper: " + c.String() }
