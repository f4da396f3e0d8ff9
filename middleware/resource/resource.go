// Package resource serves the metadata of an OAuth 2.0 protected resource (RFC 9728): the document by which a client
// that was refused finds out which authorization server to ask for a token.
//
//	document, err := resource.New(resource.Metadata{
//		Resource:             "https://api.example.com/v1",
//		AuthorizationServers: []string{"https://login.example.com"},
//		Scopes:               []string{"read", "write"},
//		BearerMethods:        []string{"header"},
//	})
//	mux.Handle(document.Path(), document) // in front of no stage: everybody may read it
//	auth := middleware.Authenticate(verifier, middleware.WithResourceMetadata(document.URL()))
//
// Do not use it for an API whose callers have keys alone: there is no server to ask for one. It says nothing that the
// configuration does not say: the Host of a request is never believed, or a client could be sent elsewhere.
package resource

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tollgate-go/tollgate/middleware"
)

// CodeMethod is the code of the 405 for a method that only changes things.
const CodeMethod = "method_not_allowed"

// wellKnown is inserted between the host and the path of the resource (RFC 9728, section 3.1).
const wellKnown = "/.well-known/oauth-protected-resource"

// Document is the metadata of one resource, as an http.Handler. Immutable and safe for concurrent use.
type Document struct {
	origin, path string
	body         []byte
	caching      string
}

// Option changes a default of New.
type Option interface{ apply(*Document) error }

type optionFunc func(*Document) error

func (f optionFunc) apply(d *Document) error { return f(d) }

// WithMaxAge sets for how long clients and caches may keep the document: 0 to a day, in whole seconds. The default is
// an hour. Zero makes them ask anew each time.
func WithMaxAge(age time.Duration) Option {
	return optionFunc(func(d *Document) error {
		if age < 0 || age > 24*time.Hour || age%time.Second != 0 {
			return fmt.Errorf("resource: WithMaxAge(%v) must be 0 to %v, in whole seconds", age, 24*time.Hour)
		}
		d.caching = "public, max-age=" + strconv.FormatInt(int64(age/time.Second), 10)
		return nil
	})
}

// New returns the document of a resource. The error joins all that is wrong with the metadata and the options, and
// names each. Nothing is dialled.
func New(metadata Metadata, opts ...Option) (*Document, error) {
	d := &Document{caching: "public, max-age=3600"}
	faults := []error{metadata.validate()}
	for i, o := range opts {
		if o == nil {
			faults = append(faults, fmt.Errorf("resource: option number %d is nil", i+1))
			continue
		}
		faults = append(faults, o.apply(d))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	u, err := url.Parse(metadata.Resource)
	if err != nil {
		return nil, fmt.Errorf("resource: Resource: %w", err)
	}
	path := u.EscapedPath()
	if path == "/" {
		path = "" // a slash that only ends the host goes (RFC 9728, section 3.1)
	}
	d.origin, d.path = u.Scheme+"://"+u.Host, wellKnown+path
	if d.body, err = json.Marshal(metadata); err != nil {
		return nil, fmt.Errorf("resource: %w", err)
	}
	return d, nil
}

// URL returns where clients look for the document, as middleware.WithResourceMetadata tells them: for the resource
// "https://api.example.com/v1" it is "https://api.example.com/.well-known/oauth-protected-resource/v1".
func (d *Document) URL() string { return d.origin + d.path }

// Path returns the path of URL, escaped, to mount the document at. A pattern of http.ServeMux that ends in a slash
// matches what is below, too: add "{$}".
func (d *Document) Path() string { return d.path }

// ServeHTTP answers GET and HEAD with the document, whatever the path of the request, and lets pages of every origin
// read it: it is public. Other methods are answered with 405, but for OPTIONS, which is a page's preflight.
func (d *Document) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, HEAD")
		h.Set("Access-Control-Allow-Headers", "*")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		refusal := &middleware.Error{Status: http.StatusMethodNotAllowed, Code: CodeMethod, Message: "This document can only be read."}
		refusal.Render(w, r)
		return
	}
	h.Set("Cache-Control", d.caching)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(d.body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(d.body) // a client that went away is nobody's error
	}
}
