//! What the gateway was asked, by its own access log, against what the workers noted down before they asked.

use std::collections::HashMap;

use anyhow::Result;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Check, Evidence};
use crate::clock::Micros;
use crate::fault::Kind;
use crate::inject::Fired;

/// Moments at which something was asked for or noted, by payment and action.
type Moments = HashMap<(Uuid, String), Vec<Micros>>;

/// A request may be late by this much and still belong to a fault: programs notice and time out only then.
const AFTERMATH: Micros = 3_000_000;

pub(super) async fn check(conn: &mut PgConnection, evidence: &Evidence<'_>) -> Result<[Check; 2]> {
    let mut strange = 0;
    let mut asked = Moments::new();
    for line in evidence.access_log.lines() {
        match parse(line) {
            Some((at, action, payment)) => asked.entry((payment, action)).or_default().push(at),
            None => strange += 1,
        }
    }
    let noted = read_attempts(conn).await?;
    let mut covered =
        Check::new("before each request in the gateway's access log stands an attempt of its own");
    if strange > 0 {
        covered.look(false, || format!("{strange} requests under keys that are none of ours"));
    }
    for ((payment, action), requests) in &mut asked {
        requests.sort_unstable();
        let attempts = noted.get(&(*payment, action.clone())).map_or(&[][..], Vec::as_slice);
        // The n-th request needs n attempts before it.
        for (place, at) in requests.iter().enumerate() {
            let before = attempts.get(place).is_some_and(|begun| begun <= at);
            covered.look(before, || {
                format!(
                    "{action} of payment {payment}, request {} at {at}; attempts at {attempts:?}",
                    place + 1
                )
            });
        }
    }
    let given_up = given_up(conn, evidence, &asked, &noted).await?;
    Ok([covered, given_up])
}

/// A payment may fail without a decline only after the gateway was really asked as often as the budget says. Left out
/// are those with a try during which a request may have been lost on its way.
async fn given_up(
    conn: &mut PgConnection,
    evidence: &Evidence<'_>,
    asked: &Moments,
    noted: &Moments,
) -> Result<Check> {
    let lossy: Vec<&Fired> = evidence.fired.iter().filter(|fault| may_lose_requests(fault)).collect();
    let lost_on_its_way = |at: &Micros| {
        lossy.iter().any(|fault| {
            (fault.from - AFTERMATH..=fault.until.unwrap_or(i64::MAX).saturating_add(AFTERMATH)).contains(at)
        })
    };
    let failed: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM payments WHERE failure_code = 'retries_exhausted'")
            .fetch_all(conn)
            .await?;
    let mut check = Check::new("a payment that was given up had been asked for as often as its budget says");
    for payment in failed {
        let of =
            |moments: &Moments| moments.get(&(payment, "charge".to_owned())).cloned().unwrap_or_default();
        let (requests, attempts) = (of(asked), of(noted));
        if attempts.iter().any(lost_on_its_way) {
            continue;
        }
        check.look(requests.len() >= usize::from(evidence.settings.retry_attempts), || {
            format!("payment {payment}: {} requests, {} attempts", requests.len(), attempts.len())
        });
    }
    Ok(check)
}

fn may_lose_requests(fault: &Fired) -> bool {
    // A stopped worker's time runs out before it has said anything. A killed one's tries are abandoned, and spend nothing.
    fault.to_gateway || fault.kind == Kind::StopWorker
}

fn parse(line: &str) -> Option<(Micros, String, Uuid)> {
    let mut words = line.split(' ');
    let (at, action, key) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    Some((at, action.to_owned(), key.parse().ok()?))
}

async fn read_attempts(conn: &mut PgConnection) -> Result<Moments> {
    let rows: Vec<(Uuid, String, Micros)> = sqlx::query_as(
        "SELECT payment_id, action::text, (extract(epoch FROM started_at) * 1000000)::bigint
         FROM payment_attempts ORDER BY started_at",
    )
    .fetch_all(conn)
    .await?;
    let mut attempts = Moments::new();
    for (payment, action, at) in rows {
        attempts.entry((payment, action)).or_default().push(at);
    }
    Ok(attempts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_access_log_is_read() {
        let id = Uuid::now_v7();
        assert_eq!(parse(&format!("12 void {id}")), Some((12, "void".to_owned(), id)));
        assert_eq!(parse("12 charge "), None);
    }
}
