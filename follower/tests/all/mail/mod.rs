//! Mail: customers are written what they chose, in the order in which it happened; what a server does to one mail holds up no other, and
//! a mail comes twice only where nobody knows whether it came.

mod faults;
mod sales;
mod written;

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use domain::person::Role;
use follower::config::FollowerSettings;
use follower::follow::{Following, Step};
use follower::mail::Mails;
use follower::mail::send::Sending;
use reqwest::Method;
use runtime::secrets::Secrets;
use serde_json::json;
use store::accounts::users::{Changed, NewUser, insert};
use store::mail::LANE;
use testbed::Client;
use testbed::smtp::Smtp;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{Defaults, House};

/// A house that writes mail, taken apart.
struct Post {
    house: House,
    smtp: Smtp,
    following: Following<Mails>,
    sending: Sending,
}

/// Somebody of the embedded issuer.
struct Person {
    id: Uuid,
    email: String,
}

impl Post {
    async fn new() -> Result<Self> {
        Self::with(|_, _| {}).await
    }

    async fn with(change: impl FnOnce(&mut FollowerSettings, &Smtp)) -> Result<Self> {
        let (house, smtp) = (House::new().await?, Smtp::start().await?);
        let Defaults { follower: mut settings } = Defaults::parse_from(["test"]);
        settings.mail.smtp_url = Some(format!("smtp://127.0.0.1:{}?tls=off", smtp.port));
        settings.mail.mail_from = Some("Comanda <orders@house.example>".to_owned());
        settings.mail.public_url = Some(house.api.client.api.clone());
        change(&mut settings, &smtp);
        let news = Arc::new(Notify::new());
        let mut following = Following::new(Mails, house.database.database().session(), Arc::clone(&news));
        following.run_once().await?;
        let secrets = Arc::new(Secrets::open(Some(&testbed::people::secrets()?))?);
        let outbox = settings.mail.open()?.context("mail is off")?;
        let sending = Sending::new(house.database.database().session(), secrets, outbox, news);
        Ok(Self { house, smtp, following, sending })
    }

    async fn person(&self, name: &str) -> Result<Person> {
        let id = Uuid::now_v7();
        let email = format!("{id}@people.example");
        let new = NewUser {
            id,
            email: email.clone(),
            name: Some(name.to_owned()),
            phone: None,
            role: Role::Customer,
            locations: Vec::new(),
            password_hash: "none".to_owned(),
        };
        let made = insert(&mut self.house.database.connect().await?, &new).await?;
        ensure!(matches!(made, Changed::Done(_)));
        Ok(Person { id, email })
    }

    /// An order of theirs that is paid at the door, and so confirmed at once.
    async fn order(&self, person: &Person) -> Result<Uuid> {
        let mut order = Client::an_order();
        order["customer_id"] = json!(person.id);
        order["payment"] = json!({"method": "on_delivery"});
        order["items"][0]["item_name"] = json!("Burger <b>");
        self.house.api.client.order(&order).await
    }

    async fn moves(&self, order: Uuid, to: &[&str]) -> Result<()> {
        for status in to {
            let path = format!("/orders/{order}/status");
            let (status, body) = self.house.ask(Method::PUT, &path, json!({"status": status})).await?;
            ensure!(status == 200, "{body}");
        }
        Ok(())
    }

    /// Follows all there is, and sends what is due, and what comes due by that.
    async fn send(&mut self) -> Result<()> {
        while self.following.run_once().await? != Step::UpToDate {}
        loop {
            let step = self.sending.run_once().await?;
            self.sending.finish().await?;
            if step.begun == 0 {
                return Ok(());
            }
        }
    }

    /// An order's mails: version, status, and what the tries came to.
    async fn rows(&self, order: Uuid) -> Result<Vec<(i32, String, Vec<String>)>> {
        let mut conn = self.house.database.connect().await?;
        let (shown, tries) = store::deliveries::list(&mut conn, LANE, None, (Uuid::nil(), 0), 1_000).await?;
        let of_it = shown.into_iter().filter(|one| one.subject == order);
        Ok(of_it
            .map(|one| {
                let tries = tries.iter().filter(|t| (t.subject, t.version) == (order, one.version));
                let tries = tries.map(|t| match t.status {
                    Some(status) => status.to_string(),
                    None => t.fault.clone().unwrap_or_default(),
                });
                (one.version, one.status, tries.collect())
            })
            .collect())
    }

    /// Whether something of this order's is to be sent later, and not now.
    async fn waits(&self, order: Uuid) -> Result<bool> {
        let later = "SELECT count(*) = 1 FROM deliveries WHERE subject = $1 AND due_at BETWEEN now() + interval '2 s' AND now() + interval '7 s'";
        Ok(sqlx::query_scalar(later).bind(order).fetch_one(&mut self.house.database.connect().await?).await?)
    }

    fn subjects(&self, person: &Person) -> Vec<String> {
        self.smtp.came(&person.email).iter().filter_map(|came| came.header("Subject")).collect()
    }
}
