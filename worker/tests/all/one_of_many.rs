//! One of many that cannot be done, because its row has gone bad or somebody else holds it, holds up none of the others.

use std::time::Duration;

use anyhow::{Context, Result};
use domain::money::Currency;
use domain::order::NewOrder;
use domain::order::additions::{AdditionRequest, NewAddition};
use domain::order::moves::{Actor, Expected};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::additions::{Add, add};
use store::claim::claim;
use testbed::until;
use uuid::Uuid;
use worker::settle::{Settle, Settled};
use worker::sweep::Chores;

use crate::{Bench, tries};

const HOUR: Duration = Duration::from_secs(3_600);

/// From now on nothing can be done to the row of `table` whose `column` is this; [`mend`] ends that.
async fn spoil(conn: &mut PgConnection, table: &str, column: &str, id: Uuid) -> Result<()> {
    let trigger = format!(
        "CREATE FUNCTION refuse_all() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'a row that has gone bad'; END $$;
         CREATE TRIGGER bad_row BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW WHEN (OLD.{column} = '{id}')
             EXECUTE FUNCTION refuse_all()"
    );
    sqlx::raw_sql(AssertSqlSafe(trigger)).execute(conn).await?;
    Ok(())
}

async fn mend(conn: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql("DROP FUNCTION refuse_all CASCADE").execute(conn).await?;
    Ok(())
}

async fn ids(conn: &mut PgConnection, ask: &'static str) -> Result<Vec<Uuid>> {
    let mut ids: Vec<Uuid> = sqlx::query_scalar(ask).fetch_all(conn).await?;
    ids.sort_unstable();
    Ok(ids)
}

impl Bench {
    /// As after a start: nothing rests.
    fn chores(&self) -> Chores {
        Chores::new(self.database.database().session(), &self.settings)
    }
}

/// Adds a coffee; says under which payment.
async fn added(conn: &mut PgConnection, order: &NewOrder) -> Result<Uuid> {
    let body = json!({"payment_reference": Uuid::now_v7(), "items": [
        {"item_id": "c", "item_name": "coffee", "quantity": 1, "price": 4.99}]})
    .to_string();
    let request: AdditionRequest<'_> = serde_json::from_str(&body)?;
    let addition = NewAddition::parse(&request, order.id, Currency::USD);
    let addition = addition.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let payment_id = addition.payment_id;
    add(conn, &Add { order_id: order.id, by: Actor::Unnamed, addition, expected: Expected::default() })
        .await?;
    Ok(payment_id)
}

#[tokio::test]
async fn deadlines() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.accept_deadline = Duration::from_millis(1)).await?;
    let orders = bench.accept(3).await?;
    bench.sweep().await?;
    let mut conn = bench.database.connect().await?;
    // It is first in line.
    let first = "UPDATE payments SET answer_by = answer_by - interval '1 h' WHERE order_id = $1";
    sqlx::query(first).bind(orders[0].id).execute(&mut conn).await?;
    spoil(&mut conn, "payments", "id", orders[0].payment_id()).await?;
    let mut chores = bench.chores();
    until("the others are rejected", async || {
        chores.reject_late().await?;
        let rejected = ids(&mut conn, "SELECT id FROM orders WHERE status = 'REJECTED'").await?;
        Ok((rejected.len() == 2 && !rejected.contains(&orders[0].id)).then_some(()))
    })
    .await?;
    assert_eq!(chores.reject_late().await?, 0, "it rests");
    mend(&mut conn).await?;
    assert_eq!(bench.chores().reject_late().await?, 1);
    bench.finish_all().await?;
    bench.reconciles().await
}

#[tokio::test]
async fn a_deadline_of_an_order_that_somebody_holds() -> Result<()> {
    let mut bench = Bench::with(|settings| settings.accept_deadline = Duration::from_millis(1)).await?;
    let orders = bench.accept(3).await?;
    bench.sweep().await?;
    let mut operator = bench.database.connect().await?;
    let mut session = operator.begin().await?;
    sqlx::query("SELECT id FROM orders WHERE id = $1 FOR UPDATE")
        .bind(orders[0].id)
        .execute(&mut *session)
        .await?;
    let (mut chores, mut eye) = (bench.chores(), bench.database.connect().await?);
    until("the others are rejected", async || {
        chores.reject_late().await?;
        Ok((ids(&mut eye, "SELECT id FROM orders WHERE status = 'REJECTED'").await?.len() == 2).then_some(()))
    })
    .await?;
    session.rollback().await?;
    assert_eq!(bench.chores().reject_late().await?, 1);
    bench.finish_all().await?;
    bench.reconciles().await
}

#[tokio::test]
async fn additions_that_are_let_go_and_taken_off() -> Result<()> {
    let mut bench = Bench::new().await?;
    let orders = bench.accept(3).await?;
    let mut conn = bench.database.connect().await?;
    let mut additions = Vec::new();
    for order in &orders {
        additions.push(added(&mut conn, order).await?);
    }
    bench.sweep().await?;
    spoil(&mut conn, "payments", "id", additions[0]).await?;
    let mut chores = bench.chores();
    chores.tend_additions().await?;
    let held = "SELECT id FROM payments WHERE status = 'held'";
    assert_eq!(ids(&mut conn, held).await?, [additions[0]]);
    mend(&mut conn).await?;
    bench.chores().tend_additions().await?;
    assert!(ids(&mut conn, held).await?.is_empty());

    bench.faults(crate::refusing()).await?;
    bench.hurry().await?;
    bench.sweep().await?;
    // The least id comes first.
    let bad = orders.iter().map(|order| order.id).min().context("some")?;
    spoil(&mut conn, "orders", "id", bad).await?;
    let mut chores = bench.chores();
    chores.tend_additions().await?;
    let left = "SELECT order_id FROM payments WHERE added IS NOT NULL AND dropped_at IS NULL";
    assert_eq!(ids(&mut conn, left).await?, [bad]);
    mend(&mut conn).await?;
    chores.tend_additions().await?;
    assert_eq!(ids(&mut conn, left).await?, [bad], "it rests");
    bench.chores().tend_additions().await?;
    assert!(ids(&mut conn, left).await?.is_empty());
    bench.finish_all().await?;
    bench.reconciles().await
}

#[tokio::test]
async fn charges_that_are_called_off_and_keys_that_are_forgotten() -> Result<()> {
    let bench = Bench::new().await?;
    let orders = bench.accept(3).await?;
    let mut conn = bench.database.connect().await?;
    sqlx::raw_sql(
        "UPDATE open_charges SET expires_at = now() - interval '1 h';
         INSERT INTO names (named, until, kind, scope, name)
         SELECT id, now() - interval '1 h', 'idempotency_key', 'somebody', id::text FROM orders",
    )
    .execute(&mut conn)
    .await?;
    let bad = orders[0].id;
    spoil(&mut conn, "open_charges", "id", bad).await?;
    let mut chores = bench.chores();
    assert!(chores.watch_clock().await?);
    chores.end_old().await?;
    let left = "SELECT id FROM open_charges";
    assert_eq!(ids(&mut conn, left).await?, [bad]);
    mend(&mut conn).await?;

    spoil(&mut conn, "names", "named", bad).await?;
    let left = "SELECT named FROM names";
    assert_eq!(chores.forget_keys().await?, 2);
    assert_eq!(ids(&mut conn, left).await?, [bad]);
    mend(&mut conn).await?;
    assert_eq!(chores.forget_keys().await?, 0, "it rests");
    assert_eq!(bench.chores().forget_keys().await?, 1);
    Ok(())
}

/// A round of chores forgets logins that ended long ago, and leaves the others.
#[tokio::test]
async fn old_logins_are_forgotten_by_the_way() -> Result<()> {
    let bench = Bench::new().await?;
    let mut conn = bench.database.connect().await?;
    sqlx::raw_sql(
        "INSERT INTO users (id, email, password_hash) VALUES (gen_random_uuid(), 'maria@example.com', 'x');
         INSERT INTO sessions (id, user_id, until)
         SELECT gen_random_uuid(), id, now() + n * interval '1 day' FROM users, generate_series(-5, 4) n",
    )
    .execute(&mut conn)
    .await?;
    let mut chores = bench.chores();
    chores.forget_old().await?;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions").fetch_one(&mut conn).await?;
    assert_eq!(left, 6, "not those of five, four, three and two days ago");
    Ok(())
}

/// Not even putting it off is possible.
#[tokio::test]
async fn claims() -> Result<()> {
    let mut bench = Bench::new().await?;
    let orders = bench.accept(5).await?;
    let mut conn = bench.database.connect().await?;
    spoil(&mut conn, "open_charges", "id", orders[0].payment_id()).await?;
    bench.publish(&orders[..3]).await?;
    bench.consume().await?;
    bench.sweep().await?;
    for order in &orders[1..] {
        assert_eq!(bench.status(order).await?, "CONFIRMED");
    }
    assert_eq!(bench.status(&orders[0]).await?, "PENDING");
    Ok(())
}

#[tokio::test]
async fn settlements_of_an_order_that_somebody_holds() -> Result<()> {
    let mut bench = Bench::new().await?;
    let orders = bench.accept(5).await?;
    let mut operator = bench.database.connect().await?;
    let mut session = operator.begin().await?;
    sqlx::query("SELECT id FROM orders WHERE id = $1 FOR UPDATE")
        .bind(orders[2].id)
        .execute(&mut *session)
        .await?;
    bench.sweep.run_once().await?;
    let mut eye = bench.database.connect().await?;
    until("the others are confirmed", async || {
        let open = ids(&mut eye, "SELECT id FROM open_charges").await?;
        Ok((open == [orders[2].id]).then_some(()))
    })
    .await?;
    assert_eq!(bench.status(&orders[2]).await?, "PAYMENT_PROCESSING");
    session.rollback().await?;
    bench.sweep.finish().await;
    assert_eq!(bench.status(&orders[2]).await?, "CONFIRMED");
    assert_eq!(bench.tries(&orders[2]).await?, tries(&[("charge", "succeeded")]), "it is not asked again");
    bench.reconciles().await
}

#[tokio::test]
async fn claims_that_are_given_back_together_rest_each_as_long_as_it_should() -> Result<()> {
    let bench = Bench::new().await?;
    let orders = bench.accept(2).await?;
    let mut conn = bench.database.connect().await?;
    let hints: Vec<Uuid> = orders.iter().map(NewOrder::payment_id).collect();
    let [one, other] =
        claim(&mut conn, &hints, HOUR).await?.try_into().map_err(|_| anyhow::anyhow!("two"))?;
    let soon = one.payment_id;
    let release = |claim, delay| bench.till.settle.submit(Settle::Release { claim, delay });
    let released = tokio::join!(release(one, Duration::ZERO), release(other, HOUR));
    assert_eq!((released.0?, released.1?), (Settled::Released, Settled::Released));
    assert_eq!(ids(&mut conn, "SELECT id FROM open_charges WHERE due_at <= now()").await?, [soon]);
    Ok(())
}

/// What ended carts and orders held goes back, but for that of one whose row has gone bad; or of one item.
#[tokio::test]
async fn holds_of_the_stock() -> Result<()> {
    let bench = Bench::new().await?;
    let mut conn = bench.database.connect().await?;
    let (items, owners): (Vec<Uuid>, Vec<Uuid>) =
        ((0..2).map(|_| Uuid::now_v7()).collect(), (0..3).map(|_| Uuid::now_v7()).collect());
    sqlx::query("INSERT INTO stock (id, product_id, held) SELECT id, id, 9 FROM unnest($1::uuid[]) AS i(id)")
        .bind(&items)
        .execute(&mut conn)
        .await?;
    sqlx::query(
        "INSERT INTO holds (owner, part, item, quantity, due_at, becomes)
         SELECT o.id, o.id, i.id, 1, now(), 'back' FROM unnest($1::uuid[]) AS o(id), unnest($2::uuid[]) AS i(id)",
    )
    .bind(&owners)
    .bind(&items)
    .execute(&mut conn)
    .await?;
    let available = async |conn: &mut PgConnection| -> Result<Vec<i64>> {
        let of = "SELECT available FROM stock WHERE id = ANY($1) ORDER BY id";
        Ok(sqlx::query_scalar(of).bind(&items).fetch_all(conn).await?)
    };
    spoil(&mut conn, "holds", "owner", owners[0]).await?;
    let mut chores = bench.chores();
    assert_eq!(chores.settle_holds().await?, 4, "those of the others");
    assert_eq!((chores.settle_holds().await?, available(&mut conn).await?), (0, vec![2, 2]), "it rests");
    mend(&mut conn).await?;
    assert_eq!(bench.chores().settle_holds().await?, 2);

    sqlx::query("UPDATE holds SET state = 'held', due_at = now(), becomes = 'back'")
        .execute(&mut conn)
        .await?;
    spoil(&mut conn, "stock", "id", items[0]).await?;
    let mut chores = bench.chores();
    assert_eq!(chores.settle_holds().await?, 3, "those of the other item");
    assert_eq!((chores.settle_holds().await?, available(&mut conn).await?), (0, vec![3, 6]), "it rests");
    mend(&mut conn).await?;
    assert_eq!(bench.chores().settle_holds().await?, 3);
    assert_eq!(available(&mut conn).await?, [6, 6]);
    Ok(())
}
