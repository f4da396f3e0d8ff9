package leak

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// GitHubKeys is where GitHub publishes the keys that it signs reports with.
const GitHubKeys = "https://api.github.com/meta/public_keys/secret_scanning"

// ErrUnknownKey says that nobody publishes a key under an identifier.
var ErrUnknownKey = errors.New("leak: unknown public key")

// PublicKeys knows with which keys reports are signed. Implementations are safe for concurrent use.
type PublicKeys interface {
	// PublicKey returns the key, on P-256, that has an identifier; ErrUnknownKey when there is none. Any other
	// error says that nobody can tell at the moment. identifier is what a stranger sent: 1 to 128 visible ASCII
	// characters.
	PublicKey(ctx context.Context, identifier string) (*ecdsa.PublicKey, error)
}

// Keys returns public keys that do not change: their texts in PEM ("PUBLIC KEY", as PKIX has it) by their identifiers.
// The error joins all that is wrong; each fault is ErrInvalid.
func Keys(texts map[string]string) (PublicKeys, error) {
	known, faults := staticKeys{}, []error(nil)
	for _, identifier := range slices.Sorted(maps.Keys(texts)) {
		key, err := parseKey(texts[identifier])
		if err == nil && !validIdentifier(identifier) {
			err = fmt.Errorf("an identifier is 1 to %d visible ASCII characters", maxIdentifier)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%w: Keys: %.*q: %w", ErrInvalid, maxIdentifier, identifier, err))
		}
		known[identifier] = key
	}
	if len(texts) == 0 {
		faults = append(faults, fmt.Errorf("%w: Keys: there is none, so no report could be signed", ErrInvalid))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return known, nil
}

type staticKeys map[string]*ecdsa.PublicKey

func (k staticKeys) PublicKey(_ context.Context, identifier string) (*ecdsa.PublicKey, error) {
	if key := k[identifier]; key != nil {
		return key, nil
	}
	return nil, ErrUnknownKey
}

func parseKey(text string) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("want PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("want a public key as PKIX has it: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("want an ECDSA key on P-256")
	}
	return key, nil
}

// Bounds of what is fetched.
const (
	keepKeys     = 24 * time.Hour
	fetchEvery   = time.Minute
	fetchTimeout = 5 * time.Second
	maxFetched   = 256 << 10 // bytes
)

// FetchKeys returns the keys that a URL lists, such as GitHubKeys, by a client whose transport may add a credential:
// {"public_keys":[{"key_identifier","key"}]}, of which keys of other kinds are left out. The list is kept for 24
// hours. It is fetched at the first report, and for an identifier that is not in it, but once a minute at most, whatever
// strangers send; each time within 5 seconds and 256 KiB. Redirects are not followed. ErrInvalid for a nil client and a
// URL that is not https.
func FetchKeys(client *http.Client, from string) (PublicKeys, error) {
	if client == nil {
		return nil, fmt.Errorf("%w: FetchKeys: a client is needed", ErrInvalid)
	}
	if u, err := url.Parse(from); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%w: FetchKeys: want a URL like %s", ErrInvalid, GitHubKeys)
	}
	direct := *client
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &fetchedKeys{client: &direct, from: from, turn: make(chan struct{}, 1)}, nil
}

type fetchedKeys struct {
	client *http.Client
	from   string
	turn   chan struct{} // held by who fetches, and what is below it
	tried  time.Time
	failed error

	mu   sync.RWMutex
	keys staticKeys
	at   time.Time
}

func (f *fetchedKeys) PublicKey(ctx context.Context, identifier string) (*ecdsa.PublicKey, error) {
	if key := f.kept(identifier); key != nil {
		return key, nil
	}
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if key := f.kept(identifier); key != nil { // fetched while we waited
		return key, nil
	}
	if time.Since(f.tried) >= fetchEvery {
		f.tried = time.Now()
		f.failed = f.refresh(ctx)
	}
	if key := f.kept(identifier); key != nil {
		return key, nil
	}
	if f.failed != nil {
		return nil, f.failed
	}
	return nil, ErrUnknownKey
}

func (f *fetchedKeys) kept(identifier string) *ecdsa.PublicKey {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if time.Since(f.at) >= keepKeys {
		return nil
	}
	return f.keys[identifier]
}

func (f *fetchedKeys) refresh(ctx context.Context) error {
	keys, err := f.fetch(ctx)
	if err != nil {
		return fmt.Errorf("leak: fetch the public keys: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys, f.at = keys, time.Now()
	return nil
}

// fetch goes on when the stranger who caused it goes away: he would else keep others from the list for a minute.
func (f *fetchedKeys) fetch(ctx context.Context) (staticKeys, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.from, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d, not 200", response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxFetched+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFetched {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxFetched)
	}
	return listed(text)
}

// listed reads a list of keys.
func listed(text []byte) (staticKeys, error) {
	var list struct {
		PublicKeys []struct {
			Identifier string `json:"key_identifier"`
			Key        string `json:"key"`
		} `json:"public_keys"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("the answer is no list of keys: %w", err)
	}
	keys := staticKeys{}
	for _, item := range list.PublicKeys {
		if key, err := parseKey(item.Key); err == nil {
			keys[item.Identifier] = key
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the answer lists no ECDSA key on P-256")
	}
	return keys, nil
}
