//! What tokens cost: the plain order in one process, by turns without a token (as a guest on loopback), with one that is
//! known, and with one that nobody has seen before on every order.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

pub mod bad;
mod mint;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use runtime::tasks::Stop;
use serde::Serialize;

use self::mint::{Mint, Signed};
use super::runs::{PATIENCE, Verdict, judge};
use super::stack::{Shape, Stack};
use super::usage::Cost;
use crate::load::{Pace, Plan, Tokens, load};
use crate::settled::until_settled;

/// What whoever orders shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// Nothing: a guest.
    Nothing,
    /// Always the same service token.
    ServiceToken,
    /// Always the same token of an issuer.
    Known,
    /// Each order another token, signed with ES256.
    EachEs256,
    /// The same with RS256.
    EachRs256,
}

impl Shown {
    pub(super) const ALL: [Self; 5] =
        [Self::Nothing, Self::ServiceToken, Self::Known, Self::EachEs256, Self::EachRs256];

    /// In words, for the report.
    pub(super) const fn says(self) -> &'static str {
        match self {
            Self::Nothing => "no token, a guest",
            Self::ServiceToken => "a service token",
            Self::Known => "a token of an issuer, the same again",
            Self::EachEs256 => "each order another token, ES256",
            Self::EachRs256 => "each order another token, RS256",
        }
    }
}

/// Orders end to end with what is shown.
#[derive(Debug, Clone, Serialize)]
pub struct TokensRun {
    /// What.
    pub shown: Shown,
    /// How many orders.
    pub orders: u64,
    /// Processor time.
    pub cost: Cost,
    /// What one check of such a signature takes alone, in microseconds; 0 where none is made for an order.
    pub check_us: f64,
    /// What the reconciliation said.
    pub verdict: Verdict,
}

/// Measures each in turn.
pub(super) async fn price(
    stack: &Stack,
    orders: u64,
    connections: usize,
    logs: &Path,
) -> Result<Vec<TokensRun>> {
    let mint = Mint::new()?;
    let issuers = mint.write(logs)?;
    let mut runs = Vec::new();
    for shown in Shown::ALL {
        let run = one(stack, shown, orders, connections, &mint, &issuers).await;
        runs.push(run.with_context(|| shown.says())?);
    }
    Ok(runs)
}

async fn one(
    stack: &Stack,
    shown: Shown,
    orders: u64,
    connections: usize,
    mint: &Mint,
    issuers: &Path,
) -> Result<TokensRun> {
    // All come from one address, which no guest and no new token is to be slowed down for here.
    let settings = [("ISSUERS_FILE", issuers.display().to_string()), ("RATE_LIMIT_ADDRESS", "0".to_owned())];
    let mut services = stack.start_on(stack.ground().await?, Shape::Standalone, &settings)?;
    services.warm_up(Shape::Standalone).await?;
    services.connections = connections;
    let each = |signed| Tokens::new(mint.tokens(signed, orders)?);
    let tokens = match shown {
        Shown::Nothing => Arc::default(),
        Shown::ServiceToken => Tokens::one(&services.token()?),
        Shown::Known => Tokens::new(mint.tokens(Signed::Es256, 1)?)?,
        Shown::EachEs256 => each(Signed::Es256)?,
        Shown::EachRs256 => each(Signed::Rs256)?,
    };
    let check = match shown {
        Shown::EachEs256 => mint.time_of_check(Signed::Es256)?,
        Shown::EachRs256 => mint.time_of_check(Signed::Rs256)?,
        _ => Duration::ZERO,
    };
    let before = services.usage(stack)?;
    let plan = Plan { tokens, ..services.plan(Pace::Closed, Some(orders), None)? };
    let done = load(&plan, &Stop::new()).await?;
    until_settled(&services.ground.database_url, PATIENCE, &Stop::new()).await?;
    let cost = services.usage(stack)?.since(&before, orders);
    let verdict = judge(&services, &done).await?;
    services.stop(stack).await?;
    Ok(TokensRun { shown, orders, cost, check_us: check.as_secs_f64() * 1e6, verdict })
}
