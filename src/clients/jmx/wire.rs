//! JRMP, RMI's transport: one connection, one call at a time.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::call::Call;
use super::failure::Failure;
use super::reply::{Gives, Reply, reply};
use super::stream::Limits;
use super::tls::Tls;

/// A reply to a reading fits as a rule; idle connections cost no more than this.
const BUFFER: usize = 2048;
/// What the server says of us is passed over; it may not be long.
const MAX_HOST: u16 = 1024;
/// After so long without a word the system asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Anything that carries bytes both ways.
trait Pipe: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Pipe for T {}

/// A connection to a JVM's RMI port.
pub struct Wire {
    pipe: BufReader<Box<dyn Pipe>>,
    /// Whether the server has not said yet that it speaks the protocol.
    fresh: bool,
    /// Whether it is encrypted.
    pub(super) encrypted: bool,
}

impl Wire {
    /// Connects, over TLS where asked.
    pub(super) async fn open(host: &str, port: u16, tls: Option<&Tls>) -> Result<Self, Failure> {
        let place = label(host, port);
        let lost = |cause| Failure::Lost(format!("could not connect to {place}: {cause}"));
        let socket = TcpStream::connect((host, port)).await.map_err(lost)?;
        socket.set_nodelay(true).map_err(lost)?;
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
        socket2::SockRef::from(&socket)
            .set_tcp_keepalive(&keepalive)
            .map_err(lost)?;
        let pipe: Box<dyn Pipe> = match tls {
            None => Box::new(socket),
            Some(tls) => tls.connect(host, &place, socket).await?,
        };
        let mut wire = Self::over(pipe, tls.is_some());
        wire.pipe.write_all(b"JRMI\x00\x02\x4b").await?;
        // Where we could be called back: nowhere. Sent along at once, which saves a round trip.
        wire.pipe.write_all(&[0; 6]).await?;
        Ok(wire)
    }

    fn over(pipe: Box<dyn Pipe>, encrypted: bool) -> Self {
        Self {
            pipe: BufReader::with_capacity(BUFFER, pipe),
            fresh: true,
            encrypted,
        }
    }

    /// Sends a call and reads what comes back.
    pub(super) async fn call(
        &mut self,
        call: Call,
        gives: Gives,
        limits: Limits,
    ) -> Result<Reply, Failure> {
        self.pipe.write_all(&call.into_bytes()).await?;
        self.pipe.flush().await?;
        if self.fresh {
            self.greeting().await?;
            self.fresh = false;
        }
        reply(&mut self.pipe, gives, limits).await
    }

    /// Tells that an exported object has arrived.
    pub(super) async fn acknowledge(&mut self, reply: &Reply) -> Result<(), Failure> {
        self.pipe.write_all(&[0x54]).await?;
        self.pipe.write_all(&reply.id).await?;
        self.pipe.flush().await?;
        Ok(())
    }

    async fn greeting(&mut self) -> Result<(), Failure> {
        match self.pipe.read_u8().await? {
            0x4e => {}
            0x4f => {
                return Err(Failure::Refused(
                    "the server does not take connections for several calls".into(),
                ));
            }
            0x15 => {
                return Err(Failure::Refused(
                    "the server expects TLS: set tls: true in the jvm profile".into(),
                ));
            }
            byte => {
                return Err(Failure::Refused(format!(
                    "what answers there is no RMI server (its first byte is {byte:#04x}): is this the JVM's JMX port?"
                )));
            }
        }
        let length = self.pipe.read_u16().await?;
        if length > MAX_HOST {
            return Err(Failure::garbled("the server's greeting is too long"));
        }
        let mut rest = vec![0; usize::from(length) + 4];
        self.pipe.read_exact(&mut rest).await?;
        Ok(())
    }
}

/// A host and its port, as people write them.
pub(super) fn label(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
