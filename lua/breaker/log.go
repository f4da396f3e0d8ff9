package breaker

import (
	"context"
	"log/slog"
)

// Log returns a Changed that writes one line for each change: a warning when a server is left alone, and an information
// when it answers again. part says which part of the gate asks. Nil writes nothing.
func Log(logger *slog.Logger, part string) func(server string, open bool) {
	if logger == nil {
		return nil
	}
	return func(server string, open bool) {
		level, text := slog.LevelInfo, "Redis answers again"
		if open {
			level, text = slog.LevelWarn, "Redis does not answer, and is left alone but for probes"
		}
		logger.LogAttrs(context.Background(), level, "tollgate: "+text, slog.String("part", part), slog.String("server", server))
	}
}
