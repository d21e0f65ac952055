//! s2n-quic as a peer of the matrix, over HTTP/0.9.

use std::sync::Arc;
use std::time::Duration;

use contract::{finish, tls, Environment, Request, Result, HQ};
use s2n_quic::client::{Client, Connect};
use s2n_quic::provider::{endpoint_limits, limits::Limits, tls::rustls};
use s2n_quic::{Connection, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{signal, SignalKind};
use tokio::task::JoinSet;

/// With rustls it neither sends tickets nor takes them.
const CLIENT: &[&str] = &["handshake", "transfer", "chacha20", "multiconnect", "retry", "ecn"];
const SERVER: &[&str] =
    &["handshake", "transfer", "chacha20", "multiconnect", "retry", "ecn", "versionnegotiation"];
const REQUEST_LIMIT: u64 = 4096;

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

/// Giving up is left to the matrix.
fn limits() -> Result<Limits> {
    let limits = Limits::new()
        .with_max_idle_timeout(Duration::from_secs(120))?
        .with_max_handshake_duration(Duration::from_secs(240))?;
    Ok(limits)
}

async fn serve(environment: Arc<Environment>) -> Result<()> {
    let retry = if environment.testcase == "retry" { 0 } else { 1_000_000 };
    let admission = endpoint_limits::Default::builder().with_inflight_handshake_limit(retry)?.build()?;
    let mut server = Server::builder()
        .with_tls(rustls::Server::from(tls::server(&environment, &[HQ])?))?
        .with_io(environment.address)?
        .with_limits(limits()?)?
        .with_endpoint_limits(admission)?
        .start()?;
    tokio::spawn(async move {
        while let Some(connection) = server.accept().await {
            tokio::spawn(serve_connection(environment.clone(), connection));
        }
    });
    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}

async fn serve_connection(environment: Arc<Environment>, mut connection: Connection) -> Result<()> {
    while let Some(stream) = connection.accept_bidirectional_stream().await? {
        let environment = environment.clone();
        tokio::spawn(async move {
            let (receive, mut send) = stream.split();
            let mut request = Vec::new();
            receive.take(REQUEST_LIMIT).read_to_end(&mut request).await?;
            send.write_all(&environment.answer(&request)).await?;
            send.shutdown().await?;
            Result::Ok(())
        });
    }
    Ok(())
}

async fn download(environment: Arc<Environment>) -> Result<()> {
    let client = Client::builder()
        .with_tls(rustls::Client::from(tls::client(&environment)?))?
        .with_io("[::]:0")?
        .with_limits(limits()?)?
        .start()?;
    for group in environment.groups() {
        let first = group.first().ok_or("REQUESTS is empty")?;
        let to = Connect::new(first.address()?).with_server_name(first.host.as_str());
        let connection = client.connect(to).await?;
        fetch(&environment, &connection, &group).await?;
        connection.close(0u32.into());
    }
    client.clone().wait_idle().await?;
    Ok(())
}

async fn fetch(environment: &Arc<Environment>, connection: &Connection, group: &[Request]) -> Result<()> {
    let mut tasks = JoinSet::new();
    for request in group.to_vec() {
        let (environment, mut handle) = (environment.clone(), connection.handle());
        tasks.spawn(async move {
            let (mut receive, mut send) = handle.open_bidirectional_stream().await?.split();
            send.write_all(request.question().as_bytes()).await?;
            send.shutdown().await?;
            let mut file = tokio::fs::File::create(environment.target(&request)).await?;
            tokio::io::copy(&mut receive, &mut file).await?;
            file.flush().await?;
            Result::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
