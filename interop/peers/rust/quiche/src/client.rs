//! The client: one connection after the other, each in a loop until its files are there.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use contract::{Environment, Request, Result};
use quiche::h3::NameValue;
use quiche::{h3, ConnectionId, RecvInfo};

use crate::config;
use crate::link::{random, Link, Peer};

const TICKET_LIMIT: Duration = Duration::from_secs(10);

struct Download<'a> {
    environment: &'a Environment,
    peer: Peer,
    waiting: Vec<Request>,
    open: HashMap<u64, File>,
    next: u64,
}

pub fn download(environment: &Environment) -> Result<()> {
    let mut session = None;
    for group in environment.groups() {
        session = fetch(environment, &group, session)?;
    }
    Ok(())
}

/// Download these over one connection; the session to resume.
fn fetch(environment: &Environment, group: &[Request], session: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    let first = group.first().ok_or("REQUESTS is empty")?;
    let server = first.address()?;
    let mut link = Link::bind(if server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }.parse()?)?;
    let id = random()?;
    let source = ConnectionId::from_ref(&id);
    let mut quic =
        quiche::connect(Some(&first.host), &source, link.local, server, &mut config(environment)?)?;
    let wants_ticket =
        ["resumption", "zerortt"].contains(&environment.testcase.as_str()) && session.is_none();
    if let Some(session) = session {
        quic.set_session(&session)?;
    }
    let mut waiting = group.to_vec();
    waiting.reverse();
    let mut this = Download { environment, peer: Peer::new(quic), waiting, open: HashMap::new(), next: 0 };
    let mut buffer = [0; 65536];
    let mut done: Option<Instant> = None;
    link.send(&mut this.peer)?;
    while !this.peer.quic.is_closed() {
        this.ask()?;
        this.peer.flush();
        link.send(&mut this.peer)?;
        link.wait(std::iter::once(&this.peer))?;
        while let Some((length, from)) = link.receive(&mut buffer)? {
            if let Err(error) = this.peer.quic.recv(&mut buffer[..length], RecvInfo { from, to: link.local })
            {
                eprintln!("{error}");
            }
        }
        if this.peer.quic.timeout().is_some_and(|left| left.is_zero()) {
            this.peer.quic.on_timeout();
        }
        this.store()?;
        if this.waiting.is_empty() && this.open.is_empty() {
            let since = *done.get_or_insert_with(Instant::now);
            if !wants_ticket || this.peer.quic.session().is_some() || since.elapsed() > TICKET_LIMIT {
                this.peer.quic.close(true, if environment.wants_h3 { 0x100 } else { 0 }, b"").ok();
                link.send(&mut this.peer)?;
                break;
            }
        }
    }
    if this.waiting.is_empty() && this.open.is_empty() {
        return Ok(this.peer.quic.session().map(<[u8]>::to_vec));
    }
    Err(format!("the connection ended: {:?} {:?}", this.peer.quic.peer_error(), this.peer.quic.local_error())
        .into())
}

impl Download<'_> {
    /// Send the requests that the server has room for.
    fn ask(&mut self) -> Result<()> {
        let Self { environment, peer, waiting, open, next } = self;
        if !(peer.quic.is_established() || peer.quic.is_in_early_data()) {
            return Ok(());
        }
        if environment.wants_h3 && peer.web.is_none() {
            peer.web = Some(h3::Connection::with_transport(&mut peer.quic, &h3::Config::new()?)?);
        }
        while let Some(request) = waiting.last() {
            let stream = match &mut peer.web {
                Some(web) => match web.send_request(&mut peer.quic, &fields(request), true) {
                    Ok(stream) => stream,
                    Err(h3::Error::StreamBlocked | h3::Error::TransportError(quiche::Error::StreamLimit)) => {
                        break
                    }
                    Err(error) => return Err(error.into()),
                },
                None => {
                    if peer.quic.peer_streams_left_bidi() == 0 {
                        break;
                    }
                    let stream = *next;
                    // A client's next stream with two directions (RFC 9000 §2.1).
                    *next += 4;
                    let question = request.question().into_bytes();
                    let sent = match peer.quic.stream_send(stream, &question, true) {
                        Ok(sent) => sent,
                        // The server gives no room for it now. The stream is open all the same.
                        Err(quiche::Error::Done) => 0,
                        Err(error) => return Err(error.into()),
                    };
                    if sent < question.len() {
                        peer.put(stream, question[sent..].to_vec());
                    }
                    stream
                }
            };
            open.insert(stream, File::create(environment.target(request))?);
            waiting.pop();
        }
        Ok(())
    }

    /// Write what has come.
    fn store(&mut self) -> Result<()> {
        let mut buffer = [0; 65536];
        if self.peer.web.is_some() {
            return self.store_h3(&mut buffer);
        }
        for stream in self.peer.quic.readable() {
            while let Ok((length, is_last)) = self.peer.quic.stream_recv(stream, &mut buffer) {
                if let Some(file) = self.open.get_mut(&stream) {
                    file.write_all(&buffer[..length])?;
                }
                if is_last {
                    self.open.remove(&stream);
                    break;
                }
            }
        }
        Ok(())
    }

    fn store_h3(&mut self, buffer: &mut [u8]) -> Result<()> {
        let Self { peer, open, .. } = self;
        let Some(web) = &mut peer.web else { return Ok(()) };
        loop {
            match web.poll(&mut peer.quic) {
                Ok((_, h3::Event::Headers { list, .. })) => {
                    let status = list.iter().find(|field| field.name() == b":status");
                    if status.is_some_and(|field| field.value() != b"200") {
                        return Err(format!("{list:?}").into());
                    }
                }
                Ok((stream, h3::Event::Data)) => {
                    while let Ok(length) = web.recv_body(&mut peer.quic, stream, buffer) {
                        if let Some(file) = open.get_mut(&stream) {
                            file.write_all(&buffer[..length])?;
                        }
                    }
                }
                Ok((stream, h3::Event::Finished)) => {
                    open.remove(&stream);
                }
                Ok(_) => (),
                Err(h3::Error::Done) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn fields(request: &Request) -> [h3::Header; 4] {
    let authority = format!("{}:{}", request.host, request.port);
    let path = format!("/{}", request.name);
    [
        h3::Header::new(b":method", b"GET"),
        h3::Header::new(b":scheme", b"https"),
        h3::Header::new(b":authority", authority.as_bytes()),
        h3::Header::new(b":path", path.as_bytes()),
    ]
}
