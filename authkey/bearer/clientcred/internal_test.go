package clientcred

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

type counted int

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	*c++
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"access_token":"token-1","token_type":"Bearer"}`)),
	}, nil
}

// A caller who looked just before another's question was answered, and asks just after it, gets that answer.
func TestWhatWasJustAnsweredIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	var asked counted
	source, err := New("https://login.example/token", SecretBasic("search", "secret"), WithTransport(&asked))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	seen := source.state.Load()
	for range 3 {
		if token, err := source.wait(t.Context(), seen, false); err != nil || token.Access.Reveal() != "token-1" {
			t.Errorf("token %q, error %v", token.Access.Reveal(), err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
}
