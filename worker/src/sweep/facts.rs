//! facts: every few seconds the database is asked what no process can count by itself: how long something has been
//! due, what is not final, what is in doubt; more rarely what contradicts itself, and the broker what lies in it. Every
//! worker says the same, so that any one may be missing.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use broker::Broker;
use domain::order::status::OrderStatus;
use metrics::Gauge;
use runtime::tasks::Stop;
use store::facts::{contradicting_orders, facts};
use store::session::Session;
use store::stock::facts::facts as stock_facts;
use tokio::time::Instant;

/// Between two looks at least: what Prometheus asks for.
const EVERY: Duration = Duration::from_secs(5);
/// A look rests this many times as long as it took, so that looking costs no more than a twentieth of a connection.
const REST: u32 = 19;
/// Between two looks at what is not urgent.
const RARELY: Duration = Duration::from_secs(30);
/// Payments counted: past it "very many" is what matters, and counting so many takes half a second.
const MAX_COUNTED: i64 = 50_000;
/// Newest orders looked at for contradictions: the last twenty minutes at 500 a minute.
const NEWEST: i64 = 10_000;
/// Items of the stock looked at.
const ITEMS: i64 = 10_000;

/// What is asked, and where it is shown.
pub struct Facts<M, S> {
    session: Session,
    broker: Broker,
    in_hand_by_message: M,
    in_hand_by_sweep: S,
    gauges: Gauges,
}

struct Gauges {
    by_message: Gauge,
    by_sweep: Gauge,
    oldest_due: Gauge,
    in_doubt: Gauge,
    refused_refunds: Gauge,
    unanswered: Gauge,
    contradicting: Gauge,
    sold_out: Gauge,
    wrong_stock: Gauge,
    waiting_messages: Gauge,
    dead_letters: Gauge,
    seen_at: Gauge,
    orders: [(OrderStatus, Gauge); OrderStatus::ALL.len()],
    oldest: [(OrderStatus, Gauge); KITCHEN.len()],
}

/// Where an order stands that the kitchen has.
const KITCHEN: [OrderStatus; 3] = [OrderStatus::Accepted, OrderStatus::Preparing, OrderStatus::Ready];

impl<M: Fn() -> usize, S: Fn() -> usize> Facts<M, S> {
    /// Facts seen through `session` and `broker`, and the payments in hand of this process, counted by the two calls.
    pub fn new(session: Session, broker: Broker, in_hand_by_message: M, in_hand_by_sweep: S) -> Self {
        let gauges = Gauges {
            by_message: metrics::gauge!("claim_in_hand_payments", "by" => "message"),
            by_sweep: metrics::gauge!("claim_in_hand_payments", "by" => "sweep"),
            oldest_due: metrics::gauge!("sweep_oldest_due_seconds"),
            in_doubt: metrics::gauge!("sweep_in_doubt_payments"),
            refused_refunds: metrics::gauge!("sweep_refused_refunds"),
            unanswered: metrics::gauge!("sweep_unanswered_seconds"),
            contradicting: metrics::gauge!("sweep_contradicting_orders"),
            sold_out: metrics::gauge!("sweep_sold_out_items"),
            wrong_stock: metrics::gauge!("sweep_contradicting_stock"),
            waiting_messages: metrics::gauge!("sweep_waiting_messages"),
            dead_letters: metrics::gauge!("sweep_dead_letters"),
            seen_at: metrics::gauge!("sweep_facts_timestamp_seconds"),
            orders: OrderStatus::ALL
                .map(|status| (status, metrics::gauge!("sweep_open_orders", "status" => status.as_str()))),
            oldest: KITCHEN.map(|status| {
                (status, metrics::gauge!("sweep_oldest_order_seconds", "status" => status.as_str()))
            }),
        };
        Self { session, broker, in_hand_by_message, in_hand_by_sweep, gauges }
    }

    /// Looks until `stop`.
    pub async fn run(mut self, stop: Stop) -> Result<()> {
        let mut rarely_at = Instant::now();
        while !stop.is_stopped() {
            let started = Instant::now();
            let mut seen = stop.or_stopped(self.run_once()).await.unwrap_or(Ok(()));
            if seen.is_ok() && started >= rarely_at {
                seen = stop.or_stopped(self.look_closer()).await.unwrap_or(Ok(()));
                if seen.is_ok() {
                    rarely_at = started + RARELY;
                }
            }
            if let Err(error) = seen {
                // The sweep and the consumer say so aloud; here it shows as facts that grow old.
                tracing::debug!(error = format!("{error:#}"), "cannot see the facts; trying on");
            }
            stop.or_stopped(tokio::time::sleep(EVERY.max(started.elapsed() * REST))).await;
        }
        Ok(())
    }

    /// Asks the database for what is not final.
    pub async fn run_once(&mut self) -> Result<()> {
        self.gauges.by_message.set(count((self.in_hand_by_message)()));
        self.gauges.by_sweep.set(count((self.in_hand_by_sweep)()));
        let seen = self.session.run(&MAX_COUNTED, |conn, limit| Box::pin(facts(conn, *limit))).await?;
        self.gauges.oldest_due.set(seen.oldest_due_seconds);
        self.gauges.in_doubt.set(seen.in_doubt as f64);
        self.gauges.refused_refunds.set(seen.refused_refunds as f64);
        self.gauges.unanswered.set(seen.unanswered_seconds);
        for (kind, age) in seen.oldest_open_seconds {
            metrics::gauge!("sweep_oldest_open_seconds", "kind" => kind).set(age);
        }
        for (status, number) in seen.payments {
            metrics::gauge!("sweep_open_payments", "status" => status).set(number as f64);
        }
        for (status, gauge) in &self.gauges.orders {
            let number = seen.orders.iter().find(|(seen, _)| seen == status).map_or(0, |(_, number)| *number);
            gauge.set(number as f64);
        }
        for (status, gauge) in &self.gauges.oldest {
            let seconds =
                seen.oldest.iter().find(|(seen, _)| seen == status).map_or(0.0, |(_, seconds)| *seconds);
            gauge.set(seconds.max(0.0));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.gauges.seen_at.set(now.context("the clock stands before 1970")?.as_secs_f64());
        Ok(())
    }

    /// Asks the database for contradictions, and the broker for what lies in it.
    pub async fn look_closer(&mut self) -> Result<()> {
        let found =
            self.session.run(&NEWEST, |conn, limit| Box::pin(contradicting_orders(conn, *limit))).await?;
        if found > 0 {
            tracing::error!(orders = found, "orders contradict their payments: see docs/runbooks.md");
        }
        self.gauges.contradicting.set(found as f64);
        let stock = self.session.run(&ITEMS, |conn, limit| Box::pin(stock_facts(conn, *limit))).await?;
        if stock.wrong > 0 {
            tracing::error!(items = stock.wrong, "the stock does not add up: see docs/runbooks.md");
        }
        self.gauges.sold_out.set(stock.sold_out as f64);
        self.gauges.wrong_stock.set(stock.wrong as f64);
        let depth = self.broker.depth().await?;
        self.gauges.waiting_messages.set(depth.waiting as f64);
        self.gauges.dead_letters.set(depth.dead as f64);
        Ok(())
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
