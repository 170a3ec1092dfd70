package postgres

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// The function `credential` returns the user that the programs run as. It is nil if this process
// does not run as root.
func credential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
	}
	return nil, errors.New("postgres: found neither a user postgres nor a user nobody, and PostgreSQL does not run as root")
}

func unprivileged(cmd *exec.Cmd) error {
	who, err := credential()
	if who != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	}
	return err
}

// giveAway gives the directory to the user that the function `credential` returns.
func giveAway(dir string) error {
	who, err := credential()
	if who == nil || err != nil {
		return err
	}
	return os.Chown(dir, int(who.Uid), int(who.Gid))
}
