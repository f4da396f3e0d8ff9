package examples_test

import (
	"os"
	"strings"
	"testing"
)

// The program that the README shows is the one that is compiled here.
func TestReadmeShowsACompiledProgram(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("minimal/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(program), "\n") // without the comment on the command
	if !strings.Contains(string(readme), "```go\n"+code+"```") {
		t.Error("README.md does not show examples/minimal/main.go as it is")
	}
	if lines := strings.Count(string(readme), "\n"); lines > 180 {
		t.Errorf("README.md has %d lines, want at most 180", lines)
	}
}
