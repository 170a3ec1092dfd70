package tree

import (
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// superuser is the scheme of who may do everything.
const superuser = "super"

// Digest returns the identity of "user:password" under the scheme digest.
func Digest(userPassword string) string {
	user, _, _ := strings.Cut(userPassword, ":")
	sum := sha1.Sum([]byte(userPassword))
	return user + ":" + base64.StdEncoding.EncodeToString(sum[:])
}

// Authenticate adds to the identities of a client on address ip the one that
// it claims. It returns false for a scheme that there is not, and for a claim
// that is null. Super is the
// digest of the superuser, "" for none.
func Authenticate(auth []wire.ID, scheme string, claim []byte, ip, super string) ([]wire.ID, bool) {
	add := func(id wire.ID) {
		if !slices.Contains(auth, id) {
			auth = append(slices.Clip(auth), id)
		}
	}
	switch scheme {
	case "digest":
		if claim == nil {
			return auth, false
		}
		d := Digest(string(claim))
		if d == super {
			add(wire.ID{Scheme: superuser})
		}
		add(wire.ID{Scheme: "digest", ID: d})
	case "ip":
		add(wire.ID{Scheme: "ip", ID: ip})
	default:
		return auth, false
	}
	return auth, true
}

// allowed returns NoAuth unless the ACL grants one of the permissions to one of
// the identities.
func allowed(acl []wire.ACL, perm int32, auth []wire.ID) wire.Code {
	if len(acl) == 0 {
		return wire.OK
	}
	for _, id := range auth {
		if id.Scheme == superuser {
			return wire.OK
		}
	}
	for _, a := range acl {
		if a.Perms&perm == 0 {
			continue
		}
		if a.Scheme == "world" && a.ID.ID == "anyone" {
			return wire.OK
		}
		for _, id := range auth {
			if id.Scheme == a.Scheme && matches(a.ID, id.ID) {
				return wire.OK
			}
		}
	}
	return wire.NoAuth
}

func matches(granted wire.ID, id string) bool {
	switch granted.Scheme {
	case "digest":
		return granted.ID == id
	case "ip":
		net, bits, ok := parseNet(granted.ID)
		addr, _, is4 := parseNet(id)
		return ok && is4 && (net^addr)>>(32-bits) == 0
	}
	return false
}

// parseNet reads an address of IPv4, all that ZooKeeper 3.8 knows in an ACL,
// with the number of bits that count behind a slash or with all of them. Zeros
// in front of a number change nothing.
func parseNet(s string) (addr uint32, bits int, ok bool) {
	host, mask, cut := strings.Cut(s, "/")
	parts := strings.Split(host, ".")
	if len(parts) != 4 {
		return 0, 0, false
	}
	for _, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || n > 255 {
			return 0, 0, false
		}
		addr = addr<<8 | uint32(n)
	}
	if bits = 32; cut {
		n, err := strconv.Atoi(mask)
		if err != nil || n < 0 || n > 32 {
			return 0, 0, false
		}
		bits = n
	}
	return addr, bits, true
}

// fixACL checks the ACL of a request and puts the identities of the client in
// place of the scheme auth.
func fixACL(acl []wire.ACL, auth []wire.ID) ([]wire.ACL, wire.Code) {
	var fixed []wire.ACL
	for i, a := range acl {
		if slices.Contains(acl[:i], a) {
			continue
		}
		switch a.Scheme {
		case "world":
			if a.ID.ID != "anyone" {
				return nil, wire.InvalidACL
			}
			fixed = append(fixed, a)
		case "auth":
			valid := false
			for _, id := range auth {
				if id.Scheme == "digest" { // an address is no proof of who one is
					valid = true
					fixed = append(fixed, wire.ACL{Perms: a.Perms, ID: id})
				}
			}
			if !valid {
				return nil, wire.InvalidACL
			}
		case "digest":
			if len(strings.Split(strings.TrimRight(a.ID.ID, ":"), ":")) != 2 {
				return nil, wire.InvalidACL
			}
			fixed = append(fixed, a)
		case "ip":
			if _, _, ok := parseNet(a.ID.ID); !ok {
				return nil, wire.InvalidACL
			}
			fixed = append(fixed, a)
		default:
			return nil, wire.InvalidACL
		}
	}
	if len(fixed) == 0 {
		return nil, wire.InvalidACL
	}
	return fixed, wire.OK
}
