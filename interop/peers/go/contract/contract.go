// Package contract is what the matrix tells its peers, and the HTTP/0.9 that they all speak.
package contract

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// HQ is the name of HTTP/0.9 over QUIC in ALPN.
const HQ = "hq-interop"

// H3 is the name of HTTP/3 in ALPN.
const H3 = "h3"

const unsupported = 127

// ErrUnsupported says that the program doesn't have the test case.
var ErrUnsupported = errors.New("not a test case of this peer")

// Environment is what the variables say.
type Environment struct {
	Server    bool
	Testcase  string
	Requests  []*url.URL
	WWW       string
	Downloads string
	Certs     string
	QlogDir   string
	Address   *net.UDPAddr
	KeyLog    io.Writer
	// ALPN is the protocol that a client is to speak.
	ALPN string
}

// Main reads the environment, runs the program, and ends it with the status that the matrix expects.
func Main(run func(*Environment) error) {
	environment, err := read()
	if err == nil {
		err = run(environment)
	}
	if errors.Is(err, ErrUnsupported) {
		os.Exit(unsupported)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read() (*Environment, error) {
	environment := &Environment{
		Server:    os.Getenv("ROLE") == "server",
		Testcase:  os.Getenv("TESTCASE"),
		WWW:       os.Getenv("WWW"),
		Downloads: os.Getenv("DOWNLOADS"),
		Certs:     os.Getenv("CERTS"),
		QlogDir:   os.Getenv("QLOGDIR"),
		Address:   &net.UDPAddr{IP: net.ParseIP(os.Getenv("IP")), Port: 443},
		ALPN:      HQ,
	}
	if environment.Testcase == "http3" || os.Getenv("ALPN") == H3 {
		environment.ALPN = H3
	}
	for _, word := range strings.Fields(os.Getenv("REQUESTS")) {
		request, err := url.Parse(word)
		if err != nil {
			return nil, err
		}
		environment.Requests = append(environment.Requests, request)
	}
	if port := os.Getenv("PORT"); port != "" {
		number, err := strconv.Atoi(port)
		if err != nil {
			return nil, fmt.Errorf("PORT: %w", err)
		}
		environment.Address.Port = number
	}
	if path := os.Getenv("SSLKEYLOGFILE"); path != "" {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		environment.KeyLog = file
	}
	return environment, nil
}

// ServerTLS has the certificate and accepts these protocols.
func (environment *Environment) ServerTLS(protocols ...string) (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(
		filepath.Join(environment.Certs, "cert.pem"), filepath.Join(environment.Certs, "priv.key"))
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate},
		KeyLogWriter: environment.KeyLog,
		NextProtos:   protocols,
		MinVersion:   tls.VersionTLS13,
	}, nil
}

// ClientTLS verifies nothing: the matrix is not about certificates.
func (environment *Environment) ClientTLS() *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true,
		KeyLogWriter:       environment.KeyLog,
		NextProtos:         []string{environment.ALPN},
		MinVersion:         tls.VersionTLS13,
	}
}

// Save writes the answer to a request among the downloads.
func (environment *Environment) Save(request *url.URL, content io.Reader) error {
	file, err := os.Create(filepath.Join(environment.Downloads, filepath.Base(request.Path)))
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, content); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

// Answer reads an HTTP/0.9 request and copies the file it asks for; nothing where there is none.
func (environment *Environment) Answer(stream io.ReadWriter) error {
	request, err := io.ReadAll(io.LimitReader(stream, 4096))
	if err != nil {
		return err
	}
	words := strings.Fields(string(request))
	if len(words) != 2 || words[0] != "GET" {
		return fmt.Errorf("not a request: %q", request)
	}
	file, err := os.Open(filepath.Join(environment.WWW, filepath.Base(words[1])))
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(stream, file)
	return err
}

// UntilTold waits for SIGTERM or SIGINT.
func UntilTold() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	<-told
}
