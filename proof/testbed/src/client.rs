//! A client of a pipeline, whichever way it runs.

use anyhow::{Context, Result, ensure};
use domain::gateway::Ledger;
use serde_json::{Value, json};
use uuid::Uuid;

/// Speaks HTTP to an api and its gateway.
#[derive(Debug, Clone)]
pub struct Client {
    /// `http://127.0.0.1:8080`
    pub api: String,
    /// `http://127.0.0.1:9090`
    pub gateway: String,
    /// For anything else.
    pub http: reqwest::Client,
}

impl Client {
    /// A client of these two addresses.
    pub fn new(api: impl Into<String>, gateway: impl Into<String>) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
        Ok(Self { api: api.into(), gateway: gateway.into(), http })
    }

    /// The same client, who shows this token with every request that shows no other.
    pub fn with_token(self, token: &str) -> Result<Self> {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse()?);
        let http =
            reqwest::Client::builder().tls_certs_only([]).no_proxy().default_headers(headers).build()?;
        Ok(Self { http, ..self })
    }

    /// The order of the README: 2 burgers and fries for 30.97.
    pub fn an_order() -> Value {
        serde_json::from_str(
            r#"{"customer_id":"customer_123","items":[
                {"item_id":"item_001","item_name":"Burger","quantity":2,"price":12.99},
                {"item_id":"item_002","item_name":"Fries","quantity":1,"price":4.99}]}"#,
        )
        .unwrap_or_default()
    }

    /// Sends an order and returns the answer whatever it is.
    pub async fn post(&self, order: &Value) -> Result<reqwest::Response> {
        Ok(self.http.post(format!("{}/api/v1/orders", self.api)).json(order).send().await?)
    }

    /// Sends an order that is to be accepted, and returns its id.
    pub async fn order(&self, order: &Value) -> Result<Uuid> {
        let response = self.post(order).await?;
        let status = response.status();
        let body: Value = response.json().await?;
        ensure!(status == 202, "expected 202, got {status}: {body}");
        body["id"].as_str().and_then(|id| id.parse().ok()).context("the answer has no id")
    }

    /// Sends `count` orders, `side_by_side` at a time.
    pub async fn orders(&self, count: usize, side_by_side: usize) -> Result<Vec<Uuid>> {
        let mut under_way = tokio::task::JoinSet::new();
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            if under_way.len() == side_by_side
                && let Some(done) = under_way.join_next().await
            {
                ids.push(done??);
            }
            let client = self.clone();
            under_way.spawn(async move { client.order(&Self::an_order()).await });
        }
        while let Some(done) = under_way.join_next().await {
            ids.push(done??);
        }
        Ok(ids)
    }

    /// Reads an order.
    pub async fn read(&self, id: Uuid) -> Result<Value> {
        self.get(&format!("/api/v1/orders/{id}")).await
    }

    /// Reads anything of the api that is JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.http.get(format!("{}{path}", self.api)).send().await?.json().await?)
    }

    /// Waits until an order stands at `status`, and returns it.
    pub async fn until_status(&self, id: Uuid, status: &str) -> Result<Value> {
        crate::until(&format!("order {id} is {status}"), async || {
            let order = self.read(id).await?;
            Ok((order["status"] == status).then_some(order))
        })
        .await
    }

    /// What the gateway really did.
    pub async fn ledger(&self) -> Result<Ledger> {
        Ok(self.http.get(format!("{}/v1/ledger", self.gateway)).send().await?.json().await?)
    }

    /// Switches faults of the gateway; what is not named stays.
    pub async fn faults(&self, faults: Value) -> Result<()> {
        let answer = self.http.put(format!("{}/v1/faults", self.gateway)).json(&faults).send().await?;
        ensure!(answer.status().is_success(), "the gateway refused {faults}: {}", answer.text().await?);
        Ok(())
    }

    /// Switches all faults off: no latency, every charge succeeds.
    pub async fn no_faults(&self) -> Result<()> {
        self.faults(json!({"success_rate": 1.0, "latency_min_ms": 0, "latency_max_ms": 0, "down": false,
            "error_rate": 0.0, "error_after_rate": 0.0, "timeout_before_rate": 0.0, "timeout_after_rate": 0.0,
            "malformed_rate": 0.0, "too_many_rate": 0.0, "control_error_rate": 0.0, "misconfigured_rate": 0.0,
            "foreign_receipt_rate": 0.0, "huge_rate": 0.0, "pending_rate": 0.0, "limit_per_second": 0, "retry_after_seconds": 0}))
            .await
    }
}
