//! A socket with the connections on it, and what each connection still has to send.

use std::collections::HashMap;
use std::env;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

use contract::Result;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use quiche::h3;

/// The longest to sleep: a server looks this often whether it is to stop.
const LONGEST: Duration = Duration::from_millis(200);
pub const ID_LENGTH: usize = 16;

/// Bytes that cannot be guessed.
pub fn random() -> Result<[u8; ID_LENGTH]> {
    let mut bytes = [0; ID_LENGTH];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub struct Link {
    pub socket: UdpSocket,
    pub local: SocketAddr,
    poll: Poll,
    events: Events,
}

impl Link {
    pub fn bind(address: SocketAddr) -> Result<Self> {
        let mut socket = UdpSocket::bind(address)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local, poll, events: Events::with_capacity(16) })
    }

    /// Sleep until a datagram comes or the first of the connections' timers is due.
    pub fn wait<'a>(&mut self, peers: impl Iterator<Item = &'a Peer>) -> Result<()> {
        let timer = peers.filter_map(|peer| peer.quic.timeout()).min().unwrap_or(LONGEST);
        match self.poll.poll(&mut self.events, Some(timer.min(LONGEST))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The next datagram, if one is there: its length and its sender.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Option<(usize, SocketAddr)>> {
        match self.socket.recv_from(buffer) {
            Ok(received) => Ok(Some(received)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Send all that a connection has.
    pub fn send(&self, peer: &mut Peer) -> Result<()> {
        let mut buffer = [0; 1500];
        loop {
            let (length, info) = match peer.quic.send(&mut buffer) {
                Ok(sent) => sent,
                Err(quiche::Error::Done) => return Ok(()),
                Err(error) => {
                    peer.quic.close(false, 1, b"").ok();
                    return Err(error.into());
                }
            };
            match self.socket.send_to(&buffer[..length], info.to) {
                // Full, or refused by the other side: as good as lost on the way.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) =>
                {
                    ()
                }
                Err(error) => return Err(error.into()),
                Ok(_) => (),
            }
        }
    }
}

/// One connection, and what of its streams waits for room.
pub struct Peer {
    pub quic: quiche::Connection,
    pub web: Option<h3::Connection>,
    waiting: HashMap<u64, (Vec<u8>, usize)>,
}

impl Peer {
    pub fn new(mut quic: quiche::Connection) -> Self {
        if let Some(path) = env::var_os("SSLKEYLOGFILE").filter(|path| !path.is_empty()) {
            if let Ok(file) = OpenOptions::new().create(true).append(true).open(path) {
                quic.set_keylog(Box::new(file));
            }
        }
        Self { quic, web: None, waiting: HashMap::new() }
    }

    /// Send this on a stream as fast as the other side takes it, and end the stream.
    pub fn put(&mut self, stream: u64, content: Vec<u8>) {
        self.waiting.insert(stream, (content, 0));
    }

    /// Go on with what waits.
    pub fn flush(&mut self) {
        let Self { quic, web, waiting } = self;
        waiting.retain(|stream, (content, sent)| loop {
            let rest = &content[*sent..];
            let taken = match web {
                Some(web) => {
                    web.send_body(quic, *stream, rest, true).map_err(|error| error == h3::Error::Done)
                }
                None => quic.stream_send(*stream, rest, true).map_err(|error| error == quiche::Error::Done),
            };
            match taken {
                Ok(length) if length == rest.len() => return false,
                Ok(0) | Err(true) => return true,
                Ok(length) => *sent += length,
                // The stream or the connection is gone.
                Err(false) => return false,
            }
        });
    }
}
