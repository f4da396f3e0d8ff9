package clientcred

import (
	"net/http"
	"strings"
)

// refusesToken reports whether an answer is 401 with a Bearer challenge that says error="invalid_token" (RFC 6750,
// section 3.1): that, and no other 401, is for a new token to mend.
func refusesToken(response *http.Response) bool {
	if response.StatusCode != http.StatusUnauthorized {
		return false
	}
	for _, value := range response.Header.Values("WWW-Authenticate") {
		if challenges(value) {
			return true
		}
	}
	return false
}

// challenges reads a list of challenges (RFC 9110, section 11.6.1) up to the first fault.
func challenges(value string) bool {
	scheme := ""
	for {
		value = strings.TrimLeft(value, " \t,")
		name, rest := cutWord(value)
		if name == "" {
			return false
		}
		after := strings.TrimLeft(rest, " \t")
		if !strings.HasPrefix(after, "=") { // a scheme, or a token68, after which no parameter may follow
			scheme, value = name, rest
			continue
		}
		text, rest, ok := cutValue(strings.TrimLeft(after[1:], " \t"))
		if !ok {
			return false
		}
		if strings.EqualFold(scheme, "Bearer") && strings.EqualFold(name, "error") && text == "invalid_token" {
			return true
		}
		value = rest
	}
}

// cutValue cuts the value of a parameter, a token or a quoted string, from what follows. What pads a token68 is the
// value of a parameter that nobody knows.
func cutValue(text string) (value, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		value, rest = cutWord(strings.TrimLeft(text, "="))
		return value, rest, true
	}
	var plain strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return plain.String(), text[i+1:], true
		case '\\':
			if i++; i == len(text) {
				return "", "", false
			}
		}
		plain.WriteByte(text[i])
	}
	return "", "", false
}

// cutWord cuts a token (RFC 9110, section 5.6.2) or the start of a token68 from what follows.
func cutWord(text string) (word, rest string) {
	end := strings.IndexFunc(text, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune("\"(),:;<=>?@[\\]{}", c)
	})
	if end < 0 {
		return text, ""
	}
	return text[:end], text[end:]
}
