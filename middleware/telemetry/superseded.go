package telemetry

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tollgate-go/tollgate/authkey"
	"github.com/tollgate-go/tollgate/middleware"
)

// maxSuperseded bounds how many outgoing credentials have a label of their own.
const maxSuperseded = 100

// superseded counts requests by credentials that a newer one took the place of. The first that come have a label
// of their own; one that has ended makes room for another. So a process that runs for years tells of those that
// are on their way out now. Make it with newSuperseded.
type superseded struct {
	requests *prometheus.CounterVec

	mu       sync.Mutex
	ends     map[string]time.Time // by label; zero: never
	earliest time.Time            // no end is before; zero: there is none
}

func newSuperseded() *superseded {
	return &superseded{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tollgate_superseded_credential_requests_total",
			Help: "Requests by credentials that a newer one of their key took the place of, by credential.",
		}, []string{"credential"}),
		ends: make(map[string]time.Time),
	}
}

// observe counts the request of an event, if it was let in by such a credential.
func (s *superseded) observe(e *middleware.Event) {
	if e.Step != middleware.StepAuthenticate || e.Outcome != middleware.OutcomeAllowed || e.Identity == nil || e.Identity.SupersededAt.IsZero() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests.WithLabelValues(s.label(e.Identity)).Inc() // not beside makeRoom, which deletes
}

// label returns what stands for the identity's credential: its public id, as valid UTF-8, or Other.
func (s *superseded) label(id *authkey.Identity) string {
	label := strings.ToValidUTF8(id.Credential, "\uFFFD")
	if _, kept := s.ends[label]; !kept {
		if label == "" || label == Other || len(s.ends) >= maxSuperseded && !s.makeRoom(time.Now()) {
			return Other
		}
		label = strings.Clone(label)
	}
	s.ends[label] = id.ExpiresAt
	s.remember(id.ExpiresAt)
	return label
}

func (s *superseded) remember(end time.Time) {
	if !end.IsZero() && (s.earliest.IsZero() || end.Before(s.earliest)) {
		s.earliest = end
	}
}

// makeRoom forgets the credentials that have ended. Where none can have, it looks at none.
func (s *superseded) makeRoom(now time.Time) bool {
	if s.earliest.IsZero() || now.Before(s.earliest) {
		return false
	}
	s.earliest = time.Time{}
	for label, end := range s.ends {
		if !end.IsZero() && !now.Before(end) {
			delete(s.ends, label)
			s.requests.DeleteLabelValues(label)
		} else {
			s.remember(end)
		}
	}
	return len(s.ends) < maxSuperseded
}
