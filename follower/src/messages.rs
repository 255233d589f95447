//! messages: what has happened goes to a topic exchange, for other services of the house. At least once, each order's changes in
//! their order; what comes again has the same `message_id`.
//!
//! No transaction is open while the broker is asked: whoever tells holds the cursor for a while, and moves it on only if nobody
//! else has taken it meanwhile.

use std::time::Duration;

use anyhow::{Context, Result};
use broker::amqp::exchange::{Exchange, Message, Teller};
use domain::event::Event;
use domain::told::{About, Told};
use metrics::{Counter, Gauge};
use runtime::tasks::Stop;
use sqlx::{Connection, PgConnection};
use store::feed::cursors::{self, Place};
use store::feed::{self, Cursor, Lines, Read};
use store::session::Session;
use store::told;
use uuid::Uuid;

use crate::follow::Step;
use crate::health::Health;

/// Whose cursor it is.
const NAME: &str = "messages";
/// Rows in a page: confirmed in some milliseconds.
const PAGE: u32 = 256;
/// How long whoever tells holds the cursor: far longer than the broker may take.
const HOLD: Duration = Duration::from_secs(30);

/// Tells the exchange.
#[derive(Debug)]
pub struct Messages {
    session: Session,
    exchange: Exchange,
    teller: Option<Teller>,
    /// As whom it holds the cursor.
    me: Uuid,
    /// How long what it has not told yet has been there, in seconds.
    behind: f64,
    followed: Counter,
    gone: Counter,
    lag: Gauge,
}

/// What is to be told.
struct Page {
    messages: Vec<Message>,
    next: Cursor,
    /// How long what comes behind it has been there, in seconds.
    behind: f64,
    is_gone: bool,
}

impl Messages {
    /// On a connection of its own.
    pub fn new(session: Session, exchange: Exchange) -> Self {
        Self {
            session,
            exchange,
            teller: None,
            me: Uuid::now_v7(),
            behind: 0.0,
            followed: metrics::counter!("follow_events_total", "follower" => NAME),
            gone: metrics::counter!("follow_gone_total", "follower" => NAME),
            lag: metrics::gauge!("follow_lag_seconds", "follower" => NAME),
        }
    }

    /// Tells until `stop`.
    pub async fn run(mut self, interval: Duration, stop: Stop) -> Result<()> {
        let mut health = Health::new();
        while !stop.is_stopped() {
            let step = self.run_once().await;
            health.met(&step, "cannot tell the exchange");
            let wait = match step {
                Ok(step) if step.goes_on(self.behind, interval) => continue,
                Ok(Step::Taken) | Err(_) => Duration::from_secs(1),
                Ok(Step::Followed(_) | Step::UpToDate | Step::Gone) => interval,
            };
            stop.or_stopped(tokio::time::sleep(wait)).await;
        }
        let released =
            self.session.run(&self.me, |conn, me| Box::pin(cursors::release(conn, NAME, *me))).await;
        // Else the next one waits until the hold is over.
        released.or_else(|error| {
            tracing::debug!(%error, "cannot let go of the cursor");
            Ok(())
        })
    }

    /// Tells a page, if it is this process's turn.
    pub async fn run_once(&mut self) -> Result<Step> {
        let found = self.session.run(&self.me, |conn, me| Box::pin(find(conn, *me))).await;
        let (page, lag) = match found.context("cannot read what has happened")? {
            Found::Taken => return Ok(Step::Taken),
            Found::Nothing(lag) => {
                self.lag.set(lag);
                return Ok(Step::UpToDate);
            }
            Found::Page(page, lag) => (page, lag),
        };
        // As long as it is not told.
        self.lag.set(lag);
        let early = runtime::chaos::sabotaged("told_before_confirmed");
        if !early {
            self.tell(&page.messages).await?;
            runtime::chaos::crash_point("follower.after_tell");
        }
        let moved = (self.me, page.next);
        let moved =
            self.session.run(&moved, |conn, (me, next)| Box::pin(cursors::pass(conn, NAME, *me, next)));
        if !moved.await.context("cannot write down what was told")? {
            return Ok(Step::Taken);
        }
        if early {
            self.tell(&page.messages).await?;
        }
        self.behind = page.behind;
        self.lag.set(page.behind);
        self.followed.increment(page.messages.len() as u64);
        if page.is_gone {
            self.gone.increment(1);
            tracing::error!(
                "what comes next is not there any more: the database was restored. Going on with the earliest"
            );
            return Ok(Step::Gone);
        }
        Ok(Step::Followed(page.messages.len()))
    }

    async fn tell(&mut self, messages: &[Message]) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let mut teller = match self.teller.take() {
            Some(teller) => teller,
            None => self.exchange.open().await?,
        };
        // Kept only where all went well.
        teller.tell(messages).await?;
        self.teller = Some(teller);
        Ok(())
    }
}

/// What there is for this process.
enum Found {
    Taken,
    Nothing(f64),
    Page(Page, f64),
}

async fn find(conn: &mut PgConnection, me: Uuid) -> sqlx::Result<Found> {
    feed::tick(conn).await?;
    let mut tx = conn.begin().await?;
    let Place::At(cursor) = cursors::hold(&mut tx, NAME, me, HOLD).await? else {
        tx.rollback().await?;
        return Ok(Found::Taken);
    };
    let read = feed::read_whole(&mut tx, &cursor, PAGE, Lines::All).await?;
    let lag = feed::lag_seconds(&mut tx, &cursor).await?;
    let found = match read {
        Read::UpToDate => Found::Nothing(lag),
        Read::Gone { earliest } => {
            Found::Page(Page { messages: Vec::new(), next: earliest, behind: lag, is_gone: true }, lag)
        }
        Read::Page { events, next } => {
            let mut orders: Vec<Uuid> = events.iter().map(|event| event.subject).collect();
            orders.dedup();
            let about = told::about(&mut tx, &orders).await?;
            let messages = events.iter().filter_map(|event| message(event, about.get(&event.subject)?));
            let messages = messages.collect();
            let behind = feed::lag_seconds(&mut tx, &next).await?;
            Found::Page(Page { messages, next, behind, is_gone: false }, lag)
        }
    };
    tx.commit().await?;
    Ok(found)
}

/// `order.<what>.<status>.<location>`, with `-` where it did not move; `product.<what>.-.-`, as it may be sold at many locations.
fn message(event: &Event, about: &About) -> Option<Message> {
    let told = Told::new(event, about);
    let status = event.to.map_or("-", |to| to.as_str());
    let key = match about.sold_at {
        None => format!("order.{}.{status}.{}", event.what.as_str(), about.location),
        Some(_) => format!("{}.-.-", told.r#type),
    };
    Some(Message { id: told.id.clone(), key, kind: told.r#type, body: serde_json::to_vec(&told).ok()? })
}
