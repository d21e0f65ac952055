// quic-go as a peer of the matrix. The module's name below quic-go's own opens its internal switches to us,
// as it does for its own interop programs: the order of cipher suites and when keys are updated.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/internal/handshake"
	"github.com/quic-go/quic-go/internal/protocol"
	"github.com/quic-go/quic-go/internal/qtls"
	"github.com/quic-go/quic-go/interop/adapter/contract"
	"github.com/quic-go/quic-go/interop/http09"
	"github.com/quic-go/quic-go/interop/utils"
	"golang.org/x/sync/errgroup"
)

const (
	reservedVersion = 0x1a2a3a4a
	ticketLimit     = 10 * time.Second
	// Packets are lost by the dozen in some cases; giving up is left to the matrix.
	handshakeLimit = 120 * time.Second
	idleLimit      = 120 * time.Second
	flushTime      = 200 * time.Millisecond
)

func main() {
	contract.Main(func(environment *contract.Environment) error {
		switch environment.Testcase {
		case "handshake", "transfer", "multiconnect", "retry", "resumption", "zerortt", "http3", "ecn",
			"versionnegotiation":
		case "chacha20":
			qtls.SetCipherSuite(tls.TLS_CHACHA20_POLY1305_SHA256)
		case "keyupdate":
			handshake.FirstKeyUpdateInterval = 100
		default:
			return contract.ErrUnsupported
		}
		if environment.Server {
			return serve(environment)
		}
		return download(environment)
	})
}

func config() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout: handshakeLimit,
		MaxIdleTimeout:       idleLimit,
		Tracer:               utils.NewQLOGConnectionTracer,
	}
}

func serve(environment *contract.Environment) error {
	tlsConfig, err := environment.ServerTLS(contract.HQ, contract.H3)
	if err != nil {
		return err
	}
	socket, err := net.ListenUDP("udp", environment.Address)
	if err != nil {
		return err
	}
	quicConfig := config()
	quicConfig.Allow0RTT = environment.Testcase == "zerortt"
	transport := &quic.Transport{
		Conn:                socket,
		VerifySourceAddress: func(net.Addr) bool { return environment.Testcase == "retry" },
	}
	listener, err := transport.ListenEarly(tlsConfig, quicConfig)
	if err != nil {
		return err
	}
	web := &http3.Server{Handler: http.FileServer(http.Dir(environment.WWW))}
	go func() {
		for {
			connection, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			go serveConnection(environment, web, connection)
		}
	}()
	contract.UntilTold()
	err = transport.Close()
	time.Sleep(flushTime) // of the traces, which are written elsewhere
	return err
}

func serveConnection(environment *contract.Environment, web *http3.Server, connection *quic.Conn) {
	if connection.ConnectionState().TLS.NegotiatedProtocol == contract.H3 {
		if err := web.ServeQUICConn(connection); err != nil {
			log.Println(err)
		}
		return
	}
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

// A client of either protocol.
type client interface {
	http.RoundTripper
	Close() error
}

func newClient(environment *contract.Environment, tlsConfig *tls.Config, early bool) client {
	if environment.ALPN == contract.H3 {
		web := &http3.Transport{TLSClientConfig: tlsConfig, QUICConfig: config()}
		if !early {
			// Left to itself it uses 0-RTT whenever the ticket allows that.
			web.Dial = quic.DialAddr
		}
		return web
	}
	return &http09.RoundTripper{TLSClientConfig: tlsConfig, QuicConfig: config()}
}

func download(environment *contract.Environment) error {
	tlsConfig := environment.ClientTLS()
	tlsConfig.NextProtos = nil // the clients set their own
	requests := environment.Requests
	switch environment.Testcase {
	case "multiconnect":
		for _, request := range requests {
			if err := fetch(environment, tlsConfig, []*url.URL{request}, false); err != nil {
				return err
			}
		}
		return nil
	case "resumption", "zerortt":
		if len(requests) < 2 {
			return errors.New("REQUESTS: two are needed")
		}
		cache := &sessions{tls.NewLRUClientSessionCache(1), make(chan struct{}, 16)}
		tlsConfig.ClientSessionCache = cache
		if err := fetch(environment, tlsConfig, requests[:1], false); err != nil {
			return err
		}
		select {
		case <-cache.came:
		case <-time.After(ticketLimit):
			return errors.New("no session ticket came")
		}
		return fetch(environment, tlsConfig, requests[1:], environment.Testcase == "zerortt")
	case "versionnegotiation":
		supported := protocol.SupportedVersions
		protocol.SupportedVersions = []protocol.Version{reservedVersion}
		err := fetch(environment, tlsConfig, requests, false)
		var mismatch *quic.VersionNegotiationError
		if !errors.As(err, &mismatch) {
			return fmt.Errorf("expected a Version Negotiation packet, not %v", err)
		}
		protocol.SupportedVersions = supported
	}
	return fetch(environment, tlsConfig, requests, false)
}

// fetch has one connection for these requests. It is closed before it returns.
func fetch(environment *contract.Environment, tlsConfig *tls.Config, requests []*url.URL, early bool) error {
	get := newClient(environment, tlsConfig, early)
	method := http.MethodGet
	if early && environment.ALPN == contract.H3 {
		method = http3.MethodGet0RTT
	} else if early {
		method = http09.MethodGet0RTT
	}
	var group errgroup.Group
	for _, request := range requests {
		group.Go(func() error {
			question := &http.Request{Method: method, URL: request, Host: request.Host, Header: http.Header{}}
			answer, err := get.RoundTrip(question)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if answer.ProtoMajor > 0 && answer.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", request, answer.Status)
			}
			return environment.Save(request, answer.Body)
		})
	}
	err := group.Wait()
	if closed := get.Close(); err == nil {
		err = closed
	}
	time.Sleep(flushTime / 4) // of the trace, which is written elsewhere
	return err
}

// A cache that tells when a ticket came.
type sessions struct {
	tls.ClientSessionCache
	came chan struct{}
}

func (cache *sessions) Put(key string, state *tls.ClientSessionState) {
	cache.ClientSessionCache.Put(key, state)
	select {
	case cache.came <- struct{}{}:
	default:
	}
}
