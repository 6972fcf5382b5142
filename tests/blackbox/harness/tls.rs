//! TLS on the test's side: a server's certificate that can be renewed and spoilt, and a client's stream with or without TLS.

use super::{Authority, Folder, HANG, Options};
use futures_rustls::pki_types::{IpAddr, ServerName};
use futures_rustls::rustls::{ALL_VERSIONS, ClientConfig, ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

/// A server's certificate and key in files, and the authority that clients trust.
pub struct Secured {
    folder: Folder,
    authority: Authority,
    client: Arc<ClientConfig>,
}

impl Secured {
    /// With a first certificate.
    pub fn new() -> Self {
        let authority = Authority::new();
        let client = Arc::new(authority.client(ALL_VERSIONS));
        let secured = Self { folder: Folder::new(), authority, client };
        secured.renew();
        secured
    }

    /// How a server is started that has this certificate.
    pub fn options(&self) -> Options {
        let (certificate, key) = (self.certificate(), self.key());
        let path = |path: &PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
        let flags = ["--tls-cert", &path(&certificate), "--tls-key", &path(&key)].map(str::to_owned);
        Options { flags: flags.to_vec(), trust: Some(Arc::clone(&self.client)), ..Options::default() }
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// Writes a fresh certificate and its key, and gives the certificate's bytes as a client sees them.
    pub fn renew(&self) -> Vec<u8> {
        let (certificate, key) = self.authority.issue("127.0.0.1");
        std::fs::write(self.certificate(), certificate.pem()).expect("the folder can be written");
        std::fs::write(self.key(), key.serialize_pem()).expect("the folder can be written");
        certificate.der().to_vec()
    }
}

/// A client's end of a connection.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects; with `trust` the handshake is over when this returns.
    pub fn open(address: SocketAddr, trust: Option<&Arc<ClientConfig>>) -> std::io::Result<Self> {
        let mut tcp = TcpStream::connect(address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(HANG))?;
        tcp.set_write_timeout(Some(HANG))?;
        let Some(trust) = trust else { return Ok(Self::Plain(tcp)) };
        let name = ServerName::IpAddress(IpAddr::from(address.ip()));
        let mut session = ClientConnection::new(Arc::clone(trust), name).map_err(std::io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut tcp)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(session, tcp))))
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref(),
        }
    }

    /// What TLS knows of the connection.
    pub fn session(&mut self) -> &mut ClientConnection {
        match self {
            Self::Plain(_) => panic!("a plain connection has no session"),
            Self::Tls(tls) => &mut tls.conn,
        }
    }

    /// The certificate that the server showed.
    pub fn certificate(&mut self) -> Vec<u8> {
        self.session().peer_certificates().expect("a server shows its certificate")[0].to_vec()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
