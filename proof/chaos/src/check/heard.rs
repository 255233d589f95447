//! What those who are told of events have heard, against what happened.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Check;
use crate::hear::{Audience, Heard, Manner, Of};
use crate::order::OF_CHANNEL;

/// From so many events on, everybody's manners show.
const ENOUGH: usize = 5_000;

/// An event, as far as others choose by it.
struct Happened {
    of: Of,
    kind: String,
    by_channel: bool,
}

pub(super) async fn check(conn: &mut PgConnection, heard: &Heard) -> Result<Vec<Check>> {
    let happened = read(conn).await?;
    let mut every = Check::new("each endpoint has each event that it chose, at least once, and no other");
    let mut order = Check::new("each endpoint has an order's events by their versions, but for repeats");
    let mut signed = Check::new("what an endpoint is sent has a true signature and is what its id says");
    let mut met = Check::about_the_run("endpoints refused, and were sent the same again");
    for endpoint in &heard.endpoints {
        let kept = endpoint.kept();
        let name = endpoint.name();
        let (types, by_channel) = endpoint.manner.wants();
        let wants = |one: &&Happened| {
            (!by_channel || one.by_channel) && (types.is_empty() || types.contains(&one.kind.as_str()))
        };
        let wanted: Vec<Of> = happened.iter().filter(wants).map(|one| one.of).collect();
        compare(&name, &wanted, &kept.came, &mut every, &mut order);
        signed.checked += kept.came.len() as u64;
        kept.untrue.iter().for_each(|why| signed.look(false, || format!("{name}: {why}")));
        if happened.len() >= ENOUGH && endpoint.manner != Manner::Good {
            met.look(kept.refused > 0, || format!("{name} refused nothing"));
        }
    }
    let mut exchange = Check::new("the exchange has each event at least once, and no other");
    let mut in_turn = Check::new("the exchange has an order's events by their versions, but for repeats");
    let all: Vec<Of> = happened.iter().map(|one| one.of).collect();
    compare("the exchange", &all, &heard.told, &mut exchange, &mut in_turn);
    Ok(vec![every, order, signed, exchange, in_turn, watched(&all, heard), watching(heard), met])
}

/// Whether all that was wanted came, nothing else, and each order's by their versions.
pub(super) fn compare(who: &str, wanted: &[Of], came: &[Of], every: &mut Check, order: &mut Check) {
    let (wanted, there): (HashSet<&Of>, HashSet<&Of>) = (wanted.iter().collect(), came.iter().collect());
    for of in &wanted {
        every.look(there.contains(*of), || format!("{who} never heard of {}_{}", of.0, of.1));
    }
    for of in there.difference(&wanted) {
        every.look(false, || format!("{who} heard of {}_{}", of.0, of.1));
    }
    let (mut seen, mut last): (HashSet<&Of>, HashMap<Uuid, i32>) = (HashSet::new(), HashMap::new());
    for of in came {
        if seen.insert(of) {
            let last = last.entry(of.0).or_default();
            order.look(of.1 > *last, || format!("{who}: {}_{} came after {last}", of.0, of.1));
            *last = of.1;
        }
    }
}

/// Each version once, from the first to the last.
fn watched(all: &[Of], heard: &Heard) -> Check {
    let mut versions: HashMap<Uuid, i32> = HashMap::new();
    for (order, version) in all {
        let last = versions.entry(*order).or_default();
        *last = (*last).max(*version);
    }
    let mut check =
        Check::new("who watches an order sees each of its changes once, in order, however often they resume");
    for one in &heard.watched {
        let until = versions.get(&one.order).copied().unwrap_or_default();
        check.look((1..=until).eq(one.versions.iter().copied()), || {
            format!(
                "order {}: 1 to {until} happened, {:?} seen in {} streams",
                one.order, one.versions, one.streams
            )
        });
    }
    check
}

/// Where many were to watch, many did.
fn watching(heard: &Heard) -> Check {
    let mut check = Check::about_the_run("at least half of those who were to watch did so at once");
    let (most, room) = heard.watching;
    if room > Audience::EVERYDAY.streams {
        check.look(most * 2 >= room, || format!("{most} of {room} at once"));
    }
    check
}

async fn read(conn: &mut PgConnection) -> Result<Vec<Happened>> {
    let rows: Vec<(Uuid, i32, String, Option<String>, String)> = sqlx::query_as(
        "SELECT e.subject, e.version, e.what::text, e.to_status::text, o.customer_id
         FROM shown_events e JOIN orders o ON o.id = e.subject",
    )
    .fetch_all(conn)
    .await?;
    let happened = rows.into_iter().map(|(order, version, what, to, customer)| Happened {
        of: (order, version),
        kind: match to {
            Some(to) if what == "moved" => format!("order.{what}.{to}"),
            _ => format!("order.{what}"),
        },
        by_channel: customer.starts_with(OF_CHANNEL),
    });
    Ok(happened.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(wanted: &[i32], came: &[i32]) -> (u64, u64) {
        let of = |versions: &[i32]| -> Vec<Of> {
            versions.iter().map(|version| (Uuid::from_u128(7), *version)).collect()
        };
        let (mut every, mut order) = (Check::new("every"), Check::new("order"));
        compare("somebody", &of(wanted), &of(came), &mut every, &mut order);
        (every.violated, order.violated)
    }

    #[test]
    fn repeats_are_nothing_and_gaps_strangers_and_turns_are_told() {
        assert_eq!(found(&[1, 2, 4], &[1, 2, 1, 2, 4, 1]), (0, 0));
        assert_eq!(found(&[1, 2, 4], &[1, 4]), (1, 0));
        assert_eq!(found(&[1, 2], &[1, 2, 3]), (1, 0));
        assert_eq!(found(&[1, 2, 3], &[2, 1, 3]), (0, 1));
    }
}
