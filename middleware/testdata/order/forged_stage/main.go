package main

import (
	"net/http"

	"github.com/tollgate-go/tollgate/middleware"
	"github.com/tollgate-go/tollgate/ratelimit"
)

type forged struct{}

func (forged) Err() error                   { return nil }
func (forged) Policies() []ratelimit.Policy { return nil }
func (forged) Admit(http.Header, *http.Request, string) (*middleware.Admission, *middleware.Error) {
	return nil, nil
}

func (f forged) AdmitInto(_ *middleware.Admission, h http.Header, r *http.Request, endpoint string) (*middleware.Admission, *middleware.Error) {
	return f.Admit(h, r, endpoint)
}

func main() {
	// A stage that lets everybody in.
	var stage middleware.Stage = forged{}
	_ = stage
}
