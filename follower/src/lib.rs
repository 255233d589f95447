//! The follower: follows what has happened, and tells those who want to know. Strangers' addresses share neither memory nor
//! patience nor failures with orders and charges. Stateless; run as many as you like.

pub mod config;
pub mod deliver;
pub mod follow;
mod health;
pub mod late;
pub mod mail;
pub mod messages;
pub mod rebuild;
pub mod roll_up;
pub mod rounds;
mod sessions;
mod today;
pub mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use broker::amqp::exchange::Exchange;
use runtime::secrets::Secrets;
use runtime::tasks::{Crew, Stop};
use store::Database;
use tokio::sync::Notify;

use crate::config::FollowerSettings;
use crate::deliver::Delivery;
use crate::follow::Following;
use crate::late::Late;
use crate::mail::Mails;
use crate::mail::send::Sending;
use crate::messages::Messages;
use crate::roll_up::Rolling;
use crate::sessions::session;
use crate::webhooks::Webhooks;

impl FollowerSettings {
    /// Connections to PostgreSQL at most: one for webhooks, one for those that are late, one that delivers, one for numbers, one that
    /// tells the exchange, if there is one, and two for mail, if any is sent.
    pub fn connections(&self) -> usize {
        4 + usize::from(self.events_amqp_url.is_some()) + 2 * usize::from(self.mail.is_on())
    }
}

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
    let outbox = settings.mail.open()?;
    let mut crew = Crew::new(stop.clone());
    let (secrets, news) = (Arc::new(secrets), Arc::new(Notify::new()));
    let following = Following::new(Webhooks, session(&database), Arc::clone(&news));
    crew.spawn("webhooks", following.run(settings.follow_interval, stop.clone()));
    let late = Late::new(session(&database), Arc::clone(&news));
    crew.spawn("late", late.run(stop.clone()));
    crew.spawn("roll_up", Rolling::new(&database).run(settings.follow_interval, stop.clone()));
    let delivery = Delivery::new(session(&database), Arc::clone(&secrets), &settings, news)?;
    crew.spawn("deliver", delivery.run(settings.follow_interval, stop.clone()));
    if let Some(url) = &settings.events_amqp_url {
        let exchange = Exchange::new(url, &settings.events_exchange)?;
        let messages = Messages::new(session(&database), exchange);
        crew.spawn("messages", messages.run(settings.follow_interval, stop.clone()));
    }
    let mut patience = settings.webhook_timeout;
    if let Some(outbox) = outbox {
        patience = patience.max(settings.mail.mail_timeout);
        let news = Arc::new(Notify::new());
        let following = Following::new(Mails, session(&database), Arc::clone(&news));
        crew.spawn("mail", following.run(settings.follow_interval, stop.clone()));
        let sending = Sending::new(session(&database), secrets, outbox, news);
        crew.spawn("send", sending.run(settings.follow_interval, stop));
    }
    crew.run(patience + Duration::from_secs(5)).await
}
