//! A clock that nobody believes rejects nobody. Here the bound is put back, which is the same as the clock put forward.

use std::time::Duration;

use anyhow::Result;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use sqlx::PgConnection;
use store::clock::{Clock, Standing, standing, trust, watch};
use store::deadline::{Unanswered, reject_unanswered};
use store::moves::{Moved, carry_out};
use testbed::TestDatabase;
use uuid::Uuid;

use crate::orders::{HOUR, confirmed};

const DAY: Duration = Duration::from_secs(86_400);

/// The clock goes an hour further than anybody watched, and past every deadline.
async fn jump(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("UPDATE clock_trust SET until = until - interval '1 h'").execute(&mut *conn).await?;
    sqlx::query("UPDATE payments SET answer_by = answer_by - interval '65 min' WHERE answer_by IS NOT NULL")
        .execute(conn)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_clock_that_went_further_than_anybody_watched_rejects_nobody_until_an_operator_says_so()
-> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    let orders = confirmed(&mut conn, 3).await?;
    assert_eq!(watch(&mut conn, DAY).await?, Clock::Trusted);
    jump(&mut conn).await?;

    assert_eq!(reject_unanswered(&mut conn, 10).await?, Unanswered::default());
    let seen = watch(&mut conn, DAY).await?;
    assert!(
        matches!(seen, Clock::Distrusted { by_seconds } if (3_500.0..3_700.0).contains(&by_seconds)),
        "{seen:?}"
    );
    let Standing { beyond_seconds, late_orders } = standing(&mut conn).await?;
    assert!((3_500.0..3_700.0).contains(&beyond_seconds), "{beyond_seconds}");
    assert_eq!(late_orders, 3);
    // The kitchen may still answer: by the clock that is believed nothing is late.
    let ask = Move {
        order_id: orders[0].id,
        wanted: Wanted::Accept,
        by: Actor::Staff(None),
        reason: None,
        request: Uuid::now_v7(),
        expected: Expected::default(),
    };
    assert!(matches!(carry_out(&mut conn, &ask).await?, Moved::Done { .. }));

    // The operator gives the others more time, and then none.
    assert_eq!(trust(&mut conn, HOUR).await?, 2);
    assert_eq!(watch(&mut conn, DAY).await?, Clock::Trusted);
    assert_eq!(reject_unanswered(&mut conn, 10).await?, Unanswered::default());
    jump(&mut conn).await?;
    assert_eq!(reject_unanswered(&mut conn, 10).await?, Unanswered::default());
    assert_eq!(trust(&mut conn, Duration::ZERO).await?, 0);
    assert_eq!(reject_unanswered(&mut conn, 10).await?, Unanswered { found: 2, rejected: 2 });
    Ok(())
}

/// A night without a worker needs no operator where nobody waits.
#[tokio::test]
async fn where_nothing_is_late_the_clock_is_believed_again() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut conn = database.connect().await?;
    sqlx::query("UPDATE clock_trust SET until = now() - interval '1 h'").execute(&mut conn).await?;
    assert_eq!(watch(&mut conn, DAY).await?, Clock::Trusted);

    // A charge that is to be called off waits as well.
    let orders = crate::orders::accepted(&mut conn, 1).await?;
    sqlx::query("UPDATE open_charges SET created_at = now() - interval '25 h' WHERE id = $1")
        .bind(orders[0].id)
        .execute(&mut conn)
        .await?;
    assert_eq!(watch(&mut conn, DAY).await?, Clock::Trusted, "while it is believed, that is no matter");
    sqlx::query("UPDATE clock_trust SET until = now() - interval '1 s'").execute(&mut conn).await?;
    assert!(matches!(watch(&mut conn, DAY).await?, Clock::Distrusted { .. }));
    Ok(())
}
