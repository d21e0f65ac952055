//! The server: routes datagrams by connection ID, and answers Initial packets of strangers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use contract::{Environment, Result, H3};
use quiche::h3::NameValue;
use quiche::{h3, ConnectionId, Header, RecvInfo, Type};

use crate::config;
use crate::link::{random, Link, Peer, ID_LENGTH};

/// What our Retry tokens begin with: the client's address and its first Destination Connection ID follow.
const TOKEN: &[u8] = b"peer";

struct Server<'a> {
    environment: &'a Environment,
    config: quiche::Config,
    link: Link,
    peers: HashMap<u64, Peer>,
    routes: HashMap<Vec<u8>, u64>,
    requests: HashMap<(u64, u64), Vec<u8>>,
    next: u64,
}

/// Serve until SIGTERM.
pub fn serve(environment: &Environment) -> Result<()> {
    let mut config = config(environment)?;
    config.load_cert_chain_from_pem_file(&environment.certificates().to_string_lossy())?;
    config.load_priv_key_from_pem_file(&environment.private_key().to_string_lossy())?;
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, stop.clone())?;
    let mut server = Server {
        environment,
        config,
        link: Link::bind(environment.address)?,
        peers: HashMap::new(),
        routes: HashMap::new(),
        requests: HashMap::new(),
        next: 0,
    };
    while !stop.load(Ordering::Relaxed) {
        server.turn()?;
    }
    Ok(())
}

impl Server<'_> {
    fn turn(&mut self) -> Result<()> {
        self.link.wait(self.peers.values())?;
        let mut buffer = [0; 65536];
        while let Some((length, from)) = self.link.receive(&mut buffer)? {
            self.on_datagram(&mut buffer[..length], from)?;
        }
        for (number, peer) in &mut self.peers {
            if peer.quic.timeout().is_some_and(|left| left.is_zero()) {
                peer.quic.on_timeout();
            }
            answer(self.environment, *number, peer, &mut self.requests);
            peer.flush();
            while peer.quic.scids_left() > 0 {
                let (id, token) = (random()?, u128::from_be_bytes(random()?));
                if peer.quic.new_scid(&ConnectionId::from_ref(&id), token, false).is_err() {
                    break;
                }
                self.routes.insert(id.to_vec(), *number);
            }
            if let Err(error) = self.link.send(peer) {
                eprintln!("{error}");
            }
        }
        self.peers.retain(|_, peer| !peer.quic.is_closed());
        self.routes.retain(|_, number| self.peers.contains_key(number));
        Ok(())
    }

    fn on_datagram(&mut self, datagram: &mut [u8], from: SocketAddr) -> Result<()> {
        let Ok(header) = Header::from_slice(datagram, ID_LENGTH) else { return Ok(()) };
        let number = match self.routes.get(&header.dcid.to_vec()) {
            Some(number) => *number,
            None => match self.on_stranger(&header, from)? {
                Some(number) => number,
                None => return Ok(()),
            },
        };
        if let Some(peer) = self.peers.get_mut(&number) {
            if let Err(error) = peer.quic.recv(datagram, RecvInfo { from, to: self.link.local }) {
                eprintln!("{error}");
            }
        }
        Ok(())
    }

    /// The new connection's number, unless the answer is another.
    fn on_stranger(&mut self, header: &Header<'_>, from: SocketAddr) -> Result<Option<u64>> {
        let mut out = [0; 1500];
        if header.ty != Type::Initial && quiche::version_is_supported(header.version) {
            return Ok(None);
        }
        if !quiche::version_is_supported(header.version) {
            let length = quiche::negotiate_version(&header.scid, &header.dcid, &mut out)?;
            self.link.socket.send_to(&out[..length], from).ok();
            return Ok(None);
        }
        let mut id = random()?.to_vec();
        let mut original = None;
        let address = from.to_string();
        if self.environment.testcase == "retry" {
            let start = [TOKEN, address.as_bytes(), b" "].concat();
            match header.token.as_deref().and_then(|token| token.strip_prefix(start.as_slice())) {
                Some(first) => {
                    id = header.dcid.to_vec();
                    original = Some(ConnectionId::from_vec(first.to_vec()));
                }
                None => {
                    let token = [start.as_slice(), &header.dcid].concat();
                    let fresh = ConnectionId::from_ref(&id);
                    let length =
                        quiche::retry(&header.scid, &header.dcid, &fresh, &token, header.version, &mut out)?;
                    self.link.socket.send_to(&out[..length], from).ok();
                    return Ok(None);
                }
            }
        }
        let source = ConnectionId::from_ref(&id);
        let quic = quiche::accept(&source, original.as_ref(), self.link.local, from, &mut self.config)?;
        self.next += 1;
        self.routes.insert(header.dcid.to_vec(), self.next);
        self.routes.insert(id, self.next);
        self.peers.insert(self.next, Peer::new(quic));
        Ok(Some(self.next))
    }
}

fn answer(
    environment: &Environment,
    number: u64,
    peer: &mut Peer,
    requests: &mut HashMap<(u64, u64), Vec<u8>>,
) {
    if !(peer.quic.is_established() || peer.quic.is_in_early_data()) {
        return;
    }
    if peer.quic.application_proto() == H3.as_bytes() {
        if let Err(error) = answer_h3(environment, peer) {
            eprintln!("{error}");
        }
        return;
    }
    let mut buffer = [0; 4096];
    for stream in peer.quic.readable() {
        while let Ok((length, is_last)) = peer.quic.stream_recv(stream, &mut buffer) {
            let request = requests.entry((number, stream)).or_default();
            request.extend_from_slice(&buffer[..length]);
            if is_last {
                peer.put(stream, environment.answer(request));
                requests.remove(&(number, stream));
                break;
            }
        }
    }
}

fn answer_h3(environment: &Environment, peer: &mut Peer) -> Result<()> {
    let web = match &mut peer.web {
        Some(web) => web,
        None => peer.web.insert(h3::Connection::with_transport(&mut peer.quic, &h3::Config::new()?)?),
    };
    let mut answers = Vec::new();
    loop {
        match web.poll(&mut peer.quic) {
            Ok((stream, h3::Event::Headers { list, .. })) => {
                let path = list.iter().find(|field| field.name() == b":path").map(|field| field.value());
                let content = environment.file(&String::from_utf8_lossy(path.unwrap_or_default()));
                let status: &[u8] = if content.is_some() { b"200" } else { b"404" };
                web.send_response(&mut peer.quic, stream, &[h3::Header::new(b":status", status)], false)?;
                answers.push((stream, content.unwrap_or_default()));
            }
            Ok(_) => (),
            Err(h3::Error::Done) => break,
            Err(error) => return Err(error.into()),
        }
    }
    for (stream, content) in answers {
        peer.put(stream, content);
    }
    Ok(())
}
