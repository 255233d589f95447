//! One SQL client that does to orders what the pipeline does, with nothing around it.

use std::time::Duration;

use anyhow::{Result, ensure};
use domain::message::MAX_PAYMENTS;
use domain::order::NewOrder;
use domain::payment::AttemptOutcome;
use reconcile::connect;
use sqlx::PgConnection;
use store::accept::{Accept, accept};
use store::claim::claim;
use store::settle::{Next, Settlement, settle};
use uuid::Uuid;

use crate::load::body;

/// Payments claimed and settled in one statement, as by the worker: two messages' worth.
const CLAIM: usize = 2 * MAX_PAYMENTS;
/// For leases and deadlines: longer than any run.
const LATER: Duration = Duration::from_secs(3_600);

/// The client.
#[derive(Debug)]
pub(super) struct Rows {
    conn: PgConnection,
    order: NewOrder,
}

/// The load generator's order.
pub(super) fn an_order() -> Result<NewOrder> {
    NewOrder::parse(&serde_json::from_str(body())?)
        .map_err(|problems| anyhow::anyhow!("the load generator's order is none: {problems:?}"))
}

impl Rows {
    pub(super) async fn connect(database_url: &str) -> Result<Self> {
        Ok(Self { conn: connect(database_url).await?, order: an_order()? })
    }

    /// Writes the rows of `count` orders in one statement without any question asked.
    pub(super) async fn insert(&mut self, count: usize) -> Result<()> {
        let ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
        let customers: Vec<&str> = vec![&self.order.customer_id; count];
        let items: Vec<&str> = vec![self.order.items.get(); count];
        sqlx::query(
            "WITH input AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])
                    AS input(id, customer_id, items)
             ), charged AS (
                INSERT INTO open_charges (id, amount_minor, created_at, due_at, currency)
                SELECT id, 3097, now(), now() + interval '3 s', 'USD' FROM input
             ), noted AS (
                INSERT INTO order_events (subject, at, amount_minor, version, what, to_status, actor, items)
                SELECT id, now(), 3097, 1, 'accepted', 'PENDING', 'api', items::json FROM input
             )
             INSERT INTO orders (id, total_minor, created_at, updated_at, version, status, currency, customer_id)
             SELECT id, 3097, now(), now(), 1, 'PENDING', 'USD', customer_id FROM input",
        )
        .bind(&ids)
        .bind(&customers)
        .bind(&items)
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// Takes orders through accept, claim and settle by the store's own statements; says how many.
    pub(super) async fn live(&mut self) -> Result<usize> {
        let mut payments = Vec::with_capacity(CLAIM);
        while payments.len() < CLAIM {
            let batch: Vec<Accept> = (0..MAX_PAYMENTS).map(|_| self.fresh()).collect();
            accept(&mut self.conn, &batch, LATER).await?;
            payments.extend(batch.iter().map(|one| one.order.payment_id()));
        }
        let claimed = claim(&mut self.conn, &payments, LATER).await?;
        let settlements: Vec<Settlement> = claimed
            .into_iter()
            .map(|one| {
                let next = Next::Succeeded { gateway_id: format!("ch_{}", one.number) };
                Settlement::new(&one, AttemptOutcome::Succeeded, next)
            })
            .collect();
        let settled = settle(&mut self.conn, &settlements, LATER).await?.len();
        ensure!(settled == CLAIM, "of {CLAIM} payments {settled} were settled");
        Ok(settled)
    }

    fn fresh(&self) -> Accept {
        let order = NewOrder { id: Uuid::now_v7(), ..self.order.clone() };
        Accept { order, key: None }
    }
}
