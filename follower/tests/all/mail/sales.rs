//! Notices of sales: to whom, until when, and never before an order's mail.

use anyhow::{Context, Result, ensure};
use follower::follow::Step;
use reqwest::Method;
use serde_json::json;
use store::sale_notices;
use uuid::Uuid;

use super::Post;

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
