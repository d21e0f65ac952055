//! What the matrix tells its peers, and the HTTP/0.9 that they all speak.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::exit;

#[cfg(feature = "tls")]
pub mod tls;

/// The name of HTTP/0.9 over QUIC in ALPN.
pub const HQ: &str = "hq-interop";
/// The name of HTTP/3 in ALPN.
pub const H3: &str = "h3";

/// The status that says that the program doesn't have the test case.
const UNSUPPORTED: i32 = 127;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One URL of REQUESTS.
#[derive(Clone)]
pub struct Request {
    pub host: String,
    pub port: u16,
    /// Without the slash at the beginning.
    pub name: String,
}

impl Request {
    fn parse(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("https://").ok_or(format!("not an https URL: {url}"))?;
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse()?),
            None => (authority, 443),
        };
        Ok(Self { host: host.into(), port, name: name.into() })
    }

    /// The first address of the host.
    pub fn address(&self) -> Result<SocketAddr> {
        let mut found = (self.host.as_str(), self.port).to_socket_addrs()?;
        found.next().ok_or(format!("{} has no address", self.host).into())
    }

    /// The question in HTTP/0.9.
    pub fn question(&self) -> String {
        format!("GET /{}\r\n", self.name)
    }
}

/// What the variables say.
#[derive(Clone)]
pub struct Environment {
    pub is_server: bool,
    pub testcase: String,
    pub requests: Vec<Request>,
    pub www: PathBuf,
    pub downloads: PathBuf,
    pub certs: PathBuf,
    /// Where a server listens.
    pub address: SocketAddr,
    /// Whether a client is to speak HTTP/3.
    pub wants_h3: bool,
}

impl Environment {
    pub fn read() -> Result<Self> {
        let get = |name| env::var(name).unwrap_or_default();
        let ip = match get("IP").as_str() {
            "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ip => ip.parse()?,
        };
        let port = match get("PORT").as_str() {
            "" => 443,
            port => port.parse()?,
        };
        let requests = get("REQUESTS").split_whitespace().map(Request::parse).collect::<Result<_>>()?;
        Ok(Self {
            is_server: get("ROLE") == "server",
            testcase: get("TESTCASE"),
            requests,
            www: get("WWW").into(),
            downloads: get("DOWNLOADS").into(),
            certs: get("CERTS").into(),
            address: (ip, port).into(),
            wants_h3: get("TESTCASE") == "http3" || get("ALPN") == H3,
        })
    }

    /// End the program if it doesn't have the test case.
    pub fn decline_all_but(&self, client: &[&str], server: &[&str]) {
        let known = if self.is_server { server } else { client };
        if !known.contains(&self.testcase.as_str()) {
            exit(UNSUPPORTED);
        }
    }

    /// The requests, in one group for each connection.
    pub fn groups(&self) -> Vec<Vec<Request>> {
        match self.testcase.as_str() {
            "multiconnect" => self.requests.iter().map(|one| vec![one.clone()]).collect(),
            "resumption" | "zerortt" if self.requests.len() > 1 => {
                vec![self.requests[..1].to_vec(), self.requests[1..].to_vec()]
            }
            _ => vec![self.requests.clone()],
        }
    }

    /// What HTTP/0.9 answers to a request: the file, or nothing where there is none.
    pub fn answer(&self, request: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(request);
        let mut words = text.split_whitespace();
        match (words.next(), words.next()) {
            (Some("GET"), Some(path)) => self.file(path).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// The content of a file that is served, by the path of its URL.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        let name = Path::new(path).file_name()?;
        fs::read(self.www.join(name)).ok()
    }

    /// Where the answer to a request belongs.
    pub fn target(&self, request: &Request) -> PathBuf {
        self.downloads.join(&request.name)
    }

    pub fn certificates(&self) -> PathBuf {
        self.certs.join("cert.pem")
    }

    pub fn private_key(&self) -> PathBuf {
        self.certs.join("priv.key")
    }
}

/// Report the outcome as the matrix expects it.
pub fn finish(outcome: Result<()>) -> ! {
    match outcome {
        Ok(()) => exit(0),
        Err(error) => {
            eprintln!("{error}");
            exit(1)
        }
    }
}
