//! The follower: follows what has happened, and tells those who want to know. Strangers' addresses share neither memory nor
//! patience nor failures with orders and charges. Stateless; run as many as you like.

pub mod config;
pub mod deliver;
pub mod follow;
pub mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use runtime::secrets::Secrets;
use runtime::tasks::{Crew, Stop};
use store::Database;
use tokio::sync::Notify;

use crate::config::FollowerSettings;
use crate::deliver::Delivery;
use crate::follow::Following;
use crate::webhooks::Webhooks;

/// Connections to PostgreSQL at most: one that follows, one that delivers.
pub const CONNECTIONS: usize = 2;

/// What a follower needs, already opened.
#[derive(Debug)]
pub struct Follower {
    /// Where it reads and writes; the schema is in place.
    pub database: Database,
    /// What opens the webhooks' secrets.
    pub secrets: Secrets,
    /// How it does all that.
    pub settings: FollowerSettings,
}

/// Follows and tells until `stop`; then takes nothing more, finishes what is under way, and returns.
pub async fn run(follower: Follower, stop: Stop) -> Result<()> {
    let Follower { database, secrets, settings } = follower;
    let mut crew = Crew::new(stop.clone());
    let news = Arc::new(Notify::new());
    let following = Following::new(Webhooks, database.session(), Arc::clone(&news));
    crew.spawn("webhooks", following.run(settings.follow_interval, stop.clone()));
    let delivery = Delivery::new(database.session(), secrets, &settings, news)?;
    crew.spawn("deliver", delivery.run(settings.follow_interval, stop));
    crew.run(settings.webhook_timeout + Duration::from_secs(5)).await
}
