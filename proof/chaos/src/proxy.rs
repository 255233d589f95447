//! A network that can be broken: a TCP proxy between one program and one server, whose connections can be reset,
//! slowed down, made to carry nothing, or made to carry questions and no answers.
//!
//! Each has a thread of its own: thousands of clients that wait for their turn in this process must not slow down the network that
//! the programs see.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is read at once, and comes late as one piece.
const PIECE: usize = 16 * 1024;

/// What passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything.
    Pass,
    /// Everything, this much later.
    Delay(Duration),
    /// Nothing, until it ends; then all of it, as TCP would send it again.
    Hole,
    /// Only what the program sends.
    Deaf,
}

#[derive(Debug, Clone, Copy)]
struct Control {
    mode: Mode,
    /// Connections older than this are reset.
    cuts: u64,
    /// Connections are refused.
    closed: bool,
}

/// A proxy; ends with its connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    control: watch::Sender<Control>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// From the program to the server.
    Question,
    /// Back.
    Answer,
}

impl Proxy {
    /// Listens on `addr` and passes everything on to `upstream`.
    pub fn start(addr: SocketAddr, upstream: SocketAddr) -> Result<Self> {
        let (control, seen) = watch::channel(Control { mode: Mode::Pass, cuts: 0, closed: false });
        let runtime = Builder::new_current_thread().enable_all().build().context("no runtime for a proxy")?;
        let listener =
            std::net::TcpListener::bind(addr).with_context(|| format!("cannot listen on {addr}"))?;
        listener.set_nonblocking(true)?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let until_dropped = until_dropped(seen.clone());
        let listening = async move {
            tokio::select! { () = listen(listener, addr, upstream, seen) => {}, () = until_dropped => {} }
        };
        let thread = std::thread::Builder::new().name("proxy".to_owned());
        thread.spawn(move || runtime.block_on(listening)).context("no thread for a proxy")?;
        Ok(Self { addr, control })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What passes from now on.
    pub fn set(&self, mode: Mode) {
        self.control.send_modify(|control| control.mode = mode);
    }

    /// Resets every connection there is.
    pub fn cut(&self) {
        self.control.send_modify(|control| control.cuts += 1);
    }

    /// Refuses connections, as the port of a dead server does; or takes them again.
    pub fn close(&self, closed: bool) {
        self.control.send_modify(|control| control.closed = closed);
    }
}

async fn until_dropped(mut control: watch::Receiver<Control>) {
    while control.changed().await.is_ok() {}
}

async fn listen(
    listener: TcpListener,
    addr: SocketAddr,
    upstream: SocketAddr,
    mut control: watch::Receiver<Control>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let open = match &listener {
            Some(open) => open,
            None => {
                // Its owner is gone with the sender, and this task with its owner.
                let _ = control.wait_for(|control| !control.closed).await;
                listener = TcpListener::bind(addr).await.ok();
                tokio::task::yield_now().await;
                continue;
            }
        };
        let closed = async { control.clone().wait_for(|control| control.closed).await.is_ok() };
        tokio::select! {
            accepted = open.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(carry(client, upstream, control.clone()));
            },
            true = closed => listener = None,
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection to its end.
async fn carry(mut client: TcpStream, upstream: SocketAddr, control: watch::Receiver<Control>) {
    let born = control.borrow().cuts;
    let mut cut = control.clone();
    let connected = async {
        wait_for(&mut control.clone(), |mode| mode != Mode::Hole).await;
        TcpStream::connect(upstream).await
    };
    let cut = cut.wait_for(|control| control.cuts != born);
    tokio::pin!(cut);
    let server = tokio::select! { _ = &mut cut => None, server = connected => server.ok() };
    let Some(mut server) = server else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let well = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let both = async {
            tokio::try_join!(
                pump(client_reads, server_writes, Direction::Question, control.clone()),
                pump(server_reads, client_writes, Direction::Answer, control.clone())
            )
        };
        tokio::select! { _ = &mut cut => false, done = both => done.is_ok() }
    };
    if !well {
        // Dropped with what was under way in it: both sides get a reset.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut control: watch::Receiver<Control>,
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        let mode = control.borrow_and_update().mode;
        if let Mode::Delay(delay) = mode {
            tokio::time::sleep(delay).await;
        }
        wait_for(&mut control, |mode| {
            mode != Mode::Hole && (mode != Mode::Deaf || direction == Direction::Question)
        })
        .await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
    }
}

async fn wait_for(control: &mut watch::Receiver<Control>, passes: impl Fn(Mode) -> bool) {
    // The sender lives as long as the proxy, and the proxy's tasks no longer.
    let _ = control.wait_for(|control| passes(control.mode)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::free_addr;

    /// A server that hands bytes back, behind a proxy.
    async fn echo() -> (Proxy, JoinSet<()>) {
        let (server, proxy) = (free_addr().unwrap(), free_addr().unwrap());
        let listener = TcpListener::bind(server).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    let _ = tokio::io::copy(&mut reads, &mut writes).await;
                });
            }
        });
        (Proxy::start(proxy, server).unwrap(), tasks)
    }

    async fn ask(stream: &mut TcpStream) -> std::io::Result<u8> {
        stream.write_all(b"x").await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn it_passes_resets_and_passes_again() {
        let (proxy, _server) = echo().await;
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), b'x');
        proxy.cut();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_hole_keeps_everything_until_it_ends() {
        let (proxy, _server) = echo().await;
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        for mode in [Mode::Hole, Mode::Deaf] {
            proxy.set(mode);
            let mut answer = Box::pin(ask(&mut stream));
            let waited = tokio::time::timeout(Duration::from_millis(100), &mut answer).await;
            assert!(waited.is_err(), "{mode:?} let an answer pass");
            proxy.set(Mode::Pass);
            assert_eq!(answer.await.unwrap(), b'x');
        }
    }

    #[tokio::test]
    async fn a_closed_one_refuses_until_it_is_open_again() {
        let (proxy, _server) = echo().await;
        proxy.close(true);
        while TcpStream::connect(proxy.addr()).await.is_ok() {
            tokio::task::yield_now().await;
        }
        proxy.close(false);
        while TcpStream::connect(proxy.addr()).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
