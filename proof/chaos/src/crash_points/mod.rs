//! Dying at every named place: for each crash point, and for its first and some later passes, fresh programs of which
//! one stands still right there (it proves so with a marker) while customers cancel, the kitchen rejects or the deadline
//! passes, then dies, is started again, and everything is compared in the end.

mod aim;
mod case;
mod stir;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use runtime::chaos::CRASH_POINTS;
use runtime::tasks::Stop;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use self::aim::Aim;
use self::aim::Aimed;
use self::case::Case;
use crate::check::Checks;
use crate::ground::Servers;
use crate::scenario::Places;

/// Cases side by side: most of each is waiting for leases.
const SIDE_BY_SIDE: usize = 3;

/// What came of a case.
#[derive(Debug)]
struct Verdict {
    case: Case,
    accepted: usize,
    /// Orders that were open while the process stood at its place.
    aimed: Aimed,
    checks: Checks,
    took: Duration,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case: Case { place, hits, aim }, accepted, aimed, checks, took } = self;
        let aim = aim.name();
        let aimed: Vec<_> = aimed.iter().map(|(status, count)| format!("{count} {status}")).collect();
        let aimed = aimed.join(", ");
        let broken: Vec<_> = checks.broken().map(|check| check.says.as_str()).collect();
        let broken = broken.join("; ");
        let word = if checks.hold() { "ok" } else { "BROKEN" };
        let seconds = took.as_secs_f64();
        write!(
            f,
            "{word:<6} {place:<22} {hits:>4} {aim:<8} {accepted:>6} {seconds:>6.1} s  {aimed:<48}  {broken}"
        )
    }
}

/// Dies at each of `places` (all, if none is named), in each of these passes, with each of these aims. Says whether all
/// promises held.
pub async fn crash_points(
    places: &[String],
    hits: &[u32],
    aims: &[Aim],
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
        .flat_map(|place| hits.iter().map(move |hits| (place, *hits)))
        .flat_map(|(place, hits)| aims.iter().map(move |aim| Case::new(place, hits, *aim)));
    println!(
        "{:<6} {:<22} {:>4} {:<8} {:>6} {:>8}  {:<48}  broken",
        "", "crash point", "pass", "aim", "orders", "time", "open meanwhile"
    );
    let room = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut running = JoinSet::new();
    for case in cases {
        let (servers, at, stop, room) = (servers.clone(), at.clone(), stop.clone(), Arc::clone(&room));
        running.spawn(async move {
            let _place = room.acquire_owned().await?;
            let what = || format!("{} at pass {} ({})", case.place, case.hits, case.aim.name());
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Every file of the programs and of what they share.
    fn sources(folder: &Path, into: &mut String) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                sources(&path, into)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                *into += &std::fs::read_to_string(path)?;
            }
        }
        Ok(())
    }

    #[test]
    fn each_place_is_passed_by_somebody_and_the_page_says_how_many_there_are() -> Result<()> {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let mut all = String::new();
        for folder in ["api/src", "worker/src", "follower/src", "shared/store/src", "shared/broker/src"] {
            sources(&root.join(folder), &mut all)?;
        }
        for place in CRASH_POINTS {
            assert!(all.contains(&format!("\"{place}\"")), "nobody passes {place}");
        }
        let page = std::fs::read_to_string(root.join("docs/proof.md"))?;
        let places = format!("each of {} named places", CRASH_POINTS.len());
        assert_eq!(page.matches(&places).count(), 2, "{places}");
        assert!(page.contains(&format!("{} crashes", CRASH_POINTS.len() * 6)));
        Ok(())
    }
}
