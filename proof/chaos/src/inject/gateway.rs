//! The gateway's faults: its death, and what it can be switched to.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Injector;
use crate::fault::Kind;

impl Injector {
    pub(super) async fn kill_gateway(&self, lasts: Duration) -> Result<()> {
        let mut gateway = self.fleet.gateway.lock().await;
        let mark = self.begin(Kind::KillGateway, "gateway");
        let close = |closed| self.fleet.to_gateway.iter().for_each(|proxy| proxy.close(closed));
        close(true);
        gateway.kill().await?;
        sleep(lasts).await;
        gateway.start()?;
        let url = format!("{}/health", self.fleet.gateway_url);
        while self.http.get(&url).send().await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        close(false);
        self.end(mark);
        Ok(())
    }

    pub(super) async fn switch_gateway(&self, kind: Kind, lasts: Duration) -> Result<()> {
        let _gateway = self.fleet.gateway.lock().await;
        let mark = self.begin(kind, "gateway");
        let slow = self.settings.gateway_timeout;
        self.switch(match kind {
            Kind::GatewaySlow => json!({
                "latency_min_ms": (slow / 2).as_millis() as u64, "latency_max_ms": (slow * 3 / 2).as_millis() as u64
            }),
            Kind::GatewayErrors => json!({ "error_rate": 0.5, "control_error_rate": 0.5 }),
            Kind::GatewayErrorAfter => json!({ "error_after_rate": 0.6 }),
            Kind::GatewayTimeoutAfter => json!({ "timeout_after_rate": 0.6 }),
            Kind::GatewayGarbage => json!({ "malformed_rate": 0.6 }),
            Kind::GatewayLate => json!({ "late_rate": 0.5 }),
            Kind::GatewayMisconfigured => json!({ "misconfigured_rate": 1.0 }),
            Kind::GatewayPending => json!({ "pending_rate": 0.6 }),
            Kind::GatewayForeignReceipt => json!({ "foreign_receipt_rate": 0.6 }),
            Kind::GatewayTooMany => json!({ "too_many_rate": 0.8 }),
            _ => json!({ "down": true }),
        })
        .await?;
        sleep(lasts).await;
        self.switch(self.settings.gateway.switches()).await?;
        self.end(mark);
        Ok(())
    }

    async fn switch(&self, switches: Value) -> Result<()> {
        let url = format!("{}/v1/faults", self.fleet.gateway_url);
        let answer = self.http.put(url).body(switches.to_string()).send().await?;
        ensure!(answer.status().is_success(), "the gateway refused {switches}: {}", answer.text().await?);
        Ok(())
    }
}
