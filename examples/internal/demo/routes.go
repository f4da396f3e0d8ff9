package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
)

const searchWindow = 10 * time.Second

// Matrix is the body of POST /v1/matrix.
type Matrix struct {
	Origins      int64 `json:"origins"`
	Destinations int64 `json:"destinations"`
}

// maxSide bounds a matrix, so that the number of its elements cannot overflow.
const maxSide = 1_000_000

// Elements returns how many elements a matrix has, and an error if it has no size.
func (m Matrix) Elements() (int64, error) {
	if m.Origins < 1 || m.Origins > maxSide || m.Destinations < 1 || m.Destinations > maxSide {
		return 0, fmt.Errorf("origins and destinations must be 1 to %d", maxSide)
	}
	return m.Origins * m.Destinations, nil
}

// matrixCost reads the body to tell what the request costs, and leaves it for the handler to read again.
func matrixCost(r *http.Request) (int64, error) {
	const most = 4 << 10
	body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		return 0, err
	}
	if len(body) > most {
		return 0, errors.New("the body is too large")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var m Matrix
	if err := json.Unmarshal(body, &m); err != nil {
		return 0, err
	}
	return m.Elements()
}

// Search answers GET /v1/search.
func Search(ctx context.Context, query string) any {
	return map[string]any{"project": project(ctx), "query": query, "results": []string{"first", "second"}}
}

// Item answers GET /v1/items/{id}.
func Item(ctx context.Context, id string) any {
	return map[string]any{"project": project(ctx), "id": id}
}

// Distances answers POST /v1/matrix.
func Distances(ctx context.Context, m Matrix) any {
	return map[string]any{"project": project(ctx), "elements": m.Origins * m.Destinations}
}

// Public answers GET /v1/public.
func Public() any { return map[string]any{"message": "no key needed"} }

// Health answers GET /healthz.
func Health() any { return map[string]any{"status": "ok"} }

// Whoami answers GET /v1/whoami: what callers may know of themselves, with what a token says of them.
func Whoami(ctx context.Context) any {
	admission, ok := middleware.FromContext(ctx)
	if !ok || admission.Identity() == nil {
		return map[string]any{}
	}
	id := admission.Identity()
	who := map[string]any{
		"org": id.Org, "project": id.Project, "key": id.Key, "kind": id.Kind, "method": id.Method,
		"scopes": id.Scopes, "products": id.Products,
	}
	if id.Token != nil {
		who["subject"], who["client"] = id.Token.Subject, id.Token.Client
	}
	return who
}

func project(ctx context.Context) string {
	if admission, ok := middleware.FromContext(ctx); ok && admission.Identity() != nil {
		return admission.Identity().Project
	}
	return ""
}
