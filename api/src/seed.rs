//! A first look: a coffee shop, people who order there, and an order of each kind, none of which the gateway has charged.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::catalogue::menu::Menu;
use domain::catalogue::product::Product;
use domain::location::Locations;
use domain::order::NewOrder;
use domain::order::moves::{Actor, Expected, Move, Wanted};
use domain::order::status::OrderStatus;
use domain::person::Role;
use serde_json::{Value, json};
use sqlx::PgConnection;
use store::Database;
use store::accept::{Accept, Accepted, accept, accept_stocked};
use store::accounts::users::{self, By};
use store::call_off::{Whose, call_off_one};
use store::catalogue::products;
use store::claim::claim;
use store::collect::{Collect, collect};
use store::moves::{Moved, carry_out};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::catalogue;
use crate::identity::bootstrap::make_user_once;

/// Who orders.
const CUSTOMERS: [&str; 3] = ["customer@example.com", "ada@example.com", "grace@example.com"];
/// How long the worker has a charge that it has just claimed, and then died: its order goes on as soon as another one looks.
const LEASE: Duration = Duration::from_secs(1);
/// Until a lost message is noticed.
const DUE_IN: Duration = Duration::from_secs(3);

/// Opens the shop where nothing is sold yet, and says which customers are new, with their passwords; `None`: something is sold.
pub async fn seed(database: &Database) -> Result<Option<Vec<(String, String)>>> {
    if !catalogue::seed::seed(database).await? {
        return Ok(None);
    }
    let mut made = Vec::new();
    for email in CUSTOMERS {
        let password = make_user_once(database, email, Role::Customer).await?;
        made.extend(password.map(|password| (email.to_owned(), password)));
    }
    let mut conn = database.connect().await.context("cannot reach the database")?;
    let mut customers = Vec::new();
    for email in CUSTOMERS {
        let found = users::find(&mut conn, &By::Email(email.to_owned())).await?;
        customers.push(found.context("a customer who has just been made")?.0.id.to_string());
    }
    orders(&mut conn, &customers).await?;
    Ok(Some(made))
}

/// The shop's products, by their ids.
struct Shop(HashMap<Uuid, Product>);

impl Menu for Shop {
    fn product(&self, id: Uuid) -> Option<&Product> {
        self.0.get(&id)
    }
}

impl Shop {
    /// A line of a product that comes in no variations.
    fn line(&self, name: &str, quantity: u32) -> Result<Value> {
        let found = self.0.values().find(|product| product.name == name);
        let id = found.with_context(|| format!("there is no {name}"))?.id;
        Ok(json!({"product_id": id, "quantity": quantity}))
    }
}

/// An order at each status.
async fn orders(conn: &mut PgConnection, customers: &[String]) -> Result<()> {
    let all = products::since(conn, 0).await?;
    let shop = Shop(all.into_iter().map(|seen| (seen.product.id, seen.product)).collect());
    let tomorrow = (OffsetDateTime::now_utc() + time::Duration::days(1)).format(&Rfc3339)?;
    let breakfast = [shop.line("Tea", 1)?, shop.line("Croissant", 2)?];
    let treat = [shop.line("Latte", 2)?, shop.line("Donut", 3)?, shop.line("Brownie", 1)?];
    let lunch = [shop.line("Ham Sandwich", 1)?, shop.line("Iced Tea", 1)?];
    let order = |n: usize, lines: &[Value], more: Value| {
        let mut body = json!({"customer_id": customers[n % customers.len()], "items": lines});
        body.as_object_mut()
            .into_iter()
            .for_each(|body| body.extend(more.as_object().cloned().unwrap_or_default()));
        body
    };
    let in_hand = json!({"payment": {"method": "on_delivery"}});
    // For later: the one is charged tomorrow, the other is paid when it is fetched.
    accepted(conn, &shop, &order(0, &lunch, json!({"wanted_at": tomorrow}))).await?;
    let later = json!({"wanted_at": tomorrow, "payment": {"method": "on_delivery"}});
    accepted(conn, &shop, &order(1, &breakfast, later)).await?;
    let failed = accepted(conn, &shop, &order(2, &treat, json!({}))).await?;
    // Its time was over before anybody charged it: what the gateway would have declined, the gateway would know of.
    call_off_one(conn, Whose::First, Duration::ZERO, failed).await?;
    let claimed = accepted(conn, &shop, &order(0, &breakfast, json!({}))).await?;
    claim(conn, &[claimed], LEASE).await?;
    let steps = [OrderStatus::Accepted, OrderStatus::Preparing, OrderStatus::Ready, OrderStatus::Delivered];
    for (n, last) in steps.into_iter().enumerate() {
        let id = accepted(conn, &shop, &order(n, &treat, in_hand.clone())).await?;
        for step in steps.into_iter().take(n + 1) {
            go(conn, id, Wanted::Status(step), None).await?;
        }
        if last == OrderStatus::Delivered {
            let (request, by, expected) = (Uuid::now_v7(), staff(), Expected::default());
            collect(conn, &Collect { request, order_id: id, by, amount_minor: None, expected }).await?;
        }
    }
    for (n, wanted, why) in [(0, Wanted::Reject, "the oven is cold"), (1, Wanted::Cancel, "ordered twice")] {
        let id = accepted(conn, &shop, &order(n, &lunch, in_hand.clone())).await?;
        go(conn, id, wanted, Some(why)).await?;
    }
    Ok(())
}

fn staff() -> Actor {
    Actor::Staff(Some("seed".to_owned()))
}

async fn accepted(conn: &mut PgConnection, shop: &Shop, body: &Value) -> Result<Uuid> {
    let text = body.to_string();
    let order = NewOrder::parse_with(&serde_json::from_str(&text)?, &Locations::default(), shop);
    let order = order.map_err(|problems| anyhow::anyhow!("{text}: {problems:?}"))?;
    let (id, is_stocked) = (order.id, !order.takes.is_empty());
    let batch = [Accept { order, key: None }];
    let done = match is_stocked {
        true => accept_stocked(conn, &batch, DUE_IN).await?,
        false => accept(conn, &batch, DUE_IN).await?,
    };
    ensure!(matches!(done[..], [Accepted::New { .. }]), "{text}: {done:?}");
    Ok(id)
}

async fn go(conn: &mut PgConnection, order_id: Uuid, wanted: Wanted, why: Option<&str>) -> Result<()> {
    let reason = why.map(str::to_owned);
    let (request, by, expected) = (Uuid::now_v7(), staff(), Expected::default());
    let moved = carry_out(conn, &Move { request, order_id, wanted, by, reason, expected }).await?;
    ensure!(matches!(moved, Moved::Done { .. }), "{wanted:?}: {moved:?}");
    Ok(())
}
