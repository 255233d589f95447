//! What the operators' handlers share: connections of their own.

use std::sync::Arc;

use store::Database;
use store::readers::Readers;
use store::session::Session;
use tokio::sync::Mutex;

use crate::http::body::Room;
use crate::identity::Identity;

/// Connections for these reads: one person looks at a time.
const READERS: u32 = 1;

/// The largest body of these requests: a price list of some 6,000 articles.
const MAX_BODY: usize = 256 * 1024;
/// Room for these bodies: sixteen of the largest at once.
const ROOM: usize = 16 * MAX_BODY;

/// Connections for those who look, and one for those who change something.
#[derive(Clone)]
pub(crate) struct Internal {
    pub(crate) readers: Readers,
    pub(crate) session: Arc<Mutex<Session>>,
    pub(crate) room: Arc<Room>,
    pub(crate) identity: Arc<Identity>,
}

impl Internal {
    pub(super) fn new(database: &Database, identity: &Arc<Identity>) -> Self {
        Self {
            readers: database.read_pool(READERS),
            session: Arc::new(Mutex::new(database.session())),
            room: Arc::new(Room::new(ROOM, MAX_BODY)),
            identity: Arc::clone(identity),
        }
    }
}
