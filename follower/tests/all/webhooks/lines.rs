//! A line, the deliveries of one endpoint and one order: one of them waits at a time, whoever adds, ends and replays at once. Each
//! race is stepped by hand: the second waits until the first has committed, and then sees what that wrote.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use sqlx::{Connection, PgConnection, Postgres, Transaction};
use store::deliveries::{self, Claimed, Key, New, Next, Tried, Which};
use testbed::until;
use uuid::Uuid;

use crate::House;

/// An endpoint's, of one order.
struct Line {
    house: House,
    webhook: Uuid,
    subject: Uuid,
}

impl Line {
    async fn new() -> Result<Self> {
        let house = House::new().await?;
        let (webhook, _) = house.webhook("/in", json!({})).await?;
        Ok(Self { webhook, subject: house.order().await?, house })
    }

    async fn add(&self, conn: &mut PgConnection, versions: &[i32]) -> Result<()> {
        let new = |version: &i32| New {
            key: Key { webhook: self.webhook, subject: self.subject, version: *version },
            kind: "order.moved".to_owned(),
            body: "{}".to_owned(),
        };
        Ok(deliveries::add(conn, &versions.iter().map(new).collect::<Vec<_>>()).await?)
    }

    async fn claim(&self, conn: &mut PgConnection) -> Result<Vec<Claimed>> {
        Ok(deliveries::claim(conn, &[(self.webhook, 5)], Duration::from_secs(60)).await?)
    }

    /// Lets what is due end so, one after the other, in a transaction each; their versions.
    async fn end_all(&self, next: Next) -> Result<Vec<i32>> {
        let (mut conn, mut ended) = (self.house.database.connect().await?, Vec::new());
        loop {
            let claimed = self.claim(&mut conn).await?;
            ensure!(claimed.len() < 2, "two wait at once");
            let Some(one) = claimed.first() else { return Ok(ended) };
            ended.push(one.key.version);
            let mut tx = conn.begin().await?;
            deliveries::end(&mut tx, &[tried(one, next)]).await?;
            tx.commit().await?;
        }
    }

    /// Lets parked ones be sent again.
    async fn replay(&self, conn: &mut PgConnection, which: Which) -> Result<u64> {
        Ok(deliveries::replay(conn, self.webhook, which, 10).await?)
    }

    /// Versions and statuses of what is there.
    async fn stands(&self) -> Result<Vec<(i32, String)>> {
        let stands = sqlx::query_as("SELECT version, status::text FROM deliveries ORDER BY version");
        Ok(stands.fetch_all(&mut self.house.database.connect().await?).await?)
    }
}

fn tried(one: &Claimed, next: Next) -> Tried {
    let at = time::OffsetDateTime::now_utc();
    Tried { key: one.key, epoch: one.epoch, at, took_ms: 1, status: Some(200), fault: None, next }
}

/// What comes of `second`, which must wait for `first`; that is committed then.
async fn behind<T>(
    house: &House,
    first: Transaction<'_, Postgres>,
    second: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut looks = house.database.connect().await?;
    let commit = async {
        until("the second waits", async || {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
            )
            .fetch_one(&mut looks)
            .await?;
            Ok((waiting > 0).then_some(()))
        })
        .await?;
        Ok(first.commit().await?)
    };
    let (done, committed) = tokio::join!(second, commit);
    committed.and(done)
}

fn is(stands: &[(i32, &str)]) -> Vec<(i32, String)> {
    stands.iter().map(|(version, status)| (*version, (*status).to_owned())).collect()
}

/// Whoever adds waits for the first to end; the next steps forward meanwhile, and must not end unseen.
#[tokio::test]
async fn what_is_added_while_one_ends_and_the_next_is_sent_is_not_left_behind() -> Result<()> {
    let line = Line::new().await?;
    let (mut ends, mut adds) = (line.house.database.connect().await?, line.house.database.connect().await?);
    line.add(&mut ends, &[5, 6]).await?;
    let fifth = line.claim(&mut ends).await?;
    assert_eq!(fifth[0].key.version, 5);
    let mut first = ends.begin().await?;
    deliveries::end(&mut first, &[tried(&fifth[0], Next::Taken)]).await?;
    let mut added = adds.begin().await?;
    behind(&line.house, first, line.add(&mut added, &[7])).await?;
    // The sixth would be sent before what was added is committed, if anybody could.
    let mut sends = line.house.database.connect().await?;
    assert_eq!(line.claim(&mut sends).await?, []);
    added.commit().await?;
    assert_eq!(line.end_all(Next::Taken).await?, [6, 7]);
    line.house.api.stop().await
}

/// Where all of a line is parked, nothing of it waits that both could see: whoever comes second finds what the first has let wait.
#[tokio::test]
async fn what_is_added_while_a_parked_one_is_replayed_waits_behind_it_or_before_it() -> Result<()> {
    for replay_first in [true, false] {
        let line = Line::new().await?;
        let (mut one, mut other) =
            (line.house.database.connect().await?, line.house.database.connect().await?);
        line.add(&mut one, &[4]).await?;
        assert_eq!(line.end_all(Next::Parked).await?, [4]);
        let (mut first, mut second) = (one.begin().await?, other.begin().await?);
        if replay_first {
            assert_eq!(line.replay(&mut first, Which::Made(None, None)).await?, 1);
            behind(&line.house, first, line.add(&mut second, &[5])).await?;
        } else {
            line.add(&mut first, &[5]).await?;
            let replayed = line.replay(&mut second, Which::One(line.subject, 4));
            assert_eq!(behind(&line.house, first, replayed).await?, 1);
        }
        second.commit().await?;
        let [fourth, fifth] = if replay_first { ["waiting", "behind"] } else { ["behind", "waiting"] };
        assert_eq!(line.stands().await?, is(&[(4, fourth), (5, fifth)]));
        assert_eq!(line.end_all(Next::Taken).await?, if replay_first { [4, 5] } else { [5, 4] });
        line.house.api.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn two_of_a_line_that_are_replayed_at_once_wait_one_behind_the_other() -> Result<()> {
    let line = Line::new().await?;
    let (mut one, mut other) = (line.house.database.connect().await?, line.house.database.connect().await?);
    line.add(&mut one, &[3, 4]).await?;
    assert_eq!(line.end_all(Next::Parked).await?, [3, 4]);
    let (mut first, mut second) = (one.begin().await?, other.begin().await?);
    assert_eq!(line.replay(&mut first, Which::One(line.subject, 4)).await?, 1);
    let replayed = line.replay(&mut second, Which::One(line.subject, 3));
    assert_eq!(behind(&line.house, first, replayed).await?, 1);
    second.commit().await?;
    assert_eq!(line.stands().await?, is(&[(3, "behind"), (4, "waiting")]));
    assert_eq!(line.end_all(Next::Taken).await?, [4, 3]);
    line.house.api.stop().await
}

#[tokio::test]
async fn what_is_given_back_was_no_try_and_only_who_claimed_it_last_gives_it_back() -> Result<()> {
    let mut house = House::new().await?;
    let (webhook, _) = house.webhook("/in", json!({})).await?;
    house.order().await?;
    house.follow().await?;
    let mut conn = house.database.connect().await?;
    let claim = async |conn: &mut PgConnection| -> Result<Option<(i32, i32)>> {
        let claimed = deliveries::claim(conn, &[(webhook, 5)], Duration::from_secs(60)).await?;
        Ok(claimed.first().map(|one| (one.epoch, one.attempt)))
    };
    assert_eq!(claim(&mut conn).await?, Some((1, 1)));
    let order: Uuid = sqlx::query_scalar("SELECT subject FROM deliveries").fetch_one(&mut conn).await?;
    let key = Key { webhook, subject: order, version: 1 };
    assert_eq!(claim(&mut conn).await?, None, "it is being sent");
    deliveries::give_back(&mut conn, &[(key, 1)]).await?;
    assert_eq!(claim(&mut conn).await?, Some((2, 1)));
    deliveries::give_back(&mut conn, &[(key, 1)]).await?;
    assert_eq!(claim(&mut conn).await?, None, "it is another one's by now");
    house.api.stop().await
}
