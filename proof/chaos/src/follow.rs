//! Follows the feed while everything breaks, as a program that tells others would, and compares with the table in the end.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use domain::event::Event;
use sqlx::{Connection, PgConnection};
use store::feed::{Cursor, Read, Start, Ticked, read, start, tick};
use uuid::Uuid;

use crate::check::Check;
use crate::ground::Ground;

/// Between ticks.
const TICK_EVERY: Duration = Duration::from_millis(100);
/// Events in a page: few, so that many pages end inside a tick.
const PAGE: u32 = 64;

/// What was read so far.
#[derive(Debug)]
pub(crate) struct Follower {
    ground: Ground,
    cursor: Option<Cursor>,
    /// The last version of each subject.
    versions: HashMap<Uuid, i32>,
    in_order: Check,
    /// Of what was read, what was read before the end.
    meanwhile: u64,
}

impl Follower {
    pub(crate) fn new(ground: &Ground) -> Self {
        Self {
            ground: ground.clone(),
            cursor: None,
            versions: HashMap::new(),
            in_order: Check::new("the feed gives each event once, and an order's by their versions"),
            meanwhile: 0,
        }
    }

    /// Follows until it is dropped. The database may be away at any moment.
    pub(crate) async fn run(&mut self) -> ! {
        loop {
            // Whatever a broken-off look left behind ends with its connection.
            if let Ok(mut conn) = self.ground.connect().await {
                while self.catch_up(&mut conn).await.is_ok() {
                    self.meanwhile = self.in_order.checked;
                    tokio::time::sleep(TICK_EVERY).await;
                }
            }
            tokio::time::sleep(TICK_EVERY).await;
        }
    }

    /// Notes a tick and reads all there is.
    async fn catch_up(&mut self, conn: &mut PgConnection) -> Result<Ticked> {
        let ticked = tick(conn).await?;
        loop {
            let cursor = match self.cursor {
                Some(cursor) => cursor,
                None => start(conn, Start::Earliest).await?,
            };
            match read(conn, &cursor, PAGE).await? {
                Read::Page { events, next } => {
                    events.iter().for_each(|event| self.take(event));
                    self.cursor = Some(next);
                }
                Read::UpToDate => return Ok(ticked),
                Read::Gone { .. } => {
                    self.in_order.look(false, || format!("{cursor:?} is gone, and nothing was lost"));
                    return Ok(ticked);
                }
            }
        }
    }

    fn take(&mut self, event: &Event) {
        let last = self.versions.entry(event.subject).or_default();
        let (before, now) = (*last, event.version);
        self.in_order
            .look(now == before + 1, || format!("order {}: {now} came after {before}", event.subject));
        *last = now;
    }

    /// Reads what is left once all programs have ended, and compares.
    pub(crate) async fn finish(mut self) -> Result<Vec<Check>> {
        let mut conn = self.ground.connect().await?;
        while self.catch_up(&mut conn).await? == Ticked::Noted {}
        let there: Vec<(Uuid, i32, i64)> =
            sqlx::query_as("SELECT subject, max(version), count(*) FROM shown_events GROUP BY subject")
                .fetch_all(&mut conn)
                .await?;
        conn.close().await?;
        let mut all = Check::new("the feed gives every event that is there, and no other");
        let events: i64 = there.iter().map(|(.., count)| *count).sum();
        all.look(u64::try_from(events).is_ok_and(|events| events == self.in_order.checked), || {
            format!("{} were read, {events} are there", self.in_order.checked)
        });
        for (subject, version, _) in there {
            let read = self.versions.remove(&subject);
            all.look(read == Some(version), || format!("order {subject}: {read:?} read, {version} is there"));
        }
        let left: Vec<&Uuid> = self.versions.keys().collect();
        all.look(left.is_empty(), || format!("{left:?} were read, and are not there"));
        let mut meanwhile = Check::about_the_run("the feed was read while things broke");
        meanwhile.look(events == 0 || self.meanwhile > 0, || "nothing was read before the end".to_owned());
        Ok(vec![self.in_order, all, meanwhile])
    }
}
