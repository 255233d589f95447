//! A mail server of ours: remembers what came, and does to each recipient's mails what it is told.
#![expect(clippy::disallowed_methods, reason = "tasks of a test, which end with it")]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What it does to a mail.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Does {
    /// Answers so when it is told whom the mail is for.
    Says(&'static str),
    /// Takes it, and breaks off without an answer.
    BreaksOff,
}

/// A mail that came.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    pub(crate) to: String,
    pub(crate) text: String,
}

impl Came {
    /// A header's value, its lines put together.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
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

#[derive(Debug, Clone)]
pub(crate) struct Smtp {
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
    /// Whether answers to mails are held back.
    held: watch::Sender<bool>,
}

impl Smtp {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let smtp = Self {
            port: listener.local_addr()?.port(),
            seen: Arc::default(),
            held: watch::Sender::new(false),
        };
        let server = smtp.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    server.seen().enter();
                    let _ = server.talk(stream).await;
                    server.seen().open -= 1;
                });
            }
        });
        Ok(smtp)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("a test panicked")
    }

    /// All that came to this address.
    pub(crate) fn came(&self, to: &str) -> Vec<Came> {
        self.seen().came.iter().filter(|one| one.to == to).cloned().collect()
    }

    /// What is done to the next mails to this address; later ones are taken.
    pub(crate) fn does(&self, to: &str, does: &[Does]) {
        self.seen().does.insert(to.to_owned(), does.iter().copied().collect());
    }

    /// Holds answers back, or lets them go.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Connections that are open, and the most that ever were at once.
    pub(crate) fn connections(&self) -> (usize, usize) {
        let seen = self.seen();
        (seen.open, seen.most)
    }

    /// How often somebody tried to log in.
    pub(crate) fn logins(&self) -> usize {
        self.seen().logins
    }

    async fn talk(&self, stream: TcpStream) -> Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 here\r\n").await?;
        let (mut to, mut breaks_off) = (String::new(), false);
        while let Some(line) = lines.next_line().await? {
            let answer = match line.get(..4).unwrap_or_default() {
                "EHLO" => "250-here\r\n250 AUTH PLAIN",
                "AUTH" => {
                    self.seen().logins += 1;
                    "535 no"
                }
                "RCPT" => {
                    to = line.trim_start_matches("RCPT TO:<").trim_end_matches('>').to_owned();
                    let next = self.seen().does.get_mut(&to).and_then(VecDeque::pop_front);
                    breaks_off = matches!(next, Some(Does::BreaksOff));
                    match next {
                        Some(Does::Says(answer)) => answer,
                        _ => "250 ok",
                    }
                }
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    let mut text = String::new();
                    while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                        text += line.strip_prefix('.').unwrap_or(&line);
                        text += "\r\n";
                    }
                    self.held.subscribe().wait_for(|held| !held).await?;
                    self.seen().came.push(Came { to: to.clone(), text });
                    if breaks_off {
                        return Ok(());
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

impl Seen {
    fn enter(&mut self) {
        self.open += 1;
        self.most = self.most.max(self.open);
    }
}
