//! One crash: programs of its own, orders until the place is reached, the restart, and the comparison.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use shared::tasks::Stop;
use tokio::time::sleep;

use super::Verdict;
use crate::check::{Evidence, check};
use crate::fleet::{self, Fleet};
use crate::ground::{Ground, Servers};
use crate::quiet::finish;
use crate::run::Places;
use crate::sender::{self, Tally, send};
use crate::settings::{Gateway, Settings};
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
            gateway: if breaker { Gateway { latency_max_ms: 20, ..Gateway::WELL } } else { gateway },
        }
    }

    /// Lives through it.
    pub(super) async fn carry_out(self, servers: &Servers, at: &Places) -> Result<Verdict> {
        let started = Instant::now();
        let logs = at.report_dir.join("logs").join(format!("{}-{}", self.place, self.hits));
        let _ = std::fs::remove_dir_all(&logs);
        std::fs::create_dir_all(&logs)?;
        let ground = servers.ground().await?;
        let settings = self.settings();
        let marker = logs.join("marker");
        let plan = fleet::Plan {
            bin_dir: &at.bin_dir,
            logs: &logs,
            settings: &settings,
            extra: vec![
                ("CRASH_POINT".to_owned(), format!("{}:{}", self.place, self.hits)),
                ("CRASH_MARKER".to_owned(), marker.display().to_string()),
            ],
            apis: 1,
            workers: 1,
        };
        let fleet = Fleet::start(&plan, &ground).await?;
        let poison = self.live_through(&fleet, &ground, &logs, &marker, &settings).await?;
        let finish = finish(&fleet, &ground, settings.quiet_within(), STUCK_AFTER).await?;
        let told = told::read(&logs.join("told"))?;
        let access_log = std::fs::read_to_string(&fleet.access_log)?;
        let found = check(&Evidence {
            ground: &ground,
            told: &told,
            settings: &settings,
            access_log: &access_log,
            finish: &finish,
            poison,
        })
        .await?;
        let verdict =
            Verdict { case: self, accepted: told.len(), checks: found.checks, took: started.elapsed() };
        if verdict.checks.hold() {
            std::fs::remove_dir_all(&logs)?;
            ground.amqp().delete().await?;
        } else {
            std::fs::write(logs.join("checks"), verdict.checks.to_string())?;
            servers.keep_evidence(&ground, &logs).await?;
        }
        Ok(verdict)
    }

    /// Orders flow until the place is reached, its program is started again, and a little longer. Says how much poison
    /// was sent.
    async fn live_through(
        self,
        fleet: &Fleet,
        ground: &Ground,
        logs: &Path,
        marker: &Path,
        settings: &Settings,
    ) -> Result<u64> {
        let told = ToldLog::create(&logs.join("told"))?;
        let tally = Arc::new(Tally::default());
        let plan = sender::Plan { seed: 1, orders: ORDERS, rate: RATE, apis: fleet.api_addrs.clone() };
        let enough = Stop::new();
        let stop = Stop::new();
        let death = async {
            let died = self.until_dead(fleet, marker).await;
            sleep(AFTER_RESTART).await;
            enough.stop();
            died
        };
        let (sent, died, poison) = tokio::join!(
            send(&plan, &tally, told.sender(), &enough, &stop),
            death,
            self.stir_until(&enough, fleet, ground, settings)
        );
        died.and(sent)?;
        tokio::task::spawn_blocking(|| told.close()).await??;
        poison
    }

    /// Waits for the death at the place, and starts the program again as if nothing had happened.
    async fn until_dead(self, fleet: &Fleet, marker: &Path) -> Result<()> {
        let program = if self.place.starts_with("api.") { &fleet.apis[0] } else { &fleet.workers[0] };
        let mut program = program.lock().await;
        let started = Instant::now();
        let ended = loop {
            if let Some(ended) = program.ended()? {
                break ended;
            }
            ensure!(started.elapsed() < REACHED_WITHIN, "never reached within {REACHED_WITHIN:?}");
            sleep(LOOK_EVERY).await;
        };
        let reached = std::fs::read_to_string(marker).unwrap_or_default();
        ensure!(
            reached == self.place,
            "{} ended with {}, and its marker says {reached:?}:\n{}",
            program.name(),
            ended.status,
            program.last_words()
        );
        program.unset("CRASH_POINT");
        program.start()
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
