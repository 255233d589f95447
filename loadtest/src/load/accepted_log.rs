//! A file with the id of every order that was accepted, on disk: what a client holds if the load generator is killed.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use uuid::Uuid;

/// Writes on a thread of its own, one fsync for all that came during the last one.
#[derive(Debug)]
pub(super) struct AcceptedLog {
    sender: Sender<Uuid>,
    writer: JoinHandle<Result<()>>,
}

impl AcceptedLog {
    /// Appends to the file, one id a line.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let (sender, receiver) = channel();
        let writer =
            std::thread::Builder::new().name("accepted-log".into()).spawn(move || write(file, &receiver))?;
        Ok(Self { sender, writer })
    }

    /// Where accepted ids go.
    pub(super) fn sender(&self) -> Sender<Uuid> {
        self.sender.clone()
    }

    /// Returns when all of it is on disk. All senders must be gone.
    pub(super) fn close(self) -> Result<()> {
        drop(self.sender);
        self.writer.join().map_err(|_| anyhow!("the accepted log's writer panicked"))?
    }
}

fn write(mut file: File, receiver: &Receiver<Uuid>) -> Result<()> {
    let mut lines = Vec::new();
    while let Ok(first) = receiver.recv() {
        for id in std::iter::once(first).chain(receiver.try_iter()) {
            writeln!(lines, "{id}")?;
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        lines.clear();
    }
    Ok(())
}

/// The ids in a log; a last line that was cut short by a kill is left out.
pub fn read_accepted_log(path: &Path) -> Result<Vec<Uuid>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| Ok(line.parse()?)).collect()
}
