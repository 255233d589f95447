//! `--health`: a program asks its running self whether it is well. For the health checks of containers, in whose
//! images there is nothing else to ask with.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// For connecting, and as much for the answer: together within the 5 s that health checks are given.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks for `path` at `addr`; well is 200. Blocks.
pub fn ask(mut addr: SocketAddr, path: &str) -> Result<()> {
    if addr.ip().is_unspecified() {
        addr.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let answer = first_line(addr, path).with_context(|| format!("no answer from http://{addr}{path}"))?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "http://{addr}{path} answers {answer}");
    Ok(())
}

fn first_line(addr: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // In one piece: a server that answers after the first would close with the rest unread, and reset the connection.
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or("nothing").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn only_200_is_well() {
        for (answer, well) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            ("", false),
        ] {
            let listener = TcpListener::bind("0.0.0.0:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                let asked = stream.read(&mut [0; 512]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                asked
            });
            assert_eq!(ask(addr, "/health").is_ok(), well, "{answer:?}");
            assert!(server.join().unwrap() > 0);
        }
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(closed, "/health").unwrap_err().to_string().contains("no answer"));
    }
}
