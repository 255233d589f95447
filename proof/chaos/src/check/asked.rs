//! What the gateway was asked, by its own access log, against what the workers noted down before they asked.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Check, Evidence};
use crate::clock::Micros;

/// Moments at which something was asked for or noted, by payment and action.
type Moments = HashMap<(Uuid, String), Vec<Micros>>;

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
    // Of a payment that was tried very often only the first and the last are there.
    let many: HashSet<Uuid> = sqlx::query_scalar("SELECT payment_id FROM payment_attempts WHERE number > $1")
        .bind(2 * store::settle::KEPT)
        .fetch_all(&mut *conn)
        .await?
        .into_iter()
        .collect();
    let mut covered =
        Check::new("before each request in the gateway's access log stands an attempt of its own");
    if strange > 0 {
        covered.look(false, || format!("{strange} requests under keys that are none of ours"));
    }
    for ((payment, action), requests) in asked.iter_mut().filter(|((payment, _), _)| !many.contains(payment))
    {
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
    let given_up = given_up(conn, evidence, &asked).await?;
    Ok([covered, given_up])
}

/// A payment may fail without a decline only after the gateway was asked as often as the budget says, or after tries
/// that were cut off on their way. What was never sent spends nothing.
async fn given_up(conn: &mut PgConnection, evidence: &Evidence<'_>, asked: &Moments) -> Result<Check> {
    let failed: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT p.id, (SELECT count(*) FROM payment_attempts a WHERE a.payment_id = p.id AND a.action = 'charge'
                           AND a.code IN ('timeout', 'no_answer'))
         FROM payments p WHERE p.failure_code = 'retries_exhausted'",
    )
    .fetch_all(conn)
    .await?;
    let budget = i64::from(evidence.settings.retry_attempts);
    let mut check = Check::new("a payment that was given up had been asked for as often as its budget says");
    for (payment, cut_off) in failed {
        let requests = asked.get(&(payment, "charge".to_owned())).map_or(0, Vec::len);
        let requests = i64::try_from(requests)?;
        check.look(requests + cut_off >= budget, || {
            format!("payment {payment}: {requests} requests, {cut_off} tries cut off")
        });
    }
    Ok(check)
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
