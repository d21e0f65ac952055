// golang.org/x/net/quic as a peer of the matrix, over HTTP/0.9. Its switch for cipher suites is quic-go's.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/quic-go/quic-go/internal/qtls"
	"github.com/quic-go/quic-go/interop/adapter/contract"
	"golang.org/x/net/quic"
	"golang.org/x/net/quic/qlog"
	"golang.org/x/sync/errgroup"
)

const (
	closeLimit = time.Second
	// Packets are lost by the dozen in some cases; giving up is left to the matrix.
	handshakeLimit = 120 * time.Second
	idleLimit      = 120 * time.Second
)

func main() {
	contract.Main(func(environment *contract.Environment) error {
		switch environment.Testcase {
		case "handshake", "transfer", "multiconnect", "retry":
		case "versionnegotiation":
			if !environment.Server {
				return contract.ErrUnsupported
			}
		case "chacha20":
			qtls.SetCipherSuite(tls.TLS_CHACHA20_POLY1305_SHA256)
		default:
			return contract.ErrUnsupported
		}
		if environment.Server {
			return serve(environment)
		}
		return download(environment)
	})
}

func config(environment *contract.Environment, tlsConfig *tls.Config) *quic.Config {
	configured := &quic.Config{
		TLSConfig:                tlsConfig,
		HandshakeTimeout:         handshakeLimit,
		MaxIdleTimeout:           idleLimit,
		RequireAddressValidation: environment.Testcase == "retry",
	}
	if environment.QlogDir != "" {
		handler := qlog.NewJSONHandler(qlog.HandlerOptions{Dir: environment.QlogDir, Level: quic.QLogLevelFrame})
		configured.QLogLogger = slog.New(handler)
	}
	return configured
}

func serve(environment *contract.Environment) error {
	tlsConfig, err := environment.ServerTLS(contract.HQ)
	if err != nil {
		return err
	}
	endpoint, err := quic.Listen("udp", environment.Address.String(), config(environment, tlsConfig))
	if err != nil {
		return err
	}
	go func() {
		for {
			connection, err := endpoint.Accept(context.Background())
			if err != nil {
				return
			}
			go serveConnection(environment, connection)
		}
	}()
	contract.UntilTold()
	return closeEndpoint(endpoint)
}

func serveConnection(environment *contract.Environment, connection *quic.Conn) {
	for {
		stream, err := connection.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			if err := environment.Answer(stream); err != nil {
				log.Println(err)
			}
			stream.Close()
		}()
	}
}

func download(environment *contract.Environment) error {
	endpoint, err := quic.Listen("udp", ":0", nil)
	if err != nil {
		return err
	}
	defer closeEndpoint(endpoint)
	if environment.Testcase != "multiconnect" {
		return fetch(environment, endpoint, environment.Requests)
	}
	for _, request := range environment.Requests {
		if err := fetch(environment, endpoint, []*url.URL{request}); err != nil {
			return err
		}
	}
	return nil
}

// fetch has one connection for these requests.
func fetch(environment *contract.Environment, endpoint *quic.Endpoint, requests []*url.URL) error {
	if len(requests) == 0 {
		return errors.New("REQUESTS is empty")
	}
	tlsConfig := environment.ClientTLS()
	tlsConfig.ServerName = requests[0].Hostname()
	ctx, cancel := context.WithTimeout(context.Background(), handshakeLimit)
	defer cancel()
	connection, err := endpoint.Dial(ctx, "udp", requests[0].Host, config(environment, tlsConfig))
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	var group errgroup.Group
	for _, request := range requests {
		group.Go(func() error {
			stream, err := connection.NewStream(context.Background())
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(stream, "GET %s\r\n", request.Path); err != nil {
				return err
			}
			stream.CloseWrite()
			return environment.Save(request, stream)
		})
	}
	err = group.Wait()
	connection.Abort(nil)
	return err
}

// closeEndpoint gives the other sides a moment to answer; one that doesn't is no failure.
func closeEndpoint(endpoint *quic.Endpoint) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	err := endpoint.Close(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}
