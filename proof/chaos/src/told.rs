//! What clients were told: every 202 in a file of its own, outside the system and on disk before anyone counts it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use domain::money::{Currency, Money};
use uuid::Uuid;

use crate::clock::Micros;

/// One 202.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The order's id in the answer.
    pub id: Uuid,
    /// Which order it was.
    pub number: u64,
    /// Under which key it was sent.
    pub key: Option<String>,
    /// The total in the answer.
    pub total: Money,
    /// When it was first sent, and when the 202 came.
    pub sent_at: Micros,
    /// As above.
    pub told_at: Micros,
    /// Requests that it took.
    pub tries: u32,
}

/// The log; a thread of its own writes it, one fsync for all that came during the last one.
#[derive(Debug)]
pub struct ToldLog {
    sender: Sender<Told>,
    writer: JoinHandle<Result<()>>,
}

impl ToldLog {
    /// A new file.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let (sender, receiver) = channel();
        let writer = std::thread::Builder::new().name("told".into()).spawn(move || write(file, &receiver))?;
        Ok(Self { sender, writer })
    }

    /// Where 202s go.
    pub fn sender(&self) -> Sender<Told> {
        self.sender.clone()
    }

    /// Returns when all of it is on disk. All senders must be gone.
    pub fn close(self) -> Result<()> {
        drop(self.sender);
        self.writer.join().map_err(|_| anyhow!("the log's writer panicked"))?
    }
}

fn write(mut file: File, receiver: &Receiver<Told>) -> Result<()> {
    let mut lines = Vec::new();
    while let Ok(first) = receiver.recv() {
        for told in std::iter::once(first).chain(receiver.try_iter()) {
            writeln!(lines, "{}", told.line())?;
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        lines.clear();
    }
    Ok(())
}

/// Reads a log.
pub fn read(path: &Path) -> Result<Vec<Told>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines().map(|line| Told::parse(line).with_context(|| format!("{line:?} is no 202"))).collect()
}

impl Told {
    fn line(&self) -> String {
        let Self { id, number, key, total, sent_at, told_at, tries } = self;
        let key = key.as_deref().unwrap_or("-");
        let (minor, code) = (total.minor(), total.currency().code());
        format!("{id} {number} {key} {minor} {code} {sent_at} {told_at} {tries}")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut word = || words.next();
        let (id, number) = (word()?.parse().ok()?, word()?.parse().ok()?);
        let key = Some(word()?).filter(|key| *key != "-").map(str::to_owned);
        let minor = word()?.parse().ok()?;
        let total = Money::from_minor(minor, Currency::from_code(word()?)?);
        let (sent_at, told_at) = (word()?.parse().ok()?, word()?.parse().ok()?);
        Some(Self { id, number, key, total, sent_at, told_at, tries: word()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_read_back() {
        for key in [None, Some("7-12".to_owned())] {
            let total = Money::from_minor(3_097, Currency::EUR);
            let told = Told { id: Uuid::now_v7(), number: 12, key, total, sent_at: 5, told_at: 9, tries: 2 };
            assert_eq!(Told::parse(&told.line()), Some(told));
        }
    }
}
