// Command quickstart is a service on net/http behind Tollgate.
//
//	go run ./examples/quickstart [-addr 127.0.0.1:8080] [-redis redis://127.0.0.1:6379] [-json]
package main

import (
	"encoding/json"
	"net/http"

	"github.com/tollgate-go/tollgate/adapters/httpkit"
	"github.com/tollgate-go/tollgate/examples/internal/demo"
)

func main() { demo.Main(mount) }

func mount(s *demo.Service) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/search", httpkit.Middleware(s.Search)(handle(func(r *http.Request) any {
		return demo.Search(r.Context(), r.URL.Query().Get("q"))
	})))
	mux.Handle("GET /v1/items/{id}", httpkit.Middleware(s.Items)(handle(func(r *http.Request) any {
		return demo.Item(r.Context(), r.PathValue("id"))
	})))
	mux.Handle("POST /v1/matrix", httpkit.Middleware(s.Matrix)(http.HandlerFunc(matrix)))
	mux.Handle("GET /v1/public", httpkit.Middleware(s.Public)(handle(func(*http.Request) any { return demo.Public() })))
	mux.Handle("GET /v1/whoami", httpkit.Middleware(s.Whoami)(handle(func(r *http.Request) any { return demo.Whoami(r.Context()) })))
	mux.Handle("/v1/self/", httpkit.Middleware(s.Whoami)(s.Self))
	mux.Handle("GET /healthz", handle(func(*http.Request) any { return demo.Health() }))
	mux.Handle("GET /metrics", s.Metrics)
	mux.Handle("/admin/", s.Admin)
	return mux
}

func matrix(w http.ResponseWriter, r *http.Request) {
	var m demo.Matrix
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, "not a matrix", http.StatusBadRequest)
		return
	}
	write(w, demo.Distances(r.Context(), m))
}

func handle(answer func(*http.Request) any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { write(w, answer(r)) })
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v) // the caller went away
}
