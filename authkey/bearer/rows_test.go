package bearer_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// place says where a row is tested: by a text, the name of a test or of a case, in the Go files of a directory.
type place struct{ directory, text string }

// here is the place of rows whose subtests in this package begin with "#" and their number.
var here = place{".", ""}

func jwks(test string) place       { return place{"jwks", "func " + test + "("} }
func introspect(test string) place { return place{"introspect", "func " + test + "("} }
func revoked(test string) place    { return place{"revocation", "func " + test + "("} }
func dpop(test string) place       { return place{"dpop", "func " + test + "("} }
func mounted(test string) place    { return place{"../../middleware", "func " + test + "("} }
func routed(name string) place     { return place{"../../adapters/adaptertest", `"` + name + `"`} }

// nowhere is for what this module has not, and so cannot get wrong.
func nowhere(why string) place { return place{"", why} }

// TestRowsAreTested: the attacks and faults that a verifier of tokens has to withstand have numbers, and each is tested
// in all of its places.
func TestRowsAreTested(t *testing.T) {
	t.Parallel()
	own := map[int]bool{}
	for _, match := range regexp.MustCompile("[\"`]#([0-9]{2}) ").FindAllStringSubmatch(sources(t, "."), -1) {
		var number int
		if _, err := fmt.Sscan(strings.TrimPrefix(match[1], "0"), &number); err != nil {
			t.Fatal(err)
		}
		own[number] = true
	}
	if numbers := slices.Sorted(maps.Keys(rows)); len(numbers) != 85 || numbers[0] != 1 || numbers[84] != 85 {
		t.Errorf("the list has %d rows, %v, want 1 to 85", len(numbers), numbers)
	}
	read := map[string]string{}
	for number, places := range rows {
		if own[number] != slices.Contains(places, here) {
			t.Errorf("#%02d: tested here: %v, and the list says %v", number, own[number], !own[number])
		}
		for _, p := range places {
			if p.text == "" && p != here {
				t.Errorf("#%02d: %v names no test", number, p)
			}
			if p.directory != "" && read[p.directory] == "" {
				read[p.directory] = sources(t, p.directory)
			}
			if !strings.Contains(read[p.directory], p.text) && p.directory != "" {
				t.Errorf("#%02d: %q is not in %s", number, p.text, p.directory)
			}
		}
	}
	for number := range own {
		if rows[number] == nil {
			t.Errorf("#%02d is tested here and is not in the list", number)
		}
	}
}

// sources returns the Go files of a directory.
func sources(t *testing.T, directory string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(directory, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go files in %s: %v", directory, err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

var rows = map[int][]place{
	1: {here}, 2: {here}, 3: {here}, 4: {here}, 5: {here}, 6: {here}, 7: {here}, 8: {here}, 9: {here, jwks("TestIssuersDoNotShareKeys")}, 10: {here},
	11: {here}, 12: {here}, 13: {here}, 14: {here}, 15: {here}, 16: {here}, 17: {here}, 18: {here}, 19: {here}, 20: {here},
	21: {here}, 22: {here}, 23: {here}, 24: {here}, 25: {here}, 26: {here}, 27: {here}, 28: {here}, 29: {here}, 30: {here, routed("BearerOf64KiB")},
	31: {here}, 32: {here}, 33: {here}, 34: {here}, 35: {here}, 36: {here}, 37: {here}, 38: {here}, 39: {here}, 40: {here},
	41: {here}, 42: {here}, 43: {here}, 44: {here}, 45: {here}, 46: {here}, 47: {here}, 48: {here}, 49: {here}, 50: {here},
	51: {here, jwks("TestAVerifierAsksItsIssuerOnly")}, 52: {here}, 53: {here}, 54: {here}, 55: {here}, 56: {here}, 57: {here}, 58: {here}, 59: {here},
	60: {here, mounted("TestRequireOrgOfRoute")}, 61: {here, mounted("TestRequire")}, 62: {here, mounted("TestRequire")},
	63: {here, revoked("TestEachKind")}, 64: {here, revoked("TestIssuedAt")}, 65: {here, revoked("TestUnavailable"), mounted("TestNobodyPassesWithoutALook")},
	66: {here, introspect("TestDecisionsAreNotKept")}, 67: {here, introspect("TestAnswers"), introspect("TestInactiveIsKeptBriefly")},
	68: {here, introspect("TestNothingIsKeptPastExp"), introspect("TestHitsDoNotExtend")},
	69: {jwks("TestAFloodOfUnknownKeys"), jwks("TestANewKeyIsSeenWithinTheCooldownWhateverTheFlood"), jwks("TestAVerifierThatIsFlooded")},
	70: {jwks("TestAVerifierThatIsFlooded"), jwks("TestAKnownKeyNeverFetches")}, 71: {here, jwks("TestARemovedKeyIsGoneWithTheNextRefresh")}, 72: {here, jwks("TestAnOutageIsToleratedForItsTime")},
	73: {here, jwks("TestAnOddKeyHarmsNoOther")}, 74: {jwks("TestABadAnswerOnTheWire"), jwks("TestNothingIsSentToAnAddressInside")}, 75: {jwks("TestABadDiscoveryDocument")},
	76: {routed("BearerTwice"), routed("DifferentInTwoPlaces")}, 77: {routed("BearerEmpty"), mounted("TestChallenges")}, 78: {routed("BearerInLowerCase")},
	79: {mounted("TestAnonymous")}, 80: {here, mounted("TestPresentation")}, 81: {here}, 82: {here, dpop("TestRefusedProofs"), dpop("TestProofWorksOnce")},
	83: {here, mounted("TestClientCertificate")}, 84: {nowhere("no refresh tokens are handed out")}, 85: {here},
}
