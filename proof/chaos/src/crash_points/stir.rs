//! What has to go wrong for a place to be passed at all, and how the programs are set for that.

use std::time::Duration;

use anyhow::{Result, ensure};
use runtime::tasks::Stop;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::case::Case;
use crate::fleet::{self, Fleet};
use crate::ground::Ground;
use crate::settings::{Gateway, Settings};

/// The gateway goes and comes, for the breaker to open in between, or poison is sent, this often.
const STIR_EVERY: Duration = Duration::from_millis(250);

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
    pub(super) fn settings(self) -> Settings {
        let gateway = Gateway {
            latency_min_ms: 0,
            latency_max_ms: 20,
            success: 0.9,
            error: 0.2,
            error_after: 0.15,
            timeout_after: 0.03,
            malformed: 0.05,
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
            webhook_timeout: Duration::from_secs(1),
            webhook_retry: Duration::from_millis(500),
            cart_hold: Duration::from_secs(1),
            gateway: if breaker { Gateway { latency_max_ms: 20, ..Gateway::WELL } } else { gateway },
        }
    }

    /// Stirs, and says how much poison was sent.
    pub(super) async fn stir_until(
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
                    ground.amqp()?.publish_bytes(b"poison").await?;
                    poison += 1;
                }
            }
        }
        switch(Gateway { latency_max_ms: 20, ..settings.gateway }.switches()).await?;
        Ok(poison)
    }
}
