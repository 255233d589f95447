//! One crash: programs of its own, orders until the place is reached, what people do while the process stands there, its
//! death, the restart, and the comparison.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use shared::tasks::Stop;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Verdict;
use super::aim::{Aim, Aimed};
use crate::check::{Check, Evidence, check};
use crate::fleet::{self, Fleet};
use crate::ground::{Ground, Servers};
use crate::quiet::finish;
use crate::run::Places;
use crate::sender::{self, send};
use crate::settings::{Gateway, Settings};
use crate::tally::Tally;
use crate::told::{self, ToldLog};

/// Orders a second; the place is reached after some tens of them.
const RATE: u32 = 120;
/// More are not sent: whatever is not reached by then is not reached.
const ORDERS: u64 = 6_000;
/// Orders go on for so long after the restart: the restarted program works under load, too.
const AFTER_RESTART: Duration = Duration::from_millis(400);
/// Until the place is reached.
const REACHED_WITHIN: Duration = Duration::from_secs(40);
/// Between looks at the marker.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The gateway goes and comes, for the breaker to open in between, or poison is sent, this often.
const STIR_EVERY: Duration = Duration::from_millis(250);
/// Nothing that has not moved for so long will: leases here last two seconds.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) place: &'static str,
    pub(super) hits: u32,
    pub(super) aim: Aim,
}

/// What one writes and the other waits for.
struct Signs {
    /// Written by the process when it is at its place.
    marker: PathBuf,
    /// Written by us when it may die.
    gate: PathBuf,
}

/// What was seen while it was lived through.
struct Lived {
    tally: Arc<Tally>,
    aimed: Aimed,
    poison: u64,
}

/// What has to happen for a place to be passed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stir {
    /// Orders alone.
    Nothing,
    /// The breaker opens now and then.
    Breaker,
    /// Poison arrives now and then.
    Poison,
}

impl Case {
    fn stir(self) -> Stir {
        match self.place {
            "worker.before_release" | "worker.after_release" => Stir::Breaker,
            "worker.before_bury" => Stir::Poison,
            _ => Stir::Nothing,
        }
    }

    /// Much goes wrong at the gateway, so that retries, voids and sweeps are common.
    fn settings(self) -> Settings {
        let gateway = Gateway {
            latency_min_ms: 0,
            latency_max_ms: 20,
            success: 0.9,
            error: 0.2,
            error_after: 0.15,
            timeout_after: 0.03,
            malformed: 0.05,
            too_many: 0.05,
        };
        let breaker = self.stir() == Stir::Breaker;
        Settings {
            lease: Duration::from_secs(2),
            gateway_timeout: Duration::from_millis(500),
            breaker_recovery: Duration::from_millis(200),
            breaker_threshold: if breaker { 3 } else { 1_000_000 },
            retry_attempts: 2,
            retry_initial: Duration::from_millis(100),
            retry_max: Duration::from_millis(400),
            publish_grace: Duration::from_millis(500),
            accept_deadline: self.aim.deadline(),
            gateway: if breaker { Gateway { latency_max_ms: 20, ..Gateway::WELL } } else { gateway },
        }
    }

    fn is_of_api(self) -> bool {
        self.place.starts_with("api.")
    }

    /// Lives through it.
    pub(super) async fn carry_out(self, servers: &Servers, at: &Places) -> Result<Verdict> {
        let started = Instant::now();
        let name = format!("{}-{}-{}", self.place, self.hits, self.aim.name());
        let logs = at.report_dir.join("logs").join(name);
        let _ = std::fs::remove_dir_all(&logs);
        std::fs::create_dir_all(&logs)?;
        let ground = servers.ground().await?;
        let settings = self.settings();
        let signs = Signs { marker: logs.join("marker"), gate: logs.join("gate") };
        let plan = fleet::Plan {
            bin_dir: &at.bin_dir,
            logs: &logs,
            settings: &settings,
            extra: Vec::new(),
            first: vec![
                ("CRASH_POINT".to_owned(), format!("{}:{}", self.place, self.hits)),
                ("CRASH_MARKER".to_owned(), signs.marker.display().to_string()),
                ("CRASH_GATE".to_owned(), signs.gate.display().to_string()),
            ],
            // One to die and one to ask.
            apis: if self.is_of_api() { 2 } else { 1 },
            workers: 1,
        };
        let fleet = Fleet::start(&plan, &ground).await?;
        let lived = self.live_through(&fleet, &ground, &logs, &signs, &settings).await?;
        let finish = finish(&fleet, &ground, settings.quiet_within(), STUCK_AFTER).await?;
        let told = told::read(&logs.join("told"))?;
        let access_log = std::fs::read_to_string(&fleet.access_log)?;
        let mut checks = check(&Evidence {
            ground: &ground,
            told: &told,
            answered: &lived.tally.answered(),
            settings: &settings,
            access_log: &access_log,
            finish: &finish,
            poison: lived.poison,
        })
        .await?
        .checks;
        checks.0.extend(self.about_the_case(&lived));
        let Lived { aimed, .. } = lived;
        let verdict = Verdict { case: self, accepted: told.len(), aimed, checks, took: started.elapsed() };
        if verdict.checks.hold() {
            std::fs::remove_dir_all(&logs)?;
            ground.amqp().delete().await?;
        } else {
            std::fs::write(logs.join("checks"), verdict.checks.to_string())?;
            servers.keep_evidence(&ground, &logs).await?;
        }
        Ok(verdict)
    }

    /// Whether it met anybody, and what clients complained about.
    fn about_the_case(self, lived: &Lived) -> [Check; 2] {
        let complaints = lived.tally.complaints();
        let complaints =
            Check::list("no client is told two things, or what it cannot be told", 1, &complaints);
        let mut met = Check::about_the_run("orders were open while the process stood at its place");
        // Before the first order is committed there is none that anybody could ask for.
        if (self.place, self.hits) != ("api.before_commit", 1) {
            met.look(!lived.aimed.is_empty(), || format!("none at {}", self.place));
        }
        [complaints, met]
    }

    /// Orders flow until the place is reached, its program is started again, and a little longer.
    async fn live_through(
        self,
        fleet: &Fleet,
        ground: &Ground,
        logs: &Path,
        signs: &Signs,
        settings: &Settings,
    ) -> Result<Lived> {
        let told = ToldLog::create(&logs.join("told"))?;
        let tally = Arc::new(Tally::default());
        let plan = sender::Plan {
            seed: 1,
            orders: ORDERS,
            rate: RATE,
            apis: fleet.api_addrs.clone(),
            habits: self.aim.habits(),
            deadline: settings.accept_deadline,
        };
        let enough = Stop::new();
        let stop = Stop::new();
        let mut asking = JoinSet::new();
        let death = async {
            let died = self.until_dead(fleet, ground, signs, &tally, &mut asking).await;
            sleep(AFTER_RESTART).await;
            enough.stop();
            died
        };
        let (sent, died, poison) = tokio::join!(
            send(&plan, &tally, told.sender(), &enough, &stop),
            death,
            self.stir_until(&enough, fleet, ground, settings)
        );
        let aimed = died.and_then(|aimed| sent.map(|()| aimed))?;
        while asking.join_next().await.transpose().context("who asked panicked")?.is_some() {}
        tokio::task::spawn_blocking(|| told.close()).await??;
        Ok(Lived { tally, aimed, poison: poison? })
    }

    /// Waits until the process stands at its place, lets people do what they do, lets it die, and starts the program
    /// again as if nothing had happened.
    async fn until_dead(
        self,
        fleet: &Fleet,
        ground: &Ground,
        signs: &Signs,
        tally: &Arc<Tally>,
        asking: &mut JoinSet<()>,
    ) -> Result<Aimed> {
        let client = Aim::client(&fleet.api_addrs[usize::from(self.is_of_api())..], tally)?;
        let program = if self.is_of_api() { &fleet.apis[0] } else { &fleet.workers[0] };
        let mut program = program.lock().await;
        let started = Instant::now();
        let reached = || std::fs::read_to_string(&signs.marker).is_ok_and(|place| place == self.place);
        while !reached() {
            if let Some(ended) = program.ended()? {
                bail!("{} ended with {}:\n{}", program.name(), ended.status, program.last_words());
            }
            ensure!(started.elapsed() < REACHED_WITHIN, "never reached within {REACHED_WITHIN:?}");
            sleep(LOOK_EVERY).await;
        }
        let aimed = self.aim.strike(ground, &client, asking).await?;
        ensure!(program.ended()?.is_none(), "{} did not stand still", program.name());
        std::fs::write(&signs.gate, "")?;
        while program.ended()?.is_none() {
            ensure!(started.elapsed() < REACHED_WITHIN, "it stands at its place and does not die");
            sleep(LOOK_EVERY).await;
        }
        program.unset("CRASH_POINT");
        program.start()?;
        Ok(aimed)
    }

    async fn stir_until(
        self,
        enough: &Stop,
        fleet: &Fleet,
        ground: &Ground,
        settings: &Settings,
    ) -> Result<u64> {
        let http = fleet::http()?;
        let url = format!("{}/v1/faults", fleet.gateway_url);
        let switch = async |switches: Value| -> Result<()> {
            let answer = http.put(&url).body(switches.to_string()).send().await?;
            ensure!(answer.status().is_success(), "the gateway refused {switches}");
            Ok(())
        };
        let mut poison = 0;
        let mut down = false;
        while enough.or_stopped(sleep(STIR_EVERY)).await.is_some() {
            match self.stir() {
                Stir::Nothing => {}
                Stir::Breaker => {
                    down = !down;
                    switch(json!({ "down": down })).await?;
                }
                Stir::Poison => {
                    ground.amqp().publish_bytes(b"poison").await?;
                    poison += 1;
                }
            }
        }
        switch(Gateway { latency_max_ms: 20, ..settings.gateway }.switches()).await?;
        Ok(poison)
    }
}
