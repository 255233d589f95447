//! Would it be noticed? Each bug on purpose is given to apis and workers, in a short run that breaks what makes the bug
//! show, again and again until a promise is seen broken. A check that passes all of them has no teeth; and a run
//! without a bug must pass it.

mod trial;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use runtime::chaos::SABOTAGES;
use runtime::tasks::Stop;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::trial::Trial;
use crate::ground::Servers;
use crate::hear::Audience;
use crate::report::Report;
use crate::run::run;
use crate::scenario::{Places, Scenario};
use crate::shop::Shares;

/// A bug that does not show in so many runs does not show.
const TRIES: u64 = 5;
/// Runs side by side: most of each is waiting for leases.
const SIDE_BY_SIDE: usize = 3;
/// The first run's seed; each try has the next.
const SEED: u64 = 1;

/// What came of it.
#[derive(Debug)]
pub struct Verdict {
    /// The bug whose schedule it was.
    pub name: &'static str,
    /// Whether the programs had it.
    pub with_bug: bool,
    /// Runs that it took.
    pub tries: u64,
    /// The promises that were seen broken.
    pub caught_by: Option<String>,
    /// How long all runs took.
    pub took: Duration,
}

impl Verdict {
    /// Whether it is as it should be.
    pub fn is_right(&self) -> bool {
        self.with_bug == self.caught_by.is_some()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = if self.is_right() { "ok" } else { "WRONG" };
        let bug = if self.with_bug { self.name.to_owned() } else { format!("({})", self.name) };
        let caught_by = self.caught_by.as_deref().unwrap_or("nothing found");
        let seconds = self.took.as_secs();
        write!(f, "{right:<6} {bug:<28} {:>5} {seconds:>6} s  {caught_by}", self.tries)
    }
}

/// Tries each of `only` (all, if none is named), and a run without a bug; with `controls`, each schedule without its
/// bug, too. Says whether all is as it should be.
pub async fn sabotage(
    only: &[String],
    controls: bool,
    servers: &Servers,
    places: &Places,
    stop: &Stop,
) -> Result<bool> {
    if let Some(unknown) = only.iter().find(|name| !SABOTAGES.contains(&name.as_str())) {
        bail!("{unknown} is none of {}", SABOTAGES.join(", "));
    }
    let wanted = |bug: &&&str| only.is_empty() || only.iter().any(|name| name == **bug);
    let mut trials: Vec<Trial> = SABOTAGES.iter().filter(wanted).map(|bug| Trial::of(bug)).collect();
    if controls {
        let harmless = trials.clone().into_iter().map(|trial| Trial { bug: None, ..trial });
        trials.extend(harmless);
    }
    trials.push(Trial::control());
    // Who kills a server kills it for everybody.
    let (alone, together): (Vec<Trial>, Vec<Trial>) =
        trials.into_iter().partition(Trial::needs_servers_for_itself);
    println!("{:<6} {:<28} {:>5} {:>8}  found by", "", "(no) bug", "runs", "time");
    let room = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut running = JoinSet::new();
    for trial in together {
        let (servers, places, stop, room) =
            (servers.clone(), places.clone(), stop.clone(), Arc::clone(&room));
        running.spawn(async move {
            let _place = room.acquire_owned().await?;
            trial.carry_out(&servers, &places, &stop).await
        });
    }
    let (mut right, mut table) = (true, String::new());
    let mut tell = |verdict: Verdict| {
        println!("{verdict}");
        table += &format!("{verdict}\n");
        right &= verdict.is_right();
    };
    while let Some(verdict) = running.join_next().await {
        tell(verdict??);
    }
    for trial in alone {
        tell(trial.carry_out(servers, places, stop).await?);
    }
    std::fs::write(places.report_dir.join("sabotage.txt"), table)?;
    println!("\n{}", if right { "every bug was found, and nothing where there was none" } else { "WRONG" });
    Ok(right)
}

impl Trial {
    /// Runs until a promise is broken; without a bug once.
    async fn carry_out(&self, servers: &Servers, places: &Places, stop: &Stop) -> Result<Verdict> {
        let started = Instant::now();
        let mut tries = 0;
        let mut caught_by = None;
        while caught_by.is_none() && tries < if self.bug.is_some() { TRIES } else { 1 } {
            tries += 1;
            let report = run(&self.scenario(SEED + tries), servers, places, stop).await;
            let report = report.context(self.name)?;
            self.ensure_worthwhile(&report)?;
            caught_by = Some(report.checks.broken_promises()).filter(|broken| !broken.is_empty());
        }
        Ok(Verdict {
            name: self.name,
            with_bug: self.bug.is_some(),
            tries,
            caught_by,
            took: started.elapsed(),
        })
    }

    fn ensure_worthwhile(&self, report: &Report) -> Result<()> {
        ensure!(report.accepted > 0, "{}: nothing was accepted, nothing is proved", self.name);
        Ok(())
    }

    fn scenario(&self, seed: u64) -> Scenario {
        let settings = self.settings.clone();
        // Anything that can still move does so within its lease or its delay; twice that is enough.
        let rest = if self.followers > 0 { settings.taken_up_within() } else { Duration::ZERO };
        let stuck_after = (settings.longest_rest() * 2).max(rest) + Duration::from_secs(2);
        Scenario {
            name: format!("{}{}-{seed}", if self.bug.is_some() { "" } else { "without-" }, self.name),
            seed,
            orders: self.orders,
            rate: self.rate,
            settings,
            shares: Shares::EVERYDAY,
            followers: self.followers,
            audience: Audience::EVERYDAY,
            counts: self.counts.clone(),
            sabotage: self.bug,
            set: Vec::new(),
            stuck_after,
            watched: false,
            keep_evidence: self.bug.is_none(),
            keep_logs: false,
        }
    }
}
