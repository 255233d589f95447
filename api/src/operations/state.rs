//! What the operators' handlers share: connections of their own.

use std::sync::Arc;

use sqlx::PgPool;
use store::Database;
use store::session::Session;
use tokio::sync::Mutex;

/// Connections for these reads: one person looks at a time.
const READERS: u32 = 1;

/// Connections for those who look, and one for those who change something.
#[derive(Clone)]
pub(crate) struct Internal {
    pub(crate) readers: PgPool,
    pub(crate) session: Arc<Mutex<Session>>,
}

impl Internal {
    pub(super) fn new(database: &Database) -> Self {
        Self { readers: database.read_pool(READERS), session: Arc::new(Mutex::new(database.session())) }
    }
}
