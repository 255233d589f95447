//! A client of HTTP/1.1 that does next to nothing: writes bytes rendered beforehand, and reads answers that state
//! their length. Whatever else comes is an error, so that no figure stands on a misread answer. On two cores the
//! load generator must be cheap, or it measures itself.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Most headers in an answer; ours have ten.
const MAX_HEADERS: usize = 32;
/// The largest answer, head and body: an order with as many lines as it may have.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// What is read at once: an answer to an order has some 600 bytes.
const READ: usize = 4 * 1024;
/// A service that has not answered by then does not answer. The api's own limit is 2.8 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A kept-alive connection, one request at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    closing: bool,
}

/// An answer; borrows the connection.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// What follows `Location:`.
    pub location: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// Where things are in what was read.
struct Head {
    status: u16,
    location: Option<std::ops::Range<usize>>,
    /// The head's end, and the body's.
    head: usize,
    end: usize,
    closing: bool,
}

impl Connection {
    /// Connects.
    pub async fn open(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr).await.with_context(|| format!("cannot connect to {addr}"))?;
        Self::over(stream)
    }

    /// Connects from this address of IPv4.
    pub async fn open_from(from: IpAddr, addr: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into()).with_context(|| format!("cannot be {from}"))?;
        Self::over(socket.connect(addr).await.with_context(|| format!("cannot connect to {addr}"))?)
    }

    fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(READ), closing: false })
    }

    /// Whether the other side has announced that it closes after this answer.
    pub const fn is_closing(&self) -> bool {
        self.closing
    }

    /// Sends a whole request and reads its answer. After an error the connection is of no use, and whether the
    /// request took effect is unknown.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        let head = tokio::time::timeout(ANSWER_WITHIN, self.exchange(request))
            .await
            .with_context(|| format!("no answer within {ANSWER_WITHIN:?}"))??;
        self.closing = head.closing;
        let location = head.location.map(|at| std::str::from_utf8(&self.answer[at])).transpose()?;
        Ok(Answer { status: head.status, location, body: &self.answer[head.head..head.end] })
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Head> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        let mut head = None;
        loop {
            ensure!(self.answer.len() <= MAX_ANSWER, "an answer of more than {MAX_ANSWER} bytes");
            self.answer.reserve(READ);
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the connection was closed before the answer was whole");
            }
            if head.is_none() {
                head = read_head(&self.answer)?;
            }
            if let Some(whole) = head.take_if(|head| self.answer.len() >= head.end) {
                ensure!(self.answer.len() == whole.end, "bytes after the answer, though nothing was asked");
                return Ok(whole);
            }
        }
    }
}

/// `None`: not all of it is there yet.
fn read_head(bytes: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(bytes).context("no HTTP/1.1")? else {
        return Ok(None);
    };
    let status = parsed.code.context("no status")?;
    let (mut length, mut location, mut closing) = (None, None, parsed.version != Some(1));
    for header in parsed.headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(header.value)?.parse::<usize>().context("content-length")?;
            ensure!(length.replace(value).is_none(), "two content-lengths");
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("an answer {status} of unknown length");
        } else if header.name.eq_ignore_ascii_case("location") {
            let at = header.value.as_ptr().addr() - bytes.as_ptr().addr();
            location = Some(at..at + header.value.len());
        } else if header.name.eq_ignore_ascii_case("connection") {
            closing |= header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let length = length.with_context(|| format!("an answer {status} without a length"))?;
    Ok(Some(Head { status, location, head, end: head + length, closing }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let bytes =
            b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nLocation: /x/1\r\nConnection: close\r\n\r\n{}";
        for cut in 0..bytes.len() - 2 {
            assert!(read_head(&bytes[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        let head = read_head(bytes).unwrap().unwrap();
        assert_eq!((head.status, head.end, head.closing), (202, bytes.len(), true));
        assert_eq!(&bytes[head.location.unwrap()], b"/x/1");
    }

    #[test]
    fn what_does_not_state_its_length_is_an_error() {
        for bytes in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n",
        ] {
            assert!(read_head(bytes.as_bytes()).is_err(), "{bytes}");
        }
    }
}
