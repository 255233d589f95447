//! What customers were written, against what happened and what they had chosen.

use std::collections::HashMap;

use anyhow::{Context, Result};
use domain::event::What;
use domain::mail::Mail;
use domain::order::status::OrderStatus;
use sqlx::PgConnection;
use store::mail::LANE;
use testbed::smtp::Came;
use uuid::Uuid;

use super::Check;
use super::heard::compare;
use crate::hear::{DOMAIN, Of};
use crate::known::Known;

/// From so many mails on, the server's manners show.
const ENOUGH: usize = 500;

/// What somebody is to be written.
struct Wanted {
    mail: Mail,
    to: Known,
}

pub(super) async fn check(conn: &mut PgConnection, mails: &[Came]) -> Result<Vec<Check>> {
    let wanted = wanted(conn).await?;
    let mut came = Vec::new();
    let mut named = Check::new("a mail is called by its order, version and text, and goes to its customer");
    for mail in mails {
        let id = mail.header("Message-ID").unwrap_or_default();
        let (of, text) = read(&id).with_context(|| format!("a mail called {id:?}"))?;
        let is_so = wanted
            .get(&of)
            .is_some_and(|wanted| wanted.mail.as_str() == text && wanted.to.address() == mail.to);
        named.look(is_so, || format!("{id} came to {}", mail.to));
        came.push(of);
    }
    let mut every = Check::new("each mail that a customer wants is there, at least once, and no other");
    let mut order = Check::new("an order's mails come by its versions, but for repeats");
    let sendable: Vec<Of> =
        wanted.iter().filter(|(_, wanted)| !wanted.to.is_refused()).map(|(of, _)| *of).collect();
    compare("somebody", &sendable, &came, &mut every, &mut order);
    let (once, met) = repeats(conn, &came).await?;
    Ok(vec![every, order, named, once, met])
}

/// What is to be written of all that happened, by order and version.
async fn wanted(conn: &mut PgConnection) -> Result<HashMap<Of, Wanted>> {
    let rows: Vec<(Uuid, i32, What, Option<OrderStatus>, String)> = sqlx::query_as(
        "SELECT e.subject, e.version, e.what, e.to_status, o.customer_id
         FROM shown_events e JOIN orders o ON o.id = e.subject",
    )
    .fetch_all(conn)
    .await?;
    let wanted = rows.into_iter().filter_map(|(order, version, what, status, customer)| {
        let to = Known::named(&customer)?;
        let mail = Mail::about(what, status, to.mails())?;
        Some(((order, version), Wanted { mail, to }))
    });
    Ok(wanted.collect())
}

/// A mail's order and version, and which text it has.
fn read(id: &str) -> Option<(Of, &str)> {
    let (name, domain) = id.strip_prefix('<')?.strip_suffix('>')?.split_once('@')?;
    let (order, rest) = name.split_once('.')?;
    let (version, text) = rest.split_once('.')?;
    let of = (order.parse().ok()?, version.parse().ok()?);
    (domain == DOMAIN).then_some((of, text))
}

/// What the tries of a mail came to.
#[derive(Debug, Default, sqlx::FromRow)]
struct Tries {
    subject: Uuid,
    version: i32,
    /// Claims: each leads to one try.
    claims: i64,
    /// Tries that were written down; those of them that took it, and those that nobody answered.
    written: i64,
    took: i64,
    unanswered: i64,
}

impl Tries {
    /// How often the mail may be there: once where it was taken, and wherever nobody knows. (Two tries took it where the first was
    /// slower than its lease.)
    const fn at_most(&self) -> i64 {
        self.took + self.unanswered + (self.claims - self.written)
    }
}

/// Whether mails came again only where nobody knew, and whether that was met.
async fn repeats(conn: &mut PgConnection, came: &[Of]) -> Result<(Check, Check)> {
    let mut copies: HashMap<Of, i64> = HashMap::new();
    came.iter().for_each(|of| *copies.entry(*of).or_default() += 1);
    let tries: Vec<Tries> = sqlx::query_as(
        "SELECT d.subject, d.version, d.epoch::bigint AS claims, count(a.number) AS written,
             count(a.number) FILTER (WHERE a.status = 250) AS took,
             count(a.number) FILTER (WHERE a.fault IS NOT NULL) AS unanswered
         FROM deliveries d LEFT JOIN delivery_attempts a USING (webhook, subject, version)
         WHERE d.webhook = $1 GROUP BY d.webhook, d.subject, d.version",
    )
    .bind(LANE)
    .fetch_all(conn)
    .await?;
    let mut once = Check::new("a mail comes again only where nobody knows whether it came");
    for one in &tries {
        let there = copies.get(&(one.subject, one.version)).copied().unwrap_or_default();
        once.look(there <= one.at_most(), || format!("{there} times: {one:?}"));
    }
    let mut met = Check::about_the_run("mails were broken off, and came again");
    if came.len() >= ENOUGH {
        met.look(tries.iter().any(|one| one.unanswered > 0), || "none was broken off".to_owned());
        met.look(copies.values().any(|there| *there > 1), || "none came again".to_owned());
    }
    Ok((once, met))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mails_name_says_what_it_is_of() {
        let order = Uuid::from_u128(7);
        assert_eq!(read(&format!("<{order}.3.ready@{DOMAIN}>")), Some(((order, 3), "ready")));
        for other in ["", "<a.1.ready@house.example>", &format!("<{order}.3.ready@elsewhere>")] {
            assert_eq!(read(other), None);
        }
    }

    #[test]
    fn each_claim_without_an_answer_may_have_left_a_mail() {
        let tries = |claims, written, took, unanswered| {
            Tries { claims, written, took, unanswered, ..Tries::default() }.at_most()
        };
        assert_eq!(tries(1, 1, 1, 0), 1);
        assert_eq!(tries(3, 3, 1, 0), 1, "put off twice");
        assert_eq!(tries(2, 2, 1, 1), 2, "broken off once");
        assert_eq!(tries(2, 1, 1, 0), 2, "its sender died once");
        assert_eq!(tries(1, 1, 0, 0), 0, "refused");
    }
}
