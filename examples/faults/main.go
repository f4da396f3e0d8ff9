// Faults breaks the Redis of a service in every way of a list while 200 callers call it, and prints the loss ledger:
// what the callers were told beside what Redis counted.
//
//	go run .                    all rows
//	go run . -fault F6          one of them, with all its variants
//	go run . -json ledger.json  writes it down, too
//
// It starts the servers that it breaks, and needs redis-server in the PATH. It ends with 1 where a row does not pass the
// gates of the suite: counted at most once, nothing acknowledged lost, no 401 and no 429, bounded time, recovery,
// nothing left over, usage complete.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/tollgate-go/tollgate/examples/faults/internal/row"
)

func main() {
	name := flag.String("fault", "", "run this `row` alone, as F6 or F6/defaults")
	file := flag.String("json", "", "write the ledger to this `file`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *name, *file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// rows returns all faults, in their order.
func rows() []row.Fault {
	return slices.Concat(standalone(), clustered(), replication(), clocks(), ends())
}

// run runs rows one by one and prints the ledger.
func run(ctx context.Context, out io.Writer, name, file string) error {
	var ledger []row.Line
	var faults []error
	// What cannot be written is told by Flush.
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "fault\twhat\tcalls\tacknowledged\tambiguous\tcounted\tlost\tover\tp99.9 added\tmachine\tfirst success\t")
	for _, f := range rows() {
		if base, _, _ := strings.Cut(f.Name, "/"); name != "" && name != f.Name && name != base {
			continue
		}
		line, err := f.Run(ctx)
		ledger, faults = append(ledger, line), append(faults, err)
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t\n", line.Fault, line.What,
			line.Calls, line.Acknowledged, line.Ambiguous, line.Counted, line.Lost, line.Over, ms(line.Added), ms(line.Late), ms(line.First))
	}
	if len(ledger) == 0 {
		return fmt.Errorf("-fault %q: there is no such row", name)
	}
	faults = append(faults, table.Flush())
	if file != "" {
		text, err := json.MarshalIndent(ledger, "", "  ")
		if err == nil {
			err = os.WriteFile(file, append(text, '\n'), 0o600)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// ms writes a duration in milliseconds.
func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
