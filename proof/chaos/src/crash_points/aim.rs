//! What people do at the very moment of a death: the process stands at its place with all that it has in hand, somebody
//! calls these orders off, or refuses them, or their deadline passes; only then does it die.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use domain::order::status::OrderStatus;
use runtime::tasks::Stop;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::client::Client;
use crate::fleet::Tokens;
use crate::ground::Ground;
use crate::life::Habits;
use crate::tally::Tally;

/// What happens while the process stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Aim {
    /// Customers cancel whatever is open
    Cancel,
    /// The kitchen rejects most orders, and at that moment whatever is paid
    Reject,
    /// The kitchen answers nothing: deadlines pass
    Deadline,
}

/// The process stands for so long at most: a request that waits for what it holds is answered only after its death.
const STANDS: Duration = Duration::from_millis(400);
/// Open orders that are met, newest first: a second's arrivals and more.
const AT_ONCE: i64 = 200;

/// Open orders that were met, by where they stood, and refunds on their way.
pub(super) type Aimed = BTreeMap<&'static str, usize>;
/// As they are called among those.
pub(super) const REFUNDS: &str = "refunds";

impl Aim {
    /// The name, as in `--aims` and in reports.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// How people are.
    pub(super) const fn habits(self) -> Habits {
        match self {
            Self::Cancel => Habits::EVERYDAY,
            Self::Reject => Habits::REJECTING,
            Self::Deadline => Habits::SILENT,
        }
    }

    /// How long the kitchen has: so short that it passes while the process stands there, where that is what is meant.
    pub(super) const fn deadline(self) -> Duration {
        match self {
            Self::Deadline => Duration::from_millis(300),
            Self::Cancel | Self::Reject => Duration::from_secs(2),
        }
    }

    /// Does it. Requests that are not answered before the death go on in `asking`. Says which orders were met.
    pub(super) async fn strike(
        self,
        ground: &Ground,
        client: &Arc<Client>,
        asking: &mut JoinSet<()>,
    ) -> Result<Aimed> {
        let mut aimed = Aimed::new();
        for (id, customer, status) in open_orders(ground).await? {
            *aimed.entry(status.as_str()).or_default() += 1;
            let client = Arc::clone(client);
            let number = customer.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            match self {
                Self::Cancel => drop(asking.spawn(async move { client.cancel_now(number, id).await })),
                Self::Reject if status == OrderStatus::Confirmed => {
                    asking.spawn(async move { client.reject_now(number, id).await });
                }
                Self::Reject | Self::Deadline => {}
            }
        }
        let refunds = refunds(ground).await?;
        if refunds > 0 {
            aimed.insert(REFUNDS, refunds);
        }
        let answered = async { while asking.join_next().await.is_some() {} };
        if self == Self::Deadline {
            sleep(STANDS).await;
        } else {
            let _ = tokio::time::timeout(STANDS, answered).await;
        }
        Ok(aimed)
    }

    /// Whoever asks: at apis that stay alive.
    pub(super) fn client(apis: &[SocketAddr], tokens: &Tokens, tally: &Arc<Tally>) -> Result<Arc<Client>> {
        Ok(Arc::new(Client::new(apis, tokens, tally, &Stop::new())?))
    }
}

/// As the database has them: also those whose 202 nobody has heard yet.
async fn open_orders(ground: &Ground) -> Result<Vec<(Uuid, String, OrderStatus)>> {
    let open = sqlx::query_as(
        "SELECT id, customer_id, status FROM shown_orders WHERE status IN ('PENDING', 'PAYMENT_PROCESSING', 'CONFIRMED')
         ORDER BY id DESC LIMIT $1",
    );
    Ok(open.bind(AT_ONCE).fetch_all(&mut ground.connect().await?).await?)
}

async fn refunds(ground: &Ground) -> Result<usize> {
    let refunds = "SELECT count(*) FROM payments WHERE due_at IS NOT NULL AND kind = 'refund'";
    let count: i64 = sqlx::query_scalar(refunds).fetch_one(&mut ground.connect().await?).await?;
    Ok(usize::try_from(count)?)
}
