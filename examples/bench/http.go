package main

import (
	"context"
	"fmt"

	"github.com/tollgate-go/tollgate/examples/bench/internal/httpload"
	"github.com/tollgate-go/tollgate/examples/bench/internal/rival"
	"github.com/tollgate-go/tollgate/examples/bench/internal/service"
)

const tableHTTP = "HTTP: %d connections, keys %d"

// whole compares whole HTTP services under load.
func (b *bench) whole(ctx context.Context) error {
	return b.standalone(ctx, func(s *stand) error {
		setting := httpload.Setting{Conns: 64, Rounds: b.rounds, Warm: max(b.http/4, b.warm), For: b.http}
		table, err := httpload.Run(ctx, setting, s.watch, s.setup(rival.Ahead), []string{
			service.NameBare, service.NameStrict, service.NameLeased, service.NameRedisRate, service.NameNaive, service.NameGin, service.NameEchoAll,
		})
		if err != nil {
			return err
		}
		table.Name, table.Base = fmt.Sprintf(tableHTTP, setting.Conns, b.projects), service.NameBare
		table.Note = fmt.Sprintf("Connections are kept alive; %v each. What loads the server, here the client, shares the machine with it.", b.http)
		return b.add(table)
	})
}
