//! What a mail server does to one mail holds up no other, and a mail comes twice only where nobody knows whether it came.

use anyhow::{Context, Result};
use follower::follow::Step;
use reqwest::Method;
use serde_json::json;
use sqlx::Executor;
use store::sale_notices;
use testbed::smtp::Does;
use testbed::until;
use uuid::Uuid;

use super::Post;

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

/// Where it cannot be finished nothing of it is done: what stepped back into its line, and not forward, would be sent by nobody.
#[tokio::test]
async fn what_was_parked_is_sent_again_as_a_whole_mails_of_orders_and_of_sales_alike() -> Result<()> {
    let mut post = Post::new().await?;
    let ada = post.person("Ada").await?;
    post.smtp.does(&ada.email, &[Does::Says("550 no"); 2]);
    let (_, made) = post.house.ask(Method::POST, "/products", json!({"name": "Latte", "price": 4})).await?;
    let product: Uuid = made["id"].as_str().context("no id")?.parse()?;
    let mut conn = post.house.database.connect().await?;
    sale_notices::set(&mut conn, ada.id, product).await?;
    post.house.ask(Method::PATCH, &format!("/products/{product}"), json!({"price": 1.5})).await?;
    let order = post.order(&ada).await?;
    post.send().await?;
    assert_eq!(post.rows(order).await?[0].1, "parked");

    conn.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not now''; END';
         CREATE TRIGGER refuse BEFORE UPDATE ON deliveries FOR EACH ROW WHEN (new.status = 'waiting') EXECUTE FUNCTION refuse()",
    )
    .await?;
    assert!(store::mail::resend(&mut conn).await.is_err());
    assert_eq!(post.rows(order).await?[0].1, "parked");
    conn.execute("DROP TRIGGER refuse ON deliveries").await?;
    assert_eq!(store::mail::resend(&mut conn).await?, 2);
    post.send().await?;
    let mut subjects = post.subjects(&ada);
    subjects.sort();
    assert_eq!(subjects, ["Latte costs less", "Your order at Main is confirmed"]);
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
    until("two are in hand", async || Ok((smtp.connections().0 == 2).then_some(()))).await?;
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
