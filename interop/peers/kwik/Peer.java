import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import sun.misc.Signal;
import tech.kwik.agent15.TlsConstants.CipherSuite;
import tech.kwik.core.QuicClientConnection;
import tech.kwik.core.QuicClientConnection.StreamEarlyData;
import tech.kwik.core.QuicConnection;
import tech.kwik.core.QuicConnection.QuicVersion;
import tech.kwik.core.QuicSessionTicket;
import tech.kwik.core.QuicStream;
import tech.kwik.core.impl.QuicClientConnectionImpl;
import tech.kwik.core.log.NullLogger;
import tech.kwik.core.server.ApplicationProtocolConnection;
import tech.kwik.core.server.ApplicationProtocolConnectionFactory;
import tech.kwik.core.server.ServerConnectionConfig;
import tech.kwik.core.server.ServerConnector;

/** kwik as a peer of the matrix, over HTTP/0.9. */
public final class Peer {
    private static final String HQ = "hq-interop";
    private static final int UNSUPPORTED = 127;
    private static final Set<String> CLIENT = Set.of("handshake", "transfer", "chacha20", "multiconnect", "retry",
        "resumption", "zerortt", "keyupdate", "v2");
    private static final Set<String> SERVER = Set.of("handshake", "transfer", "chacha20", "multiconnect", "retry",
        "resumption", "zerortt", "v2", "versionnegotiation");
    // Giving up is left to the matrix.
    private static final Duration LIMIT = Duration.ofSeconds(120);
    // After the handshake: by then it is confirmed, and a ticket has come.
    private static final long CONFIRMED_AFTER = 200;
    private static final int REQUEST_LIMIT = 4096;
    // Enough to start with, and less than the files of "transfer".
    private static final long WINDOW = 250_000;

    // RFC 5958: what stands before an RFC 5915 key of P-256, lengths apart.
    private static final String EC_P256 = "020100301306072a8648ce3d020106082a8648ce3d030107";

    private final String testcase;

    private Peer(String testcase) {
        this.testcase = testcase;
    }

    public static void main(String[] arguments) throws Exception {
        boolean isServer = get("ROLE").equals("server");
        Peer peer = new Peer(get("TESTCASE"));
        if (!(isServer ? SERVER : CLIENT).contains(peer.testcase)) {
            System.exit(UNSUPPORTED);
        }
        if (isServer) {
            peer.serve();
            return;
        }
        try {
            peer.download();
        } catch (Exception failed) {
            failed.printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }

    private static String get(String name) {
        String value = System.getenv(name);
        return value == null ? "" : value;
    }

    private void serve() throws Exception {
        Signal.handle(new Signal("TERM"), signal -> Runtime.getRuntime().halt(0));
        int port = get("PORT").isEmpty() ? 443 : Integer.parseInt(get("PORT"));
        InetSocketAddress address =
            get("IP").isEmpty() ? new InetSocketAddress(port) : new InetSocketAddress(InetAddress.getByName(get("IP")), port);
        ServerConnectionConfig config = ServerConnectionConfig.builder()
            .maxIdleTimeoutInSeconds((int) LIMIT.toSeconds())
            .maxConnectionBufferSize(WINDOW)
            .maxBidirectionalStreamBufferSize(WINDOW)
            .maxOpenPeerInitiatedBidirectionalStreams(100)
            .retryRequired(testcase.equals("retry"))
            .build();
        ServerConnector server = ServerConnector.builder()
            .withSocket(new DatagramSocket(address))
            .withKeyStore(keyStore(), "peer", new char[0])
            .withSupportedVersions(testcase.equals("v2") ? List.of(QuicVersion.V1, QuicVersion.V2) : List.of(QuicVersion.V1))
            .withConfiguration(config)
            .withLogger(new NullLogger())
            .build();
        server.registerApplicationProtocol(HQ, new Answers());
        server.start();
    }

    private static KeyStore keyStore() throws Exception {
        Path certs = Path.of(get("CERTS"));
        List<Certificate> chain = new ArrayList<>();
        try (InputStream input = Files.newInputStream(certs.resolve("cert.pem"))) {
            chain.addAll(CertificateFactory.getInstance("X.509").generateCertificates(input));
        }
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        store.setKeyEntry("peer", privateKey(certs.resolve("priv.key")), new char[0], chain.toArray(new Certificate[0]));
        return store;
    }

    /** The runner's keys are in the form of RFC 5915, which Java reads only inside PKCS #8. */
    private static PrivateKey privateKey(Path path) throws Exception {
        String begin = "-----BEGIN EC PRIVATE KEY-----";
        String text = Files.readString(path);
        int from = text.indexOf(begin) + begin.length();
        byte[] key = Base64.getMimeDecoder().decode(text.substring(from, text.indexOf("-----END EC PRIVATE KEY")));
        ByteArrayOutputStream inner = new ByteArrayOutputStream();
        inner.write(HexFormat.of().parseHex(EC_P256));
        inner.write(new byte[] {0x04, (byte) key.length});
        inner.write(key);
        ByteArrayOutputStream outer = new ByteArrayOutputStream();
        outer.write(new byte[] {0x30, (byte) 0x81, (byte) inner.size()});
        inner.writeTo(outer);
        return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(outer.toByteArray()));
    }

    private static final class Answers implements ApplicationProtocolConnectionFactory {
        private final ExecutorService threads = Executors.newCachedThreadPool();

        @Override
        public ApplicationProtocolConnection createConnection(String protocol, QuicConnection connection) {
            return new ApplicationProtocolConnection() {
                @Override
                public void acceptPeerInitiatedStream(QuicStream stream) {
                    threads.submit(() -> answer(stream));
                }
            };
        }

        @Override
        public int maxConcurrentPeerInitiatedBidirectionalStreams() {
            return 100;
        }

        private static void answer(QuicStream stream) {
            try (OutputStream output = stream.getOutputStream()) {
                byte[] request = stream.getInputStream().readNBytes(REQUEST_LIMIT);
                String[] words = new String(request, StandardCharsets.US_ASCII).trim().split("\\s+");
                if (words.length == 2 && words[0].equals("GET")) {
                    Files.copy(Path.of(get("WWW")).resolve(Path.of(words[1]).getFileName()), output);
                }
            } catch (IOException failed) {
                failed.printStackTrace();
            }
        }
    }

    private void download() throws Exception {
        List<URI> requests = new ArrayList<>();
        for (String word : get("REQUESTS").trim().split("\\s+")) {
            requests.add(URI.create(word));
        }
        if (testcase.equals("multiconnect")) {
            for (URI request : requests) {
                fetch(List.of(request), null);
            }
        } else if (testcase.equals("resumption") || testcase.equals("zerortt")) {
            QuicSessionTicket ticket = fetch(requests.subList(0, 1), null);
            if (ticket == null) {
                throw new IOException("no session ticket came");
            }
            fetch(requests.subList(1, requests.size()), ticket);
        } else {
            fetch(requests, null);
        }
    }

    /** Download these over one connection; the ticket to resume, or null. */
    private QuicSessionTicket fetch(List<URI> requests, QuicSessionTicket ticket) throws Exception {
        if (get("SSLKEYLOGFILE").isEmpty()) {
            return fetch(requests, ticket, null);
        }
        // Each connection begins the file of its secrets anew, so only the first one gets the real file.
        Path all = Path.of(get("SSLKEYLOGFILE"));
        Path own = Files.exists(all) ? Files.createTempFile("secrets", null) : all;
        try {
            return fetch(requests, ticket, own);
        } finally {
            if (!own.equals(all)) {
                Files.write(all, Files.readAllBytes(own), StandardOpenOption.APPEND);
                Files.delete(own);
            }
        }
    }

    private QuicSessionTicket fetch(List<URI> requests, QuicSessionTicket ticket, Path secrets) throws Exception {
        QuicClientConnection.Builder builder = QuicClientConnection.newBuilder()
            .uri(requests.get(0))
            .applicationProtocol(HQ)
            .connectTimeout(LIMIT)
            .maxIdleTimeout(LIMIT)
            .defaultStreamReceiveBufferSize(WINDOW)
            .noServerCertificateCheck()
            .logger(new NullLogger());
        if (secrets != null) {
            builder.secrets(secrets);
        }
        if (testcase.equals("chacha20")) {
            builder.cipherSuite(CipherSuite.TLS_CHACHA20_POLY1305_SHA256);
        }
        if (testcase.equals("v2")) {
            builder.initialVersion(QuicVersion.V1).preferredVersion(QuicVersion.V2);
        }
        if (ticket != null) {
            builder.sessionTicket(ticket);
        }
        QuicClientConnection connection = builder.build();
        List<QuicStream> streams = connect(connection, requests, ticket != null && testcase.equals("zerortt"));
        ExecutorService threads = Executors.newCachedThreadPool();
        List<Future<Void>> all = new ArrayList<>();
        for (int number = 0; number < requests.size(); number++) {
            QuicStream stream = streams.isEmpty() ? null : streams.get(number);
            URI request = requests.get(number);
            all.add(threads.submit((Callable<Void>) () -> save(connection, stream, request)));
        }
        for (Future<Void> one : all) {
            one.get();
        }
        threads.shutdown();
        if (ticket == null && (testcase.equals("resumption") || testcase.equals("zerortt"))) {
            Thread.sleep(CONFIRMED_AFTER);
        }
        List<QuicSessionTicket> tickets = connection.getNewSessionTickets();
        connection.closeAndWait(Duration.ofSeconds(1));
        return tickets.isEmpty() ? null : tickets.get(0);
    }

    /** The streams whose requests went out early; none if that was not wanted. */
    private List<QuicStream> connect(QuicClientConnection connection, List<URI> requests, boolean early) throws Exception {
        if (!early) {
            connection.connect();
            if (testcase.equals("keyupdate")) {
                Thread.sleep(CONFIRMED_AFTER);
                ((QuicClientConnectionImpl) connection).updateKeys();
            }
            return List.of();
        }
        List<StreamEarlyData> questions = new ArrayList<>();
        for (URI request : requests) {
            questions.add(new StreamEarlyData(question(request), true));
        }
        return connection.connect(questions);
    }

    private static byte[] question(URI request) {
        return ("GET " + request.getPath() + "\r\n").getBytes(StandardCharsets.US_ASCII);
    }

    private static Void save(QuicClientConnection connection, QuicStream begun, URI request) throws IOException {
        QuicStream stream = begun;
        if (stream == null) {
            stream = connection.createStream(true);
            try (OutputStream output = stream.getOutputStream()) {
                output.write(question(request));
            }
        }
        Path target = Path.of(get("DOWNLOADS")).resolve(request.getPath().substring(1));
        Files.copy(stream.getInputStream(), target);
        return null;
    }
}
