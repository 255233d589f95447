//! Webhooks: each endpoint is told what it chose, in the order in which it happened, signed; what fails holds up nobody else.

mod failing;
mod following;
mod lanes;
mod late;
mod lines;
mod managed;
mod payloads;
mod told;

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::House;
use crate::receiver::Came;

fn versions(came: &[Came], order: Uuid) -> Result<Vec<i64>> {
    let mut versions = Vec::new();
    for one in came {
        let (subject, version) = one.of()?;
        if subject == order.to_string() {
            assert_eq!(one.id, format!("{order}_{version}"));
            versions.push(version);
        }
    }
    Ok(versions)
}

impl House {
    pub(super) async fn shown(&self, webhook: Uuid) -> Result<Value> {
        Ok(self.ask(Method::GET, &format!("/webhooks/{webhook}"), json!({})).await?.1)
    }

    pub(super) async fn try_again(&mut self) -> Result<()> {
        self.hurry().await?;
        self.deliver().await
    }
}
