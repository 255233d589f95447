//! What a pipeline within a test says.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;

/// The log of this thread, on which a test's pipeline runs. It ends with this.
pub(crate) struct Logs {
    said: Said,
    _listening: DefaultGuard,
}

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Logs {
    pub(crate) fn listen() -> Self {
        let said = Said::default();
        let writer = said.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        Self { said, _listening: tracing::subscriber::set_default(log) }
    }

    /// The lines so far that a module said.
    pub(crate) fn of(&self, module: &str) -> Vec<String> {
        let said = self.said.0.lock().unwrap();
        let lines = String::from_utf8_lossy(&said);
        lines.lines().filter(|line| line.contains(&format!(" {module}: "))).map(str::to_owned).collect()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
