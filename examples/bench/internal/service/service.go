// Package service has the HTTP services that the benchmark compares: the same answer to GET /v1/search behind nothing,
// behind tollgate, and behind what people use or write instead. All of them take the same API keys, where they look at
// keys at all.
//
//	s, err := service.Open(ctx, service.NameStrict, service.Setup{Place: place, Keys: keys, Projects: projects})
//	if err != nil { ... }
//	defer s.Close()
//	http.Serve(listener, s.Handler)
package service

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"github.com/tollgate-go/tollgate/examples/bench/internal/rival"
)

// Setup is what a service needs to know. It has secrets in it.
type Setup struct {
	Place    rival.Place
	Keys     []string // all that are known
	Projects []string // whose they are
	Ahead    int64    // how many units leases take ahead
}

// Service is a handler with its connections open.
type Service struct {
	Handler http.Handler
	Close   func() error
}

// Names of services.
const (
	NameBare      = "net/http"
	NameByHand    = "tollgate: key and usage by hand" // the parts without the middleware
	NameKey       = "tollgate: key"
	NameStrict    = "tollgate: key, strict limit, usage"
	NameLeased    = "tollgate: key, leased limit, usage"
	NameRedisRate = "key + redis_rate"
	NameNaive     = "naive, 3 round trips"
	NameGin       = "gin"
	NameEcho      = "echo"
	NameEchoKey   = "echo KeyAuth"
	NameEchoAll   = "echo KeyAuth + RateLimiter"
	NameHttprate  = "httprate in memory"
	NameUlule     = "ulule/limiter in memory"
)

var services = map[string]func(context.Context, Setup) (*Service, error){
	NameBare: bare, NameByHand: byHand, NameKey: keyOnly, NameStrict: strict, NameLeased: leased, NameRedisRate: redisRate, NameNaive: naive,
	NameGin: ginAlone, NameEcho: echoAlone, NameEchoKey: echoKey, NameEchoAll: echoAll, NameHttprate: httprateMemory, NameUlule: ululeMemory,
}

// Open makes a service by its name. Close it.
func Open(ctx context.Context, name string, s Setup) (*Service, error) {
	open := services[name]
	if open == nil {
		return nil, fmt.Errorf("service: there is none called %q", name)
	}
	opened, err := open(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("service: %s: %w", name, err)
	}
	return opened, nil
}

// Credential returns the field in which a service takes a key.
func Credential(name, key string) http.Header {
	if name == NameByHand {
		return http.Header{"X-Api-Key": {key}}
	}
	return http.Header{"Authorization": {"Bearer " + key}}
}

// Path is where all of them answer a GET.
const Path = "/v1/search"

var answer = []byte(`{"results":[]}`)

func search(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

// mounted is a service whose one route goes through a middleware of net/http.
func mounted(wrap func(http.Handler) http.Handler, end func() error) *Service {
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, wrap(http.HandlerFunc(search)))
	return &Service{Handler: mux, Close: end}
}

func nothing() error { return nil }

func bare(context.Context, Setup) (*Service, error) {
	return mounted(func(h http.Handler) http.Handler { return h }, nothing), nil
}

// known finds projects by the digests of keys, as a service does that has few keys and no time.
type known map[[sha256.Size]byte]string

func newKnown(s Setup) known {
	k := known{}
	for i, key := range s.Keys {
		k[sha256.Sum256([]byte(key))] = s.Projects[i]
	}
	return k
}

func (k known) project(key string) (string, bool) {
	project, ok := k[sha256.Sum256([]byte(key))]
	return project, ok
}

// of answers for the field of a request.
func (k known) of(r *http.Request) (string, bool) {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", false
	}
	return k.project(key)
}
