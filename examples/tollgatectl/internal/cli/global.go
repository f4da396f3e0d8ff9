package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/tollgate-go/tollgate/examples/tollgatectl/internal/client"
)

const (
	envServer = "TOLLGATE_ADMIN_URL"
	envToken  = "TOLLGATE_ADMIN_TOKEN" //nolint:gosec // the name of a variable

	defaultTimeout = 10 * time.Second
	maxTokenFile   = 4 << 10 // bytes
)

// Global is what the flags of all commands say.
type Global struct {
	Server, TokenFile, Org, Project string
	JSON, Yes, PlainHTTP            bool
	Timeout                         time.Duration
}

// register declares the flags; what they say by now is their default, so that they may stand before the command
// and after it.
func (g *Global) register(set *flag.FlagSet) {
	set.StringVar(&g.Server, "server", g.Server, "the `URL` of the admin route; the default is $"+envServer)
	set.StringVar(&g.TokenFile, "token-file", g.TokenFile, "a `file` with the admin token, instead of $"+envToken)
	set.StringVar(&g.Org, "org", g.Org, "the `name` of the org")
	set.StringVar(&g.Project, "project", g.Project, "the `name` of the project")
	set.BoolVar(&g.JSON, "json", g.JSON, "print what the server says, as JSON, one document")
	set.BoolVar(&g.Yes, "yes", g.Yes, "do it, where a command without it only shows what it would do")
	set.BoolVar(&g.PlainHTTP, "insecure-http", g.PlainHTTP, "send the token over http to other machines than this one")
	set.DurationVar(&g.Timeout, "timeout", g.Timeout, "how long each request may take, as a `duration`")
}

// connect makes the client of a call.
func (c *Call) connect(anonymous bool) error {
	if c.Server == "" {
		c.Server = c.Getenv(envServer)
	}
	if c.Server == "" {
		return usage("which server? Set --server or %s to the URL of the admin route", envServer)
	}
	token := ""
	if !anonymous {
		var err error
		if token, err = c.token(); err != nil {
			return err
		}
	}
	opts := []client.Option{client.WithTimeout(c.Timeout)}
	if c.PlainHTTP {
		opts = append(opts, client.WithPlainHTTP())
	}
	var err error
	c.client, err = client.New(c.Server, token, opts...)
	return err
}

func (c *Call) token() (string, error) {
	if c.TokenFile == "" {
		if token := c.Getenv(envToken); token != "" {
			return token, nil
		}
		return "", usage("there is no admin token; set %s or --token-file", envToken)
	}
	text, err := readFile(c.TokenFile, maxTokenFile, func(info os.FileInfo) error {
		if runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			return errors.New("others than its owner may use it; chmod 600 mends that")
		}
		return nil
	})
	if err != nil {
		return "", usage("--token-file: %v", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", usage("--token-file: it is empty")
	}
	return token, nil
}

// readFile reads a file, of which at most so many bytes are taken, after a look at what it is.
func readFile(name string, most int64, look func(os.FileInfo) error) ([]byte, error) {
	file, err := os.Open(name) //nolint:gosec // whoever calls a command may read what he can read
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	info, err := file.Stat()
	if err == nil && look != nil {
		err = look(info)
	}
	if err != nil {
		return nil, err
	}
	return readAll(file, most)
}

func readAll(r io.Reader, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("it is longer than %d bytes", most)
	}
	return text, err
}
