//! One run: start everything, send orders, break things by the schedule, mend all, wait for quiet, compare.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use runtime::tasks::Stop;

use crate::check::card_numbers::misplace;
use crate::fleet::{self, APIS, Fleet, WORKERS};
use crate::follow::Follower;
use crate::ground::{Ground, Servers};
use crate::hear::{Ears, Mailbox};
use crate::inject::Injector;
use crate::judge::judge;
use crate::life::Habits;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::quiet::finish;
use crate::report::Report;
use crate::scenario::{Places, Scenario, Seen};
use crate::schedule::{Event, schedule};
use crate::sender::send;
use crate::shop::Shop;
use crate::tally::Tally;
use crate::told::ToldLog;

/// Orders flow before the first fault: a calm phase to compare with.
const LEAD_IN: Duration = Duration::from_secs(3);
/// Between looks whether a program has ended by itself.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// A program that ends so soon has given up starting: the database went away under it. Whoever supervises it starts
/// it again, and so do we.
const STILL_STARTING: Duration = Duration::from_secs(35);

/// Runs it and compares. An error means that it could not be carried out, not that something is wrong.
pub async fn run(scenario: &Scenario, servers: &Servers, places: &Places, stop: &Stop) -> Result<Report> {
    let logs = places.report_dir.join("logs").join(&scenario.name);
    let _ = std::fs::remove_dir_all(&logs);
    std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let ground = servers.ground().await?;
    let seen = tokio::select! {
        seen = watch(scenario, servers, places, &logs, &ground, stop) => seen?,
        () = stop.stopped() => bail!("stopped half-way"),
    };
    let report = judge(scenario, &logs, &ground, seen).await?;
    if (report.green && !scenario.keep_logs) || !scenario.keep_evidence {
        std::fs::remove_dir_all(&logs)?;
        ground.amqp()?.delete().await?;
    } else {
        servers.keep_evidence(&ground, &logs).await?;
        std::fs::write(logs.join("report.md"), report.to_string())?;
    }
    Ok(report)
}

async fn watch(
    scenario: &Scenario,
    servers: &Servers,
    places: &Places,
    logs: &Path,
    ground: &Ground,
    stop: &Stop,
) -> Result<Seen> {
    let Scenario { seed, orders, rate, settings, .. } = scenario;
    let mut extra = scenario.set.clone();
    extra.extend(scenario.sabotage.map(|bug| ("SABOTAGE".to_owned(), bug.to_owned())));
    let mailbox = if scenario.followers > 0 { Some(Mailbox::open().await?) } else { None };
    extra.extend(mailbox.iter().flat_map(Mailbox::settings));
    let bin_dir = &places.bin_dir;
    let plan = fleet::Plan {
        bin_dir,
        logs,
        settings,
        extra,
        first: Vec::new(),
        apis: APIS,
        workers: WORKERS,
        followers: scenario.followers,
    };
    let fleet = Arc::new(Fleet::start(&plan, ground).await?);
    let manager = &fleet.tokens.manager;
    let shop = Arc::new(Shop::open(fleet.api_addrs[0], manager, *orders, scenario.shares).await?);
    let ears = if scenario.followers > 0 {
        Some(Ears::open(&fleet, ground, scenario.audience, mailbox, *orders).await?)
    } else {
        None
    };
    let span = Duration::from_millis(orders * 1_000 / u64::from((*rate).max(1)));
    let mut events = schedule(*seed, &scenario.counts, span.saturating_sub(LEAD_IN), settings);
    events.iter_mut().for_each(|event| event.at += LEAD_IN);
    write_schedule(&events, logs)?;

    let started = Instant::now();
    let injector = Arc::new(Injector::new(Arc::clone(&fleet), servers.clone(), settings.clone())?);
    let tally = Arc::new(Tally::default());
    let bad_ends = Mutex::new(Vec::new());
    let told = ToldLog::create(&logs.join("told"))?;
    let plan = Plan {
        seed: *seed,
        orders: *orders,
        rate: *rate,
        apis: fleet.api_addrs.clone(),
        tokens: fleet.tokens.clone(),
        habits: Habits::EVERYDAY,
        deadline: settings.accept_deadline,
        shop: Arc::clone(&shop),
        cart_hold: settings.cart_hold,
    };
    let watchers = ears.as_ref().map(|ears| &ears.streams);
    let planned = events.len();
    let work = async {
        let sending = send(&plan, watchers, &tally, told.sender(), stop, stop);
        tokio::try_join!(injector.run(events), sending).map(drop)
    };
    let line = || progress_line(&tally, *orders, &injector, planned);
    let mut follower = Follower::new(ground);
    let http = fleet::http()?;
    tokio::select! {
        done = work => done?,
        failed = supervise(&fleet, &bad_ends) => failed?,
        never = follower.run() => never,
        never = misplace(&http, &fleet.api_addrs, &fleet.tokens.customers) => never,
        never = report_progress(scenario.watched, line) => never,
    }
    tokio::task::spawn_blocking(|| told.close()).await??;
    let patience = settings.quiet_within() + scenario.audience.longer(*orders);
    let finish = finish(&fleet, ground, ears.as_ref(), patience, scenario.stuck_after);
    let finish = tokio::select! {
        finish = finish => finish?,
        failed = supervise(&fleet, &bad_ends) => { failed?; bail!("nobody watches the programs any more") }
        never = follower.run() => never,
    };
    let followed = follower.finish().await?;
    let heard = match ears {
        Some(ears) => Some(ears.finish().await?),
        None => None,
    };
    let mut bad_stops = injector.bad_stops();
    bad_stops.extend(finish.bad_stops.iter().cloned());
    let bad_ends = bad_ends.into_inner().unwrap_or_else(PoisonError::into_inner);
    let fired = injector.fired();
    Ok(Seen { fired, tally, bad_ends, bad_stops, finish, shop, heard, followed, elapsed: started.elapsed() })
}

fn write_schedule(events: &[Event], logs: &Path) -> Result<()> {
    let lines = events.iter().map(|event| {
        let Event { at, kind, target, lasts } = event;
        format!("{:8.3} s  {} {target}  for {lasts:?}\n", at.as_secs_f64(), kind.name())
    });
    Ok(std::fs::write(logs.join("schedule"), lines.collect::<String>())?)
}

/// Starts again what ends by itself, and takes note of it. Returns only with an error.
async fn supervise(fleet: &Fleet, bad_ends: &Mutex<Vec<String>>) -> Result<()> {
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        for program in fleet.programs() {
            // Whoever holds it is doing something to it.
            let Ok(mut program) = program.try_lock() else { continue };
            let Some(ended) = program.ended()? else { continue };
            let after = ended.after;
            if ended.status.code() != Some(1) || after > STILL_STARTING {
                let (name, words) = (program.name(), program.last_words());
                let complaint = format!("{name} ended with {} after {after:?}:\n{words}", ended.status);
                bad_ends.lock().unwrap_or_else(PoisonError::into_inner).push(complaint);
            }
            program.start()?;
        }
    }
}

async fn report_progress(shown: bool, line: impl Fn() -> String) -> ! {
    if shown { Progress::new().run(line).await } else { std::future::pending().await }
}

fn progress_line(tally: &Tally, orders: u64, injector: &Injector, planned: usize) -> String {
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let fired = injector.fired();
    let now: Vec<String> = fired
        .iter()
        .filter(|one| one.until.is_none())
        .map(|one| format!("{} {}", one.kind.name(), one.target))
        .collect();
    format!(
        "{}/{orders} orders, {} accepted; {}/{planned} faults; now: {}",
        count(&tally.offered),
        count(&tally.accepted),
        fired.len(),
        if now.is_empty() { "-".to_owned() } else { now.join(", ") }
    )
}
