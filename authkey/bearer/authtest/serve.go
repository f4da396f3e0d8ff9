package authtest

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
)

// Endpoint names what an issuer serves.
type Endpoint string

// The endpoints. The first two tell where the others are.
const (
	// EndpointOIDC is the metadata of OpenID Connect Discovery 1.0: its path comes after the issuer's.
	EndpointOIDC Endpoint = "openid-configuration"
	// EndpointOAuth is the metadata of RFC 8414: its path comes before the issuer's.
	EndpointOAuth Endpoint = "oauth-authorization-server"
	// EndpointKeys is the key set, jwks_uri.
	EndpointKeys Endpoint = "jwks"
	// EndpointToken grants access tokens to clients (RFC 6749, section 4.4): scope, and audience or resource (RFC 8707),
	// become claims.
	EndpointToken Endpoint = "token"
	// EndpointIntrospection tells clients of tokens (RFC 7662).
	EndpointIntrospection Endpoint = "introspect"
)

type route struct {
	method string
	serve  func(i *Issuer, w http.ResponseWriter, r *http.Request)
}

var routes = map[Endpoint]route{
	EndpointOIDC:          {http.MethodGet, (*Issuer).serveMetadata},
	EndpointOAuth:         {http.MethodGet, (*Issuer).serveMetadata},
	EndpointKeys:          {http.MethodGet, (*Issuer).serveKeys},
	EndpointToken:         {http.MethodPost, (*Issuer).serveToken},
	EndpointIntrospection: {http.MethodPost, (*Issuer).serveIntrospection},
}

func (i *Issuer) pathOf(endpoint Endpoint) string {
	base := strings.TrimSuffix(i.path, "/")
	switch endpoint {
	case EndpointOIDC:
		return base + "/.well-known/openid-configuration"
	case EndpointOAuth:
		return "/.well-known/oauth-authorization-server" + base
	default:
		return base + "/" + string(endpoint)
	}
}

// endpointAt returns the endpoint at a path; "" where there is none.
func (i *Issuer) endpointAt(path string) Endpoint {
	for endpoint := range routes {
		if i.pathOf(endpoint) == path {
			return endpoint
		}
	}
	return ""
}

// serve answers as the issuer was when the request came, however long the answer is held.
func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()                  // an odd form has no values, and the endpoint says so
	_, _ = io.Copy(io.Discard, r.Body) // only when all is read does the server notice that the client goes
	endpoint := i.endpointAt(r.URL.Path)
	fault := i.arrive(endpoint, r)
	answer := httptest.NewRecorder()
	switch route, ok := routes[endpoint]; {
	case !ok:
		http.NotFound(answer, r)
	case r.Method != route.method:
		answer.Header().Set("Allow", route.method)
		answer.WriteHeader(http.StatusMethodNotAllowed)
	default:
		route.serve(i, answer, r)
	}
	fault.write(w, r, answer)
}

func (i *Issuer) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                i.URL(),
		"jwks_uri":                              i.EndpointURL(EndpointKeys),
		"token_endpoint":                        i.EndpointURL(EndpointToken),
		"introspection_endpoint":                i.EndpointURL(EndpointIntrospection),
		"response_types_supported":              []string{},
		"subject_types_supported":               []string{"public"},
		"grant_types_supported":                 []string{"client_credentials"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"id_token_signing_alg_values_supported": i.algorithms(),
	})
}

func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	client, ok := i.authenticated(w, r)
	if !ok {
		return
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "unsupported_grant_type"})
		return
	}
	claims := Claims{"sub": client, "client_id": client}
	answer := map[string]any{"token_type": "Bearer", "expires_in": int(lifetime.Seconds())}
	if scope := r.PostForm.Get("scope"); scope != "" {
		claims["scope"], answer["scope"] = scope, scope
	}
	if audience := append(r.PostForm["audience"], r.PostForm["resource"]...); len(audience) > 0 {
		claims["aud"] = audience
	}
	token, err := i.mint(claims)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, map[string]any{"error": "server_error"})
		return
	}
	answer["access_token"] = token
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, answer)
}

func (i *Issuer) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	if _, ok := i.authenticated(w, r); !ok {
		return
	}
	token := r.PostForm.Get("token")
	if token == "" {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_request"})
		return
	}
	i.mu.Lock()
	payload := i.tokens[token]
	i.mu.Unlock()
	if !i.active(payload) {
		writeJSON(w, http.StatusOK, map[string]any{"active": false})
		return
	}
	answer := map[string]any{"active": true, "token_type": "Bearer"}
	var claims map[string]json.RawMessage
	_ = json.Unmarshal(payload, &claims) // active has seen to it
	for name, value := range claims {
		answer[name] = value
	}
	writeJSON(w, http.StatusOK, answer)
}

// active reports whether a payload is there and current. A time that is no number ends nothing.
func (i *Issuer) active(payload []byte) bool {
	var claims map[string]any
	if json.Unmarshal(payload, &claims) != nil {
		return false
	}
	now := float64(i.now().Unix())
	exp, ends := claims["exp"].(float64)
	nbf, begins := claims["nbf"].(float64)
	return !(ends && exp <= now) && !(begins && nbf > now)
}

// authenticated returns the client that shows its secret, in one of two ways and not in both; it refuses others.
func (i *Issuer) authenticated(w http.ResponseWriter, r *http.Request) (string, bool) {
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		basicID, idErr := url.QueryUnescape(user)
		basicSecret, secretErr := url.QueryUnescape(password)
		if err := cmp.Or(idErr, secretErr); err != nil || secret != "" || id != "" && id != basicID {
			writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_request"})
			return "", false
		}
		id, secret = basicID, basicSecret
	}
	if known, ok := i.clients[id]; !ok || known != secret {
		w.Header().Set("WWW-Authenticate", `Basic realm="authtest"`)
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return "", false
	}
	return id, true
}

func writeJSON(w http.ResponseWriter, status int, members map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(members) // into memory, and of what was JSON before
}
