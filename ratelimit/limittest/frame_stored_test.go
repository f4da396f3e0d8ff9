package limittest_test

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tollgate-go/tollgate/lua"
)

// held is what Redis holds of one policy.
type held struct {
	text, count     string
	expires, counts int64 // when, in milliseconds; -2 where there is none
}

func (f *film) held(key string) (h held) {
	ctx, rdb := context.Background(), f.conn.Client()
	for _, k := range []struct {
		name  string
		value *string
		end   *int64
	}{{key, &h.text, &h.expires}, {lua.CountKey(key), &h.count, &h.counts}} {
		var err error
		if *k.value, err = rdb.Get(ctx, k.name).Result(); err != nil && !errors.Is(err, redis.Nil) {
			f.Fatalf("GET: %v", err)
		}
		end, err := rdb.PExpireTime(ctx, k.name).Result()
		if err != nil {
			f.Fatalf("PEXPIRETIME: %v", err)
		}
		*k.end = end.Milliseconds()
		if end < 0 {
			*k.end = int64(end)
		}
	}
	return h
}

// compare holds that a state, with its count, is that of the model, and that both end when it does.
func (f *film) compare(i int) {
	key := f.bases[i][0].Key
	want, h := f.model.States[key], f.held(key)
	wantEnd := cmp.Or((want.End+999)/1000, absent)
	parts := strings.Split(h.text, ":")
	if len(parts) < 9 {
		if h.text != want.Value || h.expires != wantEnd || h.counts != absent {
			f.Fatalf("%s: %+v stored, want %+v and no count", key, h, want)
		}
		return
	}
	n := make([]int64, 9)
	for j := range parts[1:] {
		n[j+1] = f.number(parts[j+1])
	}
	count := f.number(h.count)
	if count>>31 != n[8] || h.counts != h.expires {
		f.Fatalf("%s: %+v stored, want a count of generation %d that ends with the state", key, h, n[8])
	}
	most := int64(0)
	counted := count % (1 << 31)
	if parts[0] == "g" {
		n[6], most = counted, bucketLife/1000+n[2]*n[3]/max(n[5], 1)/1000+1
	} else {
		n[5] = counted
	}
	if h.expires < wantEnd || h.expires > wantEnd+most {
		f.Fatalf("%s: ends at %d, want %d", key, h.expires, wantEnd)
	}
	text := parts[0]
	for _, v := range n[1:8] {
		text += ":" + strconv.FormatInt(v, 10)
	}
	if text != want.Value {
		f.Fatalf("at %d, %s: %+v stored, counted %d; want %s", f.clock.now, key, h, counted, want.Value)
	}
}

// at returns the time of the last charge that the model has, or 0.
func (f *film) at(key string) int64 {
	parts := strings.Split(f.model.States[key].Value, ":")
	if len(parts) != 8 {
		return 0
	}
	return f.number(parts[1])
}

// takeOver gives the model the time of the last charge that Redis has, which charges by frames leave as it was. What
// ends at some moment still does. That time is less than the life of a frame ago: of a bucket, which keeps it for as
// long with its frame, twice that.
func (f *film) takeOver(c *lua.Charge, at int64) {
	e := f.model.States[c.Key]
	behind := f.at(c.Key) - at
	if behind == 0 {
		return
	}
	parts := strings.Split(e.Value, ":")
	late := int64(frameLife)
	switch c.Algorithm {
	case lua.GCRA:
		late *= 2
		fallthrough
	case lua.Calendar:
		parts[6] = strconv.FormatInt(f.number(parts[6])+behind, 10)
	}
	if at == 0 || behind < 0 || behind >= late {
		f.Fatalf("charged by a frame: %+v, which was %d us ago", e, behind)
	}
	f.seen["kept the time"]++
	parts[1] = strconv.FormatInt(at, 10)
	e.Value = strings.Join(parts, ":")
	f.model.States[c.Key] = e
}

func (f *film) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f.Fatalf("%q is no number", text)
	}
	return n
}

// forget removes what would stay until the next century.
func (f *film) forget() {
	for i := range f.bases {
		key := f.bases[i][0].Key
		for _, k := range []string{key, lua.CountKey(key), lua.HoldsKey(key)} {
			_ = f.conn.Client().Del(context.Background(), k).Err()
		}
	}
}
