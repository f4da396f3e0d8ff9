package demo

import "fmt"

// facts and text are the one place that the key and the token are shown.
func (s *Service) facts(at Place) any {
	return struct {
		Addr       string `json:"addr"`
		Org        string `json:"org"`
		Project    string `json:"project"`
		APIKey     string `json:"api_key"`
		AdminToken string `json:"admin_token"`
		Redis      string `json:"redis"`
	}{at.Addr, Org, Project, s.apiKey, s.adminToken, at.RedisName}
}

func (s *Service) text(at Place) string {
	return fmt.Sprintf(`Listening on http://%[1]s, Redis: %[2]s

  API key      %[3]s
  admin token  %[4]s

Call until the limit of 10 in 10 seconds answers 429:
  for i in $(seq 11); do curl -si -H 'X-API-Key: %[3]s' http://%[1]s/v1/search | grep -iE '^(HTTP|ratelimit:|retry-after)'; done

Lower it to 2; the next request obeys, as the same calls show:
  curl -s -X PUT -H 'Authorization: Bearer %[4]s' -H 'Content-Type: application/json' -d '{"project":"demo","endpoint":"GET /v1/search","policy":"requests","limit":2,"expires_at":"never","reason":"try it"}' http://%[1]s/admin/v1/orgs/demo/overrides; echo
  for i in $(seq 11); do curl -si -H 'X-API-Key: %[3]s' http://%[1]s/v1/search | grep -iE '^(HTTP|ratelimit|retry-after)'; done

See what was counted, which is written each second:
  curl -s -H 'Authorization: Bearer %[4]s' http://%[1]s/admin/v1/orgs/demo/usage; echo

Administer it from a command line, in another terminal:
  go build -o tollgatectl ./examples/tollgatectl
  export TOLLGATE_ADMIN_URL=http://%[1]s/admin TOLLGATE_ADMIN_TOKEN=%[4]s
  ./tollgatectl keys list --org demo --project demo
  ./tollgatectl audit list --org demo
`, at.Addr, at.RedisName, s.apiKey, s.adminToken)
}
