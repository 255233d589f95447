//! A coffee shop for a first look: drinks with sizes and syrups, and twenty things to eat that are counted.

use anyhow::{Context, Result};
use domain::catalogue::category::Category;
use domain::catalogue::product::Product;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use store::Database;
use store::catalogue::{Changed, categories, products};
use store::stock::counted::{self, Change, What};
use uuid::Uuid;

/// Of each thing that is counted.
const IN_STOCK: i64 = 52;

/// Things to eat, and what they cost.
const BAKED: [(&str, f64); 20] = [
    ("Donut", 2.20),
    ("Chocolate Donut", 2.50),
    ("Jelly Donut", 2.60),
    ("Croissant", 2.40),
    ("Almond Croissant", 3.20),
    ("Blueberry Muffin", 2.90),
    ("Chocolate Muffin", 2.90),
    ("Cinnamon Roll", 3.10),
    ("Banana Bread", 2.80),
    ("Carrot Cake", 3.90),
    ("Cheesecake", 4.20),
    ("Brownie", 2.70),
    ("Lemon Tart", 3.80),
    ("Apple Pie", 3.60),
    ("Bagel", 2.30),
    ("Bagel with Cream Cheese", 3.50),
    ("Ham Sandwich", 5.40),
    ("Cheese Sandwich", 4.90),
    ("Tuna Sandwich", 5.60),
    ("Oat Cookie", 1.80),
];

/// Opens it, where nothing is sold yet; `false`: something is. All of it or nothing.
pub async fn seed(database: &Database) -> Result<bool> {
    let mut conn = database.connect().await?;
    let mut tx = conn.begin().await?;
    if products::any(&mut tx).await? {
        tx.rollback().await?;
        return Ok(false);
    }
    let hot = category(&mut tx, "Hot drinks", 1).await?;
    let cold = category(&mut tx, "Iced drinks", 2).await?;
    let baked = category(&mut tx, "Bakery", 3).await?;
    let sizes = |[small, medium, large]: [f64; 3]| json!([{"name": "Small", "price": small}, {"name": "Medium", "price": medium}, {"name": "Large", "price": large}]);
    let syrups = json!([{"name": "Syrups", "max": 2, "options": [{"name": "Pumpkin Spice", "price": 0.75},
        {"name": "Vanilla", "price": 0.5}, {"name": "Hazelnut", "price": 0.5}]}]);
    for drink in [
        json!({"name": "Latte", "price": 3.5, "category_id": hot, "option_groups": syrups}),
        json!({"name": "Cappuccino", "variations": sizes([3.0, 3.5, 4.0]), "category_id": hot}),
        json!({"name": "Hot Chocolate", "variations": sizes([3.25, 3.75, 4.25]), "category_id": hot}),
        json!({"name": "Tea", "price": 2.2, "category_id": hot, "description": "Black, green or mint"}),
        json!({"name": "Iced Latte", "price": 4.0, "category_id": cold, "option_groups": syrups}),
        json!({"name": "Iced Tea", "price": 2.75, "category_id": cold}),
        json!({"name": "Tap Water", "price": 0, "category_id": cold}),
    ] {
        product(&mut tx, &drink).await?;
    }
    for (name, price) in BAKED {
        let new = json!({"name": name, "price": price, "category_id": baked, "tracked": true});
        let item = product(&mut tx, &new).await?;
        let put_in = Change {
            id: Uuid::now_v7(),
            item,
            what: What::Set,
            quantity: IN_STOCK,
            by: "seed".to_owned(),
            reason: None,
        };
        counted::change(&mut tx, &put_in).await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn category(conn: &mut PgConnection, name: &str, position: i32) -> Result<Uuid> {
    let new = Category { id: Uuid::now_v7(), name: name.to_owned(), position };
    match categories::insert(conn, &new).await? {
        Changed::Done(()) => Ok(new.id),
        other => anyhow::bail!("the category {name}: {other:?}"),
    }
}

async fn product(conn: &mut PgConnection, new: &Value) -> Result<Uuid> {
    let body = new.to_string();
    let product = Product::parse(&serde_json::from_str(&body)?);
    let product = product.map_err(|problems| anyhow::anyhow!("{body}: {problems:?}"))?;
    let changed: Changed<()> = products::insert(conn, &product, "seed").await.context("the coffee shop")?;
    match changed {
        Changed::Done(()) => Ok(product.id),
        other => anyhow::bail!("{body}: {other:?}"),
    }
}
