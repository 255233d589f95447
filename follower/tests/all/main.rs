//! What follows events, one step at a time, against a real PostgreSQL, an api and receivers that are not ours.

mod held;
mod mail;
mod messages;
mod platforms;
mod receiver;
mod rolled;
mod webhooks;

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use follower::config::FollowerSettings;
use follower::deliver::Delivery;
use follower::follow::{Following, Step};
use follower::webhooks::Webhooks;
use reqwest::Method;
use runtime::secrets::Secrets;
use serde_json::{Value, json};
use testbed::{Options, Pipeline, TestDatabase, Via};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::receiver::Receiver;

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    follower: FollowerSettings,
}

/// An api, a receiver, and a follower taken apart.
struct House {
    database: TestDatabase,
    api: Pipeline,
    receiver: Receiver,
    following: Following<Webhooks>,
    delivery: Delivery,
}

impl House {
    async fn new() -> Result<Self> {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut FollowerSettings)) -> Result<Self> {
        let database = TestDatabase::new().await?;
        let options = Options { with_worker: false, ..Options::new(Via::InProcess) };
        let api = Pipeline::start(&database, options).await?;
        let Defaults { follower: mut settings } = Defaults::parse_from(["test"]);
        settings.webhook_networks = vec!["127.0.0.0/8".parse()?];
        change(&mut settings);
        let mut following = follows(&database);
        // It begins with what happens from now on.
        following.run_once().await?;
        let delivery = delivers(&database, &settings)?;
        Ok(Self { receiver: Receiver::start().await?, database, api, following, delivery })
    }

    /// Asks the api as a manager.
    async fn ask(&self, method: Method, path: &str, body: Value) -> Result<(u16, Value)> {
        let client = &self.api.client;
        let request = client.http.request(method, format!("{}/api/v1{path}", client.api));
        let answer = request.json(&body).send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? }))
    }

    /// Makes a webhook that leads to this path of the receiver; its id and secret.
    async fn webhook(&self, path: &str, mut chosen: Value) -> Result<(Uuid, String)> {
        chosen["url"] = json!(format!("{}{path}", self.receiver.url));
        let (status, made) = self.ask(Method::POST, "/webhooks", chosen).await?;
        ensure!(status == 201, "{made}");
        let id = made["id"].as_str().context("no id")?.parse()?;
        Ok((id, made["secret"].as_str().context("no secret")?.to_owned()))
    }

    async fn order(&self) -> Result<Uuid> {
        self.api.client.order(&testbed::Client::an_order()).await
    }

    async fn cancel(&self, order: Uuid) -> Result<()> {
        let (status, body) = self.ask(Method::POST, &format!("/orders/{order}/cancel"), json!({})).await?;
        ensure!(status == 200, "{body}");
        Ok(())
    }

    /// Follows all there is.
    async fn follow(&mut self) -> Result<()> {
        while self.following.run_once().await? != Step::UpToDate {}
        Ok(())
    }

    /// Sends all that is due, and what comes due by that.
    async fn deliver(&mut self) -> Result<()> {
        self.delivery.look().await?;
        loop {
            let step = self.delivery.run_once().await?;
            self.delivery.finish().await?;
            if step.begun == 0 {
                return Ok(());
            }
        }
    }

    /// Lets every timer run out.
    async fn hurry(&self) -> Result<()> {
        sqlx::query("UPDATE deliveries SET due_at = now() WHERE due_at IS NOT NULL")
            .execute(&mut self.database.connect().await?)
            .await?;
        Ok(())
    }

    /// What there is of a webhook's at this status: event, attempts' statuses or faults.
    async fn listed(&self, webhook: Uuid, status: &str) -> Result<Vec<(String, Vec<String>)>> {
        let path = format!("/webhooks/{webhook}/deliveries?status={status}");
        let (_, page) = self.ask(Method::GET, &path, json!({})).await?;
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let one = |one: &Value| {
            let attempts = one["attempts"].as_array().into_iter().flatten();
            let attempts = attempts.map(|attempt| match attempt["status"].as_u64() {
                Some(status) => status.to_string(),
                None => text(&attempt["fault"]),
            });
            (text(&one["event"]), attempts.collect())
        };
        Ok(page["deliveries"].as_array().context("no list")?.iter().map(one).collect())
    }
}

fn follows(database: &TestDatabase) -> Following<Webhooks> {
    Following::new(Webhooks, database.database().session(), Arc::new(Notify::new()))
}

fn delivers(database: &TestDatabase, settings: &FollowerSettings) -> Result<Delivery> {
    let secrets = Secrets::open(Some(&testbed::people::secrets()?))?;
    Delivery::new(database.database().session(), secrets, settings, Arc::new(Notify::new()))
}
