package stoa

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Context is who one is and which masters one talks to.
type Context struct {
	Masters  []string
	identity *tls.Config
}

// LoadContext reads the directory that STOA_CONTEXT names, else that of the last `stoa up`: ca.pem, cert.pem, key.pem and
// masters, as `stoa join` writes them.
func LoadContext() (*Context, error) {
	dir := os.Getenv("STOA_CONTEXT")
	if dir == "" {
		config, err := os.UserConfigDir()
		if err != nil {
			return nil, err
		}
		current, err := os.ReadFile(filepath.Join(config, "stoa", "current"))
		if err != nil {
			return nil, fmt.Errorf("no context: set STOA_CONTEXT, or start a cluster with `stoa up`: %w", err)
		}
		dir = strings.TrimSpace(string(current))
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", filepath.Join(dir, "ca.pem"))
	}
	file := filepath.Join(dir, "masters")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	// Every master's certificate carries this name beside its identity.
	identity := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: "master.stoa"}
	context := &Context{identity: identity}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			context.Masters = append(context.Masters, line)
		}
	}
	if len(context.Masters) == 0 {
		return nil, fmt.Errorf("%s names no master; write host:port, one a line", file)
	}
	return context, nil
}

// A link to a master, which must show that it is one of this cluster; a leader that falls silent is given up.
func (c *Context) dial(master string) (*grpc.ClientConn, error) {
	alive := keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}
	identity := grpc.WithTransportCredentials(credentials.NewTLS(c.identity))
	large := grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(256 << 20))
	return grpc.NewClient(master, identity, grpc.WithKeepaliveParams(alive), large)
}

// An error that every master will give again; nil for one that passes.
func fatal(err error) error {
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument, codes.Unimplemented, codes.OutOfRange:
		return err
	}
	return nil
}

// Writes a file whole or not at all.
func keep(file, text string) error {
	fresh := file + ".fresh"
	if err := os.WriteFile(fresh, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, file)
}
