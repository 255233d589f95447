//! A mail server of ours: remembers what came, and does to each recipient's mails what it is told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What it does to a mail.
#[derive(Debug, Clone, Copy)]
pub enum Does {
    /// Takes it, and says so.
    Takes,
    /// Answers so when it is told whom the mail is for.
    Says(&'static str),
    /// Hangs up when it is told whom the mail is for.
    HangsUp,
    /// Takes it, and breaks off without an answer.
    BreaksOff,
    /// Takes it, and says so after this.
    TakesItsTime(Duration),
}

/// What it does to those mails of an address of which it is told nothing else.
type Manner = dyn Fn(&str) -> Does + Send + Sync;

/// A mail that came.
#[derive(Debug, Clone)]
pub struct Came {
    /// Whom it was for.
    pub to: String,
    /// All of it.
    pub text: String,
}

impl Came {
    /// A header's value, its lines put together.
    pub fn header(&self, name: &str) -> Option<String> {
        let (head, _) = self.text.split_once("\r\n\r\n")?;
        let head = head.replace("\r\n ", " ");
        let found = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.map(str::to_owned)
    }
}

#[derive(Debug, Default)]
struct Seen {
    came: Vec<Came>,
    does: HashMap<String, VecDeque<Does>>,
    open: usize,
    most: usize,
    logins: usize,
}

/// It; listens until the runtime ends.
#[derive(Clone)]
pub struct Smtp {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
    manner: Arc<Manner>,
    /// Whether answers to mails are held back.
    held: watch::Sender<bool>,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Smtp {
    /// One that takes everything.
    pub async fn start() -> Result<Self> {
        Self::start_with(|_| Does::Takes).await
    }

    /// One that does this to each mail, by its address, unless it is told otherwise.
    pub async fn start_with(manner: impl Fn(&str) -> Does + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let smtp = Self {
            port: listener.local_addr()?.port(),
            seen: Arc::default(),
            manner: Arc::new(manner),
            held: watch::Sender::new(false),
        };
        #[expect(clippy::disallowed_methods, reason = "lives as long as the test")]
        tokio::spawn(smtp.clone().listen(listener));
        Ok(smtp)
    }

    /// Talks to whoever comes.
    async fn listen(self, listener: TcpListener) {
        let mut talking = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            while talking.try_join_next().is_some() {}
            let server = self.clone();
            talking.spawn(async move {
                server.seen().enter();
                let _ = server.talk(stream).await;
                server.seen().open -= 1;
            });
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that came to this address.
    pub fn came(&self, to: &str) -> Vec<Came> {
        self.seen().came.iter().filter(|one| one.to == to).cloned().collect()
    }

    /// All that came, in its order.
    pub fn all(&self) -> Vec<Came> {
        self.seen().came.clone()
    }

    /// What is done to the next mails to this address; later ones are taken.
    pub fn does(&self, to: &str, does: &[Does]) {
        self.seen().does.insert(to.to_owned(), does.iter().copied().collect());
    }

    /// Holds answers back, or lets them go.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Connections that are open, and the most that ever were at once.
    pub fn connections(&self) -> (usize, usize) {
        let seen = self.seen();
        (seen.open, seen.most)
    }

    /// How often somebody tried to log in.
    pub fn logins(&self) -> usize {
        self.seen().logins
    }

    async fn talk(&self, stream: TcpStream) -> Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 here\r\n").await?;
        let (mut to, mut does) = (String::new(), Does::Takes);
        while let Some(line) = lines.next_line().await? {
            let answer = match line.get(..4).unwrap_or_default() {
                "EHLO" => "250-here\r\n250 AUTH PLAIN",
                "AUTH" => {
                    self.seen().logins += 1;
                    "535 no"
                }
                "RCPT" => {
                    to = line.trim_start_matches("RCPT TO:<").trim_end_matches('>').to_owned();
                    let told = self.seen().does.get_mut(&to).and_then(VecDeque::pop_front);
                    does = told.unwrap_or_else(|| (self.manner)(&to));
                    match does {
                        Does::Says(answer) => answer,
                        Does::HangsUp => return Ok(()),
                        _ => "250 ok",
                    }
                }
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    let Some(text) = read_mail(&mut lines).await? else { return Ok(()) };
                    self.held.subscribe().wait_for(|held| !held).await?;
                    self.seen().came.push(Came { to: to.clone(), text });
                    match does {
                        Does::BreaksOff => return Ok(()),
                        Does::TakesItsTime(time) => tokio::time::sleep(time).await,
                        _ => {}
                    }
                    "250 taken"
                }
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            write.write_all(format!("{answer}\r\n").as_bytes()).await?;
        }
        Ok(())
    }
}

/// A mail up to its end; `None`: whoever sent it broke off.
async fn read_mail(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> Result<Option<String>> {
    let mut text = String::new();
    while let Some(line) = lines.next_line().await? {
        if line == "." {
            return Ok(Some(text));
        }
        text += line.strip_prefix('.').unwrap_or(&line);
        text += "\r\n";
    }
    Ok(None)
}

impl Seen {
    fn enter(&mut self) {
        self.open += 1;
        self.most = self.most.max(self.open);
    }
}
