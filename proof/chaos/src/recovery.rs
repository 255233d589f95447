//! How long things took: payments whose worker was killed, orders whose publish was lost, and the answers to clients
//! while something was broken.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use sqlx::PgConnection;

use crate::clock::{Micros, between};
use crate::fault::{Group, Kind};
use crate::inject::Fired;
use crate::settings::Settings;
use crate::told::Told;

/// Percentiles.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Spread {
    /// Of how many.
    pub count: usize,
    /// Half were quicker.
    pub p50: Duration,
    /// One in a hundred was slower.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

impl Spread {
    /// Of these.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |per_cent: usize| {
            times.get((times.len() * per_cent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
        };
        Self { count: times.len(), p50: at(50), p99: at(99), max: at(100) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, p50, p99, max } = self;
        let seconds = Duration::as_secs_f64;
        let (p50, p99, max) = (seconds(p50), seconds(p99), seconds(max));
        write!(f, "{count:>7}  p50 {p50:>7.3} s  p99 {p99:>7.3} s  max {max:>7.3} s")
    }
}

/// All that was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Times {
    /// From a worker's kill to the settlement of each payment that it had in hand.
    pub killed_worker_to_settled: Spread,
    /// From a worker's kill until another one took each of them up.
    pub killed_worker_to_claimed: Spread,
    /// The same for workers that were stopped for longer than a lease.
    pub stopped_worker_to_settled: Spread,
    /// From the end of a fault of the gateway to the end of each order that was waiting then.
    pub gateway_well_to_ended: Spread,
    /// From the acceptance to the first claim, of orders whose publish was lost.
    pub unpublished_to_claimed: Spread,
    /// From the acceptance to the first claim, of all orders.
    pub accepted_to_claimed: Spread,
    /// From the acceptance to the end, of all orders.
    pub accepted_to_ended: Spread,
    /// From the confirmation until the kitchen had taken it, of all orders that it took.
    pub paid_to_taken: Spread,
    /// What clients waited for their 202, by what was broken meanwhile; from the first request, repeats included.
    pub answers: BTreeMap<String, Answers>,
}

/// Answers to clients during a phase.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Answers {
    /// How long they took.
    pub spread: Spread,
    /// Those that were given to the first request.
    pub at_first: usize,
}

/// An attempt that nobody finished: begun, taken up by another worker, and when its payment was settled.
type Abandoned = (Micros, Micros, Option<Micros>);
/// An order: accepted, first claimed, ended.
type Life = (Micros, Option<Micros>, Option<Micros>);

/// Measures, once all is quiet.
pub async fn measure(
    conn: &mut PgConnection,
    settings: &Settings,
    fired: &[Fired],
    told: &[Told],
) -> Result<Times> {
    let abandoned: Vec<Abandoned> = sqlx::query_as(
        "SELECT (extract(epoch FROM a.started_at) * 1000000)::bigint,
                (extract(epoch FROM a.finished_at) * 1000000)::bigint,
                CASE WHEN p.due_at IS NULL THEN
                    (SELECT (extract(epoch FROM max(l.finished_at)) * 1000000)::bigint FROM payment_attempts l
                     WHERE l.payment_id = p.id) END
         FROM payment_attempts a JOIN payments p ON p.id = a.payment_id
         WHERE a.outcome = 'abandoned' AND a.finished_at IS NOT NULL",
    )
    .fetch_all(&mut *conn)
    .await?;
    let lives: Vec<Life> = sqlx::query_as(
        "SELECT (extract(epoch FROM o.created_at) * 1000000)::bigint,
                (extract(epoch FROM c.at) * 1000000)::bigint, (extract(epoch FROM e.at) * 1000000)::bigint
         FROM orders o
         LEFT JOIN shown_events c ON c.subject = o.id AND c.from_status = 'PENDING' AND c.to_status = 'PAYMENT_PROCESSING'
         LEFT JOIN LATERAL (SELECT at FROM shown_events WHERE subject = o.id AND from_status = 'PAYMENT_PROCESSING'
             ORDER BY version LIMIT 1) e ON true",
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut times = Times { answers: answers(fired, told), ..Times::default() };
    times.rescues(&abandoned, fired);
    let claims = lives.iter().filter_map(|(accepted, claimed, _)| Some(between(*accepted, (*claimed)?)));
    let ends = lives.iter().filter_map(|(accepted, _, ended)| Some(between(*accepted, (*ended)?)));
    // Before its grace is over no sweep looks at it, and what was published is claimed at once.
    times.unpublished_to_claimed =
        Spread::of(claims.clone().filter(|it| *it >= settings.publish_grace).collect());
    times.accepted_to_claimed = Spread::of(claims.collect());
    times.gateway_well_to_ended = Spread::of(after_the_gateway(&lives, fired));
    times.accepted_to_ended = Spread::of(ends.collect());
    times.paid_to_taken = paid_to_taken(conn).await?;
    Ok(times)
}

async fn paid_to_taken(conn: &mut PgConnection) -> Result<Spread> {
    let micros: Vec<i64> = sqlx::query_scalar(
        "SELECT (extract(epoch FROM t.at - c.at) * 1000000)::bigint
         FROM order_events t JOIN order_events c ON c.subject = t.subject AND c.to_status = 'CONFIRMED'
         WHERE t.from_status = 'CONFIRMED' AND t.to_status = 'ACCEPTED'",
    )
    .fetch_all(conn)
    .await?;
    Ok(Spread::of(micros.into_iter().map(|micros| Duration::from_micros(micros.unsigned_abs())).collect()))
}

impl Times {
    /// Counts each abandoned attempt from the first blow to a worker after it began: its worker is not noted down, so
    /// this may count from too early, never from too late.
    fn rescues(&mut self, abandoned: &[Abandoned], fired: &[Fired]) {
        let blows: Vec<&Fired> =
            fired.iter().filter(|one| matches!(one.kind, Kind::KillWorker | Kind::StopWorker)).collect();
        let (mut settled, mut claimed, mut stopped) = (Vec::new(), Vec::new(), Vec::new());
        for (began, taken_up, ended) in abandoned {
            let within = blows.iter().filter(|blow| (*began..=*taken_up).contains(&blow.from));
            let Some(blow) = within.min_by_key(|blow| blow.from) else { continue };
            let until_settled = ended.map(|ended| between(blow.from, ended));
            if blow.kind == Kind::KillWorker {
                claimed.push(between(blow.from, *taken_up));
                settled.extend(until_settled);
            } else {
                stopped.extend(until_settled);
            }
        }
        self.killed_worker_to_settled = Spread::of(settled);
        self.killed_worker_to_claimed = Spread::of(claimed);
        self.stopped_worker_to_settled = Spread::of(stopped);
    }
}

/// How long each order that had been accepted before the gateway was well again took from then on.
fn after_the_gateway(lives: &[Life], fired: &[Fired]) -> Vec<Duration> {
    let mut well: Vec<Micros> =
        fired.iter().filter(|one| one.kind.group() == Group::Gateway).filter_map(|one| one.until).collect();
    well.sort_unstable();
    let waited = |(accepted, _, ended): &Life| {
        let ended = (*ended)?;
        let last = well.partition_point(|well| *well <= ended).checked_sub(1)?;
        (well[last] >= *accepted).then(|| between(well[last], ended))
    };
    lives.iter().filter_map(waited).collect()
}

/// Names of the phases that are no [`Group`].
const CALM: &str = "calm";
const SEVERAL: &str = "several";

/// What clients waited, by what was broken between their first request and their 202.
fn answers(fired: &[Fired], told: &[Told]) -> BTreeMap<String, Answers> {
    let mut phases: BTreeMap<String, (Vec<Duration>, usize)> = BTreeMap::new();
    for one in told {
        let mut groups: Vec<Group> = fired
            .iter()
            .filter(|fault| fault.from <= one.told_at && fault.until.is_none_or(|until| until >= one.sent_at))
            .map(|fault| fault.kind.group())
            .collect();
        groups.sort_unstable();
        groups.dedup();
        let phase = match groups[..] {
            [] => CALM.to_owned(),
            [group] => format!("{group:?}").to_lowercase(),
            _ => SEVERAL.to_owned(),
        };
        let (times, at_first) = phases.entry(phase).or_default();
        times.push(between(one.sent_at, one.told_at));
        *at_first += usize::from(one.tries == 1);
    }
    let answers = |(times, at_first)| Answers { spread: Spread::of(times), at_first };
    phases.into_iter().map(|(phase, of)| (phase, answers(of))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_times_given() {
        let spread = Spread::of((1..=200).map(Duration::from_millis).collect());
        assert_eq!(spread.count, 200);
        assert_eq!([spread.p50, spread.p99, spread.max], [100, 198, 200].map(Duration::from_millis));
        assert_eq!(Spread::of(Vec::new()).max, Duration::ZERO);
    }

    #[test]
    fn an_order_that_waited_for_the_gateway_counts_from_when_it_was_well() {
        let fired = |kind, until| Fired { kind, target: String::new(), from: 0, until: Some(until) };
        let faults = [fired(Kind::GatewayDown, 50), fired(Kind::KillApi, 60), fired(Kind::KillGateway, 100)];
        let lives =
            [(10, None, Some(40)), (10, None, Some(70)), (60, None, Some(130)), (110, None, Some(140))];
        assert_eq!(after_the_gateway(&lives, &faults), [20, 30].map(Duration::from_micros));
    }

    #[test]
    fn a_rescue_counts_from_the_first_blow_after_it_began() {
        let fired = |kind, from| Fired { kind, target: String::new(), from, until: Some(from + 1) };
        let blows = [
            fired(Kind::KillWorker, 5),
            fired(Kind::KillApi, 15),
            fired(Kind::KillWorker, 20),
            fired(Kind::StopWorker, 100),
        ];
        let mut times = Times::default();
        times.rescues(&[(10, 40, Some(70)), (90, 120, Some(150)), (200, 210, None)], &blows);
        assert_eq!(times.killed_worker_to_claimed.max, Duration::from_micros(20));
        assert_eq!(times.killed_worker_to_settled.max, Duration::from_micros(50));
        assert_eq!(times.stopped_worker_to_settled.max, Duration::from_micros(50));
        assert_eq!(times.killed_worker_to_settled.count, 1);
    }
}
