//! quiche as a peer of the matrix: its connections in a loop of ours, HTTP/0.9 and its own HTTP/3 on top.

mod client;
mod link;
mod server;

use contract::{finish, Environment, Result, H3, HQ};

const CLIENT: &[&str] = &[
    "handshake",
    "transfer",
    "multiconnect",
    "retry",
    "resumption",
    "zerortt",
    "http3",
    "versionnegotiation",
];
const SERVER: &[&str] = &[
    "handshake",
    "transfer",
    "multiconnect",
    "retry",
    "resumption",
    "zerortt",
    "http3",
    "versionnegotiation",
];
/// A version of the pattern that asks for Version Negotiation (RFC 9000 §15).
const RESERVED_VERSION: u32 = 0xbaba_baba;

fn main() {
    let environment = match Environment::read() {
        Ok(environment) => environment,
        Err(error) => finish(Err(error)),
    };
    environment.decline_all_but(CLIENT, SERVER);
    finish(if environment.is_server { server::serve(&environment) } else { client::download(&environment) })
}

/// What both roles set. Giving up is left to the matrix.
fn config(environment: &Environment) -> Result<quiche::Config> {
    let unknown = !environment.is_server && environment.testcase == "versionnegotiation";
    let mut config = quiche::Config::new(if unknown { RESERVED_VERSION } else { quiche::PROTOCOL_VERSION })?;
    let protocols: &[&[u8]] = match (environment.is_server, environment.wants_h3) {
        (true, _) => &[HQ.as_bytes(), H3.as_bytes()],
        (false, true) => &[H3.as_bytes()],
        (false, false) => &[HQ.as_bytes()],
    };
    config.set_application_protos(protocols)?;
    config.set_max_idle_timeout(120_000);
    config.set_max_recv_udp_payload_size(1500);
    config.set_initial_max_data(1 << 20);
    config.set_initial_max_stream_data_bidi_local(1 << 19);
    config.set_initial_max_stream_data_bidi_remote(1 << 19);
    config.set_initial_max_stream_data_uni(1 << 19);
    config.set_initial_max_streams_bidi(100);
    config.set_initial_max_streams_uni(100);
    config.set_active_connection_id_limit(4);
    config.verify_peer(false);
    config.log_keys();
    if environment.testcase == "zerortt" {
        config.enable_early_data();
    }
    Ok(config)
}
