//! Mail: customers are written what they chose, in the order in which it happened; what a server does to one mail holds up no other, and
//! a mail comes twice only where nobody knows whether it came.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use domain::mail::Mail;
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
use store::sale_notices;
use testbed::Client;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::smtp::{Does, Smtp};
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

#[tokio::test]
async fn a_customer_is_written_of_their_order_in_text_and_html_with_one_id_each() -> Result<()> {
    let mut post = Post::new().await?;
    let (ada, eve) = (post.person("Ada Byron").await?, post.person("Eve").await?);
    let order = post.order(&ada).await?;
    // Somebody whom another issuer knows, or nobody.
    post.house.order().await?;
    post.moves(order, &["ACCEPTED", "PREPARING", "READY"]).await?;
    post.send().await?;
    let came = post.smtp.came(&ada.email);
    assert_eq!(post.subjects(&ada), ["Your order at Main is confirmed", "Your order at Main is ready"]);
    for (came, name) in came.iter().zip(["1.confirmed", "4.ready"]) {
        assert_eq!(came.header("Message-ID"), Some(format!("<{order}.{name}@house.example>")));
        assert_eq!(came.header("From").as_deref(), Some("Comanda <orders@house.example>"));
        assert_eq!(came.header("To"), Some(format!("\"Ada Byron\" <{}>", ada.email)));
        assert_eq!(came.header("List-Unsubscribe-Post").as_deref(), Some("List-Unsubscribe=One-Click"));
        assert_eq!(came.header("Auto-Submitted").as_deref(), Some("auto-generated"));
        // Quoted-printable: its long lines are broken.
        let whole = came.text.replace("=\r\n", "");
        let (text, html) = whole.split_once("text/html").context("no HTML")?;
        assert!(text.contains("Dear Ada Byron,") && text.contains("2 x Burger <b>: 25.98 USD"), "{text}");
        assert!(text.contains("Total: 30.97 USD") && text.contains("Location: Main"), "{text}");
        assert!(html.contains("Burger &#60;b&#62;") && !html.contains("Burger <b>"), "{html}");
        assert!(html.contains("30.97 USD") && html.contains(&order.to_string()), "{html}");
    }
    assert!(came[1].text.contains("Status: is ready"));
    assert!(post.smtp.came(&eve.email).is_empty());
    assert_eq!(post.rows(order).await?.len(), 2);
    post.house.api.stop().await
}

#[tokio::test]
async fn people_get_what_they_chose_and_nothing_more_once_they_used_the_link_in_a_mail() -> Result<()> {
    let mut post = Post::new().await?;
    let ada = post.person("Ada").await?;
    let mut conn = post.house.database.connect().await?;
    assert!(store::mail::prefer(&mut conn, ada.id, &[Mail::Preparing, Mail::Delivered]).await?);
    assert!(!store::mail::prefer(&mut conn, Uuid::now_v7(), &[]).await?, "nobody");
    let order = post.order(&ada).await?;
    post.moves(order, &["PREPARING", "READY"]).await?;
    post.send().await?;
    assert_eq!(post.subjects(&ada), ["Your order at Main is being made"]);

    let link = post.smtp.came(&ada.email)[0].header("List-Unsubscribe").context("no link")?;
    let link = link.trim_matches(['<', '>']).to_owned();
    assert!(!link.contains(&ada.id.to_string()), "a link says of nobody whose it is");
    let http = &post.house.api.client.http;
    let looked = http.get(&link).send().await?;
    assert_eq!(looked.status(), 200);
    assert!(looked.text().await?.contains("<form method=\"post\">"));
    let mut chosen = async || store::mail::preferences(&mut conn, ada.id).await.map(|found| found.unwrap().0);
    assert_eq!(chosen().await?, [Mail::Preparing, Mail::Delivered], "who looks at it ends nothing");
    let (start, end) = link.split_at(link.len() - 5);
    assert_eq!(http.post(format!("{start}A{end}")).send().await?.status(), 404);
    assert_eq!(chosen().await?.len(), 2);
    // As a mail program does it: a form, and no token.
    for _ in 0..2 {
        let form = http.post(&link).header("content-type", "application/x-www-form-urlencoded");
        let done = form.body("List-Unsubscribe=One-Click").send().await?;
        assert_eq!(done.status(), 200);
        assert_eq!(chosen().await?, []);
    }
    post.moves(order, &["DELIVERED"]).await?;
    post.send().await?;
    assert_eq!(post.smtp.came(&ada.email).len(), 1);
    post.house.api.stop().await
}

#[tokio::test]
async fn what_is_refused_is_parked_what_is_put_off_waits_and_what_may_have_come_comes_again_as_the_same()
-> Result<()> {
    let mut post = Post::new().await?;
    let mut people = Vec::new();
    for name in ["refused", "put off", "broken off", "well"] {
        let person = post.person(name).await?;
        let order = post.order(&person).await?;
        people.push((person, order));
    }
    let [(refused, of_refused), (put_off, of_put_off), (broken, of_broken), (well, of_well)] = &people[..]
    else {
        anyhow::bail!("four")
    };
    post.smtp.does(&refused.email, &[Does::Says("550 5.1.1 who is that")]);
    post.smtp.does(&put_off.email, &[Does::Says("451 4.7.1 later"), Does::Says("421 still later")]);
    post.smtp.does(&broken.email, &[Does::BreaksOff]);
    post.send().await?;
    let status = async |post: &Post, order: &Uuid| -> Result<(String, Vec<String>)> {
        let [(1, status, tries)] = &post.rows(*order).await?[..] else { anyhow::bail!("not one") };
        Ok((status.clone(), tries.clone()))
    };
    let is = |status: &str, tries: &[&str]| {
        (status.to_owned(), tries.iter().map(|&one| one.to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(status(&post, of_refused).await?, is("parked", &["550"]));
    assert_eq!(status(&post, of_put_off).await?, is("waiting", &["451"]));
    assert_eq!(status(&post, of_broken).await?, is("waiting", &["broken"]));
    assert_eq!(status(&post, of_well).await?, is("taken", &["250"]));
    assert!(post.waits(*of_put_off).await? && post.waits(*of_broken).await?);
    for _ in 0..2 {
        post.house.hurry().await?;
        post.send().await?;
    }
    assert_eq!(status(&post, of_refused).await?, is("parked", &["550"]), "nothing is sent again by itself");
    assert_eq!(status(&post, of_put_off).await?, is("taken", &["451", "421", "250"]));
    assert_eq!(status(&post, of_broken).await?, is("taken", &["broken", "250"]));
    for (person, copies) in [(refused, 0), (put_off, 1), (broken, 2), (well, 1)] {
        assert_eq!(post.smtp.came(&person.email).len(), copies);
    }
    let ids: Vec<_> = post.smtp.came(&broken.email).iter().map(|came| came.header("Message-ID")).collect();
    assert!(ids[0].is_some() && ids[0] == ids[1], "{ids:?}");

    assert_eq!(store::mail::resend(&mut post.house.database.connect().await?).await?, 1);
    post.send().await?;
    assert_eq!(status(&post, of_refused).await?, is("taken", &["550", "250"]));
    post.house.api.stop().await
}

#[tokio::test]
async fn an_orders_next_mail_waits_for_the_one_before_until_that_is_parked() -> Result<()> {
    let mut post = Post::new().await?;
    let ada = post.person("Ada").await?;
    post.smtp.does(&ada.email, &[Does::Says("450 later"); 7]);
    let order = post.order(&ada).await?;
    post.house.cancel(order).await?;
    for tries in 1..=7 {
        post.send().await?;
        let rows = post.rows(order).await?;
        assert_eq!(rows[0].2.len(), tries);
        if tries < 7 {
            assert_eq!((rows[0].1.as_str(), rows[1].1.as_str()), ("waiting", "behind"));
        }
        post.house.hurry().await?;
    }
    assert_eq!(post.rows(order).await?[0].1, "parked");
    assert_eq!(post.subjects(&ada), ["Your order at Main was cancelled"]);
    post.house.api.stop().await
}

#[tokio::test]
async fn no_more_connections_are_open_than_are_allowed_and_they_are_used_again() -> Result<()> {
    let mut post = Post::with(|settings, _| settings.mail.mail_connections = 2).await?;
    let ada = post.person("Ada").await?;
    for _ in 0..6 {
        post.order(&ada).await?;
    }
    while post.following.run_once().await? != Step::UpToDate {}
    post.smtp.hold(true);
    assert_eq!(post.sending.run_once().await?.begun, 2);
    let smtp = post.smtp.clone();
    testbed::until("two are in hand", async || Ok((smtp.connections().0 == 2).then_some(()))).await?;
    assert_eq!(post.sending.run_once().await?.begun, 0, "there is no room");
    post.smtp.hold(false);
    post.sending.finish().await?;
    post.send().await?;
    assert_eq!(post.smtp.came(&ada.email).len(), 6);
    assert_eq!(post.smtp.connections().1, 2);
    post.house.api.stop().await
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_parks_nothing_and_is_not_asked_for_all_at_once() -> Result<()> {
    let mut post = Post::with(|settings, smtp| {
        settings.mail.smtp_url = Some(format!("smtp://me:wrong@127.0.0.1:{}?tls=off", smtp.port));
    })
    .await?;
    let ada = post.person("Ada").await?;
    let mut orders = Vec::new();
    for _ in 0..12 {
        orders.push(post.order(&ada).await?);
    }
    post.send().await?;
    let mut tried = 0;
    for order in orders {
        let rows = post.rows(order).await?;
        assert_eq!(rows[0].1, "waiting");
        tried += rows[0].2.len();
        assert!(rows[0].2.iter().all(|one| one == "not_let_in"), "{rows:?}");
    }
    // Four at once, and as many again before the fifth fault was known.
    assert!((5..=8).contains(&tried), "{tried}");
    assert_eq!(post.smtp.logins(), tried);
    post.house.api.stop().await
}

#[tokio::test]
async fn what_is_forgotten_is_mailed_to_nobody_and_leaves_no_row() -> Result<()> {
    let mut post = Post::new().await?;
    let ada = post.person("Ada").await?;
    let (order, kept) = (post.order(&ada).await?, post.order(&ada).await?);
    for order in [order, kept] {
        post.house.cancel(order).await?;
    }
    while post.following.run_once().await? != Step::UpToDate {}
    assert_eq!(post.rows(order).await?.len(), 2);
    let mut conn = post.house.database.connect().await?;
    let forgot = store::forget::forget(&mut conn, order, "a test").await?;
    assert_eq!(forgot, store::forget::Forgot::Done);
    assert_eq!(post.rows(order).await?, []);
    post.send().await?;
    assert_eq!(post.rows(order).await?, [], "nor by what it is told of later");
    assert_eq!(post.smtp.came(&ada.email).len(), 2, "of the other one");
    // Nor is somebody who may not log in any more, whatever was to be sent.
    let late = post.order(&ada).await?;
    while post.following.run_once().await? != Step::UpToDate {}
    sqlx::query("UPDATE users SET active = false WHERE id = $1").bind(ada.id).execute(&mut conn).await?;
    post.send().await?;
    assert_eq!(post.rows(late).await?, [(1, "taken".to_owned(), vec!["nobody".to_owned()])]);
    assert_eq!(post.smtp.came(&ada.email).len(), 2);
    post.house.api.stop().await
}

#[tokio::test]
async fn what_happened_long_ago_is_mailed_to_nobody() -> Result<()> {
    let mut post = Post::new().await?;
    let ada = post.person("Ada").await?;
    let (old, new) = (post.order(&ada).await?, post.order(&ada).await?);
    let put_back = "UPDATE order_events SET at = now() - interval '25 hours' WHERE subject = $1";
    sqlx::query(put_back).bind(old).execute(&mut post.house.database.connect().await?).await?;
    post.send().await?;
    assert_eq!((post.rows(old).await?.len(), post.rows(new).await?.len()), (0, 1));
    post.house.api.stop().await
}

#[tokio::test]
async fn in_a_folder_each_mail_is_a_file_once_however_often_it_is_sent() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("mail");
    let mut post = Post::with(|settings, _| {
        settings.mail.smtp_url = None;
        settings.mail.mail_folder = Some(path.clone());
    })
    .await?;
    let ada = post.person("Ada").await?;
    let order = post.order(&ada).await?;
    post.send().await?;
    // Its sender died before it could write down that it had.
    let again =
        "UPDATE deliveries SET status = 'waiting', due_at = now(), ended_at = NULL WHERE subject = $1";
    sqlx::query(again).bind(order).execute(&mut post.house.database.connect().await?).await?;
    post.send().await?;
    let files: Vec<_> =
        std::fs::read_dir(&path)?.map(|file| file.map(|file| file.file_name())).collect::<Result<_, _>>()?;
    assert_eq!(files, [format!("{order}.1.confirmed.eml").as_str()]);
    let text = std::fs::read_to_string(path.join(&files[0]))?;
    assert!(text.contains(&ada.email) && text.contains("30.97 USD"));
    post.house.api.stop().await
}

#[tokio::test]
async fn who_asked_for_it_is_written_when_a_price_drops_and_no_order_waits_for_that() -> Result<()> {
    let mut post = Post::with(|settings, _| settings.mail.mail_connections = 1).await?;
    let mut people = Vec::new();
    for name in ["Ada", "Eve", "Cleo", "Zoe"] {
        people.push(post.person(name).await?);
    }
    let [ada, eve, cleo, zoe] = &people[..] else { anyhow::bail!("four") };
    let latte = json!({"name": "Latte <b>", "price": 4});
    let (status, made) = post.house.ask(Method::POST, "/products", latte).await?;
    ensure!(status == 201, "{made}");
    let product: Uuid = made["id"].as_str().context("no id")?.parse()?;
    let path = format!("/products/{product}");
    let mut conn = post.house.database.connect().await?;
    for person in [ada, eve, cleo, ada] {
        assert_eq!(sale_notices::set(&mut conn, person.id, product).await?, sale_notices::Set::Done);
    }
    assert!(sale_notices::remove(&mut conn, eve.id, product).await?);
    // No drop: it falls by half, and rises.
    for price in [2, 4] {
        post.house.ask(Method::PATCH, &path, json!({"price": price})).await?;
    }
    post.send().await?;
    assert!(post.smtp.came(&ada.email).is_empty());
    post.house.ask(Method::PATCH, &path, json!({"price": 1.5})).await?;
    let order = post.order(zoe).await?;
    while post.following.run_once().await? != Step::UpToDate {}
    // One at a time, and the order's first, though the sale was before.
    assert_eq!(post.sending.run_once().await?.begun, 1);
    post.sending.finish().await?;
    assert_eq!((post.smtp.came(&zoe.email).len(), post.rows(order).await?.len()), (1, 1));
    // Cleo thinks better of it before it is sent.
    assert!(sale_notices::remove(&mut conn, cleo.id, product).await?);
    post.send().await?;
    assert_eq!(post.subjects(ada), ["Latte <b> costs less"]);
    for nobody in [eve, cleo] {
        assert!(post.smtp.came(&nobody.email).is_empty());
    }
    let came = &post.smtp.came(&ada.email)[0];
    let id = came.header("Message-ID").context("no id")?;
    assert!(id.ends_with(".4.sale@house.example>"), "{id}");
    let whole = came.text.replace("=\r\n", "");
    let (text, html) = whole.split_once("text/html").context("no HTML")?;
    assert!(
        text.contains("Dear Ada,") && text.contains("Latte <b> has dropped. It costs 1.50 USD now."),
        "{text}"
    );
    assert!(html.contains("Latte &#60;b&#62;") && !html.contains("Latte <b>"), "{html}");

    // The link ends these, and leaves those of orders.
    let link = came.header("List-Unsubscribe").context("no link")?;
    let done = post.house.api.client.http.post(link.trim_matches(['<', '>'])).send().await?;
    assert_eq!(done.status(), 200);
    post.house.ask(Method::PATCH, &path, json!({"price": 0.5})).await?;
    post.order(ada).await?;
    post.send().await?;
    assert_eq!(post.subjects(ada), ["Latte <b> costs less", "Your order at Main is confirmed"]);
    post.house.api.stop().await
}
