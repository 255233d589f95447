//! A follower that is switched off holds what it has not read, for however long, until somebody says that it will not come back.

use anyhow::Result;
use sqlx::Executor;
use store::feed::aside;
use store::feed::cursors::{self, Forgotten, Place, forget as forget_follower, hold};
use store::feed::{Read, Start, forget, read, tick, unread_seconds};
use testbed::TestDatabase;
use uuid::Uuid;

use crate::orders::{HOUR, accepted};

#[tokio::test]
async fn a_follower_that_is_off_holds_moments_until_it_is_forgotten_and_begins_anew_when_it_is_on()
-> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    assert_eq!(unread_seconds(&mut conn).await?, 0.0, "nobody follows");
    let Place::At(_) = cursors::lock(&mut conn, "mail", Start::Latest).await? else { anyhow::bail!("taken") };
    let first = accepted(&mut conn, 1).await?[0].id;
    for _ in 0..5 {
        accepted(&mut conn, 1).await?;
        tick(&mut conn).await?;
    }
    conn.execute("UPDATE feed_ticks SET at = at - interval '2 days' WHERE tick < 5").await?;
    conn.execute("UPDATE feed_cursors SET noted_at = noted_at - interval '2 days'").await?;
    let unread = unread_seconds(&mut conn).await?;
    assert!((172_800.0..172_900.0).contains(&unread), "{unread}");
    assert_eq!(forget(&mut conn, HOUR, 10).await?, 0, "it has read none of them");

    // Whoever follows is not forgotten: it moved just now, or it holds its cursor while it asks somebody else.
    assert_eq!(forget_follower(&mut conn, "mail", HOUR).await?, Forgotten::Follows);
    let me = Uuid::now_v7();
    assert!(matches!(hold(&mut conn, "messages", me, HOUR).await?, Place::At(_)));
    assert!(unread_seconds(&mut conn).await? >= unread, "of the one that is furthest behind");
    conn.execute("UPDATE feed_cursors SET moved_at = now() - interval '2 hours'").await?;
    assert_eq!(forget_follower(&mut conn, "messages", HOUR).await?, Forgotten::Follows);
    cursors::release(&mut conn, "messages", me).await?;
    assert_eq!(forget_follower(&mut conn, "messages", HOUR).await?, Forgotten::Done);
    assert_eq!(forget_follower(&mut conn, "messages", HOUR).await?, Forgotten::Unknown);

    conn.execute(sqlx::query("INSERT INTO feed_aside (follower, subject, version, why) VALUES ('mail', $1, 1, 'a test'), ('webhooks', $1, 1, 'a test')").bind(first)).await?;
    assert_eq!(forget_follower(&mut conn, "mail", HOUR).await?, Forgotten::Done);
    assert_eq!((aside::count(&mut conn, "mail").await?, aside::count(&mut conn, "webhooks").await?), (0, 1));
    assert_eq!(unread_seconds(&mut conn).await?, 0.0);
    assert_eq!(forget(&mut conn, HOUR, 10).await?, 5, "all but the last");

    let Place::At(anew) = cursors::lock(&mut conn, "mail", Start::Latest).await? else {
        anyhow::bail!("taken")
    };
    assert!(matches!(read(&mut conn, &anew, 10).await?, Read::UpToDate));
    Ok(())
}

/// An endpoint that is late holds what it has not followed, too; no alert says so: it has its own.
#[tokio::test]
async fn an_endpoint_that_is_late_holds_moments_until_webhooks_are_switched_off_for_good() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let Place::At(_) = cursors::lock(&mut conn, "webhooks", Start::Latest).await? else {
        anyhow::bail!("taken")
    };
    let late = "WITH endpoint AS (
                    INSERT INTO webhooks (id, url, types, locations, channels, secrets, created_by)
                    VALUES (gen_random_uuid(), 'https://example.com', '{}', '{}', '{}', '{a}', 'a test') RETURNING id
                )
                INSERT INTO late_webhooks (webhook, tick, noted_at)
                SELECT id, tick, at FROM endpoint, (SELECT tick, at FROM feed_ticks ORDER BY tick DESC LIMIT 1) last";
    conn.execute(late).await?;
    for _ in 0..5 {
        accepted(&mut conn, 1).await?;
        tick(&mut conn).await?;
    }
    conn.execute("UPDATE feed_ticks SET at = at - interval '2 days'").await?;
    conn.execute(
        "UPDATE feed_cursors SET tick = (SELECT max(tick) FROM feed_ticks), moved_at = now() - interval '2 hours'",
    )
    .await?;
    assert_eq!(forget(&mut conn, HOUR, 10).await?, 0, "it has read none of them");
    assert_eq!(unread_seconds(&mut conn).await?, 0.0);
    assert_eq!(forget_follower(&mut conn, "mail", HOUR).await?, Forgotten::Unknown);
    assert_eq!(forget(&mut conn, HOUR, 10).await?, 0);
    assert_eq!(forget_follower(&mut conn, "webhooks", HOUR).await?, Forgotten::Done);
    assert_eq!(forget(&mut conn, HOUR, 10).await?, 5, "all but the last");
    Ok(())
}
