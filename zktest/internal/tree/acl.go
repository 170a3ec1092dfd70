package tree

import (
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/zkcoord/zkcoord/internal/wire"
)

// superuser is the scheme of the identity that has all permissions.
const superuser = "super"

// Digest returns the identity of "user:password" under the scheme digest.
func Digest(userPassword string) string {
	user, _, _ := strings.Cut(userPassword, ":")
	sum := sha1.Sum([]byte(userPassword))
	return user + ":" + base64.StdEncoding.EncodeToString(sum[:])
}

// Authenticate returns the identities in `auth`, and the identity that a client with the address
// `ip` claims now. For the scheme digest, the claim has the form "user:password", and the function
// Digest converts the claim to the identity. If the result of Digest equals `super`, the client
// also gets the identity of the superuser. If `super` is "", there is no superuser.
//
// Authenticate returns false if the scheme does not exist, or if the claim for the scheme digest is
// nil.
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

// The function `allowed` returns OK if the ACL grants one of the permissions `perm` to one of the
// identities, and NoAuth otherwise. An empty ACL grants everything, and the superuser needs no
// grant.
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
		return matchesNet(granted.ID, id)
	}
	return false
}

// validNet reports whether an ACL may contain this address or network.
func validNet(s string, rules Rules) bool {
	if rules.NoIPv6 && strings.Contains(s, ":") {
		return false
	}
	_, _, ok := parseNet(s)
	return ok
}

// matchesNet reports whether an address is in a network.
func matchesNet(network, address string) bool {
	net, bits, ok := parseNet(network)
	addr, _, isAddr := parseNet(address)
	if !ok || !isAddr || len(net) != len(addr) {
		return false
	}
	for i := range net {
		mask := byte(0xff)
		if rest := bits - 8*i; rest < 8 {
			mask = ^byte(0xff >> max(0, rest))
		}
		if (net[i]^addr[i])&mask != 0 {
			return false
		}
	}
	return true
}

// parseNet parses an address, or a network, in the same way as ZooKeeper. The number of significant
// bits follows a slash. Without a slash, all bits are significant.
func parseNet(s string) (addr []byte, bits int, ok bool) {
	host, mask, cut := strings.Cut(s, "/")
	if strings.Contains(host, ":") {
		addr, ok = parseIPv6(host)
	} else {
		addr, ok = parseIPv4(host)
	}
	if bits = 8 * len(addr); cut {
		n, err := strconv.Atoi(mask)
		if err != nil || n < 0 || n > bits {
			return nil, 0, false
		}
		bits = n
	}
	return addr, bits, ok
}

// parseIPv4 parses an IPv4 address. Leading zeros are ignored.
func parseIPv4(s string) (addr []byte, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return nil, false
	}
	for _, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || n > 255 {
			return nil, false
		}
		addr = append(addr, byte(n))
	}
	return addr, true
}

// parseIPv6 parses an IPv6 address. An IPv4 suffix is not allowed.
func parseIPv6(s string) (addr []byte, ok bool) {
	const size = 16
	halves := strings.Split(s, "::")
	if len(halves) > 2 {
		return nil, false
	}
	addr = make([]byte, 0, size)
	for i, half := range halves {
		var segments []string
		if half != "" || len(halves) == 1 {
			segments = strings.Split(half, ":")
		}
		if i == 1 { // insert the zeros of ::
			gap := size - len(addr) - 2*len(segments)
			if gap <= 0 {
				return nil, false
			}
			addr = append(addr, make([]byte, gap)...)
		}
		for _, segment := range segments {
			n, err := strconv.ParseInt(segment, 16, 32)
			if err != nil || len(segment) > 4 {
				return nil, false
			}
			addr = append(addr, byte(n>>8), byte(n))
		}
	}
	return addr, len(addr) == size
}

// fixACL checks the ACL of a request, and returns the ACL that the znode gets. This ACL omits
// duplicate entries of the request. In place of an entry whose scheme is "auth", it has one entry
// for each digest identity of the client.
func fixACL(acl []wire.ACL, auth []wire.ID, rules Rules) ([]wire.ACL, wire.Code) {
	var fixed []wire.ACL
	for i, a := range acl {
		if slices.Contains(acl[:i], a) {
			continue
		}
		if a.ID.ID == wire.Null && (a.Scheme == "world" || a.Scheme == "digest" || a.Scheme == "ip") {
			return nil, wire.MarshallingError
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
				if id.Scheme == "digest" { // an address does not prove an identity
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
			if !validNet(a.ID.ID, rules) {
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
