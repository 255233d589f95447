//! claim: payments become this worker's, the ones that a message names or the ones that are due. A payment that the
//! database refuses to hand out, through some fault of ours, must not hold up its neighbours: then each is tried by
//! itself.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use domain::origin::Origin;
use domain::trace_parent::TraceParent;
use metrics::{Counter, Histogram};
use runtime::chaos::crash_point;
use runtime::trace::{Kind, Span};
use store::claim::{Claimed, claim};
use store::session::{Session, StoreError};
use store::sweep::{claim_due, due, postpone};
use uuid::Uuid;

/// How long a payment rests that cannot be claimed: long enough not to fill the log, short enough to be found healed.
const REFUSED_FOR: Duration = Duration::from_secs(300);

/// Claims, on a connection of its own.
#[derive(Debug)]
pub struct Claimer {
    session: Session,
    lease: Duration,
    metrics: Metrics,
}

/// What was claimed, and since when at the latest the leases run.
#[derive(Debug)]
pub struct Claims {
    /// The payments.
    pub claims: Vec<Claimed>,
    /// Taken before the claim was sent: by this clock a lease never ends later than by the database's.
    pub since: Instant,
}

/// The payment's place in its trace, where it has one.
pub(crate) fn place(claim: &Claimed) -> Option<TraceParent> {
    claim.origin.as_ref().and_then(|origin| origin.trace)
}

/// A step on a claimed payment's way: what comes after it follows from it. Of a payment that nobody told where it came
/// from, it is the first of a trace.
pub(crate) fn step(claim: &mut Claimed, verb: &'static str, kind: Kind, begun: Option<SystemTime>) -> Span {
    let mut step = Span::since(verb, kind, place(claim), begun);
    step.note_with("order_id", || claim.order_id.to_string());
    step.note_with("payment_id", || claim.payment_id.to_string());
    step.note("try", i64::from(claim.number));
    if let Some(place) = step.place() {
        claim.origin.get_or_insert_with(|| Box::new(Origin::default())).trace = Some(place);
    }
    step
}

#[derive(Debug)]
struct Metrics {
    commit_seconds: Histogram,
    batch_size: Histogram,
    by_message: Counter,
    by_sweep: Counter,
    superseded: Counter,
    refused: Counter,
}

impl Metrics {
    fn committed(&self, since: Instant, claimed: usize) {
        self.commit_seconds.record(since.elapsed());
        if claimed > 0 {
            self.batch_size.record(u32::try_from(claimed).unwrap_or(u32::MAX));
        }
    }
}

impl Claimer {
    /// Claims for `lease`, through `session`.
    pub fn new(session: Session, lease: Duration) -> Self {
        let metrics = Metrics {
            commit_seconds: metrics::histogram!("claim_commit_seconds"),
            batch_size: metrics::histogram!("claim_batch_size"),
            by_message: metrics::counter!("claim_payments_total", "by" => "message"),
            by_sweep: metrics::counter!("claim_payments_total", "by" => "sweep"),
            superseded: metrics::counter!("claim_superseded_total"),
            refused: metrics::counter!("claim_refused_total"),
        };
        Self { session, lease, metrics }
    }

    /// The connection, for a bug on purpose.
    #[cfg(feature = "chaos")]
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Claims those of `named` that may be claimed.
    pub async fn named(&mut self, named: &[Uuid]) -> Result<Claims> {
        let (lease, since) = (self.lease, Instant::now());
        crash_point("worker.before_claim");
        let claimed = self.session.run(named, move |conn, named| Box::pin(claim(conn, named, lease))).await;
        let claims = match claimed {
            Ok(claims) => claims,
            Err(StoreError::Refused(_)) => self.one_by_one(named).await?,
            Err(error) => return Err(error).context("cannot claim"),
        };
        crash_point("worker.after_claim");
        self.metrics.committed(since, claims.len());
        self.metrics.by_message.increment(claims.len() as u64);
        self.metrics.superseded.increment((named.len() - claims.len()) as u64);
        Ok(Claims { claims, since })
    }

    /// Claims up to `limit` payments that are due.
    pub async fn due(&mut self, limit: u32) -> Result<Claims> {
        let (lease, since) = (self.lease, Instant::now());
        let claimed =
            self.session.run(&limit, move |conn, limit| Box::pin(claim_due(conn, *limit, lease))).await;
        let claims = match claimed {
            Ok(claims) => claims,
            Err(StoreError::Refused(_)) => {
                let ids = self.session.run(&limit, |conn, limit| Box::pin(due(conn, *limit))).await;
                self.one_by_one(&ids.context("cannot see what is due")?).await?
            }
            Err(error) => return Err(error).context("cannot claim what is due"),
        };
        if !claims.is_empty() {
            crash_point("worker.after_sweep");
            self.metrics.committed(since, claims.len());
            self.metrics.by_sweep.increment(claims.len() as u64);
        }
        Ok(Claims { claims, since })
    }

    /// Claims each by itself; one that is refused is told and put off.
    async fn one_by_one(&mut self, ids: &[Uuid]) -> Result<Vec<Claimed>> {
        let lease = self.lease;
        let mut claims = Vec::with_capacity(ids.len());
        for id in ids {
            let one = std::slice::from_ref(id);
            match self.session.run(one, move |conn, one| Box::pin(claim(conn, one, lease))).await {
                Ok(claimed) => claims.extend(claimed),
                Err(StoreError::Refused(error)) => {
                    tracing::error!(%error, payment = %id, "cannot claim through a fault of ours; put off");
                    self.metrics.refused.increment(1);
                    let put_off =
                        self.session.run(id, |conn, id| Box::pin(postpone(conn, *id, REFUSED_FOR))).await;
                    put_off.context("cannot put off what cannot be claimed")?;
                }
                Err(error) => return Err(error).context("cannot claim"),
            }
        }
        Ok(claims)
    }
}
