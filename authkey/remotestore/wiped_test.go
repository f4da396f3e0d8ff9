package remotestore_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate-go/tollgate/authkey/remotestore"
)

// TestKeyTellsNoSecret, to no encoder.
func TestKeyTellsNoSecret(t *testing.T) {
	t.Parallel()
	key := remotestore.Key{ID: "h", Algorithm: "HS256", Public: bytes.Repeat([]byte("s3cr3t"), 8)}
	text, err := json.Marshal(remotestore.Tokens{Keys: []remotestore.Key{key}})
	if err != nil {
		t.Fatal(err)
	}
	for _, told := range []string{string(text), fmt.Sprintf("%v %+v %#v", key, key, key)} {
		if strings.Contains(told, "czNjcjN0") || strings.Contains(told, "s3cr3t") || !strings.Contains(told, "HS256") {
			t.Errorf("a key tells %s", told)
		}
	}
}
