//! Dying at every named place: for each crash point, and for its first and some later passes, fresh programs of which
//! one dies right there (it proves so with a marker), is started again, and everything is compared in the end.

mod case;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use shared::chaos::CRASH_POINTS;
use shared::tasks::Stop;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::case::Case;
use crate::check::Checks;
use crate::ground::Servers;
use crate::run::Places;

/// Cases side by side: most of each is waiting for leases.
const SIDE_BY_SIDE: usize = 5;

/// What came of a case.
#[derive(Debug)]
struct Verdict {
    case: Case,
    accepted: usize,
    checks: Checks,
    took: Duration,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case: Case { place, hits }, accepted, checks, took } = self;
        let word = if checks.hold() { "ok" } else { "BROKEN" };
        let seconds = took.as_secs_f64();
        write!(
            f,
            "{word:<6} {place:<24} {hits:>4} {accepted:>8} {seconds:>6.1} s  {}",
            checks.broken_promises()
        )
    }
}

/// Dies at each of `places` (all, if none is named), in each of these passes. Says whether all promises held.
pub async fn crash_points(
    places: &[String],
    hits: &[u32],
    servers: &Servers,
    at: &Places,
    stop: &Stop,
) -> Result<bool> {
    if let Some(unknown) = places.iter().find(|name| !CRASH_POINTS.contains(&name.as_str())) {
        bail!("{unknown} is none of {}", CRASH_POINTS.join(", "));
    }
    let wanted = |place: &&&str| places.is_empty() || places.iter().any(|name| name == **place);
    let cases = CRASH_POINTS
        .iter()
        .filter(wanted)
        .flat_map(|place| hits.iter().map(|hits| Case { place, hits: *hits }));
    println!("{:<6} {:<24} {:>4} {:>8} {:>8}  broken", "", "crash point", "pass", "orders", "time");
    let room = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut running = JoinSet::new();
    for case in cases {
        let (servers, at, stop, room) = (servers.clone(), at.clone(), stop.clone(), Arc::clone(&room));
        running.spawn(async move {
            let _place = room.acquire_owned().await?;
            let what = || format!("{} at pass {}", case.place, case.hits);
            tokio::select! {
                verdict = case.carry_out(&servers, &at) => verdict.with_context(what),
                () = stop.stopped() => bail!("stopped half-way"),
            }
        });
    }
    let (mut count, mut held, mut table) = (0, true, String::new());
    while let Some(verdict) = running.join_next().await {
        let verdict = verdict??;
        println!("{verdict}");
        table += &format!("{verdict}\n");
        count += 1;
        held &= verdict.checks.hold();
    }
    std::fs::write(at.report_dir.join("crash-points.txt"), table)?;
    println!(
        "\n{count} crashes, each at its place: {}",
        if held { "every invariant holds" } else { "BROKEN" }
    );
    Ok(held)
}
