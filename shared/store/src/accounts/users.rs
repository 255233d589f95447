//! users: those that the embedded issuer knows. Whatever takes a right away ends the sessions in the same transaction; each api
//! refuses their tokens from its next look on (`sessions::ended_since`).

use domain::person::Role;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::sessions::end_all;

/// Somebody with a password here.
#[derive(Debug, Clone)]
pub struct User {
    /// The subject of their tokens.
    pub id: Uuid,
    /// In lower case.
    pub email: String,
    /// As they want to be called.
    pub name: Option<String>,
    /// A + and digits.
    pub phone: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Where they may do it; of customers and admins it says nothing.
    pub locations: Vec<String>,
    /// Whether they may log in.
    pub active: bool,
    /// Since when they are here.
    pub created_at: OffsetDateTime,
    /// When something about them last changed.
    pub updated_at: OffsetDateTime,
}

/// Somebody who is to be known.
#[derive(Clone)]
pub struct NewUser {
    /// Made beforehand: a try that is run twice makes one user.
    pub id: Uuid,
    /// In lower case.
    pub email: String,
    /// As they want to be called.
    pub name: Option<String>,
    /// A + and digits.
    pub phone: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Where.
    pub locations: Vec<String>,
    /// Of their password.
    pub password_hash: String,
}

/// What became of a change.
#[derive(Debug)]
pub enum Changed {
    /// It is so now.
    Done(User),
    /// Somebody else has this e-mail address.
    EmailTaken,
    /// Somebody else has this telephone number.
    PhoneTaken,
    /// There is no such user.
    NotFound,
    /// It would leave nobody who may see to people.
    LastAdmin,
}

/// Makes a user.
pub async fn insert(conn: &mut PgConnection, new: &NewUser) -> sqlx::Result<Changed> {
    let made = sqlx::query_as!(
        User,
        r#"INSERT INTO users (id, email, name, phone, role, locations, password_hash) VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT (id) DO UPDATE SET id = excluded.id
           RETURNING id, email, name, phone, role AS "role: Role", locations, active, created_at, updated_at"#,
        new.id,
        new.email,
        new.name,
        new.phone,
        new.role as Role,
        &new.locations,
        new.password_hash
    )
    .fetch_one(conn)
    .await;
    taken(made.map(Changed::Done))
}

/// A name that somebody else has is an answer, no fault.
fn taken(done: sqlx::Result<Changed>) -> sqlx::Result<Changed> {
    match done {
        Err(sqlx::Error::Database(refusal)) if refusal.is_unique_violation() => match refusal.constraint() {
            Some("users_email_key") => Ok(Changed::EmailTaken),
            Some("users_phone_key") => Ok(Changed::PhoneTaken),
            _ => Err(sqlx::Error::Database(refusal)),
        },
        done => done,
    }
}

/// What somebody is found by.
#[derive(Debug, Clone)]
pub enum By {
    /// The subject of their tokens.
    Id(Uuid),
    /// In lower case.
    Email(String),
}

/// Somebody, and the hash of their password.
pub async fn find(conn: &mut PgConnection, by: &By) -> sqlx::Result<Option<(User, String)>> {
    let (id, email) = match by {
        By::Id(id) => (Some(*id), None),
        By::Email(email) => (None, Some(email.as_str())),
    };
    let row = sqlx::query!(
        r#"SELECT id, email, name, phone, role AS "role: Role", locations, active, created_at, updated_at, password_hash
           FROM users WHERE id = $1 OR email = $2"#,
        id,
        email
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let user = User {
            id: row.id,
            email: row.email,
            name: row.name,
            phone: row.phone,
            role: row.role,
            locations: row.locations,
            active: row.active,
            created_at: row.created_at,
            updated_at: row.updated_at,
        };
        (user, row.password_hash)
    }))
}

/// Up to `limit` of them, those that came first first, after `after`.
pub async fn list(
    conn: &mut PgConnection,
    role: Option<Role>,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<User>> {
    sqlx::query_as!(
        User,
        r#"SELECT id, email, name, phone, role AS "role: Role", locations, active, created_at, updated_at
           FROM users WHERE id > $1 AND ($2::person_role IS NULL OR role = $2) ORDER BY id LIMIT $3"#,
        after,
        role as Option<Role>,
        limit
    )
    .fetch_all(conn)
    .await
}

/// What an admin may change; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What they may do.
    pub role: Option<Role>,
    /// Where.
    pub locations: Option<Vec<String>>,
    /// Whether they may log in.
    pub active: Option<bool>,
}

/// Changes somebody, and ends their sessions where their rights are others now. The last admin stays one.
pub async fn change(conn: &mut PgConnection, id: Uuid, change: &Change) -> sqlx::Result<Changed> {
    let mut tx = conn.begin().await?;
    // All admins, so that two of them cannot depose each other at once.
    let admins =
        sqlx::query_scalar!(r#"SELECT id FROM users WHERE role = 'admin' AND active ORDER BY id FOR UPDATE"#)
            .fetch_all(&mut *tx)
            .await?;
    let found = sqlx::query!(
        r#"SELECT role AS "role: Role", locations, active FROM users WHERE id = $1 FOR UPDATE"#,
        id
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(before) = found else { return Ok(Changed::NotFound) };
    let role = change.role.unwrap_or(before.role);
    let active = change.active.unwrap_or(before.active);
    let locations = change.locations.as_ref().unwrap_or(&before.locations);
    if admins == [id] && !(role == Role::Admin && active) {
        return Ok(Changed::LastAdmin);
    }
    if (role, active, locations) != (before.role, before.active, &before.locations) {
        end_all(&mut tx, id, None, if active { "changed" } else { "deactivated" }).await?;
    }
    let user = sqlx::query_as!(
        User,
        r#"UPDATE users SET role = $2, locations = $3, active = $4, updated_at = now() WHERE id = $1
           RETURNING id, email, name, phone, role AS "role: Role", locations, active, created_at, updated_at"#,
        id,
        role as Role,
        locations,
        active
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Changed::Done(user))
}

/// Changes what somebody may change of themselves; what is `None` stays.
pub async fn change_own(
    conn: &mut PgConnection,
    id: Uuid,
    name: Option<&str>,
    phone: Option<&str>,
) -> sqlx::Result<Changed> {
    let changed = sqlx::query_as!(
        User,
        r#"UPDATE users SET name = coalesce($2, name), phone = coalesce($3, phone), updated_at = now() WHERE id = $1
           RETURNING id, email, name, phone, role AS "role: Role", locations, active, created_at, updated_at"#,
        id,
        name,
        phone
    )
    .fetch_optional(conn)
    .await;
    taken(changed.map(|user| user.map_or(Changed::NotFound, Changed::Done)))
}

/// Sets a new password and ends every session but `kept`.
pub async fn set_password(
    conn: &mut PgConnection,
    id: Uuid,
    password_hash: &str,
    kept: Option<Uuid>,
) -> sqlx::Result<()> {
    let mut tx = conn.begin().await?;
    sqlx::query!("UPDATE users SET password_hash = $2, updated_at = now() WHERE id = $1", id, password_hash)
        .execute(&mut *tx)
        .await?;
    end_all(&mut tx, id, kept, "password").await?;
    tx.commit().await
}
