//! quinn as a peer of the matrix; its HTTP/3 is that of the crate h3.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use contract::{finish, tls, Environment, Request, Result, H3, HQ};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, Incoming, ServerConfig, TransportConfig, VarInt};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{signal, SignalKind};
use tokio::task::JoinSet;

const CLIENT: &[&str] = &[
    "handshake",
    "transfer",
    "chacha20",
    "multiconnect",
    "retry",
    "resumption",
    "zerortt",
    "http3",
    "keyupdate",
    "ecn",
];
const SERVER: &[&str] = &[
    "handshake",
    "transfer",
    "chacha20",
    "multiconnect",
    "retry",
    "resumption",
    "zerortt",
    "http3",
    "ecn",
    "versionnegotiation",
];
/// After the handshake: by then it is confirmed, and a ticket has come.
const CONFIRMED_AFTER: Duration = Duration::from_millis(200);
const REQUEST_LIMIT: usize = 4096;

#[tokio::main]
async fn main() {
    let environment = match Environment::read() {
        Ok(environment) => environment,
        Err(error) => finish(Err(error)),
    };
    environment.decline_all_but(CLIENT, SERVER);
    let environment = Arc::new(environment);
    finish(if environment.is_server { serve(environment).await } else { download(environment).await })
}

/// Giving up is left to the matrix. Probes of the path's MTU would count as data that 0-RTT left over.
fn transport(environment: &Environment) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    if environment.testcase == "zerortt" {
        config.mtu_discovery_config(None);
    }
    config.max_idle_timeout(Some(VarInt::from_u32(120_000).into()));
    Arc::new(config)
}

/// Initial packets have AES whatever the handshake offers (RFC 9001 §5.2).
fn initial_suite() -> Result<rustls::quic::Suite> {
    let aes = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    aes.tls13().and_then(|suite| suite.quic_suite()).ok_or("no suite for Initial packets".into())
}

async fn serve(environment: Arc<Environment>) -> Result<()> {
    let tls = Arc::new(tls::server(&environment, &[HQ, H3])?);
    let crypto = QuicServerConfig::with_initial(tls, initial_suite()?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport(&environment));
    let endpoint = Endpoint::server(config, environment.address)?;
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            tokio::spawn(accept(environment.clone(), incoming));
        }
    });
    signal(SignalKind::terminate())?.recv().await;
    endpoint.close(VarInt::from_u32(0), b"");
    Ok(())
}

async fn accept(environment: Arc<Environment>, incoming: Incoming) -> Result<()> {
    if environment.testcase == "retry" && !incoming.remote_address_validated() {
        incoming.retry()?;
        return Ok(());
    }
    let mut connecting = incoming.accept()?;
    let data = connecting.handshake_data().await?;
    let protocol = data.downcast::<HandshakeData>().ok().and_then(|data| data.protocol);
    let connection = match connecting.into_0rtt() {
        Ok((connection, _)) => connection,
        Err(connecting) => connecting.await?,
    };
    if protocol.as_deref() == Some(H3.as_bytes()) {
        return serve_h3(environment, connection).await;
    }
    loop {
        let (mut send, mut receive) = connection.accept_bi().await?;
        let environment = environment.clone();
        tokio::spawn(async move {
            let request = receive.read_to_end(REQUEST_LIMIT).await?;
            send.write_all(&environment.answer(&request)).await?;
            send.finish()?;
            Result::Ok(())
        });
    }
}

async fn serve_h3(environment: Arc<Environment>, connection: Connection) -> Result<()> {
    let mut web = h3::server::Connection::<_, Bytes>::new(h3_quinn::Connection::new(connection)).await?;
    while let Some(resolver) = web.accept().await? {
        let environment = environment.clone();
        tokio::spawn(async move {
            let (request, mut stream) = resolver.resolve_request().await?;
            let content = environment.file(request.uri().path());
            let status = if content.is_some() { 200 } else { 404 };
            stream.send_response(http::Response::builder().status(status).body(())?).await?;
            stream.send_data(content.unwrap_or_default().into()).await?;
            stream.finish().await?;
            Result::Ok(())
        });
    }
    Ok(())
}

async fn download(environment: Arc<Environment>) -> Result<()> {
    let crypto = QuicClientConfig::with_initial(Arc::new(tls::client(&environment)?), initial_suite()?)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(&environment));
    let endpoint = Endpoint::client("[::]:0".parse()?)?;
    let groups = environment.groups();
    for (number, group) in groups.iter().enumerate() {
        let connection = connect(&environment, &endpoint, &config, &group[0]).await?;
        if environment.testcase == "keyupdate" {
            tokio::time::sleep(CONFIRMED_AFTER).await;
            connection.force_key_update();
        }
        if environment.wants_h3 {
            fetch_h3(&environment, &connection, group).await?;
        } else {
            fetch(&environment, &connection, group).await?;
        }
        if groups.len() > 1 && number == 0 && environment.testcase != "multiconnect" {
            tokio::time::sleep(CONFIRMED_AFTER).await;
        }
        connection.close(VarInt::from_u32(if environment.wants_h3 { 0x100 } else { 0 }), b"");
    }
    endpoint.wait_idle().await;
    Ok(())
}

/// The connection may be one that has sent nothing but the ClientHello yet.
async fn connect(
    environment: &Environment,
    endpoint: &Endpoint,
    config: &ClientConfig,
    request: &Request,
) -> Result<Connection> {
    let mut address = request.address()?;
    if let (std::net::IpAddr::V4(four), true) = (address.ip(), endpoint.local_addr()?.is_ipv6()) {
        address.set_ip(four.to_ipv6_mapped().into());
    }
    let connecting = endpoint.connect_with(config.clone(), address, &request.host)?;
    if environment.testcase != "zerortt" {
        return Ok(connecting.await?);
    }
    match connecting.into_0rtt() {
        Ok((connection, _)) => Ok(connection),
        Err(connecting) => Ok(connecting.await?),
    }
}

async fn fetch(environment: &Arc<Environment>, connection: &Connection, group: &[Request]) -> Result<()> {
    let mut tasks = JoinSet::new();
    for request in group.to_vec() {
        let (environment, connection) = (environment.clone(), connection.clone());
        tasks.spawn(async move {
            let (mut send, mut receive) = connection.open_bi().await?;
            send.write_all(request.question().as_bytes()).await?;
            send.finish()?;
            let mut file = tokio::fs::File::create(environment.target(&request)).await?;
            while let Some(chunk) = receive.read_chunk(1 << 16, true).await? {
                file.write_all(&chunk.bytes).await?;
            }
            file.flush().await?;
            Result::Ok(())
        });
    }
    all(tasks).await
}

async fn fetch_h3(environment: &Arc<Environment>, connection: &Connection, group: &[Request]) -> Result<()> {
    let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(connection.clone())).await?;
    let driving =
        tokio::spawn(async move { std::future::poll_fn(|context| driver.poll_close(context)).await });
    let mut tasks = JoinSet::new();
    for request in group.to_vec() {
        let (environment, mut sender) = (environment.clone(), sender.clone());
        tasks.spawn(async move {
            let uri = format!("https://{}:{}/{}", request.host, request.port, request.name);
            let mut stream = sender.send_request(http::Request::get(uri).body(())?).await?;
            stream.finish().await?;
            let response = stream.recv_response().await?;
            if response.status() != 200 {
                return Err(format!("{}: {}", request.name, response.status()).into());
            }
            let mut file = tokio::fs::File::create(environment.target(&request)).await?;
            while let Some(mut chunk) = stream.recv_data().await? {
                let length = chunk.remaining();
                file.write_all(&chunk.copy_to_bytes(length)).await?;
            }
            file.flush().await?;
            Result::Ok(())
        });
    }
    let outcome = all(tasks).await;
    drop(sender);
    driving.abort();
    outcome
}

async fn all(mut tasks: JoinSet<Result<()>>) -> Result<()> {
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
