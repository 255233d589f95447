//! `--health`: a program asks its running self whether it is well. For the health checks of containers, in whose
//! images there is nothing else to ask with.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

/// For connecting, and as much for the answer: together within the 5 s that health checks are given.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks for `path` at `addr`; well is 200. Blocks.
pub fn ask(addr: SocketAddr, path: &str) -> Result<()> {
    let mut answer = Err(anyhow!("no address to ask"));
    for addr in reached_at(addr) {
        answer = first_line(addr, path).with_context(|| format!("no answer from http://{addr}{path}"));
        if let Ok(answer) = &answer {
            ensure!(answer.starts_with("HTTP/1.1 200 "), "http://{addr}{path} answers {answer}");
            break;
        }
    }
    answer.map(drop)
}

/// Where a program that listens at `addr` is reached from this machine. All addresses of IPv6 are those of IPv4, too, with most
/// systems.
fn reached_at(addr: SocketAddr) -> Vec<SocketAddr> {
    let (four, six) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let hosts = match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => vec![four],
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => vec![six, four],
        one => vec![one],
    };
    hosts.into_iter().map(|host| SocketAddr::new(host, addr.port())).collect()
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
    fn who_listens_at_addresses_of_ipv6_alone_is_asked_there() {
        use socket2::{Domain, Socket, Type};
        let Ok(socket) = Socket::new(Domain::IPV6, Type::STREAM, None) else { return };
        socket.set_only_v6(true).unwrap();
        let anywhere: SocketAddr = "[::]:0".parse().unwrap();
        socket.bind(&anywhere.into()).unwrap();
        socket.listen(1).unwrap();
        let listener = TcpListener::from(socket);
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            assert!(stream.read(&mut [0; 512]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        });
        ask(addr, "/health").unwrap();
        server.join().unwrap();
    }

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
        let asked = |host: &str| reached_at(format!("{host}:80").parse().unwrap()).len();
        assert_eq!((asked("0.0.0.0"), asked("[::]"), asked("192.0.2.1")), (1, 2, 1));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(closed, "/health").unwrap_err().to_string().contains("no answer"));
    }
}
