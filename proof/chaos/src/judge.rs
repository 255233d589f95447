//! The verdict on a run: every promise of the product, and whether the run was worth anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use reconcile::{Invariant, Report as Books};
use sqlx::{Connection, PgConnection};

use crate::check::{Check, Evidence, Found, card_numbers, check};
use crate::fault::Kind;
use crate::ground::Ground;
use crate::happened;
use crate::recovery::measure;
use crate::report::{Report, seconds};
use crate::scenario::{Scenario, Seen};
use crate::settings::Gateway;
use crate::told;

/// Compares all that was seen with all that was promised.
pub(crate) async fn judge(scenario: &Scenario, logs: &Path, ground: &Ground, seen: Seen) -> Result<Report> {
    let Seen { fired, tally, finish, .. } = &seen;
    let rest = &finish.rest;
    let told = told::read(&logs.join("told"))?;
    let access_log = std::fs::read_to_string(logs.join("gateway.access"))?;
    let Found { mut checks, lost, books } = check(&Evidence {
        ground,
        told: &told,
        answered: &tally.answered(),
        settings: &scenario.settings,
        access_log: &access_log,
        finish,
        poison: 0,
        shop: &seen.shop,
        sales: &tally.sales(),
        heard: seen.heard.as_ref(),
    })
    .await?;
    let mut conn = ground.connect().await?;
    let happened = happened::count(&mut conn, &tally.sales()).await?;
    let confirmed = paid(&mut conn).await?;
    let failed = count(&mut conn, "PAYMENT_FAILED").await?;
    let in_doubt = "SELECT count(*) FROM payment_attempts WHERE outcome IN ('in_doubt', 'abandoned')";
    let in_doubt = sqlx::query_scalar(in_doubt).fetch_one(&mut conn).await?;
    let times = measure(&mut conn, &scenario.settings, fired, &told).await?;
    let cards = card_numbers::check(&mut conn, logs).await?;
    conn.close().await?;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (offered, accepted) = (load(&tally.offered), load(&tally.accepted));
    checks.0.extend(seen.followed.iter().cloned());
    checks.0.push(cards);
    checks.0.extend(behaviour(scenario, logs, &seen)?);
    checks.0.extend(not_trivial(scenario, &seen, accepted, confirmed));
    let gateway_is_well = scenario.settings.gateway == Gateway::WELL;
    checks.0.push(happened::check(&happened, accepted, gateway_is_well));
    let mut faults = BTreeMap::new();
    for one in fired {
        *faults.entry(one.kind.name()).or_insert(0) += 1;
    }
    Ok(Report {
        seed: scenario.seed,
        green: checks.hold(),
        offered,
        accepted,
        confirmed,
        failed,
        lost,
        double_charged: books.of(Invariant::ChargedOnce).violated,
        ledger_equal: ledger_equal(&books),
        drained: rest.is_quiet() && finish.left == (0, 0),
        faults,
        recovery_p99_s: seconds(times.killed_worker_to_settled.p99),
        seconds: seconds(seen.elapsed),
        quiet_after_s: seconds(rest.waited),
        in_doubt,
        settings: scenario
            .settings
            .list()
            .into_iter()
            .chain(
                scenario.set.iter().map(|(name, value)| format!("{name}={value} (over what stands above)")),
            )
            .collect(),
        other_answers: tally.others(),
        steps: tally.steps().sum(),
        given_up: load(&tally.given_up),
        replayed: load(&tally.replayed),
        happened,
        checks,
        times,
    })
}

fn ledger_equal(books: &Books) -> bool {
    [
        Invariant::SucceededInLedger,
        Invariant::LedgerExplained,
        Invariant::ChargedOnce,
        Invariant::MoneyKept,
        Invariant::FailedIsClosed,
    ]
    .into_iter()
    .all(|invariant| books.of(invariant).violated == 0)
}

async fn count(conn: &mut PgConnection, status: &str) -> Result<i64> {
    let count = sqlx::query_scalar("SELECT count(*) FROM orders WHERE status::text = $1").bind(status);
    Ok(count.fetch_one(conn).await?)
}

/// Orders that were paid at some time.
async fn paid(conn: &mut PgConnection) -> Result<i64> {
    let paid = "SELECT count(DISTINCT subject) FROM order_events WHERE to_status = 'CONFIRMED'";
    Ok(sqlx::query_scalar(paid).fetch_one(conn).await?)
}

/// How programs behaved towards clients and towards us.
fn behaviour(scenario: &Scenario, logs: &Path, seen: &Seen) -> Result<Vec<Check>> {
    let complaints = seen.tally.complaints();
    let answers = seen.tally.offered.load(Ordering::Relaxed);
    let starts = seen.fired.len() as u64;
    let mut checks = vec![
        Check::list(
            "no client is told two things, or anything but 202, 503 and 429; later 200, 409",
            answers,
            &complaints,
        ),
        Check::list("no program ends that was not asked to", starts, &seen.bad_ends),
        Check::list("a program that is asked to end ends well", starts, &seen.bad_stops),
    ];
    if scenario.sabotage.is_none() {
        let meant = told_of(scenario);
        let (lines, faults) = faults_of_ours(logs, &meant)?;
        checks.push(Check::list("no program panics or logs a fault of its own", lines, &faults));
    }
    Ok(checks)
}

/// What a fault of this run is told by, to a person who is to see to it.
fn told_of(scenario: &Scenario) -> Vec<&'static str> {
    let told = [
        (Kind::GatewayMisconfigured, "the gateway refuses us"),
        (Kind::HeldLocks, "somebody else holds its rows"),
    ];
    let strikes = |kind: Kind| scenario.counts.iter().any(|(one, planned)| *one == kind && *planned > 0);
    told.into_iter().filter(|(kind, _)| strikes(*kind)).map(|(_, told)| told).collect()
}

/// Lines of the apis' and workers' logs, and those that should not be there: all faults but those that were `meant`.
fn faults_of_ours(logs: &Path, meant: &[&str]) -> Result<(u64, Vec<String>)> {
    let (mut lines, mut faults) = (0, Vec::new());
    for entry in std::fs::read_dir(logs)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for line in text.lines() {
            lines += 1;
            let is_error = line.contains(" ERROR ") && !meant.iter().any(|told| line.contains(told));
            if is_error || line.contains("panicked at") {
                faults.push(format!("{name}: {line}"));
            }
        }
    }
    Ok((lines, faults))
}

/// A run in which nothing happened proves nothing.
fn not_trivial(scenario: &Scenario, seen: &Seen, accepted: u64, confirmed: i64) -> [Check; 3] {
    let tally = &seen.tally;
    // Those that were not to be accepted.
    let not_meant =
        [&tally.too_late, &tally.sold_out, &tally.not_wanted].map(|count| count.load(Ordering::Relaxed));
    let refused_carts = tally.sales().carts.get("refused").copied().unwrap_or_default();
    let not_meant = not_meant.iter().sum::<u64>() + refused_carts;
    let offered = tally.offered.load(Ordering::Relaxed).saturating_sub(not_meant);
    let confirmed = confirmed.unsigned_abs();
    let mut fired = Check::about_the_run("each fault struck as often as it was meant to");
    for (kind, planned) in &scenario.counts {
        let count = seen.fired.iter().filter(|one| one.kind == *kind).count();
        fired.look(count >= *planned as usize, || {
            format!("{} struck {count} of {planned} times", kind.name())
        });
    }
    let mut accepting = Check::about_the_run("at least 90 % of the orders were accepted");
    accepting.look(accepted * 10 >= offered * 9, || format!("{accepted} of {offered}"));
    let mut confirming = Check::about_the_run("at least 80 % of the accepted were confirmed");
    confirming.look(confirmed * 10 >= accepted * 8, || format!("{confirmed} of {accepted}"));
    [accepting, confirming, fired]
}
