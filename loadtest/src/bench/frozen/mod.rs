//! The parts that the composed limit is made of, as they were at commit ae1e3cc: its tables, its statements for accept,
//! claim and settle, the session that its writers had, and its client of the gateway. Nobody improves them. A limit made
//! of today's parts would rise whenever a part became cheaper, and the pipeline that got faster would seem to stand
//! further off; this one stays where it is. What the service does today is measured beside it (`rows.rs`).

pub(super) mod gateway;

use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions, Executor, PgConnection, Row};
use uuid::Uuid;

/// Orders accepted in one statement.
const ACCEPT: usize = 256;
/// Payments claimed and settled in one statement.
const CLAIM: usize = 2 * ACCEPT;
/// For leases and deadlines, in milliseconds: longer than any run.
const LATER: i64 = 3_600_000;

/// The order: what the load generator sent, as it was stored.
const CUSTOMER: &str = "customer_00000";
const ITEMS: &str = r#"[{"item_id":"item_001","item_name":"Burger","quantity":2,"price":12.99},{"item_id":"item_002","item_name":"Fries","quantity":1,"price":4.99}]"#;
const TOTAL: i64 = 3_097;
const CURRENCY: &str = "USD";

/// The writers' session; and where the tables are, which the statements name without their schema.
const SESSION: [(&str, &str); 9] = [
    ("search_path", "frozen"),
    ("statement_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("synchronous_commit", "on"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// One SQL client that does to orders what the pipeline did, with nothing around it.
#[derive(Debug)]
pub struct Frozen {
    conn: PgConnection,
}

#[derive(Debug, Clone, Copy, sqlx::Type)]
#[sqlx(type_name = "attempt_outcome", rename_all = "snake_case")]
enum AttemptOutcome {
    Succeeded,
}

#[derive(Debug, Clone, Copy, sqlx::Type)]
#[sqlx(type_name = "payment_status", rename_all = "lowercase")]
enum PaymentStatus {
    Succeeded,
}

impl Frozen {
    /// Connects, and makes the tables, in a schema of their own.
    pub async fn connect(database_url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(database_url)
            .map_err(|_| anyhow::anyhow!("no URL such as postgres://user:password@host:5432/comanda"))?
            .application_name("comanda-frozen")
            .options(SESSION)
            .disable_statement_logging();
        let mut conn = options.connect().await.context("cannot reach the database")?;
        conn.execute(include_str!("schema.sql")).await.context("cannot make the frozen tables")?;
        Ok(Self { conn })
    }

    /// Writes the rows of `count` orders in one statement without any question asked.
    pub async fn insert(&mut self, count: usize) -> Result<()> {
        sqlx::query(include_str!("insert.sql"))
            .bind(fresh_ids(count))
            .bind(vec![CUSTOMER; count])
            .bind(vec![ITEMS; count])
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Takes orders through accept, claim and settle; says how many.
    pub async fn live(&mut self) -> Result<usize> {
        let mut payments = Vec::with_capacity(CLAIM);
        while payments.len() < CLAIM {
            payments.extend(self.accept().await?);
        }
        let claimed = self.claim(&payments).await?;
        let settled = self.settle(&claimed).await?;
        ensure!(settled == CLAIM, "of {CLAIM} payments {settled} were settled");
        Ok(settled)
    }

    /// An order's own charge has the order's id.
    async fn accept(&mut self) -> Result<Vec<Uuid>> {
        let ids = fresh_ids(ACCEPT);
        let created = sqlx::query(include_str!("accept.sql"))
            .bind(&ids)
            .bind(vec![TOTAL; ACCEPT])
            .bind(vec![CURRENCY.to_owned(); ACCEPT])
            .bind(vec![CUSTOMER.to_owned(); ACCEPT])
            .bind(vec![ITEMS.to_owned(); ACCEPT])
            .bind(vec![None::<String>; ACCEPT])
            .bind(vec![None::<String>; ACCEPT])
            .bind(vec![None::<Vec<u8>>; ACCEPT])
            .bind(LATER)
            .fetch_all(&mut self.conn)
            .await?;
        ensure!(created.len() == ACCEPT, "of {ACCEPT} orders {} were accepted", created.len());
        Ok(ids)
    }

    async fn claim(&mut self, payments: &[Uuid]) -> Result<Vec<Claimed>> {
        let claimed = sqlx::query(include_str!("claim.sql")).bind(payments).bind(LATER);
        Ok(claimed.try_map(Claimed::read).fetch_all(&mut self.conn).await?)
    }

    async fn settle(&mut self, claimed: &[Claimed]) -> Result<usize> {
        let count = claimed.len();
        let settled = sqlx::query(include_str!("settle.sql"))
            .bind(claimed.iter().map(|one| one.payment_id).collect::<Vec<_>>())
            .bind(claimed.iter().map(|one| one.epoch).collect::<Vec<_>>())
            .bind(claimed.iter().map(|one| one.number).collect::<Vec<_>>())
            .bind(vec![AttemptOutcome::Succeeded; count])
            .bind(vec![None::<String>; count])
            .bind(vec![None::<String>; count])
            .bind(vec![PaymentStatus::Succeeded; count])
            .bind(claimed.iter().map(|one| Some(format!("ch_{}", one.number))).collect::<Vec<_>>())
            .bind(vec![0_i64; count])
            .bind(vec![0_i32; count])
            .bind(vec![false; count])
            .bind(LATER)
            .fetch_all(&mut self.conn)
            .await?;
        Ok(settled.len())
    }
}

struct Claimed {
    payment_id: Uuid,
    epoch: i32,
    number: i32,
}

impl Claimed {
    fn read(row: PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            payment_id: row.try_get("id")?,
            epoch: row.try_get("epoch")?,
            number: row.try_get("number")?,
        })
    }
}

fn fresh_ids(count: usize) -> Vec<Uuid> {
    (0..count).map(|_| Uuid::now_v7()).collect()
}
