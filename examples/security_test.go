package examples_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sources calls look for each Go file of the tree.
func sources(t *testing.T, look func(path string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil {
			look(path, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// No client of ours takes any certificate for the right one; nor does a test, which has an authority of its own.
func TestNothingSkipsVerification(t *testing.T) {
	t.Parallel()
	seen, skip := 0, []byte("Insecure"+"SkipVerify")
	sources(t, func(path string, text []byte) {
		seen++
		if bytes.Contains(text, skip) {
			t.Errorf("%s names %s", path, skip)
		}
	})
	if seen < 100 {
		t.Errorf("looked at %d files, want the whole tree", seen)
	}
}

// What SECURITY.md says is so: each test that it names is there, and the user of Redis is that of lua/tollgate.acl.
func TestSecurityNotes(t *testing.T) {
	t.Parallel()
	notes, err := os.ReadFile("../.github/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	user, err := os.ReadFile("../lua/tollgate.acl")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(notes), "\n```\n"+string(user)+"```\n") {
		t.Error("SECURITY.md does not show lua/tollgate.acl as it is")
	}
	if lines := bytes.Count(notes, []byte("\n")); lines > 150 {
		t.Errorf("SECURITY.md has %d lines, want at most 150", lines)
	}
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	sources(t, func(path string, text []byte) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, found := range declared.FindAllSubmatch(text, -1) {
			there[string(found[1])] = true
		}
	})
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(notes, -1)
	if len(named) < 50 {
		t.Errorf("SECURITY.md names %d tests, want some for each threat", len(named))
	}
	for _, name := range named {
		if !there[string(name[1])] {
			t.Errorf("SECURITY.md names %s, and there is no such test", name[1])
		}
	}
}
