//! claim: payments become this worker's, the ones that a message names or the ones that are due. A payment that the
//! database refuses to hand out, through some fault of ours, must not hold up its neighbours: then each is tried by
//! itself.

use std::collections::HashSet;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use domain::origin::Origin;
use domain::trace_parent::TraceParent;
use metrics::{Counter, Histogram};
use runtime::chaos::crash_point;
use runtime::trace::{Kind, Span};
use store::claim::{Claimed, Terms, claim};
use store::session::{Session, StoreError};
use store::sweep::{claim_due, due, postpone};
use uuid::Uuid;

use crate::aside::{Aside, may_be_one};

/// Claims, on a connection of its own.
#[derive(Debug)]
pub struct Claimer {
    session: Session,
    terms: Terms,
    aside: Aside,
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
    /// Claims on these terms, through `session`.
    pub fn new(session: Session, terms: impl Into<Terms>) -> Self {
        let metrics = Metrics {
            commit_seconds: metrics::histogram!("claim_commit_seconds"),
            batch_size: metrics::histogram!("claim_batch_size"),
            by_message: metrics::counter!("claim_payments_total", "by" => "message"),
            by_sweep: metrics::counter!("claim_payments_total", "by" => "sweep"),
            superseded: metrics::counter!("claim_superseded_total"),
        };
        Self { session, terms: terms.into(), aside: Aside::new("claim"), metrics }
    }

    /// The connection, for a bug on purpose.
    #[cfg(feature = "chaos")]
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Claims those of `named` that may be claimed.
    pub async fn named(&mut self, named: &[Uuid]) -> Result<Claims> {
        let (terms, since) = (self.terms, Instant::now());
        crash_point("worker.before_claim");
        let claimed = self.session.run(named, move |conn, named| Box::pin(claim(conn, named, terms))).await;
        let claims = match claimed {
            Ok(claims) => claims,
            Err(error) if may_be_one(&error) => self.one_by_one(named).await?,
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
        let (terms, since) = (self.terms, Instant::now());
        let claimed =
            self.session.run(&limit, move |conn, limit| Box::pin(claim_due(conn, *limit, terms))).await;
        let claims = match claimed {
            Ok(claims) => claims,
            Err(error) if may_be_one(&error) => {
                let ids =
                    self.session.run(&limit, move |conn, limit| Box::pin(due(conn, *limit, terms.age))).await;
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

    /// Claims each by itself. One that is refused is put off, so that it does not come first in every round; and where not even
    /// that can be done, it is left for as long.
    async fn one_by_one(&mut self, ids: &[Uuid]) -> Result<Vec<Claimed>> {
        let terms = self.terms;
        let resting: HashSet<Uuid> = self.aside.resting().into_iter().collect();
        let mut claims = Vec::with_capacity(ids.len());
        for id in ids.iter().filter(|id| !resting.contains(id)) {
            let one = std::slice::from_ref(id);
            match self.session.run_alone(one, move |conn, one| Box::pin(claim(conn, one, terms))).await {
                Err(error) if may_be_one(&error) => {
                    let rests_for = self.aside.put(*id, &error);
                    let put_off = self
                        .session
                        .run_alone(id, move |conn, id| Box::pin(postpone(conn, *id, rests_for)))
                        .await;
                    if let Err(error @ StoreError::Unavailable(_)) = put_off {
                        return Err(error).context("cannot put off what cannot be claimed");
                    }
                }
                Err(error) => return Err(error).context("cannot claim"),
                claimed => claims.extend(self.aside.heard(*id, claimed).unwrap_or_default()),
            }
        }
        Ok(claims)
    }
}
