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
	parts, err := os.ReadFile("readme_parts_test.go")
	if err != nil {
		t.Fatal(err)
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for i, block := range strings.Split(string(readme), "```go\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if i > 0 && !strings.Contains(squeeze(string(parts)), squeeze(block)) {
			t.Errorf("README.md shows code that readme_parts_test.go does not compile:\n%s", block)
		}
	}
	if lines := strings.Count(string(readme), "\n"); lines > 180 {
		t.Errorf("README.md has %d lines, want at most 180", lines)
	}
}
