//! What customers are written, of what, and who is not written any more.

use anyhow::{Context, Result};
use domain::mail::Mail;
use follower::follow::Step;
use uuid::Uuid;

use super::Post;

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
