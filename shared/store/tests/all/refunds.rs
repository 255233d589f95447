//! No page of refunds costs more than a bounded look, whatever is asked for and however many there are; and whoever follows the
//! cursors meets every refund once.

use anyhow::{Context, Result};
use domain::payment::PaymentStatus::{Pending, Succeeded, Waiting};
use sqlx::{Connection, Executor, PgConnection};
use store::list::refunds::{RefundFilter, RefundPage, page};
use store::list::{MAX_COUNTED, PageStart};
use testbed::TestDatabase;
use uuid::Uuid;

use crate::bounded::{PLANS, blocks_read, planned};

/// In all; the newer half have succeeded, the older wait, and the gateway refused the three oldest.
const REFUNDS: usize = 60_000;
/// Blocks that a page may read: 10,000 refunds, each on a block of its own, or 5,000 twice; and what leads to them.
const MOST_READ: i64 = 15_000;
/// The same where the last try of each of 5,000 is looked up.
const MOST_READ_OF_TRIES: i64 = 30_000;

async fn fill(conn: &mut PgConnection) -> Result<()> {
    for statement in [
        // Two hundred at once, as after an outage; ids in another order than times.
        format!(
            "CREATE TABLE made AS
             SELECT i, date_trunc('second', now()) - (({REFUNDS} - i) / 200) * interval '1 s' AS at, md5(i::text)::uuid AS id,
                 i > {REFUNDS} / 2 AS is_over FROM generate_series(1, {REFUNDS}) i"
        ),
        "INSERT INTO payments (id, order_id, amount_minor, created_at, kind, status, currency)
         SELECT md5('charge' || i)::uuid, md5('charge' || i)::uuid, 100, at, 'charge', 'succeeded', 'USD' FROM made ORDER BY i"
            .to_owned(),
        "INSERT INTO payments (id, order_id, refund_of, amount_minor, created_at, due_at, attempts, kind, status, currency, reason)
         SELECT id, md5('charge' || i)::uuid, md5('charge' || i)::uuid, 100, at, CASE WHEN NOT is_over THEN at END, 2, 'refund',
             CASE WHEN is_over THEN 'succeeded' ELSE 'waiting' END::payment_status, 'USD', 'rejected' FROM made ORDER BY i"
            .to_owned(),
        "INSERT INTO payment_attempts (payment_id, started_at, finished_at, number, epoch, action, outcome)
         SELECT id, at, at, number, number, 'refund',
             CASE WHEN number = 1 OR i > 3 THEN 'unavailable' ELSE 'refused' END::attempt_outcome
         FROM made CROSS JOIN generate_series(1, 2) number WHERE NOT is_over ORDER BY i"
            .to_owned(),
    ] {
        conn.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(statement))).await?;
    }
    Ok(())
}

/// A page, and how many blocks were read for it.
async fn read(conn: &mut PgConnection, filter: RefundFilter, start: PageStart) -> Result<(RefundPage, i64)> {
    let mut tx = conn.begin().await?;
    let before = blocks_read(&mut tx).await?;
    let page = page(&mut tx, filter, start, 100).await?.context("it begins behind a refund")?;
    let read = blocks_read(&mut tx).await? - before;
    tx.rollback().await?;
    Ok((page, read))
}

#[tokio::test]
async fn no_page_of_refunds_reads_more_than_a_bounded_look_and_cursors_lead_to_every_one() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    fill(&mut conn).await?;
    let filters = [RefundFilter::All, RefundFilter::Refused]
        .into_iter()
        .chain([Pending, Succeeded, Waiting].map(RefundFilter::At));
    let nth = "SELECT id FROM made WHERE i = $1";
    let deep: Uuid = sqlx::query_scalar(nth).bind(i32::try_from(REFUNDS / 4)?).fetch_one(&mut conn).await?;
    // As it is before anybody has told the planner how much there is, and after.
    for analyzed in [false, true] {
        if analyzed {
            conn.execute("ANALYZE").await?;
        }
        let readers = database.database().read_pool(1);
        let mut reader = readers.acquire().await?;
        for plans in PLANS {
            planned(&mut reader, plans).await?;
            for filter in filters.clone() {
                let may = if filter == RefundFilter::Refused { MOST_READ_OF_TRIES } else { MOST_READ };
                let starts =
                    [PageStart::Offset(0), PageStart::Offset(MAX_COUNTED - 100), PageStart::After(deep)];
                for start in starts {
                    let (_, read) = read(&mut reader, filter, start).await?;
                    assert!(
                        read <= may,
                        "{read} blocks, {plans}, analyzed: {analyzed}, for {filter:?}, {start:?}"
                    );
                }
            }
        }
        readers.close();
    }
    for (filter, matches) in [
        (RefundFilter::All, "true"),
        (RefundFilter::Refused, "i <= 3"),
        (RefundFilter::At(Waiting), "NOT is_over"),
        (RefundFilter::At(Succeeded), "is_over"),
        (RefundFilter::At(Pending), "false"),
    ] {
        let (mut met, mut start) = (Vec::new(), PageStart::Offset(0));
        loop {
            let (page, _) = read(&mut conn, filter, start).await?;
            met.extend(page.refunds.iter().map(|refund| refund.id));
            match page.next {
                Some(next) => start = PageStart::After(next),
                None => break,
            }
        }
        let ids = format!("SELECT id FROM made WHERE {matches} ORDER BY at DESC, id DESC");
        let expected: Vec<Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(ids)).fetch_all(&mut conn).await?;
        assert_eq!(met.len(), expected.len(), "{filter:?}");
        assert!(met == expected, "{filter:?}: in another order");
    }
    let refused = read(&mut conn, RefundFilter::Refused, PageStart::After(deep)).await?.0;
    assert!(refused.refunds.iter().all(|refund| refund.refused && refund.attempts == 2));
    assert!(page(&mut conn, RefundFilter::All, PageStart::After(Uuid::nil()), 100).await?.is_none());
    Ok(())
}
